-- Terms and invoices (decision 026): entries of the kinds terms, credit, invoice_close, invoice_issue, invoice_void.
--
-- A document is told by several entries that go by its number: the close of its period or the void of another one
-- gives the number, the issue what is on it, a later void that it does not hold any more. Nothing is stored beside the
-- ledger, so the views here say the same after a rebuild from the log, numbers included.

ALTER TABLE ledger COMMENT COLUMN kind 'What the row is: cycle, usage, adjustment, signal, void, grant, limit, ceiling, decision, extension, closing, settlement, resolution, terms, credit, invoice_close, invoice_issue or invoice_void; tells which columns count';
ALTER TABLE ledger COMMENT COLUMN occurred_at 'When it happened, by the producer, else appended_at; of an adjustment that of the usage, of a void that of the signal; 1970 for cycle';
ALTER TABLE ledger COMMENT COLUMN amount 'grant, limit, ceiling: how much, in its denomination; decision, closing: what was held; credit: how much, in its currency';
ALTER TABLE ledger COMMENT COLUMN currency 'usage, adjustment: ISO 4217 code of cost; credit: of amount; never add up different ones';
ALTER TABLE ledger COMMENT COLUMN reason 'grant, credit: why, for a person';
ALTER TABLE ledger COMMENT COLUMN note 'resolution: why it was discarded; void: why it was taken back; invoice_void: why it is void; for a person';

ALTER TABLE ledger ADD COLUMN IF NOT EXISTS plan LowCardinality(String) COMMENT 'terms: rate plan, which names a card; empty where they name one themselves' AFTER note;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS card LowCardinality(String) COMMENT 'terms: rate card; empty where they name a plan' AFTER plan;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS zone LowCardinality(String) COMMENT 'terms, invoice_close: time zone whose days and months count' AFTER card;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS anchor_day UInt64 COMMENT 'terms: day of the month on which periods begin, its last one where it has no such day; 0 for others' AFTER zone;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS terms_from DateTime64(6, 'UTC') COMMENT 'terms: they hold from then on; 1970 is from ever, and for others' AFTER anchor_day;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS number String COMMENT 'invoice_close, invoice_issue: number of the document; invoice_void: of the credit note; credit: of the invoice that it is about, may be empty' AFTER terms_from;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS label LowCardinality(String) COMMENT 'invoice_close, invoice_issue: what the period is called' AFTER number;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS period_from DateTime64(6, 'UTC') COMMENT 'invoice_close, invoice_issue: when the period begins; 1970 for others' AFTER label;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS period_to DateTime64(6, 'UTC') COMMENT 'invoice_close, invoice_issue: when it ends: no event of this time is in it; 1970 for others' AFTER period_from;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS segments Array(Tuple(card LowCardinality(String), version LowCardinality(String), from_us Int64, to_us Int64)) COMMENT 'invoice_close: which version of which rate card charges which part of the period (times in microseconds); an empty card charges nothing' AFTER period_to;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS reissues String COMMENT 'invoice_close: number of the void invoice in whose place it comes; empty for most' AFTER segments;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS cut_generation UInt64 COMMENT 'invoice_close: entries up to this generation and cut_sequence are on the invoice; 0 for others' AFTER reissues;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS cut_sequence UInt64 COMMENT 'invoice_close: sequence of the last entry that is on the invoice' AFTER cut_generation;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS after_generation UInt64 COMMENT 'invoice_close: cut of the period before it; 0 where there is none' AFTER cut_sequence;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS after_sequence UInt64 COMMENT 'invoice_close: cut of the period before it; entries behind it from before period_from correct earlier invoices' AFTER after_generation;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS after_end DateTime64(6, 'UTC') COMMENT 'invoice_close: end of the period before it; 1970 where there is none' AFTER after_sequence;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS document LowCardinality(String) COMMENT 'invoice_issue: invoice or credit_note' AFTER after_end;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS digest String COMMENT 'invoice_issue: SHA-256 of the document, in hex' AFTER document;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS lines Array(Tuple(line UInt32, line_kind LowCardinality(String), corrects String, label LowCardinality(String), item LowCardinality(String), title String, card LowCardinality(String), group String, metric LowCardinality(String), quantity String, from_us Int64, to_us Int64, amount Decimal(38, 12), currency LowCardinality(String))) COMMENT 'invoice_issue: what the document says, line by line (the view invoice_lines has a row for each)' AFTER digest;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS totals Array(Tuple(currency LowCardinality(String), amount Decimal(38, 12))) COMMENT 'invoice_issue: sum of the lines in each currency' AFTER lines;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS voids String COMMENT 'invoice_void, invoice_issue of a credit note: number of the invoice that it takes back' AFTER totals;
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS reissue Bool COMMENT 'invoice_void: the period is to be invoiced again, so what was charged does not count any more' AFTER voids;

-- Documents are looked for by number among all customers, and there are few: without it, that would read every row.
ALTER TABLE ledger ADD INDEX IF NOT EXISTS numbers number TYPE bloom_filter(0.01) GRANULARITY 4;

CREATE VIEW IF NOT EXISTS terms AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, appended_at, customer_id, source, event_id,
    plan, card, zone, anchor_day, terms_from
FROM ledger
WHERE kind = 'terms'
COMMENT 'How customers are charged, one row per change; at a time those with the latest terms_from up to it hold, of equal ones the last appended';

CREATE VIEW IF NOT EXISTS credits AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, occurred_at, customer_id, source, event_id,
    amount, currency, reason, number
FROM ledger
WHERE kind = 'credit'
COMMENT 'Money that customers are let off, one row per credit: it lowers the next invoice';

CREATE VIEW IF NOT EXISTS invoices AS
SELECT
    told.customer_id AS customer_id,
    told.number AS number,
    if(told.voids = '', 'invoice', 'credit_note') AS document,
    multiIf(taken.credit_note != '', 'voided', issued.digest != '', 'issued', 'closed') AS status,
    if(told.voids = '', told.label, about.label) AS label,
    if(told.voids = '', told.period_from, about.period_from) AS period_from,
    if(told.voids = '', told.period_to, about.period_to) AS period_to,
    told.zone AS zone,
    issued.digest AS digest,
    issued.totals AS totals,
    issued.line_count AS line_count,
    told.segments AS segments,
    told.cut_generation AS cut_generation,
    told.cut_sequence AS cut_sequence,
    told.after_generation AS after_generation,
    told.after_sequence AS after_sequence,
    told.after_end AS after_end,
    told.reissues AS reissues,
    told.voids AS voids,
    taken.credit_note AS credit_note,
    taken.reissue AS to_reissue,
    told.note AS reason,
    told.decided_at AS closed_at,
    if(issued.digest = '', NULL, issued.decided_at) AS issued_at,
    if(taken.credit_note = '', NULL, taken.decided_at) AS voided_at
FROM
(
    SELECT *
    FROM ledger
    WHERE kind IN ('invoice_close', 'invoice_void')
) AS told
LEFT JOIN
(
    SELECT customer_id, number, digest, totals, length(lines) AS line_count, decided_at
    FROM ledger
    WHERE kind = 'invoice_issue'
) AS issued ON issued.customer_id = told.customer_id AND issued.number = told.number
LEFT JOIN
(
    SELECT customer_id, voids AS voided, number AS credit_note, reissue, decided_at
    FROM ledger
    WHERE kind = 'invoice_void'
) AS taken ON taken.customer_id = told.customer_id AND taken.voided = told.number
LEFT JOIN
(
    SELECT customer_id, number, label, period_from, period_to
    FROM ledger
    WHERE kind = 'invoice_close'
) AS about ON about.customer_id = told.customer_id AND about.number = told.voids
COMMENT 'Invoices and credit notes, one row per number: closed (not issued yet), issued or voided; cut and after say which entries are on it';

CREATE VIEW IF NOT EXISTS invoice_lines AS
SELECT
    customer_id, number, document, voids, ledger.label AS period, period_from, period_to, decided_at,
    one.line AS line,
    one.line_kind AS line_kind,
    one.corrects AS corrects,
    one.label AS label,
    one.item AS item,
    one.title AS title,
    one.card AS card,
    one.group AS `group`,
    one.metric AS metric,
    toDecimal256OrZero(one.quantity, 12) AS quantity,
    fromUnixTimestamp64Micro(one.from_us, 'UTC') AS from_at,
    fromUnixTimestamp64Micro(one.to_us, 'UTC') AS to_at,
    one.amount AS amount,
    one.currency AS currency,
    digest
FROM ledger
ARRAY JOIN lines AS one
WHERE kind = 'invoice_issue'
COMMENT 'Lines of issued documents, those of credit notes with their amounts taken back; sum them as toDecimal256(amount, 12), per currency'
