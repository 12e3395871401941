"""What a sink measures: rows, inserts, how far the tables are behind the log."""

from typing import Final

from streams.metrics.registry import LONG_BUCKETS, Metric

SINK_PARTITIONS: Final = Metric(
    "tollgate_sink_partitions", "gauge", "Partitions of outbound topics that this sink serves."
)
SINK_ROWS: Final = Metric(
    "tollgate_sink_rows_total", "counter", "Rows that are in the table, by table.", ("table",)
)
SINK_INSERT_SECONDS: Final = Metric(
    "tollgate_sink_insert_seconds",
    "histogram",
    "An insert into ClickHouse, answered or not, by table.",
    ("table",),
    LONG_BUCKETS,
)
SINK_FAILURES: Final = Metric(
    "tollgate_sink_failures_total",
    "counter",
    "Requests to ClickHouse that failed and are tried again, by table.",
    ("table",),
)
SINK_REACHABLE: Final = Metric(
    "tollgate_sink_clickhouse_reachable",
    "gauge",
    "1 where ClickHouse did what it was last asked, 0 where it did not answer.",
)
SINK_LAG: Final = Metric(
    "tollgate_sink_lag_records",
    "gauge",
    "Offsets of the log that are not in the table yet.",
    ("table", "partition"),
)
SINK_MARK: Final = Metric(
    "tollgate_sink_mark_offset",
    "gauge",
    "High-water mark: the offset below which everything of a partition is in the table.",
    ("table", "partition"),
)

SINK: Final = (
    SINK_PARTITIONS,
    SINK_ROWS,
    SINK_INSERT_SECONDS,
    SINK_FAILURES,
    SINK_REACHABLE,
    SINK_LAG,
    SINK_MARK,
)
"""All of them, in the order in which they are shown."""
