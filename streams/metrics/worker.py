"""What a worker measures: cycles, what became of events, lag, decisions, tables, hand-overs."""

from typing import Final

from streams.metrics.registry import LONG_BUCKETS, Metric

PARTITIONS: Final = Metric(
    "tollgate_partitions", "gauge", "Partitions that the installation has, owned by anybody."
)
PARTITION_OWNED: Final = Metric(
    "tollgate_partition_owned",
    "gauge",
    "1 for each partition that this worker owns.",
    ("partition",),
)
LEASES: Final = Metric(
    "tollgate_leases_held", "gauge", "Owned partitions whose lease is folded: they answer asks."
)
REBALANCES: Final = Metric(
    "tollgate_rebalances_total", "counter", "Assignments of partitions to this worker."
)
TAKE_SECONDS: Final = Metric(
    "tollgate_take_over_seconds",
    "histogram",
    "From an assignment to owning its partitions: fences, recovery of tables, leases.",
    (),
    LONG_BUCKETS,
)
CYCLE_SECONDS: Final = Metric(
    "tollgate_cycle_seconds", "histogram", "A cycle: from taking records to the stored commit."
)
RECORDS: Final = Metric(
    "tollgate_records_consumed_total",
    "counter",
    "Offsets consumed by committed cycles, by topic.",
    ("topic",),
)
EVENTS: Final = Metric(
    "tollgate_events_total",
    "counter",
    "What committed cycles made of records: accepted, duplicate, void (of an owner that was none).",
    ("outcome",),
)
DEAD_LETTERS: Final = Metric(
    "tollgate_dead_letters_total", "counter", "Records refused for good, by code.", ("code",)
)
UNPRICED: Final = Metric(
    "tollgate_unpriced_total", "counter", "Usage that was accepted and has no price yet."
)
LAG: Final = Metric(
    "tollgate_lag_records",
    "gauge",
    "Offsets of a topic that no cycle has taken yet.",
    ("topic", "partition"),
)
LAG_SECONDS: Final = Metric(
    "tollgate_lag_seconds",
    "gauge",
    "How long the oldest usage record of a partition waits for its cycle.",
    ("partition",),
)
EVENT_TIME: Final = Metric(
    "tollgate_event_time_seconds",
    "gauge",
    "High-water mark of a partition: the latest event time seen, in Unix time.",
    ("partition",),
)
NAMELESS: Final = Metric(
    "tollgate_nameless_events", "gauge", "Events that wait for their trace's customer."
)
INBOX: Final = Metric("tollgate_inbox_records", "gauge", "Records in memory that wait for a cycle.")
DECISIONS: Final = Metric(
    "tollgate_decisions_total",
    "counter",
    "Preflights answered: approved, the reason of the refusal, or the code of no answer.",
    ("outcome",),
)
DECISION_SECONDS: Final = Metric(
    "tollgate_decision_seconds",
    "histogram",
    "A preflight at its owner: from the ask to the decision in the log.",
)
ASKS: Final = Metric(
    "tollgate_owner_asks_total",
    "counter",
    "Other asks answered by owners, by kind.",
    ("kind",),
)
HOP_CONNECTIONS: Final = Metric(
    "tollgate_hop_connections", "gauge", "Gateways of other processes that are connected."
)
HOLDS: Final = Metric("tollgate_holds_open", "gauge", "Open holds of the owned partitions.")
CLAIMS: Final = Metric(
    "tollgate_claims_stored",
    "gauge",
    "Ids in the claims of the owned partitions, as RocksDB estimates them.",
)
STORE_SIZE: Final = Metric(
    "tollgate_store_size_bytes", "gauge", "Size of the local tables on the disk.", ("table",)
)
STORES_SET_ASIDE: Final = Metric(
    "tollgate_stores_set_aside",
    "gauge",
    "Local tables that were found damaged and kept beside their successors.",
)

WORKER: Final = (
    PARTITIONS,
    PARTITION_OWNED,
    LEASES,
    REBALANCES,
    TAKE_SECONDS,
    CYCLE_SECONDS,
    RECORDS,
    EVENTS,
    DEAD_LETTERS,
    UNPRICED,
    LAG,
    LAG_SECONDS,
    EVENT_TIME,
    NAMELESS,
    INBOX,
    DECISIONS,
    DECISION_SECONDS,
    ASKS,
    HOP_CONNECTIONS,
    HOLDS,
    CLAIMS,
    STORE_SIZE,
    STORES_SET_ASIDE,
)
"""All of them, in the order in which they are shown."""
