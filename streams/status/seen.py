"""What a look at an installation brings: plain values, as the servers said them.

A part that could not be asked is None, and its fault stands in words beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.structs import Owner

Place = tuple[str, int]
"""Logical name of a topic, and a partition."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker as the cluster names it."""

    id: int
    address: str


@dataclass(frozen=True, slots=True)
class Member:
    """A process in a consumer group, and the places that the group gave it."""

    id: str
    host: str
    places: frozenset[Place]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: its state in Kafka's own word, and who is in it."""

    state: str
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Tail:
    """The last committed record of a partition of an outbound topic."""

    generation: int
    sequence: int
    decided_at_us: int


@dataclass(frozen=True, slots=True)
class Decided:
    """What the owners decided between two looks: `outcomes` counts `approved` and the reasons of
    refusals. `complete` is False where more was appended than a look reads."""

    outcomes: Mapping[str, int]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class LogSeen:
    """One look at the log. `at` is the monotonic clock in seconds, `now_us` the time of day.

    `ends` are offsets after the last record or marker; `committed` those up to which the workers'
    group has come, `asks_committed` the gateways'. `missing_replicas` counts partitions with fewer
    copies in step than they should have, `leaderless` those nobody can write to. `dead_last_minute`
    is None where it could not be told.
    """

    at: float
    now_us: int
    brokers: tuple[Broker, ...] = ()
    broker_version: str | None = None
    partitions: Mapping[str, int] = field(default_factory=dict)
    missing_replicas: int = 0
    leaderless: int = 0
    ends: Mapping[Place, int] = field(default_factory=dict)
    committed: Mapping[Place, int] = field(default_factory=dict)
    asks_committed: Mapping[Place, int] = field(default_factory=dict)
    workers: Group | None = None
    sinks: Group | None = None
    gateways: Group | None = None
    owners: Mapping[int, Owner] = field(default_factory=dict)
    tails: Mapping[Place, Tail] = field(default_factory=dict)
    decided: Decided | None = None
    dead_last_minute: int | None = None
    faults: Mapping[str, str] = field(default_factory=dict)
    """What could not be asked, by what it is, and why."""


@dataclass(frozen=True, slots=True)
class TableMark:
    """How far a table is in one generation and partition."""

    mark: int
    rows: int
    newest_us: int


@dataclass(frozen=True, slots=True)
class TablesSeen:
    """One look at ClickHouse. `marks` go by table, generation and partition."""

    version: str
    marks: Mapping[tuple[str, int, int], TableMark] = field(default_factory=dict)
    read_only: tuple[str, ...] = ()
    """Replicated tables that take no inserts, because they have lost their Keeper."""


@dataclass(frozen=True, slots=True)
class InstallationSeen:
    """What the catalog says, and what differs between its generation and the topics."""

    generation: int
    partitions: int
    catalog_offset: int
    price_version: str
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """What the settings call things."""

    topic_prefix: str
    app_id: str
    bootstrap: str
    clickhouse_url: str
    clickhouse_database: str


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one moment. `log_fault` and `tables_fault` say why a server was not reached.

    `answers` tells of each owner's address whether something accepts connections there;
    `open_holds` is what workers' metrics say, None where none was asked or answered.
    """

    names: Names
    now_us: int
    log: LogSeen | None
    log_fault: str | None
    tables: TablesSeen | None
    tables_fault: str | None
    installation: InstallationSeen | None = None
    installation_fault: str | None = None
    answers: Mapping[str, bool] = field(default_factory=dict)
    open_holds: int | None = None
    metrics_faults: Mapping[str, str] = field(default_factory=dict)
