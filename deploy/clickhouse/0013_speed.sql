-- Ways to a span of time and to what came late (decision 029), and the lines of drafts.
--
-- A part holds a month of decisions, and all but late rows of it happened in that month. So the least and greatest
-- event time of each granule let a month's report read the month, and those of the places let a close read what was
-- decided since the last one. Both take a few bytes for each 8,192 rows, and are exact whatever is inserted.

ALTER TABLE ledger ADD INDEX IF NOT EXISTS times occurred_at TYPE minmax GRANULARITY 1;
ALTER TABLE ledger ADD INDEX IF NOT EXISTS places (generation, sequence) TYPE minmax GRANULARITY 1;

-- Closes and issues are a few rows among all usage of their customer. This keeps them side by side as well, with what
-- views ask of them; for other rows its columns are empty and compress to nothing (4 bytes a row).
ALTER TABLE ledger ADD PROJECTION IF NOT EXISTS billing
(
    SELECT kind, label, customer_id, number, document, voids, digest, period_from, period_to, decided_at, lines
    ORDER BY kind, label, customer_id
);

-- For the rows that are there already; in the background.
ALTER TABLE ledger MATERIALIZE INDEX IF EXISTS times;
ALTER TABLE ledger MATERIALIZE INDEX IF EXISTS places;
ALTER TABLE ledger MATERIALIZE PROJECTION IF EXISTS billing;

-- Drafts of open periods, by `tollgate invoice draft --all --store`: what they would be invoiced, as far as that run
-- knew. A run is in draft_runs once all of its lines are here, so the view never shows half of one. These rows are no
-- books: they follow from the ledger, and go after 100 days.

CREATE TABLE IF NOT EXISTS draft_lines
(
    run String COMMENT 'The run that drew it',
    drawn_at DateTime64(6, 'UTC') COMMENT 'When that run began' CODEC(Delta, ZSTD(1)),
    customer_id String COMMENT 'Who would be billed',
    period LowCardinality(String) COMMENT 'What the open period is called',
    period_from DateTime64(6, 'UTC') COMMENT 'When it begins',
    period_to DateTime64(6, 'UTC') COMMENT 'When it ends: no event of this time is in it',
    line UInt32 COMMENT 'Place of the line in the draft, from 1',
    line_kind LowCardinality(String) COMMENT 'usage, fee, discount, minimum or credit',
    corrects String COMMENT 'Number of the invoice whose period it corrects; empty for the draft''s own',
    label LowCardinality(String) COMMENT 'Period that the line is about',
    item LowCardinality(String) COMMENT 'Item, fee or discount of the rate card',
    title String COMMENT 'What a reader is told',
    card LowCardinality(String) COMMENT 'Rate card and version, as in pro@2; empty where none charges it',
    `group` String COMMENT 'Model, agent or signal that it counts; empty where the item does not split',
    metric LowCardinality(String) COMMENT 'What it counts',
    quantity Decimal(76, 12) COMMENT 'How much of it',
    from_at DateTime64(6, 'UTC') COMMENT 'Part of the period that it is about: from',
    to_at DateTime64(6, 'UTC') COMMENT 'Part of the period that it is about: up to, without',
    amount Decimal(38, 12) COMMENT 'Rounded to the smallest unit of currency; sum it as toDecimal256(amount, 12)',
    currency LowCardinality(String) COMMENT 'ISO 4217 code of amount; never add up different ones'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(drawn_at)
ORDER BY (run, customer_id, line)
TTL toDateTime(drawn_at) + INTERVAL 100 DAY
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Lines of drafts, run by run; read the view drafts';

CREATE TABLE IF NOT EXISTS draft_runs
(
    run String COMMENT 'Id of the run',
    drawn_at DateTime64(6, 'UTC') COMMENT 'When it began; what was in ClickHouse then is on its drafts',
    customers UInt64 COMMENT 'Customers that it drew, those without a line among them',
    lines UInt64 COMMENT 'Lines that it wrote'
)
ENGINE = MergeTree
ORDER BY drawn_at
TTL toDateTime(drawn_at) + INTERVAL 100 DAY
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Runs of tollgate invoice draft --all --store that have ended';

CREATE VIEW IF NOT EXISTS drafts AS
SELECT
    drawn_at, customer_id, period, period_from, period_to, line, line_kind, corrects, label,
    item, title, card, `group`, metric, quantity, from_at, to_at, amount, currency
FROM draft_lines
WHERE run = (SELECT argMax(run, drawn_at) FROM draft_runs)
COMMENT 'What open periods would be invoiced: the lines of the latest run of tollgate invoice draft --all --store that has ended; for now, draw again';

ALTER TABLE drafts
    COMMENT COLUMN drawn_at 'When the drafts were drawn; what was in ClickHouse then is on them',
    COMMENT COLUMN customer_id 'Who would be billed',
    COMMENT COLUMN period 'What the open period is called',
    COMMENT COLUMN period_from 'When it begins',
    COMMENT COLUMN period_to 'When it ends: no event of this time is in it',
    COMMENT COLUMN line 'Place of the line in the draft, from 1',
    COMMENT COLUMN line_kind 'usage, fee, discount, minimum or credit',
    COMMENT COLUMN corrects 'Number of the invoice whose period it corrects; empty for the draft''s own',
    COMMENT COLUMN label 'Period that the line is about',
    COMMENT COLUMN item 'Item, fee or discount of the rate card',
    COMMENT COLUMN title 'What a reader is told',
    COMMENT COLUMN card 'Rate card and version, as in pro@2; empty where none charges it',
    COMMENT COLUMN `group` 'Model, agent or signal that it counts; empty where the item does not split',
    COMMENT COLUMN metric 'What it counts',
    COMMENT COLUMN quantity 'How much of it',
    COMMENT COLUMN from_at 'Part of the period that it is about: from',
    COMMENT COLUMN to_at 'Part of the period that it is about: up to, without',
    COMMENT COLUMN amount 'Rounded to the smallest unit of currency; sum it as toDecimal256(amount, 12)',
    COMMENT COLUMN currency 'ISO 4217 code of amount; never add up different ones';
