-- The ledger: one row per entry, all kinds in one table, column names as in the JSON of `schemas/entry.py`.
--
-- Plain MergeTree on purpose: an engine that merges duplicates away would hide a double insert from the audit
-- (decision 008). Rows are never deleted.
--
-- ORDER BY serves the two questions asked most: the usage of a customer in a span of time, and a customer's
-- grants. The projection answers the sink's question, how far the table is per (generation, partition), from a
-- few rows per part instead of a scan: max(sequence) and count() must agree, which is checked at every read.
--
-- The window of remembered insert tokens has to cover every insert that other sinks can make while one insert
-- is under way, at most 30 s (the sink's limit for the arrival of a body) and the write itself. One insert takes
-- 10 ms at least, so one sink makes 3,000 in that time; 10,000 covers three sinks at their limit, and tens of
-- them at the normal pace of 5 inserts per second and partition.

CREATE TABLE IF NOT EXISTS ledger
(
    kind LowCardinality(String) COMMENT 'What the row is: cycle, usage, signal or grant; tells which columns count',
    schema_version UInt32 COMMENT 'Version of the entry''s schema',
    entry_id String COMMENT 'Generation, topic, partition, offset and index of what caused the entry; unique',
    generation UInt32 COMMENT 'Life of the topics; recreating or repartitioning them starts the next',
    `partition` UInt32 COMMENT 'Partition of the ledger topic; a customer lives in one',
    sequence UInt64 COMMENT 'Dense number per generation and partition, from 0: count = max + 1' CODEC(Delta, ZSTD(1)),
    cycle UInt64 COMMENT 'Cycle of the partition that decided the entry, from 1' CODEC(Delta, ZSTD(1)),
    decided_at DateTime64(6, 'UTC') COMMENT 'Domain time of the decision; never runs backwards in a partition' CODEC(Delta, ZSTD(1)),

    topic LowCardinality(String) COMMENT 'Inbound topic of the causing record; empty for cycle',
    source_offset UInt64 COMMENT 'Offset of the causing record' CODEC(Delta, ZSTD(1)),
    entry_index UInt64 COMMENT 'Place among the entries of the causing record, from 0',
    appended_at DateTime64(6, 'UTC') COMMENT 'When Kafka appended the causing record; 1970 for cycle' CODEC(Delta, ZSTD(1)),
    occurred_at DateTime64(6, 'UTC') COMMENT 'When it happened, by the producer, else appended_at; 1970 for cycle' CODEC(Delta, ZSTD(1)),
    customer_id String COMMENT 'Who is billed; empty for cycle',
    source LowCardinality(String) COMMENT 'Producing system, part of the event''s identity',
    event_id String COMMENT 'The producer''s id of the event, unique per customer and source',

    agent_id LowCardinality(String) COMMENT 'Agent that consumed or achieved something; may be empty',
    task_ref String COMMENT 'usage: task (job) it belongs to; may be empty',
    trace_id String COMMENT 'Trace it belongs to; may be empty',
    provider LowCardinality(String) COMMENT 'usage: provider of the model, as the producer names it',
    model LowCardinality(String) COMMENT 'usage: model, as the producer names it',
    units UInt64 COMMENT 'usage: units consumed',
    input_tokens UInt64 COMMENT 'usage: input tokens outside all other classes; no token is in two classes',
    cache_read_tokens UInt64 COMMENT 'usage: input tokens read from a cache',
    cache_write_tokens UInt64 COMMENT 'usage: input tokens written to a cache',
    output_tokens UInt64 COMMENT 'usage: output tokens outside all other classes',
    reasoning_tokens UInt64 COMMENT 'usage: output tokens spent on reasoning',
    input_audio_tokens UInt64 COMMENT 'usage: audio tokens in',
    output_audio_tokens UInt64 COMMENT 'usage: audio tokens out',
    cost Decimal(38, 12) DEFAULT 0 COMMENT 'usage: exact cost in currency; sum it as toDecimal256(cost, 12), a sum of Decimal(38) wraps silently',
    currency LowCardinality(String) DEFAULT 'USD' COMMENT 'usage: ISO 4217 code of cost; never add up different ones',
    cost_basis LowCardinality(String) DEFAULT 'none' COMMENT 'usage: where cost comes from: reported, priced, unpriced (not known yet) or none',
    price_version LowCardinality(String) COMMENT 'usage: price book that priced it',
    priced_as LowCardinality(String) COMMENT 'usage: provider and model of the price book that it was priced as',
    provisional Decimal(38, 12) DEFAULT 0 COMMENT 'usage: what an unpriced event charges a dollar balance until it is rated anew',
    covered_units UInt64 COMMENT 'usage: units that grants covered',
    covered_tokens UInt64 COMMENT 'usage: tokens that grants covered',
    covered_usd Decimal(38, 12) DEFAULT 0 COMMENT 'usage: dollars that grants covered',
    burns Array(Tuple(grant_id String, denomination LowCardinality(String), amount Decimal(38, 12))) COMMENT 'usage: what was taken from which grant (its entry_id)',
    success Bool DEFAULT true COMMENT 'usage: whether the call succeeded; it counts either way',
    flags Array(LowCardinality(String)) COMMENT 'usage: what a person should look at',

    scope_id String COMMENT 'signal: scope inside the trace; may be empty',
    signal_name LowCardinality(String) COMMENT 'signal: which business outcome',
    quantity UInt64 DEFAULT 1 COMMENT 'signal: how many of it',
    cost_tracing Bool COMMENT 'signal: whether it carries the cost of its trace',

    denomination LowCardinality(String) COMMENT 'grant: what it is counted in: unit, token or usd',
    amount Decimal(38, 12) COMMENT 'grant: how much, in its denomination',
    priority UInt64 COMMENT 'grant: lower burns first',
    effective_at DateTime64(6, 'UTC') COMMENT 'grant: counts from then on',
    expires_at Nullable(DateTime64(6, 'UTC')) COMMENT 'grant: counts until then; null is for ever',
    reason String COMMENT 'grant: why, for a person',

    catalog_offset UInt64 COMMENT 'cycle: records of the catalog below this offset were visible to it',
    rules_version UInt32 COMMENT 'cycle: version of the code''s rules that decided',
    consumed Array(Tuple(topic LowCardinality(String), from_offset UInt64, to_offset UInt64)) COMMENT 'cycle: ranges [from, to) of inbound records that it took',
    accepted UInt64 COMMENT 'cycle: records accepted',
    duplicates UInt64 COMMENT 'cycle: records that repeat an accepted one',
    conflicts UInt64 COMMENT 'cycle: records that reuse an accepted id with other content',
    dead_letters UInt64 COMMENT 'cycle: all dead letters, conflicts among them',
    dead_letter_sequence UInt64 COMMENT 'cycle: dead letters that the partition has written after it, in all',

    PROJECTION marks
    (
        SELECT generation, `partition`, max(sequence), max(decided_at), count()
        GROUP BY generation, `partition`
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(decided_at)
ORDER BY (customer_id, kind, occurred_at)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every accepted consequence, one row per ledger entry, exactly once and in the order of sequence';
