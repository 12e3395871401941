-- Tokens of the chargeTokens protocol by user, flow and model (docs/charge-tokens.md); what a usage event did to holds
-- in the view of usage; and a way to a task's rows, which lie among those of all tasks.

CREATE OR REPLACE VIEW usage AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, appended_at, occurred_at,
    customer_id, source, event_id, agent_id, task_ref, trace_id, provider, model, units,
    input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    input_audio_tokens, output_audio_tokens,
    input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens
        + input_audio_tokens + output_audio_tokens AS tokens,
    cost, currency, cost_basis, price_version, priced_as, provisional,
    covered_units, covered_tokens, covered_usd, burns, success, flags,
    reservation_id, settlement, holds, usage_missing, missing_tokens
FROM ledger
WHERE kind = 'usage'
COMMENT 'Usage that counts, one row per event; tokens is the sum of all classes, missing_tokens what was charged beside them because nobody knows it';

CREATE VIEW IF NOT EXISTS tokens_by_flow AS
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
    sum(toDecimal256(cost, 12)) AS cost,
    countIf(cost_basis = 'unpriced') AS unpriced
FROM usage
WHERE source = 'charge-tokens'
GROUP BY user_id, flow_id, provider, model, currency, day
COMMENT 'Tokens charged by chargeTokens per user, flow, model and day of the operation (UTC); sum over the days';

ALTER TABLE ledger ADD INDEX IF NOT EXISTS task_refs task_ref TYPE bloom_filter(0.01) GRANULARITY 4;
