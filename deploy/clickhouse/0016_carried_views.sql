-- What 0014 added to the ledger, in the views that show grants, limits and terms: what was used of a grant or limit in the
-- installation that it was carried over from, and where the numbers and periods of a customer's invoices go on.

CREATE OR REPLACE VIEW grants AS
SELECT
    entry_id AS grant_id, generation, `partition`, sequence, decided_at, customer_id, source, event_id,
    denomination, amount, priority, effective_at, expires_at, reason, resets, anchor, rollover_max, used
FROM ledger
WHERE kind = 'grant'
COMMENT 'Allowances, one row per grant; one that resets grants its amount in every period';

CREATE OR REPLACE VIEW terms AS
SELECT
    entry_id, generation, `partition`, sequence, decided_at, appended_at, customer_id, source, event_id,
    plan, card, zone, anchor_day, terms_from, next_number, billed_to
FROM ledger
WHERE kind = 'terms'
COMMENT 'How customers are charged, one row per change; at a time those with the latest terms_from up to it hold, of equal ones the last appended';

CREATE OR REPLACE VIEW budget_history AS
SELECT
    customer_id, task_ref, agent_id, decided_at, generation, `partition`, sequence,
    multiIf(kind = 'grant', 'granted', lifted, 'limit_lifted', toString(kind)) AS change,
    denomination, toDecimal256(ledger.amount, 12) AS amount,
    if(kind = 'grant', entry_id, '') AS grant_id, entry_id, resets, effective_at, expires_at, reason,
    toDecimal256(ledger.used, 12) AS used
FROM ledger
WHERE kind IN ('grant', 'limit', 'ceiling')
UNION ALL
SELECT
    customer_id, task_ref, agent_id, decided_at, generation, `partition`, sequence,
    'burned' AS change, burn.denomination AS denomination, -toDecimal256(burn.amount, 12) AS amount,
    burn.grant_id AS grant_id, entry_id, resets, effective_at, expires_at, reason,
    CAST(NULL, 'Nullable(Decimal(76, 12))') AS used
FROM ledger
ARRAY JOIN burns AS burn
WHERE kind IN ('usage', 'adjustment')
UNION ALL
SELECT
    customer_id, task_ref, agent_id, decided_at, generation, `partition`, sequence,
    'returned' AS change, 'usd' AS denomination, toDecimal256(back.amount, 12) AS amount,
    back.grant_id AS grant_id, entry_id, resets, ledger.effective_at, ledger.expires_at, reason,
    CAST(NULL, 'Nullable(Decimal(76, 12))') AS used
FROM ledger
ARRAY JOIN returned AS back
WHERE kind = 'adjustment'
COMMENT 'What changed budgets: grants, what was burned of them and returned to them, limits and ceilings; over granted, burned and returned, amounts of one grant that never resets sum to what is left of it; of one that resets, less used, what is left of it in the period in which it came';

-- What every column means: a view that is replaced loses that.

ALTER TABLE budget_history
    COMMENT COLUMN customer_id 'Whose budget it is; empty for a task''s',
    COMMENT COLUMN task_ref 'Task (job) that it belongs to; may be empty',
    COMMENT COLUMN agent_id 'Agent that a limit is for, or that consumed; may be empty',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN change 'granted, burned, returned, limit, limit_lifted or ceiling',
    COMMENT COLUMN denomination 'What it is counted in: unit, token or usd',
    COMMENT COLUMN amount 'granted and returned: what came; burned: what went, negative; limit and ceiling: how much there may be',
    COMMENT COLUMN grant_id 'Entry of the grant; empty for limits and ceilings',
    COMMENT COLUMN entry_id 'Entry of the ledger that says so; one of usage may burn several grants',
    COMMENT COLUMN resets 'Day, week or month after which the whole amount is there again; empty for never',
    COMMENT COLUMN effective_at 'Counts from then on; 1970 for others than grants',
    COMMENT COLUMN expires_at 'Of grants: counts until then; null is for ever',
    COMMENT COLUMN reason 'Why, for a person',
    COMMENT COLUMN used 'Of grants and limits: what was used of it where it was carried over from, in the period in which that was; null for most';

ALTER TABLE grants
    COMMENT COLUMN grant_id 'Entry of the grant, by which burns name it',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN source 'Producing system, part of the event''s identity',
    COMMENT COLUMN event_id 'The producer''s id of the event, unique per customer and source',
    COMMENT COLUMN denomination 'What it is counted in: unit, token or usd',
    COMMENT COLUMN amount 'How much, in its denomination',
    COMMENT COLUMN priority 'Lower burns first',
    COMMENT COLUMN effective_at 'Counts from then on; 1970 for others than grants',
    COMMENT COLUMN expires_at 'Until when it counts; null is for ever',
    COMMENT COLUMN reason 'Why, for a person',
    COMMENT COLUMN resets 'Day, week or month after which the whole amount is there again; empty for never',
    COMMENT COLUMN anchor 'A time at which a period begins; null for the calendar''s',
    COMMENT COLUMN rollover_max 'What a period takes over from the one before it at the most',
    COMMENT COLUMN used 'Of one that resets: what was used of it where it was carried over from, in the period in which that was, negative where more than amount was left; null for most';

ALTER TABLE terms
    COMMENT COLUMN entry_id 'Entry of the ledger that it is; unique',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN appended_at 'When Kafka appended the causing record',
    COMMENT COLUMN customer_id 'Who is charged so',
    COMMENT COLUMN source 'Producing system, part of the event''s identity',
    COMMENT COLUMN event_id 'The producer''s id of the event, unique per customer and source',
    COMMENT COLUMN plan 'Rate plan, which names a card; empty where they name one themselves',
    COMMENT COLUMN card 'Rate card; empty where they name a plan',
    COMMENT COLUMN zone 'Time zone whose days and months count',
    COMMENT COLUMN anchor_day 'Day of the month on which periods begin, its last one where it has no such day',
    COMMENT COLUMN terms_from 'They hold from then on; 1970 is from ever',
    COMMENT COLUMN next_number 'Count in the number of the next document, where those before were made in another installation; 0 for others',
    COMMENT COLUMN billed_to 'Up to then the customer was billed there; 1970 for others';
