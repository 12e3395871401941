-- Grants that have their whole amount again when a period of the calendar begins (docs/domain/time.md).

ALTER TABLE ledger ADD COLUMN IF NOT EXISTS resets LowCardinality(String) COMMENT 'grant: day, week or month (UTC) after which the whole amount is there again; empty for never' AFTER reason;

CREATE OR REPLACE VIEW grants AS
SELECT
    entry_id AS grant_id, generation, `partition`, sequence, decided_at, customer_id, source, event_id,
    denomination, amount, priority, effective_at, expires_at, reason, resets
FROM ledger
WHERE kind = 'grant'
COMMENT 'Allowances, one row per grant; one that resets grants its amount in every period';
