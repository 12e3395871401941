-- What a customer brings along from another installation (decision 039): how much of a grant or limit was used there in
-- the period that goes on, and where the numbers and periods of its invoices go on.

ALTER TABLE ledger ADD COLUMN IF NOT EXISTS used Nullable(Decimal(38, 12)) COMMENT 'grant, limit: what was used of it in the installation that it was carried over from, in the period of occurred_at; NULL for most' AFTER anchor;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS next_number UInt64 COMMENT 'terms: count in the number of the next document, where those before were made in another installation; 0 for others' AFTER terms_from;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS billed_to DateTime64(6, 'UTC') COMMENT 'terms: up to then the customer was billed there; 1970 for others' AFTER next_number;
