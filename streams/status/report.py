"""The form of `tollgate status --json`: every field of it, for whoever reads it by a program.

Version 1. Fields may be added under the same version; none is renamed, removed or given another
meaning. docs/schemas/status.json is made from this module. Times are UTC in ISO 8601, rates per
second, and None means that it is not known.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["well", "attention", "unreachable"]
Hold = Literal["owned", "taking", "silent", "none"]


class Part(BaseModel):
    """Base of all parts: nothing beside what is written here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Broker(Part):
    """A broker of the cluster."""

    id: int
    address: str


class Kafka(Part):
    """The brokers. `fault` says why they could not be asked."""

    reachable: bool
    fault: str | None
    bootstrap: str
    version: str | None = Field(
        description="The release whose metadata format the cluster has settled on; brokers may "
        "be newer."
    )
    brokers: list[Broker]
    partitions_missing_replicas: int
    partitions_without_leader: int


class ClickHouse(Part):
    """The tables' server."""

    reachable: bool
    fault: str | None
    url: str
    database: str
    version: str | None


class Installation(Part):
    """What the catalog says."""

    topic_prefix: str
    app_id: str
    generation: int | None
    partitions: int | None
    catalog_offset: int | None = Field(description="The next offset of the catalog: its version.")
    price_version: str | None


class Worker(Part):
    """A process that is in the workers' group, or that holds leases without being in it."""

    member: str | None = Field(description="Its id in the group; null where it is not in it.")
    host: str | None
    address: str | None = Field(description="Where it answers, as it announced.")
    answers: bool | None = Field(description="Whether connections are accepted there.")
    partitions: list[int] = Field(description="Those that the group gave it.")
    leases: list[int] = Field(description="Those whose latest lease is its own.")
    since: str | None = Field(description="When it took the one that it has had for longest.")
    generation: int | None = Field(description="Of the topics, as its latest lease says.")


class Topic(Part):
    """A topic, all partitions together."""

    topic: str
    ends: int = Field(description="Offsets, transaction markers among them.")
    committed: int | None = Field(description="Null where no group of ours reads it.")
    lag: int | None
    in_per_second: float | None
    taken_per_second: float | None
    partitions: list["TopicPartition"]


class TopicPartition(Part):
    """One partition of a topic."""

    partition: int
    end: int
    committed: int | None
    lag: int | None


class Partition(Part):
    """A partition of the installation: who answers for it and how far it is."""

    partition: int
    state: Hold = Field(
        description="owned: its owner answers; taking: a worker has it and no lease yet; silent: "
        "its owner does not answer; none: no worker has it."
    )
    owner: str | None
    lease: int | None = Field(description="The offset of the lease on `preflights`.")
    lease_generation: int | None
    since: str | None
    lag: int = Field(description="Inbound records that no cycle has taken.")
    entries: int = Field(description="Of the ledger in the current generation.")
    last_entry_at: str | None
    rows: int | None = Field(description="Of the ledger's table, in the current generation.")
    rows_behind: int | None


class Decisions(Part):
    """What owners decided between the two looks of a report."""

    per_second: float | None
    approved_per_second: float | None
    refused_per_second: dict[str, float] = Field(description="By reason.")
    complete: bool = Field(description="False where more was decided than was read.")


class DeadLetters(Part):
    """What could not be accepted."""

    total: int = Field(description="In the current generation.")
    last_minute: int | None


class Sink(Part):
    """From the log into ClickHouse."""

    sinks: int | None = Field(description="Processes in the sinks' group.")
    rows_behind: int | None = Field(description="Records of all outbound topics without their row.")
    newest_row_at: str | None
    newest_row_age_seconds: float | None


class Warn(Part):
    """Something that needs attention. `code` is stable, the texts are for people."""

    code: str
    partitions: list[int]
    message: str
    action: str


class Report(Part):
    """`tollgate status --json`."""

    version: Literal[1]
    asked_at: str
    verdict: Verdict
    sampled_seconds: float = Field(description="Between the two looks that rates come from.")
    installation: Installation
    kafka: Kafka
    clickhouse: ClickHouse
    workers: list[Worker]
    gateways: int | None = Field(description="Processes in the group that reads `asks`.")
    topics: list[Topic]
    partitions: list[Partition]
    decisions: Decisions
    open_holds: int | None
    dead_letters: DeadLetters
    sink: Sink
    warnings: list[Warn]
