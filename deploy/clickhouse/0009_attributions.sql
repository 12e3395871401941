-- Trace windows (docs/domain/traces.md): which signal carries which part of which cost, entries of kind void, which
-- take a signal back, and what joins spans to their traces.
--
-- Attributions are filled by the sink from their own topic under their own mark; sequence is apart from the ledger's.
-- From the closing of its window on, the amounts of all rows of one cost sum to that cost; what changes a split later
-- are further rows with the difference, so that a sum over rows is right at every moment.
--
-- ORDER BY serves what is asked of a trace; what a signal carries is found by the index on signal_entry.

CREATE TABLE IF NOT EXISTS attributions
(
    schema_version UInt32 COMMENT 'Version of the attribution''s schema',
    entry_id String COMMENT 'Generation, partition and sequence; unique',
    generation UInt32 COMMENT 'Life of the topics',
    `partition` UInt32 COMMENT 'Partition of the attributions topic; a customer lives in one',
    sequence UInt64 COMMENT 'Dense number per generation and partition, from 0: count = max + 1' CODEC(Delta, ZSTD(1)),
    cycle UInt64 COMMENT 'Cycle of the partition that attributed' CODEC(Delta, ZSTD(1)),
    decided_at DateTime64(6, 'UTC') COMMENT 'Domain time of that cycle' CODEC(Delta, ZSTD(1)),
    role LowCardinality(String) COMMENT 'share (what a signal carries of a cost), unattributed (what nobody claims) or signal (one that carries nothing, and why)',
    customer_id String COMMENT 'Whose cost and signal it is',
    trace_id String COMMENT 'Trace of the cost or signal; may be empty',
    scope_id String COMMENT 'Scope by which it can be claimed; may be empty',
    cause String COMMENT 'entry_id of the entry that came late, or of the cycle that closed the window',
    cost_entry String COMMENT 'entry_id of the usage or adjustment whose cost it is; empty for signal',
    signal_entry String COMMENT 'entry_id of the signal; empty for unattributed',
    signal_name LowCardinality(String) COMMENT 'Its name; empty for unattributed',
    amount Decimal(38, 12) DEFAULT 0 COMMENT 'Part of the cost, or what a part changes by; sum it as toDecimal256(amount, 12)',
    currency LowCardinality(String) DEFAULT 'USD' COMMENT 'ISO 4217 code of amount; never add up different ones',
    flags Array(LowCardinality(String)) COMMENT 'split_between_signals, late, window_full, voided; of a signal without cost first of all why: no_cost, cost_tracing_off, no_trace, window_full or window_gone',

    INDEX signal_entries signal_entry TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX scope_ids scope_id TYPE bloom_filter(0.01) GRANULARITY 4,
    PROJECTION marks
    (
        SELECT generation, `partition`, max(sequence), max(decided_at), count()
        GROUP BY generation, `partition`
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(decided_at)
ORDER BY (customer_id, trace_id, cost_entry)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Whose cost it is: parts of costs by signal, exactly once; sums over rows are right at every moment';

ALTER TABLE ledger COMMENT COLUMN kind 'What the row is: cycle, usage, adjustment, signal, void, grant, limit, ceiling, decision, extension, closing, settlement or resolution; tells which columns count';
ALTER TABLE ledger COMMENT COLUMN scope_id 'usage, adjustment, signal, void: scope that it belongs to; may be empty';
ALTER TABLE ledger COMMENT COLUMN signal_name 'signal, void: which business outcome';
ALTER TABLE ledger COMMENT COLUMN quantity 'signal: how many of it; void: how many of it do not count any more';
ALTER TABLE ledger COMMENT COLUMN cost_tracing 'signal: whether it carries the cost of its trace or scope';
ALTER TABLE ledger COMMENT COLUMN note 'resolution: why it was discarded; void: why it was taken back; for a person';

ALTER TABLE ledger ADD COLUMN IF NOT EXISTS span_id String COMMENT 'usage, signal: span of the trace that it was; may be empty' AFTER trace_id;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS parent_span_id String COMMENT 'usage, signal: span right around it; may be empty' AFTER span_id;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS weight UInt64 DEFAULT 1 COMMENT 'signal: its part where several signals claim one cost' AFTER cost_tracing;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS signal_entry String COMMENT 'void: entry_id of the signal that it takes back' AFTER weight;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS signal_cost LowCardinality(String) DEFAULT 'unattributed' COMMENT 'void: what becomes of the cost that the signal carried: unattributed, or move to the signals that claim it too' AFTER signal_entry;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS watermark DateTime64(6, 'UTC') COMMENT 'cycle: latest event time seen, by which trace windows close; 1970 for others' AFTER `void`;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS attributions UInt64 COMMENT 'cycle: rows that it wrote to attributions' AFTER watermark;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS attribution_sequence UInt64 COMMENT 'cycle: rows of attributions that the partition has written after it, in all' AFTER attributions;

-- What belongs to a trace lies among all usage of a customer.
ALTER TABLE ledger ADD INDEX IF NOT EXISTS trace_ids trace_id TYPE bloom_filter(0.01) GRANULARITY 4;
ALTER TABLE ledger ADD INDEX IF NOT EXISTS scope_ids scope_id TYPE bloom_filter(0.01) GRANULARITY 4;

CREATE OR REPLACE VIEW usage AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, appended_at, occurred_at,
    customer_id, source, event_id, agent_id, task_ref, trace_id, scope_id, span_id, parent_span_id,
    provider, model, units,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    input_audio_tokens, output_audio_tokens,
    input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens
        + input_audio_tokens + output_audio_tokens AS tokens,
    quantities, conditions,
    cost, currency, cost_basis, price_version, price_override, priced_as, provisional,
    covered_units, covered_tokens, covered_usd, burns, success, flags,
    reservation_id, settlement, holds, usage_missing, missing_tokens
FROM ledger
WHERE kind = 'usage'
COMMENT 'Usage that counts, one row per event; tokens is the sum of all classes, missing_tokens what was charged beside them because nobody knows it';

CREATE OR REPLACE VIEW adjustments AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, occurred_at, charged_at,
    customer_id, adjusted_entry, agent_id, task_ref, trace_id, scope_id, provider, model,
    cost, currency, provisional, covered_usd, burns, returned, was_unpriced,
    price_version, price_override, priced_as
FROM ledger
WHERE kind = 'adjustment'
COMMENT 'Corrections of the cost of usage entries; amounts are what the sums change by';

CREATE VIEW IF NOT EXISTS voids AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, occurred_at,
    customer_id, signal_entry, signal_name, quantity, agent_id, trace_id, scope_id,
    signal_cost, note AS reason
FROM ledger
WHERE kind = 'void'
COMMENT 'Signals that were taken back, one row per signal, and what becomes of the cost that they carried';

CREATE VIEW IF NOT EXISTS signals AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, appended_at, occurred_at,
    customer_id, source, event_id, agent_id, trace_id, scope_id, span_id, parent_span_id,
    signal_name, quantity, cost_tracing, weight
FROM ledger
WHERE kind = 'signal' AND (customer_id, entry_id) NOT IN
(
    SELECT customer_id, signal_entry
    FROM ledger
    WHERE kind = 'void'
)
COMMENT 'Business outcomes that count, one row per signal: without those that were taken back';

CREATE VIEW IF NOT EXISTS signal_costs AS
SELECT
    told.customer_id AS customer_id,
    told.entry_id AS signal_entry,
    told.signal_name AS signal_name,
    told.quantity AS quantity,
    told.occurred_at AS occurred_at,
    told.decided_at AS decided_at,
    told.agent_id AS agent_id,
    told.trace_id AS trace_id,
    told.scope_id AS scope_id,
    taken.entry_id != '' AS voided,
    carried.currency AS currency,
    carried.cost AS cost,
    carried.costs AS costs,
    carried.flags AS flags,
    multiIf(
        carried.costs > 0, '',
        voided, 'voided',
        without.reason != '', without.reason,
        NOT told.cost_tracing, 'not_asked',
        'open'
    ) AS why_none
FROM
(
    SELECT *
    FROM ledger
    WHERE kind = 'signal'
) AS told
LEFT JOIN
(
    SELECT
        customer_id, signal_entry, currency,
        sum(part) AS cost,
        countIf(part != 0 OR largest = 0) AS costs,
        arraySort(groupUniqArrayArray(marks)) AS flags
    FROM
    (
        SELECT
            customer_id, signal_entry, currency, cost_entry,
            sum(toDecimal256(amount, 12)) AS part,
            max(abs(amount)) AS largest,
            groupUniqArrayArray(attributions.flags) AS marks
        FROM attributions
        WHERE role = 'share'
        GROUP BY customer_id, signal_entry, currency, cost_entry
    )
    GROUP BY customer_id, signal_entry, currency
) AS carried ON carried.customer_id = told.customer_id AND carried.signal_entry = told.entry_id
LEFT JOIN
(
    SELECT customer_id, signal_entry, argMax(flags[1], (generation, sequence)) AS reason
    FROM attributions
    WHERE role = 'signal'
    GROUP BY customer_id, signal_entry
) AS without ON without.customer_id = told.customer_id AND without.signal_entry = told.entry_id
LEFT JOIN voids AS taken ON taken.customer_id = told.customer_id AND taken.signal_entry = told.entry_id
COMMENT 'What each signal carries, one row per signal and currency; where it carries nothing, why_none says why (open: what it names has not closed yet)';

CREATE VIEW IF NOT EXISTS unattributed_costs AS
SELECT customer_id, trace_id, scope_id, cost_entry, currency, part AS cost, marks AS flags, since AS decided_at
FROM
(
    SELECT
        customer_id, trace_id, scope_id, cost_entry, currency,
        sum(toDecimal256(amount, 12)) AS part,
        groupUniqArrayArray(flags) AS marks,
        max(attributions.decided_at) AS since
    FROM attributions
    WHERE role = 'unattributed'
    GROUP BY customer_id, trace_id, scope_id, cost_entry, currency
)
WHERE part != 0
COMMENT 'What nobody carries of costs whose windows have closed, one row per cost';

CREATE VIEW IF NOT EXISTS trace_costs AS
SELECT
    customer_id, trace_id, scope_id, currency,
    sum(call) AS calls,
    sum(spent) AS cost,
    sum(share) AS carried,
    sum(rest) AS unattributed,
    cost - carried - unattributed AS open
FROM
(
    SELECT
        customer_id, trace_id, if(trace_id = '', ledger.scope_id, '') AS scope_id, currency,
        kind = 'usage' AND NOT has(flags, 'outer_span') AS call,
        toDecimal256(ledger.cost, 12) AS spent,
        toDecimal256(0, 12) AS share,
        toDecimal256(0, 12) AS rest
    FROM ledger
    WHERE kind IN ('usage', 'adjustment') AND (trace_id != '' OR ledger.scope_id != '')
    UNION ALL
    SELECT
        customer_id, trace_id, if(trace_id = '', attributions.scope_id, '') AS scope_id, currency,
        false AS call,
        toDecimal256(0, 12) AS spent,
        if(role = 'share', toDecimal256(amount, 12), toDecimal256(0, 12)) AS share,
        if(role = 'share', toDecimal256(0, 12), toDecimal256(amount, 12)) AS rest
    FROM attributions
    WHERE role != 'signal'
)
GROUP BY customer_id, trace_id, scope_id, currency
COMMENT 'Cost of each trace, of a scope where there is no trace: what signals carry, what nobody does, and what is open until its window closes';
