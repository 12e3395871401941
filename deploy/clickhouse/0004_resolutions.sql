-- What became of dead letters: entries of kind `resolution` in the ledger (decision 012).
--
-- A dead letter's row never changes. Its state is what the ledger says of it: a letter that a replay became is
-- about the first letter, so both go by the first one's id, `letter_id`.

ALTER TABLE ledger COMMENT COLUMN kind 'What the row is: cycle, usage, signal, grant or resolution; tells which columns count';
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS letter_id String COMMENT 'resolution: entry_id of the dead letter';
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS resolution LowCardinality(String) COMMENT 'resolution: replayed, duplicate (accepted from another record) or discarded';
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS note String COMMENT 'resolution: why it was discarded, for a person';

-- Resolutions are few and lie with all customers: without it, finding them would read the column of every row.
ALTER TABLE ledger ADD INDEX IF NOT EXISTS resolutions resolution TYPE set(4) GRANULARITY 1;

ALTER TABLE dead_letters ADD COLUMN IF NOT EXISTS record_version Nullable(UInt64) COMMENT 'schema_version of the original; null where its bytes name none that can be read' AFTER `field`;

CREATE VIEW IF NOT EXISTS letters AS
SELECT
    found.* EXCEPT (replayed_letter),
    if(resolved.became = '', 'open', resolved.became) AS state,
    resolved.why AS note,
    resolved.resolved_at AS resolved_at
FROM
(
    SELECT
        *,
        if(
            topic = 'budgets' AND JSONExtractString(tryBase64Decode(ifNull(record_value, '')), 'kind') = 'replay',
            nullIf(JSONExtractString(tryBase64Decode(ifNull(record_value, '')), 'letter_id'), ''),
            NULL
        ) AS replayed_letter,
        ifNull(replayed_letter, entry_id) AS letter_id
    FROM dead_letters
) AS found
LEFT JOIN
(
    SELECT
        letter_id AS resolved_letter,
        multiIf(
            countIf(resolution = 'replayed') > 0, 'replayed',
            countIf(resolution = 'duplicate') > 0, 'duplicate',
            'discarded'
        ) AS became,
        argMax(note, (generation, decided_at)) AS why,
        toNullable(max(decided_at)) AS resolved_at
    FROM ledger
    WHERE resolution != ''
    GROUP BY letter_id
) AS resolved ON resolved.resolved_letter = found.letter_id
COMMENT 'Dead letters with what became of them: open, replayed, duplicate or discarded';
