-- Preflights, holds, limits and tasks (docs/domain/holds.md): entries of the kinds decision, extension, closing,
-- settlement, limit and ceiling, and what a usage entry settles.

ALTER TABLE ledger COMMENT COLUMN kind 'What the row is: cycle, usage, signal, grant, limit, ceiling, decision, extension, closing, settlement or resolution; tells which columns count';
ALTER TABLE ledger COMMENT COLUMN customer_id 'Who is billed; empty for cycle and for what is a task''s alone';
ALTER TABLE ledger COMMENT COLUMN amount 'grant, limit, ceiling: how much, in its denomination; decision, closing: what was held';

ALTER TABLE ledger ADD COLUMN IF NOT EXISTS reservation_id String COMMENT 'decision, extension, closing: the hold; usage: the hold that the event names' AFTER flags;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS settlement LowCardinality(String) COMMENT 'usage: settled, already_closed or not_found where the event means a hold' AFTER reservation_id;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS holds Array(Tuple(reservation_id String, amount Decimal(38, 12), task_reservation_id String)) COMMENT 'usage, settlement: what was taken from which holds' AFTER settlement;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS missing_tokens UInt64 COMMENT 'usage: tokens charged because they were held and the caller does not know what was used' AFTER holds;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS usage_missing Bool COMMENT 'usage, settlement: the caller does not know what was used' AFTER missing_tokens;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS anchor Nullable(DateTime64(6, 'UTC')) COMMENT 'grant, limit: a time at which a period begins; null for the calendar''s' AFTER resets;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS rollover_max Decimal(38, 12) DEFAULT 0 COMMENT 'grant: what a period takes over from the one before it at the most' AFTER anchor;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS lifted Bool COMMENT 'limit: there is none any more' AFTER rollover_max;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS account_kind LowCardinality(String) DEFAULT 'customer' COMMENT 'decision, extension, closing: customer or task' AFTER lifted;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS approved Bool COMMENT 'decision: whether it may be spent' AFTER account_kind;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS task_reservation_id String COMMENT 'decision, closing: the hold of the task that goes with it' AFTER approved;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS ceiling String COMMENT 'decision: opens its task with this ceiling; empty for most' AFTER task_reservation_id;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS closed_as LowCardinality(String) COMMENT 'closing: settled, used_up, released or expired' AFTER ceiling;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS released Decimal(38, 12) DEFAULT 0 COMMENT 'closing: what of the hold was given back' AFTER closed_as;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS tokens UInt64 COMMENT 'settlement: all tokens of the usage entry' AFTER released;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS usd Decimal(38, 12) DEFAULT 0 COMMENT 'settlement: what the usage entry charged in dollars' AFTER tokens;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS unpriced Bool COMMENT 'settlement: whether no price was known' AFTER usd;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS leases UInt64 COMMENT 'cycle: leases and ticks it took' AFTER dead_letter_sequence;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS `void` UInt64 COMMENT 'cycle: decisions that do not count, as another lease came before them' AFTER leases;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS lease Nullable(UInt64) COMMENT 'cycle: the lease in force after it, where it took one' AFTER `void`;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS nonce String COMMENT 'cycle: of that lease' AFTER lease;

-- Holds are found by their id: without it, the end of one would be looked for in every row.
ALTER TABLE ledger ADD INDEX IF NOT EXISTS reservations reservation_id TYPE bloom_filter(0.01) GRANULARITY 4;

CREATE OR REPLACE VIEW grants AS
SELECT
    entry_id AS grant_id, generation, `partition`, sequence, decided_at, customer_id, source, event_id,
    denomination, amount, priority, effective_at, expires_at, reason, resets, anchor, rollover_max
FROM ledger
WHERE kind = 'grant'
COMMENT 'Allowances, one row per grant; one that resets grants its amount in every period';

CREATE VIEW IF NOT EXISTS decisions AS
SELECT
    reservation_id, generation, `partition`, sequence, decided_at, occurred_at,
    account_kind, customer_id, task_ref, agent_id, source,
    event_id AS idempotency_key, denomination, amount, approved, reason, expires_at
FROM ledger
WHERE kind = 'decision'
COMMENT 'Preflights, one row per decision, approved and refused';

CREATE VIEW IF NOT EXISTS holds_closed AS
SELECT
    reservation_id, generation, `partition`, sequence, decided_at,
    account_kind, customer_id, task_ref, agent_id,
    denomination, amount, closed_as, released
FROM ledger
WHERE kind = 'closing'
COMMENT 'Holds that have ended, one row per hold: how, and what of it was given back'
