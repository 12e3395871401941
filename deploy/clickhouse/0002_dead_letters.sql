-- What could not be accepted: one row per record of the dead-letters topic, the original bytes in base64.
-- Filled by the sink from its own topic under its own mark; sequence is apart from the ledger's.

CREATE TABLE IF NOT EXISTS dead_letters
(
    schema_version UInt32 COMMENT 'Version of the dead letter''s schema',
    entry_id String COMMENT 'Where the dead letter comes from; unique',
    generation UInt32 COMMENT 'Life of the topics',
    `partition` UInt32 COMMENT 'Partition of the dead-letters topic, which is that of the original record',
    sequence UInt64 COMMENT 'Dense number per generation and partition, from 0: count = max + 1' CODEC(Delta, ZSTD(1)),
    cycle UInt64 COMMENT 'Cycle of the partition that refused the record' CODEC(Delta, ZSTD(1)),
    decided_at DateTime64(6, 'UTC') COMMENT 'Domain time of the refusal' CODEC(Delta, ZSTD(1)),
    code LowCardinality(String) COMMENT 'Stable code of the reason',
    reason String COMMENT 'The reason, for a person',
    field LowCardinality(String) COMMENT 'Path of the first bad field; may be empty',
    topic LowCardinality(String) COMMENT 'Topic of the original record',
    source_offset UInt64 COMMENT 'Offset of the original record' CODEC(Delta, ZSTD(1)),
    appended_at DateTime64(6, 'UTC') COMMENT 'When Kafka appended the original record' CODEC(Delta, ZSTD(1)),
    record_key Nullable(String) COMMENT 'Original key in base64; null where there was none',
    record_value Nullable(String) COMMENT 'Original value in base64; null where there was none' CODEC(ZSTD(3)),

    PROJECTION marks
    (
        SELECT generation, `partition`, max(sequence), max(decided_at), count()
        GROUP BY generation, `partition`
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(decided_at)
ORDER BY (decided_at, generation, `partition`, sequence)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Records that could not be accepted, whole, with a stable code and a reason';
