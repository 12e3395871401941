-- Events that name no customer (decision 024): what each cycle did about them. The events themselves reach the ledger
-- under the customer of their trace, or the dead letters.

ALTER TABLE ledger ADD COLUMN IF NOT EXISTS bindings UInt64 COMMENT 'cycle: records that say whose a trace is' AFTER attribution_sequence;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS forwarded UInt64 COMMENT 'cycle: events that named no customer and were passed on to that of their trace' AFTER bindings;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS waiting UInt64 COMMENT 'cycle: events of the partition that wait for a customer after it' AFTER forwarded;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS timed_out UInt64 COMMENT 'cycle: events that waited in vain, among its dead letters' AFTER waiting;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS unassigned_time DateTime64(6, 'UTC') COMMENT 'cycle: how far the time of unassigned is, by which waiting ends; 1970 for others' AFTER timed_out;
