-- What analysts read (decision 028, docs/analytics.md): the catalog as a table, and views in their words.
--
-- The sink copies the catalog under the largest offset as its mark: records have no sequence and, the topic being
-- compacted, offsets have gaps. There is one ClickHouse partition, so that every insert is one block.
--
-- Views store nothing: what they say is what the rows say at that moment. Money is summed as Decimal(76), because a
-- sum of Decimal(38) wraps without a word, and always per currency.

CREATE TABLE IF NOT EXISTS catalog_records
(
    offset UInt64 COMMENT 'Offset of the record in the topic catalog; unique, with gaps',
    kind LowCardinality(String) COMMENT 'What it is: rules, generation, price_book, price_override, rate_card or rate_plan; API keys are left out',
    id String COMMENT 'Which one of its kind',
    version String COMMENT 'Which version of it; a version is never changed',
    appended_at DateTime64(6, 'UTC') COMMENT 'When Kafka appended it',
    body String COMMENT 'The whole record as JSON; what is left out has its default (docs/schemas/catalog.json)' CODEC(ZSTD(3)),
    customer_id String MATERIALIZED JSONExtractString(body, 'customer_id') COMMENT 'price_override: the only customer that it is for; empty for all'
)
ENGINE = MergeTree
ORDER BY (kind, id, offset)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every record of the catalog but API keys, exactly once: rules, prices, rate cards and plans in all versions';

CREATE VIEW IF NOT EXISTS price_book AS
WITH spans AS
(
    SELECT version, appended_at, in_force, provider, JSONExtractString(one, 'id') AS model, span
    FROM
    (
        SELECT version, appended_at, in_force, JSONExtractString(seller, 'id') AS provider, one
        FROM
        (
            SELECT version, appended_at, offset = max(offset) OVER () AS in_force, body
            FROM catalog_records
            WHERE kind = 'price_book'
        )
        ARRAY JOIN JSONExtractArrayRaw(body, 'providers') AS seller
        ARRAY JOIN JSONExtractArrayRaw(seller, 'models') AS one
    )
    ARRAY JOIN arrayConcat(JSONExtractArrayRaw(one, 'spans'), JSONExtractArrayRaw(one, 'variants')) AS span
)
SELECT
    version,
    appended_at,
    in_force,
    provider,
    model,
    mapFromArrays(
        JSONExtractKeys(span, 'when'),
        arrayMap(name -> JSONExtractString(span, 'when', name), JSONExtractKeys(span, 'when'))
    ) AS conditions,
    JSONExtract(span, 'from_day', 'Nullable(Date)') AS from_day,
    JSONExtract(span, 'daily_from_second', 'Nullable(UInt32)') AS daily_from_second,
    JSONExtract(span, 'daily_to_second', 'Nullable(UInt32)') AS daily_to_second,
    priced.1 AS counted,
    priced.2 AS name,
    toDecimal128(JSONExtractString(priced.3, if(counted = 'token', 'base', 'price')), 12) AS price,
    if(counted = 'token', 1000000, JSONExtractUInt(priced.3, 'per')) AS per,
    JSONExtractUInt(priced.3, 'least') AS least,
    JSONExtract(priced.3, 'tiers', 'Array(Tuple(UInt64, Decimal(38, 12)))') AS tiers
FROM spans
ARRAY JOIN arrayConcat(
    arrayMap(rate -> ('token', rate.1, rate.2), JSONExtractKeysAndValuesRaw(span, 'rates')),
    arrayMap(rate -> ('quantity', rate.1, rate.2), JSONExtractKeysAndValuesRaw(span, 'quantities'))
) AS priced
COMMENT 'List prices in all versions: one row per model, span of time or condition, and token class or quantity';

CREATE VIEW IF NOT EXISTS rate_cards AS
SELECT
    id AS card,
    version,
    offset = max(offset) OVER (PARTITION BY id) AS latest,
    fromUnixTimestamp64Micro(JSONExtractInt(body, 'effective_from'), 'UTC') AS effective_from,
    appended_at,
    JSONExtractString(body, 'title') AS title,
    if(JSONHas(body, 'currency'), JSONExtractString(body, 'currency'), 'USD') AS currency,
    told.1 AS part,
    JSONExtractString(told.2, 'id') AS part_id,
    JSONExtractString(told.2, 'title') AS part_title,
    JSONExtractString(told.2, 'metric') AS metric,
    JSONExtractString(told.2, 'provider') AS provider,
    JSONExtractString(told.2, 'model') AS model,
    JSONExtractString(told.2, 'agent') AS agent,
    JSONExtractString(told.2, 'signal') AS signal,
    JSONExtractString(told.2, 'group_by') AS group_by,
    toDecimal128OrNull(JSONExtractString(told.2, 'price'), 12) AS price,
    if(JSONHas(told.2, 'per'), JSONExtractUInt(told.2, 'per'), 1) AS per,
    JSONExtractUInt(told.2, 'included') AS included,
    JSONExtractString(told.2, 'tiers', 'mode') AS tier_mode,
    arrayMap(
        step -> (
            JSONExtract(step, 'up_to', 'Nullable(UInt64)'),
            toDecimal128(JSONExtractString(step, 'price'), 12),
            toDecimal128OrZero(JSONExtractString(step, 'flat'), 12)
        ),
        JSONExtractArrayRaw(told.2, 'tiers', 'steps')
    )::Array(Tuple(up_to Nullable(UInt64), price Decimal(38, 12), flat Decimal(38, 12))) AS tiers,
    toDecimal128OrNull(JSONExtractString(told.2, 'markup_percent'), 12) AS markup_percent,
    toDecimal128OrNull(JSONExtractString(told.2, 'percent'), 12) AS percent,
    toDecimal128OrNull(JSONExtractString(told.2, 'amount'), 12) AS amount,
    JSONExtract(told.2, 'items', 'Array(String)') AS items
FROM catalog_records
ARRAY JOIN arrayConcat(
    arrayMap(one -> ('fee', one), JSONExtractArrayRaw(body, 'fees')),
    arrayMap(one -> ('item', one), JSONExtractArrayRaw(body, 'items')),
    arrayMap(one -> ('discount', one), JSONExtractArrayRaw(body, 'discounts')),
    if(
        JSONExtractString(body, 'minimum') = '', [],
        [('minimum', concat('{"amount":', JSONExtractRaw(body, 'minimum'), '}'))]
    )
) AS told
WHERE kind = 'rate_card'
COMMENT 'What rate cards charge, in all versions: one row per fee, item, discount and minimum';

CREATE VIEW IF NOT EXISTS rate_plans AS
SELECT
    id AS plan,
    version,
    offset = max(offset) OVER (PARTITION BY id) AS latest,
    fromUnixTimestamp64Micro(JSONExtractInt(body, 'effective_from'), 'UTC') AS effective_from,
    appended_at,
    JSONExtractString(body, 'card') AS card
FROM catalog_records
WHERE kind = 'rate_plan'
COMMENT 'Which rate card a plan points to, in all versions; at a time the one with the latest effective_from up to it holds, of equal ones the last appended';

CREATE VIEW IF NOT EXISTS usage_by_day AS
SELECT
    customer_id,
    toDate(occurred_at) AS day,
    agent_id,
    provider,
    model,
    currency,
    countIf(kind = 'usage' AND NOT has(flags, 'outer_span')) AS calls,
    countIf(kind = 'usage' AND NOT success) AS failed,
    sum(ledger.units) AS units,
    sum(ledger.covered_units) AS covered_units,
    sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens
        + input_audio_tokens + output_audio_tokens) AS tokens,
    sum(ledger.missing_tokens) AS missing_tokens,
    sum(toDecimal256(ledger.cost, 12)) AS cost,
    sum(toDecimal256(ledger.provisional, 12)) AS provisional
FROM ledger
WHERE kind IN ('usage', 'adjustment')
GROUP BY customer_id, day, agent_id, provider, model, currency
COMMENT 'Usage per customer, day of the event (UTC), agent and model, at the cost as it has been corrected; sum over what you do not ask for';

CREATE VIEW IF NOT EXISTS cost_by_model AS
SELECT
    toStartOfMonth(occurred_at) AS month,
    provider,
    model,
    currency,
    countIf(kind = 'usage' AND NOT has(flags, 'outer_span')) AS calls,
    uniqExact(customer_id) AS customers,
    sum(ledger.input_tokens) AS input_tokens,
    sum(ledger.cache_read_tokens) AS cache_read_tokens,
    sum(ledger.cache_write_tokens) AS cache_write_tokens,
    sum(ledger.output_tokens) AS output_tokens,
    sum(ledger.reasoning_tokens) AS reasoning_tokens,
    sum(ledger.input_audio_tokens) AS input_audio_tokens,
    sum(ledger.output_audio_tokens) AS output_audio_tokens,
    countIf(cost_basis = 'unpriced') - countIf(kind = 'adjustment' AND was_unpriced) AS unpriced_calls,
    sumIf(toDecimal256(ledger.cost, 12), kind = 'adjustment') AS corrections,
    sum(toDecimal256(ledger.cost, 12)) AS cost
FROM ledger
WHERE kind IN ('usage', 'adjustment')
GROUP BY month, provider, model, currency
COMMENT 'What models cost, per month of the event (UTC), corrections included';

CREATE VIEW IF NOT EXISTS billing_periods AS
SELECT customer_id, label, period_from, period_to
FROM ledger
WHERE kind = 'invoice_close'
GROUP BY customer_id, label, period_from, period_to
UNION ALL
SELECT customer_id, 'before' AS label, toDateTime64(0, 6, 'UTC') AS period_from, min(ledger.period_from) AS period_to
FROM ledger
WHERE kind = 'invoice_close'
GROUP BY customer_id
COMMENT 'Periods of customers that have been closed, and the time before the first of them; they do not overlap';

CREATE VIEW IF NOT EXISTS period_costs AS
SELECT
    spent.customer_id AS customer_id,
    if(spent.quarter < within.period_to, within.label, '') AS label,
    spent.agent_id AS agent_id,
    spent.currency AS currency,
    sum(spent.calls) AS calls,
    sum(spent.cost) AS cost
FROM
(
    SELECT
        customer_id,
        toDateTime64(toStartOfFifteenMinutes(occurred_at), 6, 'UTC') AS quarter,
        agent_id,
        currency,
        countIf(kind = 'usage' AND NOT has(flags, 'outer_span')) AS calls,
        sum(toDecimal256(ledger.cost, 12)) AS cost
    FROM ledger
    WHERE kind IN ('usage', 'adjustment')
    GROUP BY customer_id, quarter, agent_id, currency
) AS spent
ASOF LEFT JOIN billing_periods AS within
    ON within.customer_id = spent.customer_id AND within.period_from <= spent.quarter
GROUP BY customer_id, label, agent_id, currency
COMMENT 'Cost of AI calls per customer, billing period of the event and agent; the label is empty for what no closed period holds';

CREATE VIEW IF NOT EXISTS period_signals AS
SELECT
    told.customer_id AS customer_id,
    if(told.quarter < within.period_to, within.label, '') AS label,
    told.quarter AS quarter,
    told.agent_id AS agent_id,
    told.signal_name AS signal_name,
    sum(told.signals) AS signals
FROM
(
    SELECT
        customer_id,
        toDateTime64(toStartOfFifteenMinutes(occurred_at), 6, 'UTC') AS quarter,
        agent_id,
        signal_name,
        sum(if(kind = 'signal', toInt64(quantity), -toInt64(quantity))) AS signals
    FROM ledger
    WHERE kind IN ('signal', 'void')
    GROUP BY customer_id, quarter, agent_id, signal_name
) AS told
ASOF LEFT JOIN billing_periods AS within
    ON within.customer_id = told.customer_id AND within.period_from <= told.quarter
GROUP BY customer_id, label, quarter, agent_id, signal_name
COMMENT 'Signals that count, per customer, billing period, quarter of an hour (UTC), agent and name; voids are taken off';

CREATE VIEW IF NOT EXISTS revenue_parts AS
WITH
lines AS
(
    SELECT
        billed.number AS number,
        billed.line AS line,
        billed.customer_id AS customer_id,
        billed.label AS label,
        billed.currency AS currency,
        billed.line_kind AS line_kind,
        billed.metric AS metric,
        billed.from_at AS from_at,
        billed.to_at AS to_at,
        billed.`group` AS counted_group,
        item.group_by AS group_by,
        if(group_by = 'agent', counted_group, item.agent) AS agent,
        if(group_by = 'signal', counted_group, item.signal) AS signal,
        toInt256(toDecimal256(billed.amount, 12) * 1000000000000) AS pico
    FROM invoice_lines AS billed
    LEFT JOIN
    (
        SELECT concat(card, '@', version) AS card, part_id, any(rate_cards.agent) AS agent, any(rate_cards.signal) AS signal,
            any(rate_cards.group_by) AS group_by
        FROM rate_cards
        WHERE part = 'item'
        GROUP BY card, part_id
    ) AS item ON item.card = billed.card AND item.part_id = billed.item AND billed.line_kind = 'usage'
),
counted AS
(
    SELECT
        lines.number AS number,
        lines.line AS line,
        told.agent_id AS agent_id,
        told.signal_name AS signal_name,
        toInt256(sum(told.signals)) AS signals
    FROM lines
    INNER JOIN period_signals AS told ON told.customer_id = lines.customer_id
    WHERE lines.line_kind = 'usage' AND lines.metric = 'signals'
        AND told.quarter >= lines.from_at AND told.quarter < lines.to_at
        AND (lines.agent = told.agent_id OR lines.agent = '' AND lines.group_by != 'agent')
        AND (lines.signal = told.signal_name OR lines.signal = '' AND lines.group_by != 'signal')
    GROUP BY number, line, agent_id, signal_name
    HAVING signals > 0
),
spread AS
(
    SELECT
        number, line, agent_id, signal_name, signals,
        sum(signals) OVER (PARTITION BY number, line) AS all_signals,
        sum(signals) OVER (PARTITION BY number, line ORDER BY agent_id, signal_name) AS up_to_here
    FROM counted
)
SELECT
    lines.number AS number,
    lines.line AS line,
    lines.customer_id AS customer_id,
    lines.label AS label,
    lines.line_kind AS line_kind,
    lines.metric AS metric,
    if(spread.signals = 0, lines.agent, spread.agent_id) AS agent_id,
    if(spread.signals = 0, lines.signal, spread.signal_name) AS signal_name,
    lines.currency AS currency,
    toDecimal256(
        if(
            spread.signals = 0, lines.pico,
            intDiv(lines.pico * spread.up_to_here, spread.all_signals)
                - intDiv(lines.pico * (spread.up_to_here - spread.signals), spread.all_signals)
        ),
        12
    ) / 1000000000000 AS amount
FROM lines
LEFT JOIN spread ON spread.number = lines.number AND spread.line = lines.line
COMMENT 'Lines of issued documents by the agent and signal that they are for; a line for signals is spread evenly over those that it counts. The parts of a line sum to it exactly';

CREATE VIEW IF NOT EXISTS margin_by_customer AS
SELECT customer_id, label, currency, sum(earned) AS revenue, sum(spent) AS cost, revenue - cost AS margin
FROM
(
    SELECT customer_id, label, currency, toDecimal256(amount, 12) AS earned, toDecimal256(0, 12) AS spent
    FROM invoice_lines
    UNION ALL
    SELECT customer_id, label, currency, toDecimal256(0, 12) AS earned, period_costs.cost AS spent
    FROM period_costs
)
GROUP BY customer_id, label, currency
COMMENT 'What customers were invoiced and what their AI calls cost, per billing period and currency; the label is empty for what no closed period holds';

CREATE VIEW IF NOT EXISTS margin_of_period AS
WITH
periods AS
(
    SELECT customer_id, billing_periods.period_from AS period_from, billing_periods.period_to AS period_to
    FROM billing_periods
    WHERE label = {label:String}
),
(SELECT (min(periods.period_from), max(periods.period_to)) FROM periods) AS bounds
SELECT customer_id, currency, sum(earned) AS revenue, sum(spent) AS cost, revenue - cost AS margin
FROM
(
    SELECT customer_id, one.currency AS currency, toDecimal256(one.amount, 12) AS earned, toDecimal256(0, 12) AS spent
    FROM ledger
    ARRAY JOIN lines AS one
    WHERE kind = 'invoice_issue' AND has(lines.label, {label:String}) AND one.label = {label:String}
    UNION ALL
    SELECT
        told.customer_id AS customer_id,
        told.currency AS currency,
        toDecimal256(0, 12) AS earned,
        sum(toDecimal256(told.cost, 12)) AS spent
    FROM ledger AS told
    INNER JOIN periods AS within ON within.customer_id = told.customer_id
    WHERE told.kind IN ('usage', 'adjustment')
        AND told.occurred_at >= bounds.1 AND told.occurred_at < bounds.2
        AND told.occurred_at >= within.period_from AND told.occurred_at < within.period_to
    GROUP BY customer_id, currency
)
GROUP BY customer_id, currency
COMMENT 'Rows of margin_by_customer for one label, read from that time alone: SELECT * FROM margin_of_period(label = ''2026-10'')';

CREATE VIEW IF NOT EXISTS margin_by_agent AS
SELECT customer_id, agent_id, label, currency, sum(earned) AS revenue, sum(spent) AS cost, revenue - cost AS margin
FROM
(
    SELECT customer_id, agent_id, label, currency, amount AS earned, toDecimal256(0, 12) AS spent
    FROM revenue_parts
    UNION ALL
    SELECT customer_id, agent_id, label, currency, toDecimal256(0, 12) AS earned, period_costs.cost AS spent
    FROM period_costs
)
GROUP BY customer_id, agent_id, label, currency
COMMENT 'The same by agent; what no rate card counts by agent is revenue of the empty agent';

CREATE VIEW IF NOT EXISTS margin_by_signal AS
SELECT
    customer_id, signal_name, label, currency,
    sum(earned) AS revenue, sum(spent) AS cost, revenue - cost AS margin
FROM
(
    SELECT customer_id, signal_name, label, currency, amount AS earned, toDecimal256(0, 12) AS spent
    FROM revenue_parts
    WHERE line_kind = 'usage' AND metric = 'signals'
    UNION ALL
    SELECT
        carried.customer_id AS customer_id,
        carried.signal_name AS signal_name,
        if(carried.quarter < within.period_to, within.label, '') AS label,
        carried.currency AS currency,
        toDecimal256(0, 12) AS earned,
        carried.amount AS spent
    FROM
    (
        SELECT
            shares.customer_id AS customer_id,
            shares.signal_name AS signal_name,
            shares.currency AS currency,
            toDateTime64(toStartOfFifteenMinutes(told.occurred_at), 6, 'UTC') AS quarter,
            sum(toDecimal256(shares.amount, 12)) AS amount
        FROM
        (
            SELECT customer_id, signal_entry, signal_name, currency, amount
            FROM attributions
            WHERE role = 'share'
        ) AS shares
        LEFT JOIN
        (
            SELECT customer_id, entry_id, occurred_at
            FROM ledger
            WHERE kind = 'signal'
        ) AS told ON told.customer_id = shares.customer_id AND told.entry_id = shares.signal_entry
        GROUP BY customer_id, signal_name, currency, quarter
    ) AS carried
    ASOF LEFT JOIN billing_periods AS within
        ON within.customer_id = carried.customer_id AND within.period_from <= carried.quarter
)
GROUP BY customer_id, signal_name, label, currency
COMMENT 'What outcomes earned, by lines that count signals, and what the AI calls that led to them cost, per billing period of the signal and currency';

CREATE VIEW IF NOT EXISTS budget_history AS
SELECT
    customer_id, task_ref, agent_id, decided_at, generation, `partition`, sequence,
    multiIf(kind = 'grant', 'granted', lifted, 'limit_lifted', toString(kind)) AS change,
    denomination, toDecimal256(ledger.amount, 12) AS amount,
    if(kind = 'grant', entry_id, '') AS grant_id, entry_id, resets, effective_at, expires_at, reason
FROM ledger
WHERE kind IN ('grant', 'limit', 'ceiling')
UNION ALL
SELECT
    customer_id, task_ref, agent_id, decided_at, generation, `partition`, sequence,
    'burned' AS change, burn.denomination AS denomination, -toDecimal256(burn.amount, 12) AS amount,
    burn.grant_id AS grant_id, entry_id, resets, effective_at, expires_at, reason
FROM ledger
ARRAY JOIN burns AS burn
WHERE kind IN ('usage', 'adjustment')
UNION ALL
SELECT
    customer_id, task_ref, agent_id, decided_at, generation, `partition`, sequence,
    'returned' AS change, 'usd' AS denomination, toDecimal256(back.amount, 12) AS amount,
    back.grant_id AS grant_id, entry_id, resets, ledger.effective_at, ledger.expires_at, reason
FROM ledger
ARRAY JOIN returned AS back
WHERE kind = 'adjustment'
COMMENT 'What changed budgets: grants, what was burned of them and returned to them, limits and ceilings; over granted, burned and returned, amounts of one grant that never resets sum to what is left of it';

CREATE VIEW IF NOT EXISTS open_holds AS
WITH
ended AS
(
    SELECT reservation_id
    FROM ledger
    WHERE kind = 'closing'
),
placed AS
(
    SELECT *
    FROM ledger
    WHERE kind = 'decision' AND approved AND reservation_id NOT IN (ended)
)
SELECT
    placed.reservation_id AS reservation_id,
    placed.account_kind AS account_kind,
    placed.customer_id AS customer_id,
    placed.task_ref AS task_ref,
    placed.agent_id AS agent_id,
    placed.denomination AS denomination,
    toDecimal256(placed.amount, 12) AS amount,
    taken.used AS used,
    amount - used AS open,
    placed.decided_at AS placed_at,
    if(later.times > 0, later.until, placed.expires_at) AS expires_at
FROM placed
LEFT JOIN
(
    SELECT hold.reservation_id AS reservation_id, sum(toDecimal256(hold.amount, 12)) AS used
    FROM ledger
    ARRAY JOIN holds AS hold
    WHERE kind IN ('usage', 'settlement') AND hold.reservation_id IN (SELECT reservation_id FROM placed)
    GROUP BY hold.reservation_id
) AS taken ON taken.reservation_id = placed.reservation_id
LEFT JOIN
(
    SELECT reservation_id, count() AS times, argMax(expires_at, (generation, sequence)) AS until
    FROM ledger
    WHERE kind = 'extension' AND reservation_id NOT IN (ended)
    GROUP BY reservation_id
) AS later ON later.reservation_id = placed.reservation_id
COMMENT 'Holds that have not ended: what preflights reserved and what of it is not used yet; one whose time is over stands here until its owner has said so';

CREATE VIEW IF NOT EXISTS unpriced_models AS
SELECT
    provider,
    model,
    count() AS calls,
    uniqExact(customer_id) AS customers,
    sum(usage.tokens) AS tokens,
    sum(toDecimal256(usage.provisional, 12)) AS provisional,
    min(occurred_at) AS first_at,
    max(occurred_at) AS last_at
FROM usage
WHERE cost_basis = 'unpriced' AND entry_id NOT IN
(
    SELECT adjusted_entry
    FROM ledger
    WHERE kind = 'adjustment' AND was_unpriced
)
GROUP BY provider, model
COMMENT 'Models that were called and have no price yet: what is still to be rated';

CREATE VIEW IF NOT EXISTS anomalies AS
WITH days AS
(
    SELECT
        customer_id,
        toDate(occurred_at) AS day,
        currency,
        countIf(kind = 'usage' AND NOT has(flags, 'outer_span')) AS calls,
        countIf(cost_basis = 'unpriced') - countIf(kind = 'adjustment' AND was_unpriced) AS unpriced,
        sum(toDecimal256(ledger.cost, 12)) AS cost
    FROM ledger
    WHERE kind IN ('usage', 'adjustment')
    GROUP BY customer_id, day, currency
)
SELECT day, customer_id, 'calls_spike' AS anomaly, '' AS currency, toDecimal256(called, 12) AS value, toDecimal256(week_before, 12) / 7 AS usual
FROM
(
    SELECT
        customer_id, day, sum(calls) AS called,
        sum(sum(calls)) OVER (PARTITION BY customer_id ORDER BY toInt32(day) RANGE BETWEEN 7 PRECEDING AND 1 PRECEDING) AS week_before,
        min(day) OVER (PARTITION BY customer_id) AS first_day
    FROM days
    GROUP BY customer_id, day
)
WHERE called >= 100 AND week_before > 0 AND called * 7 > 3 * week_before AND day >= first_day + 7
UNION ALL
SELECT day, customer_id, 'cost_spike', currency, cost, week_before / 7
FROM
(
    SELECT
        customer_id, day, currency, cost,
        sum(cost) OVER (PARTITION BY customer_id, currency ORDER BY toInt32(day) RANGE BETWEEN 7 PRECEDING AND 1 PRECEDING) AS week_before,
        min(day) OVER (PARTITION BY customer_id) AS first_day
    FROM days
)
WHERE cost >= 1 AND week_before > 0 AND cost * 7 > 3 * week_before AND day >= first_day + 7
UNION ALL
SELECT day, customer_id, 'unpriced_share', '', toDecimal256(sum(unpriced), 12), toDecimal256(sum(calls), 12) / 20
FROM days
GROUP BY customer_id, day
HAVING sum(unpriced) * 20 > sum(calls)
UNION ALL
SELECT toDate(appended_at), customer_id, 'clock_ahead', '', toDecimal256(count(), 12), toDecimal256(0, 12)
FROM ledger
WHERE kind IN ('usage', 'signal') AND occurred_at > appended_at + INTERVAL 5 MINUTE
GROUP BY toDate(appended_at), customer_id
UNION ALL
SELECT toDate(decided_at), tryBase64Decode(ifNull(record_key, '')) AS customer, 'conflicts', '', toDecimal256(count(), 12), toDecimal256(0, 12)
FROM dead_letters
WHERE code = 'conflict'
GROUP BY toDate(decided_at), customer
COMMENT 'Days of customers that somebody should look at: calls_spike, cost_spike, unpriced_share, clock_ahead, conflicts (docs/analytics.md says what counts as one)';

-- What every column of every view means. A view that is replaced later loses them: its migration gives them again.

ALTER TABLE adjustments
    COMMENT COLUMN entry_id 'Entry of the ledger that it is; unique',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN occurred_at 'When the usage happened',
    COMMENT COLUMN charged_at 'When the usage entry was decided',
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN adjusted_entry 'Entry of the usage that it corrects',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN task_ref 'Task (job) that it belongs to; may be empty',
    COMMENT COLUMN trace_id 'Trace that it belongs to; may be empty',
    COMMENT COLUMN scope_id 'Scope inside the trace, or beside any; may be empty',
    COMMENT COLUMN provider 'Provider of the model, as the producer names it',
    COMMENT COLUMN model 'Model, as the producer names it',
    COMMENT COLUMN cost 'What the cost changes by',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN provisional 'What the provisional charge changes by',
    COMMENT COLUMN covered_usd 'What the covered dollars change by',
    COMMENT COLUMN burns 'What it took from grants, where the cost rose',
    COMMENT COLUMN returned 'What was given back to which grant, with its terms (times in microseconds)',
    COMMENT COLUMN was_unpriced 'No price was known until then',
    COMMENT COLUMN price_version 'Price book that priced it',
    COMMENT COLUMN price_override 'Price override that priced it; may be empty',
    COMMENT COLUMN priced_as 'Provider and model of the price book that it was priced as';

ALTER TABLE anomalies
    COMMENT COLUMN day 'Day (UTC) that it is about',
    COMMENT COLUMN customer_id 'Whose day it is; may be empty for conflicts',
    COMMENT COLUMN anomaly 'calls_spike, cost_spike, unpriced_share, clock_ahead or conflicts',
    COMMENT COLUMN currency 'ISO 4217 code of value and usual for cost_spike; empty for others, which are counts',
    COMMENT COLUMN value 'What was found: calls, cost, unpriced calls, events or dead letters',
    COMMENT COLUMN usual 'What it is compared with: the mean of the seven days before, or a twentieth of the calls; 0 where any is too many';

ALTER TABLE billing_periods
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN label 'Name of the period; before for the time before the first one',
    COMMENT COLUMN period_from 'When the period begins',
    COMMENT COLUMN period_to 'When it ends: no event of this time is in it';

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
    COMMENT COLUMN reason 'Why, for a person';

ALTER TABLE cost_by_model
    COMMENT COLUMN month 'Month of the event (UTC)',
    COMMENT COLUMN provider 'Provider of the model, as the producer names it',
    COMMENT COLUMN model 'Model, as the producer names it',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN calls 'Usage events, without outer spans that repeat the usage of others',
    COMMENT COLUMN customers 'Different customers',
    COMMENT COLUMN input_tokens 'Input tokens outside all other classes',
    COMMENT COLUMN cache_read_tokens 'Input tokens read from a cache',
    COMMENT COLUMN cache_write_tokens 'Input tokens written to a cache',
    COMMENT COLUMN output_tokens 'Output tokens outside all other classes',
    COMMENT COLUMN reasoning_tokens 'Output tokens spent on reasoning',
    COMMENT COLUMN input_audio_tokens 'Audio tokens in',
    COMMENT COLUMN output_audio_tokens 'Audio tokens out',
    COMMENT COLUMN unpriced_calls 'Calls whose price is still unknown: their cost is not in here',
    COMMENT COLUMN corrections 'Part of cost that later adjustments brought',
    COMMENT COLUMN cost 'Exact cost in currency, corrections included';

ALTER TABLE credits
    COMMENT COLUMN entry_id 'Entry of the ledger that it is; unique',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN occurred_at 'When it happened, by the producer, else when it was appended',
    COMMENT COLUMN customer_id 'Who is let off',
    COMMENT COLUMN source 'Producing system, part of the event''s identity',
    COMMENT COLUMN event_id 'The producer''s id of the event, unique per customer and source',
    COMMENT COLUMN amount 'How much, in currency',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN reason 'Why, for a person',
    COMMENT COLUMN number 'Invoice that it is about; may be empty';

ALTER TABLE decisions
    COMMENT COLUMN reservation_id 'The hold that it placed, where it approved',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN occurred_at 'When it happened, by the producer, else when it was appended',
    COMMENT COLUMN account_kind 'customer or task',
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN task_ref 'Task (job) that it belongs to; may be empty',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN source 'Producing system, part of the event''s identity',
    COMMENT COLUMN idempotency_key 'The caller''s id of the preflight',
    COMMENT COLUMN denomination 'What it is counted in: unit, token or usd',
    COMMENT COLUMN amount 'What was asked for',
    COMMENT COLUMN approved 'Whether it may be spent',
    COMMENT COLUMN reason 'Why it was refused; empty where it was approved',
    COMMENT COLUMN expires_at 'When the hold ends by itself';

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
    COMMENT COLUMN rollover_max 'What a period takes over from the one before it at the most';

ALTER TABLE holds_closed
    COMMENT COLUMN reservation_id 'The hold',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN account_kind 'customer or task',
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN task_ref 'Task (job) that it belongs to; may be empty',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN denomination 'What it is counted in: unit, token or usd',
    COMMENT COLUMN amount 'What was placed',
    COMMENT COLUMN closed_as 'settled, used_up, released or expired',
    COMMENT COLUMN released 'What of it was given back';

ALTER TABLE invoice_lines
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN number 'Number of the document',
    COMMENT COLUMN document 'invoice or credit_note',
    COMMENT COLUMN voids 'credit_note: number of the invoice that it takes back',
    COMMENT COLUMN period 'What the document''s period is called',
    COMMENT COLUMN period_from 'When the document''s period begins',
    COMMENT COLUMN period_to 'When it ends: no event of this time is in it',
    COMMENT COLUMN decided_at 'When the document was issued',
    COMMENT COLUMN line 'Place on the document, from 1',
    COMMENT COLUMN line_kind 'usage, fee, discount, minimum or credit',
    COMMENT COLUMN corrects 'Number of the invoice whose period it corrects; empty for the document''s own',
    COMMENT COLUMN label 'Period that the line is about; before for what came before the first one',
    COMMENT COLUMN item 'Fee, item or discount of the rate card',
    COMMENT COLUMN title 'What the line says to the customer',
    COMMENT COLUMN card 'Rate card and version, as pro@2; may be empty',
    COMMENT COLUMN `group` 'Model, agent or signal of the line, where the item groups by one',
    COMMENT COLUMN metric 'What it counts; empty for lines that count nothing',
    COMMENT COLUMN quantity 'How much of the metric; 0 where the line counts nothing',
    COMMENT COLUMN from_at 'When the part of the period begins that it charges',
    COMMENT COLUMN to_at 'When that ends',
    COMMENT COLUMN amount 'What is charged, in the smallest unit of its currency; negative for what is taken back',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN digest 'SHA-256 of the document, in hex';

ALTER TABLE invoices
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN number 'Number of the document',
    COMMENT COLUMN document 'invoice or credit_note',
    COMMENT COLUMN status 'closed (not issued yet), issued or voided',
    COMMENT COLUMN label 'What its period is called',
    COMMENT COLUMN period_from 'When the period begins',
    COMMENT COLUMN period_to 'When it ends: no event of this time is in it',
    COMMENT COLUMN zone 'Time zone of the period',
    COMMENT COLUMN digest 'SHA-256 of the document, in hex; empty before it is issued',
    COMMENT COLUMN totals 'Sum of its lines in each currency',
    COMMENT COLUMN line_count 'How many lines it has',
    COMMENT COLUMN segments 'Which version of which rate card charges which part of the period (times in microseconds)',
    COMMENT COLUMN cut_generation 'Entries up to this generation and cut_sequence are on it; 0 for credit notes',
    COMMENT COLUMN cut_sequence 'Sequence of the last entry that is on it',
    COMMENT COLUMN after_generation 'Cut of the period before it; 0 where there is none',
    COMMENT COLUMN after_sequence 'Cut of the period before it; entries behind it from before period_from correct earlier invoices',
    COMMENT COLUMN after_end 'End of the period before it; 1970 where there is none',
    COMMENT COLUMN reissues 'Number of the void invoice in whose place it comes; empty for most',
    COMMENT COLUMN voids 'credit_note: number of the invoice that it takes back',
    COMMENT COLUMN credit_note 'Number of the credit note that took it back; empty for most',
    COMMENT COLUMN to_reissue 'Voided, so that the period is invoiced again',
    COMMENT COLUMN reason 'credit_note: why, for a person',
    COMMENT COLUMN closed_at 'When it got its number',
    COMMENT COLUMN issued_at 'When it was issued; null before',
    COMMENT COLUMN voided_at 'When it was taken back; null for most';

ALTER TABLE letters
    COMMENT COLUMN schema_version 'Version of the dead letter''s schema',
    COMMENT COLUMN entry_id 'Where the dead letter comes from; unique',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the dead-letters topic, which is that of the original record',
    COMMENT COLUMN sequence 'Dense number per generation and partition, apart from the ledger''s',
    COMMENT COLUMN cycle 'Cycle of the partition that decided it',
    COMMENT COLUMN decided_at 'Domain time of the refusal',
    COMMENT COLUMN code 'Stable code of the reason',
    COMMENT COLUMN reason 'The reason, for a person',
    COMMENT COLUMN field 'Path of the first bad field; may be empty',
    COMMENT COLUMN record_version 'schema_version of the original; null where its bytes name none',
    COMMENT COLUMN topic 'Topic of the original record',
    COMMENT COLUMN source_offset 'Offset of the original record',
    COMMENT COLUMN appended_at 'When Kafka appended the original record',
    COMMENT COLUMN record_key 'Original key in base64; null where there was none',
    COMMENT COLUMN record_value 'Original value in base64; null where there was none',
    COMMENT COLUMN letter_id 'First letter that it goes back to: itself, but for one that a replay became',
    COMMENT COLUMN state 'open, replayed, duplicate or discarded',
    COMMENT COLUMN note 'Why it was discarded',
    COMMENT COLUMN resolved_at 'When it was resolved; null while it is open';

ALTER TABLE margin_by_agent
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN agent_id 'Agent; empty for what is not counted by agent',
    COMMENT COLUMN label 'Billing period by its name; before for what came before the first one, empty for what no closed period holds',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN revenue 'Sum of the lines of issued documents, credit notes taken off',
    COMMENT COLUMN cost 'Exact cost in currency',
    COMMENT COLUMN margin 'revenue less cost';

ALTER TABLE margin_by_customer
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN label 'Billing period by its name; before for what came before the first one, empty for what no closed period holds',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN revenue 'Sum of the lines of issued documents, credit notes taken off',
    COMMENT COLUMN cost 'Exact cost of AI calls, corrections included',
    COMMENT COLUMN margin 'revenue less cost';

ALTER TABLE margin_by_signal
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN signal_name 'Which business outcome',
    COMMENT COLUMN label 'Billing period by its name; before for what came before the first one, empty for what no closed period holds',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN revenue 'Lines that count this signal, credit notes taken off',
    COMMENT COLUMN cost 'Exact cost of AI calls that signals of this name carry',
    COMMENT COLUMN margin 'revenue less cost';

ALTER TABLE monthly_usage
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN month 'Month of the event (UTC)',
    COMMENT COLUMN provider 'Provider of the model, as the producer names it',
    COMMENT COLUMN model 'Model, as the producer names it',
    COMMENT COLUMN cost_basis 'Where the cost comes from: reported, priced, unpriced (not known yet), none, or adjusted for a correction',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN calls 'Usage events',
    COMMENT COLUMN units 'Units consumed',
    COMMENT COLUMN covered_units 'Units that grants covered',
    COMMENT COLUMN tokens 'Tokens of all classes',
    COMMENT COLUMN cost 'Exact cost in currency; corrections stand under the basis adjusted',
    COMMENT COLUMN provisional 'What unpriced usage charges a dollar balance until it is rated';

ALTER TABLE open_holds
    COMMENT COLUMN reservation_id 'The hold',
    COMMENT COLUMN account_kind 'customer or task',
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN task_ref 'Task (job) that it belongs to; may be empty',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN denomination 'What it is counted in: unit, token or usd',
    COMMENT COLUMN amount 'What was placed, in its denomination',
    COMMENT COLUMN used 'What usage has taken of it',
    COMMENT COLUMN open 'What is still held: amount less used',
    COMMENT COLUMN placed_at 'When it was decided',
    COMMENT COLUMN expires_at 'When it ends by itself, extensions included';

ALTER TABLE period_costs
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN label 'Billing period by its name; before for what came before the first one, empty for what no closed period holds',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN calls 'Usage events, without outer spans that repeat the usage of others',
    COMMENT COLUMN cost 'Exact cost in currency, corrections included';

ALTER TABLE period_signals
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN label 'Billing period by its name; before for what came before the first one, empty for what no closed period holds',
    COMMENT COLUMN quarter 'Quarter of an hour (UTC) in which they happened',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN signal_name 'Which business outcome',
    COMMENT COLUMN signals 'How many count; voids are taken off';

ALTER TABLE price_book
    COMMENT COLUMN version 'Version of the price book',
    COMMENT COLUMN appended_at 'When it was loaded',
    COMMENT COLUMN in_force 'Whether it is the book that prices usage now',
    COMMENT COLUMN provider 'Provider, by its id in the book',
    COMMENT COLUMN model 'Model, by its id in the book',
    COMMENT COLUMN conditions 'Applies to calls made under all of these; empty for all',
    COMMENT COLUMN from_day 'Holds from this day (UTC) on; null is from ever',
    COMMENT COLUMN daily_from_second 'Holds each day from this second on; null for the whole day',
    COMMENT COLUMN daily_to_second 'Holds each day up to this second; null for the whole day',
    COMMENT COLUMN counted 'token or quantity',
    COMMENT COLUMN name 'Class of tokens, or what is counted beside them',
    COMMENT COLUMN price 'Dollars for so many as per says',
    COMMENT COLUMN per 'How many the price is for',
    COMMENT COLUMN least 'So many are charged at least where there is any',
    COMMENT COLUMN tiers 'Price above so many input tokens, in place of price';

ALTER TABLE rate_cards
    COMMENT COLUMN card 'Rate card',
    COMMENT COLUMN version 'Which version of the card',
    COMMENT COLUMN latest 'Whether it is the last version that was appended; effective_from says when each holds',
    COMMENT COLUMN effective_from 'Holds from then on; 1970 is from ever',
    COMMENT COLUMN appended_at 'When it was applied',
    COMMENT COLUMN title 'The card''s title',
    COMMENT COLUMN currency 'ISO 4217 code of its amounts',
    COMMENT COLUMN part 'fee, item, discount or minimum',
    COMMENT COLUMN part_id 'Which fee, item or discount',
    COMMENT COLUMN part_title 'What it says to the customer',
    COMMENT COLUMN metric 'item: what it counts',
    COMMENT COLUMN provider 'item: this provider alone; empty for any',
    COMMENT COLUMN model 'item: this model alone; empty for any',
    COMMENT COLUMN agent 'item: this agent alone; empty for any',
    COMMENT COLUMN signal 'item: this signal alone; empty for any',
    COMMENT COLUMN group_by 'item: model, agent or signal that each has a line of its own; empty for one line',
    COMMENT COLUMN price 'item: for so many as per says; null where there are tiers, or a markup',
    COMMENT COLUMN per 'item: how many the price is for',
    COMMENT COLUMN included 'item: so many are free in each period',
    COMMENT COLUMN tier_mode 'item: graduated or volume; empty where there are no tiers',
    COMMENT COLUMN tiers 'item: up to so many, price and flat amount of each step; the last has no end',
    COMMENT COLUMN markup_percent 'item: what is added to the cost, in percent',
    COMMENT COLUMN percent 'discount: what is taken off, in percent',
    COMMENT COLUMN amount 'fee, minimum: how much for a whole period',
    COMMENT COLUMN items 'discount: items that it is for; empty for all';

ALTER TABLE rate_plans
    COMMENT COLUMN plan 'Rate plan; default is that of customers without terms',
    COMMENT COLUMN version 'Which version of the plan',
    COMMENT COLUMN latest 'Whether it is the last version that was appended; effective_from says when each holds',
    COMMENT COLUMN effective_from 'Holds from then on; 1970 is from ever',
    COMMENT COLUMN appended_at 'When it was applied',
    COMMENT COLUMN card 'Rate card that it points to';

ALTER TABLE revenue_parts
    COMMENT COLUMN number 'Number of the document',
    COMMENT COLUMN line 'Place on the document, from 1',
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN label 'Period that the line is about',
    COMMENT COLUMN line_kind 'usage, fee, discount, minimum or credit',
    COMMENT COLUMN metric 'What the line counts; empty for lines that count nothing',
    COMMENT COLUMN agent_id 'Agent that it is for; empty where the card does not count by agent',
    COMMENT COLUMN signal_name 'Signal that it is for; empty for lines that do not count signals',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN amount 'Part of the line''s amount';

ALTER TABLE signal_costs
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN signal_entry 'Entry of the signal',
    COMMENT COLUMN signal_name 'Which business outcome',
    COMMENT COLUMN quantity 'How many of it',
    COMMENT COLUMN occurred_at 'When the signal happened',
    COMMENT COLUMN decided_at 'When the signal was accepted',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN trace_id 'Trace that it belongs to; may be empty',
    COMMENT COLUMN scope_id 'Scope inside the trace, or beside any; may be empty',
    COMMENT COLUMN voided 'Whether it was taken back',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN cost 'What it carries',
    COMMENT COLUMN costs 'Of how many calls it carries a part',
    COMMENT COLUMN flags 'split_between_signals, late, window_full or voided',
    COMMENT COLUMN why_none 'Why it carries nothing; empty where it does';

ALTER TABLE signals
    COMMENT COLUMN entry_id 'Entry of the ledger that it is; unique',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN appended_at 'When Kafka appended the causing record',
    COMMENT COLUMN occurred_at 'When it happened, by the producer, else when it was appended',
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN source 'Producing system, part of the event''s identity',
    COMMENT COLUMN event_id 'The producer''s id of the event, unique per customer and source',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN trace_id 'Trace that it belongs to; may be empty',
    COMMENT COLUMN scope_id 'Scope inside the trace, or beside any; may be empty',
    COMMENT COLUMN span_id 'Span of the trace that it was; may be empty',
    COMMENT COLUMN parent_span_id 'Span right around it; may be empty',
    COMMENT COLUMN signal_name 'Which business outcome',
    COMMENT COLUMN quantity 'How many of it',
    COMMENT COLUMN cost_tracing 'Whether it carries the cost of its trace or scope',
    COMMENT COLUMN weight 'Its part where several signals claim one cost';

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
    COMMENT COLUMN terms_from 'They hold from then on; 1970 is from ever';

ALTER TABLE tokens_by_flow
    COMMENT COLUMN user_id 'Who is billed',
    COMMENT COLUMN flow_id 'Flow that charged, as agent',
    COMMENT COLUMN provider 'Provider of the model, as the producer names it',
    COMMENT COLUMN model 'Model, as the producer names it',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN day 'Day of the operation (UTC)',
    COMMENT COLUMN operations 'Charged operations',
    COMMENT COLUMN input_tokens 'Input tokens outside all other classes',
    COMMENT COLUMN output_tokens 'Output tokens outside all other classes',
    COMMENT COLUMN cost 'Exact cost in currency, as it has been corrected',
    COMMENT COLUMN unpriced 'Operations whose price is still unknown';

ALTER TABLE trace_costs
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN trace_id 'Trace that it belongs to; may be empty',
    COMMENT COLUMN scope_id 'Scope inside the trace, or beside any; may be empty',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN calls 'Usage events of the trace, without outer spans',
    COMMENT COLUMN cost 'Exact cost of the trace',
    COMMENT COLUMN carried 'What signals carry of it',
    COMMENT COLUMN unattributed 'What nobody carries of it',
    COMMENT COLUMN open 'What is not decided until its window closes';

ALTER TABLE unattributed_costs
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN trace_id 'Trace that it belongs to; may be empty',
    COMMENT COLUMN scope_id 'Scope inside the trace, or beside any; may be empty',
    COMMENT COLUMN cost_entry 'Entry of the usage or adjustment whose cost it is',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN cost 'What nobody carries of it',
    COMMENT COLUMN flags 'late, window_full or voided',
    COMMENT COLUMN decided_at 'When this was last decided';

ALTER TABLE unpriced_models
    COMMENT COLUMN provider 'Provider of the model, as the producer names it',
    COMMENT COLUMN model 'Model, as the producer names it',
    COMMENT COLUMN calls 'Calls without a price',
    COMMENT COLUMN customers 'Different customers',
    COMMENT COLUMN tokens 'Tokens of all classes',
    COMMENT COLUMN provisional 'What unpriced usage charges a dollar balance until it is rated',
    COMMENT COLUMN first_at 'When the first of them happened',
    COMMENT COLUMN last_at 'When the last of them happened';

ALTER TABLE usage
    COMMENT COLUMN entry_id 'Entry of the ledger that it is; unique',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN appended_at 'When Kafka appended the causing record',
    COMMENT COLUMN occurred_at 'When it happened, by the producer, else when it was appended',
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN source 'Producing system, part of the event''s identity',
    COMMENT COLUMN event_id 'The producer''s id of the event, unique per customer and source',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN task_ref 'Task (job) that it belongs to; may be empty',
    COMMENT COLUMN trace_id 'Trace that it belongs to; may be empty',
    COMMENT COLUMN scope_id 'Scope inside the trace, or beside any; may be empty',
    COMMENT COLUMN span_id 'Span of the trace that it was; may be empty',
    COMMENT COLUMN parent_span_id 'Span right around it; may be empty',
    COMMENT COLUMN provider 'Provider of the model, as the producer names it',
    COMMENT COLUMN model 'Model, as the producer names it',
    COMMENT COLUMN units 'Units consumed',
    COMMENT COLUMN input_tokens 'Input tokens outside all other classes',
    COMMENT COLUMN cache_read_tokens 'Input tokens read from a cache',
    COMMENT COLUMN cache_write_tokens 'Input tokens written to a cache',
    COMMENT COLUMN output_tokens 'Output tokens outside all other classes',
    COMMENT COLUMN reasoning_tokens 'Output tokens spent on reasoning',
    COMMENT COLUMN input_audio_tokens 'Audio tokens in',
    COMMENT COLUMN output_audio_tokens 'Audio tokens out',
    COMMENT COLUMN tokens 'Tokens of all classes',
    COMMENT COLUMN quantities 'What was used beside tokens, and which kinds of tokens some were',
    COMMENT COLUMN conditions 'How the call was made, where its price depends on it',
    COMMENT COLUMN cost 'Exact cost in currency',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN cost_basis 'Where the cost comes from: reported, priced, unpriced (not known yet), none, or adjusted for a correction',
    COMMENT COLUMN price_version 'Price book that priced it',
    COMMENT COLUMN price_override 'Price override that priced it; may be empty',
    COMMENT COLUMN priced_as 'Provider and model of the price book that it was priced as',
    COMMENT COLUMN provisional 'What unpriced usage charges a dollar balance until it is rated',
    COMMENT COLUMN covered_units 'Units that grants covered',
    COMMENT COLUMN covered_tokens 'Tokens that grants covered',
    COMMENT COLUMN covered_usd 'Dollars that grants covered',
    COMMENT COLUMN burns 'What was taken from which grant (its entry_id)',
    COMMENT COLUMN success 'Whether the call succeeded; it counts either way',
    COMMENT COLUMN flags 'What a person should look at',
    COMMENT COLUMN reservation_id 'The hold that the event names; may be empty',
    COMMENT COLUMN settlement 'settled, already_closed or not_found where the event means a hold',
    COMMENT COLUMN holds 'What was taken from which holds',
    COMMENT COLUMN usage_missing 'The caller does not know what was used',
    COMMENT COLUMN missing_tokens 'Tokens charged because they were held and nobody knows what was used; beside tokens';

ALTER TABLE usage_by_day
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN day 'Day of the event (UTC)',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN provider 'Provider of the model, as the producer names it',
    COMMENT COLUMN model 'Model, as the producer names it',
    COMMENT COLUMN currency 'ISO 4217 code of the money in this row; never add up different ones',
    COMMENT COLUMN calls 'Usage events, without outer spans that repeat the usage of others',
    COMMENT COLUMN failed 'Usage events of calls that failed',
    COMMENT COLUMN units 'Units consumed',
    COMMENT COLUMN covered_units 'Units that grants covered',
    COMMENT COLUMN tokens 'Tokens of all classes',
    COMMENT COLUMN missing_tokens 'Tokens charged because they were held and nobody knows what was used; beside tokens',
    COMMENT COLUMN cost 'Exact cost in currency, corrections included',
    COMMENT COLUMN provisional 'What unpriced usage charges a dollar balance until it is rated';

ALTER TABLE voids
    COMMENT COLUMN entry_id 'Entry of the void; unique',
    COMMENT COLUMN generation 'Life of the topics',
    COMMENT COLUMN `partition` 'Partition of the ledger topic; a customer lives in one',
    COMMENT COLUMN sequence 'Dense number per generation and partition; with generation, the place in the ledger',
    COMMENT COLUMN decided_at 'Domain time of the decision',
    COMMENT COLUMN occurred_at 'When the signal happened',
    COMMENT COLUMN customer_id 'Whose it is',
    COMMENT COLUMN signal_entry 'Entry of the signal that it takes back',
    COMMENT COLUMN signal_name 'Which business outcome',
    COMMENT COLUMN quantity 'How many of it do not count any more',
    COMMENT COLUMN agent_id 'Agent that consumed or achieved it; may be empty',
    COMMENT COLUMN trace_id 'Trace that it belongs to; may be empty',
    COMMENT COLUMN scope_id 'Scope inside the trace, or beside any; may be empty',
    COMMENT COLUMN signal_cost 'What becomes of the cost that it carried: unattributed, or move to the signals that claim it too',
    COMMENT COLUMN reason 'Why, for a person';
