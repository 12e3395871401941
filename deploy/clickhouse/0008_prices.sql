-- Prices and adjustments (decision 021): what usage was priced by beside tokens and the book, and entries of kind
-- adjustment, which correct the cost of a usage entry: what its sums change by, so their amounts are signed.

ALTER TABLE ledger COMMENT COLUMN kind 'What the row is: cycle, usage, adjustment, signal, grant, limit, ceiling, decision, extension, closing, settlement or resolution; tells which columns count';
ALTER TABLE ledger COMMENT COLUMN cost 'usage: exact cost in currency; adjustment: what it changes by; sum it as toDecimal256(cost, 12), a sum of Decimal(38) wraps silently';
ALTER TABLE ledger COMMENT COLUMN cost_basis 'usage: where cost comes from: reported, priced, unpriced (not known yet) or none; adjustment: adjusted';
ALTER TABLE ledger COMMENT COLUMN provisional 'usage: what an unpriced event charges a dollar balance until it is rated anew; adjustment: what that changes by';
ALTER TABLE ledger COMMENT COLUMN covered_usd 'usage: dollars that grants covered; adjustment: what that changes by';
ALTER TABLE ledger COMMENT COLUMN burns 'usage, adjustment: what was taken from which grant (its entry_id)';

ALTER TABLE ledger ADD COLUMN IF NOT EXISTS quantities Map(String, UInt64) COMMENT 'usage: what was used beside tokens, and which kinds of tokens some were' AFTER output_audio_tokens;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS conditions Map(String, String) COMMENT 'usage: how the call was made, where its price depends on it' AFTER quantities;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS price_override LowCardinality(String) COMMENT 'usage, adjustment: price override that priced it, beside price_version; may be empty' AFTER priced_as;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS adjusted_entry String COMMENT 'adjustment: entry_id of the usage entry that it corrects' AFTER price_override;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS charged_at DateTime64(6, 'UTC') COMMENT 'adjustment: decided_at of that entry; 1970 for others' AFTER adjusted_entry;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS charged_generation UInt32 COMMENT 'adjustment: generation of that entry' AFTER charged_at;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS charged_sequence UInt64 COMMENT 'adjustment: sequence of that entry' AFTER charged_generation;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS returned Array(Tuple(grant_id String, amount Decimal(38, 12), priority UInt64, effective_at Int64, expires_at Nullable(Int64))) COMMENT 'adjustment: what was given back to which grant, with its terms (times in microseconds)' AFTER burns;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS was_unpriced Bool COMMENT 'adjustment: no price was known until now' AFTER returned;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS adjusts Bool COMMENT 'settlement: corrects the cost of a call that was told before, and is none of its own' AFTER unpriced;

-- Both are looked for among all customers: without them, that would read the column of every row.
ALTER TABLE ledger ADD INDEX IF NOT EXISTS kinds kind TYPE set(16) GRANULARITY 1;
ALTER TABLE ledger ADD INDEX IF NOT EXISTS bases cost_basis TYPE set(8) GRANULARITY 1;

CREATE OR REPLACE VIEW usage AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, appended_at, occurred_at,
    customer_id, source, event_id, agent_id, task_ref, trace_id, provider, model, units,
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

CREATE VIEW IF NOT EXISTS adjustments AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, occurred_at, charged_at,
    customer_id, adjusted_entry, agent_id, task_ref, trace_id, provider, model,
    cost, currency, provisional, covered_usd, burns, returned, was_unpriced,
    price_version, price_override, priced_as
FROM ledger
WHERE kind = 'adjustment'
COMMENT 'Corrections of the cost of usage entries; amounts are what the sums change by';

CREATE OR REPLACE VIEW monthly_usage AS
SELECT
    customer_id,
    toStartOfMonth(occurred_at) AS month,
    provider, model, cost_basis, currency,
    countIf(kind = 'usage') AS calls,
    sum(ledger.units) AS units,
    sum(ledger.covered_units) AS covered_units,
    sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens
        + input_audio_tokens + output_audio_tokens) AS tokens,
    sum(toDecimal256(ledger.cost, 12)) AS cost,
    sum(toDecimal256(ledger.provisional, 12)) AS provisional
FROM ledger
WHERE kind IN ('usage', 'adjustment')
GROUP BY customer_id, month, provider, model, cost_basis, currency
COMMENT 'Usage and exact cost per customer, month of the event (UTC), model and basis of the cost; corrections are lines of the basis adjusted';

CREATE OR REPLACE VIEW tokens_by_flow AS
SELECT
    customer_id AS user_id,
    agent_id AS flow_id,
    provider,
    model,
    currency,
    toDate(occurred_at) AS day,
    count() AS operations,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(toDecimal256(cost, 12) + cost_rise) AS cost,
    countIf(cost_basis = 'unpriced' AND times = 0) AS unpriced
FROM usage
LEFT JOIN
(
    SELECT adjusted_entry, count() AS times, sum(toDecimal256(cost, 12)) AS cost_rise
    FROM ledger
    WHERE kind = 'adjustment'
    GROUP BY adjusted_entry
) AS corrections ON corrections.adjusted_entry = usage.entry_id
WHERE source = 'charge-tokens'
GROUP BY user_id, flow_id, provider, model, currency, day
COMMENT 'Tokens charged by chargeTokens per user, flow, model and day of the operation (UTC), at the cost as it has been corrected; sum over the days';
