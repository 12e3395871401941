-- Plain views for analysts: they store nothing, so nothing can disagree with the ledger.

CREATE VIEW IF NOT EXISTS usage AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, appended_at, occurred_at,
    customer_id, source, event_id, agent_id, task_ref, trace_id, provider, model, units,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    input_audio_tokens, output_audio_tokens,
    input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens
        + input_audio_tokens + output_audio_tokens AS tokens,
    cost, currency, cost_basis, price_version, priced_as, provisional,
    covered_units, covered_tokens, covered_usd, burns, success, flags
FROM ledger
WHERE kind = 'usage'
COMMENT 'Usage that counts, one row per event; tokens is the sum of all classes';

CREATE VIEW IF NOT EXISTS grants AS
SELECT
    entry_id AS grant_id, generation, `partition`, sequence, decided_at, customer_id, source, event_id,
    denomination, amount, priority, effective_at, expires_at, reason
FROM ledger
WHERE kind = 'grant'
COMMENT 'Allowances, one row per grant';

CREATE VIEW IF NOT EXISTS monthly_usage AS
SELECT
    customer_id,
    toStartOfMonth(occurred_at) AS month,
    provider, model, cost_basis, currency,
    count() AS calls,
    sum(units) AS units,
    sum(covered_units) AS covered_units,
    sum(tokens) AS tokens,
    sum(toDecimal256(cost, 12)) AS cost,
    sum(toDecimal256(provisional, 12)) AS provisional
FROM usage
GROUP BY customer_id, month, provider, model, cost_basis, currency
COMMENT 'Usage and exact cost per customer, month of the event (UTC), model and basis of the cost';
