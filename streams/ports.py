"""What the core's surroundings promise; adapters implement it, agents, sink and reports use it.

The worker: `Store`, `CycleLog`, `LeaseLog`, `Catalog`, `Clock`. The sink: `OutboundLog`,
`RowTarget`. Reports and migrations: `Warehouse`, `SchemaTarget`. The audit: `Book`, `TableImage`,
`AuditedRows`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from streams.domain.context import Context
from streams.domain.decoding import RESERVED_KEY
from streams.domain.facts import SourceRecord


class Table(StrEnum):
    """The tables of a partition."""

    ACCOUNTS = "accounts"
    """Customer id in UTF-8 to account; PROGRESS_KEY to the partition's progress."""
    CLAIMS = "claims"
    """Claim key (16 bytes) to packed claim. Its changelog holds whole segments."""


PROGRESS_KEY = RESERVED_KEY
"""The key of the partition's progress record among its accounts. Reserved: a record that names it
as its customer is refused when it is decoded."""


@dataclass(slots=True)
class Changes:
    """What a committed cycle changes in one table, and the offset of its last changelog record."""

    rows: Sequence[tuple[bytes, bytes | None]]
    changelog_offset: int


class Store(Protocol):
    """The local tables of the partitions that this process owns.

    A batch is written whole or not at all, together with its changelog offset, so that a crash
    between two tables leaves each of them at an offset from which its changelog completes it.
    """

    def read(self, table: Table, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, in their order, None where there is none."""
        ...

    def write(self, table: Table, partition: int, changes: Changes) -> None:
        """Puts (or, for a None value, deletes) all rows and remembers the changelog offset."""
        ...


@dataclass(slots=True)
class Appends:
    """Records to append to one topic, in order; one without a value ends a row. `topic` is the
    logical name; `partition` None is that of the cycle."""

    topic: str
    records: Sequence[tuple[bytes | None, bytes | None]] = ()
    partition: int | None = None


class CycleLog(Protocol):
    """One transaction per cycle, fenced per partition (decision 006).

    After `fence(p)` returns, no earlier owner of p can commit anything, and what it had open is
    decided.
    """

    async def fence(self, partitions: Sequence[int]) -> None:
        """Takes the transactional id of each partition; earlier holders are refused from now on."""
        ...

    async def release(self) -> None:
        """Gives all partitions up."""
        ...

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        """Appends everything and commits the next input offsets by logical topic, atomically.

        Returns the offset of the last record of each topic. Raises FaultError (fenced, refused,
        outcome unknown): the caller must stop without touching anything.
        """
        ...


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a group of records lies: the offset of its first, the others follow without a gap; and
    the log's own time of the append, that of every record of the group."""

    base_offset: int
    appended_at_us: int


class LeaseLog(Protocol):
    """The topic `preflights`, written by the owners of its partitions, each under its own fence."""

    async def fence(self, partition: int) -> None:
        """Takes the producer of a partition.

        After the first append that follows, the log refuses whatever an earlier owner sends.
        """
        ...

    async def append(
        self, partition: int, records: Sequence[tuple[bytes | None, bytes]]
    ) -> Appended:
        """Appends (key, value) records as one batch: all of them, side by side, or none.

        Raises FaultError for everything but a certain answer: whether they are in the log is not
        known then, and the caller stops. One append of a partition at a time.
        """
        ...

    async def read(self, partition: int, from_offset: int, to_offset: int) -> list[SourceRecord]:
        """The records in [from_offset, to_offset), which have all been appended before.

        Raises FaultError where one of them is not there.
        """
        ...

    async def usage_end(self, partition: int) -> int:
        """The offset after the last record of `usage` that anybody may read by now."""
        ...

    async def unassigned_end(self, partition: int) -> int:
        """The same of `unassigned`."""
        ...

    async def release(self) -> None:
        """Gives all partitions up."""
        ...


class Catalog(Protocol):
    """What decisions may look up, as far as this process has read it."""

    async def context(self, at_least: int = 0) -> Context:
        """The context at the last record read, which covers at least the records below `at_least`.

        Waits for a moment where this process has not read so far yet. Raises FaultError where the
        catalog ends before that, or cannot be read any more.
        """
        ...


class Clock(Protocol):
    """Wall time, for limits at the edge only; the domain never sees it."""

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        ...


# --- the sink, reports, migrations --------------------------------------------------------------

NO_ROWS = -1
"""The mark of a table that holds no row of a (generation, partition) yet."""


@dataclass(frozen=True, slots=True)
class OutboundRecord:
    """One committed record of an outbound topic: its offset and its bytes; empty for the end of a
    key."""

    offset: int
    value: bytes
    appended_at_us: int = 0
    """When Kafka appended it."""


class OutboundLog(Protocol):
    """One partition of one outbound topic, read in order; only committed records appear."""

    @property
    def table(self) -> str:
        """The table that this topic fills."""
        ...

    @property
    def partition(self) -> int:
        """The Kafka partition."""
        ...

    async def bounds(self) -> tuple[int, int]:
        """The first offset still kept, and the offset after the last committed record or marker."""
        ...

    async def hint(self) -> int | None:
        """The offset last given to `done`, by whichever process. Only a hint: it may be stale, lost
        or of another table."""
        ...

    async def peek(self, offset: int) -> OutboundRecord | None:
        """The first record at or after an offset, None at the end. Moves the position anywhere."""
        ...

    async def seek(self, offset: int) -> None:
        """The next `take` begins with the first record at or after this offset."""
        ...

    async def take(self, rows_max: int, bytes_max: int) -> Sequence[OutboundRecord]:
        """The next records, in order: waits a moment for the first, then briefly for company.

        At most `rows_max`; ends soon after `bytes_max` is reached. Empty when nothing came.
        Raises TransientError where the broker does not answer.
        """
        ...

    def done(self, offset: int) -> None:
        """Everything below this offset is in the table. Stored soon, as the next `hint`."""
        ...


class RowTarget(Protocol):
    """Tables whose rows carry (generation, partition, sequence), each sequence dense from 0."""

    async def mark(self, table: str, generation: int, partition: int) -> int:
        """The largest sequence the table holds, NO_ROWS for none.

        Raises TransientError (try again), SetupError (no such table), FaultError (rows are missing
        or doubled below the mark).
        """
        ...

    async def insert(
        self, table: str, generation: int, partition: int, mark: int, body: bytes
    ) -> None:
        """Inserts rows if the table still stands at `mark`, and does nothing if it does not.

        `body` holds JSON lines: the rows from `mark` + 1 on, of one generation, partition and
        month. They become visible together or not at all. Returning does not say whether they
        did: read the mark. Raises TransientError where the outcome is unknown or nothing was
        done."""
        ...


@dataclass(frozen=True, slots=True)
class CatalogPlace:
    """Where a record of the catalog stands, and which one it is."""

    offset: int
    appended_at_us: int
    kind: str
    id: str
    version: str


class CatalogTarget(Protocol):
    """The table of catalog records; its mark is the largest offset, and offsets have gaps."""

    async def mark(self) -> int:
        """The largest offset that the table holds, NO_ROWS for none. Raises as `RowTarget.mark`."""
        ...

    async def newest(self, count: int) -> Sequence[CatalogPlace]:
        """The last rows of the table, the newest first."""
        ...

    async def insert(self, mark: int, rows: Sequence[tuple[CatalogPlace, bytes]]) -> None:
        """Inserts records under the mark, with all that `RowTarget.insert` promises."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns and rows of a query."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class Warehouse(Protocol):
    """Where reports read."""

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Runs one SELECT with server-side parameters (`{name:Type}`).

        Raises SetupError, TransientError, or FaultError for a query that the server refuses.
        """
        ...


class SchemaTarget(Warehouse, Protocol):
    """Where migrations are applied."""

    def execute(self, sql: str) -> None:
        """Runs one statement that returns nothing."""
        ...

    def record(self, table: str, row: Mapping[str, Any], token: str) -> None:
        """Inserts one row into a table, once per token."""
        ...


# --- the audit ----------------------------------------------------------------------------------


class Book(Protocol):
    """One partition of one topic between two offsets, committed records only. Blocking."""

    @property
    def start(self) -> int:
        """The first offset that is still kept."""
        ...

    @property
    def end(self) -> int:
        """The offset after the last committed record or marker when the audit began."""
        ...

    def batches(self, offset: int) -> Iterator[Sequence[SourceRecord]]:
        """The records from an offset to the end, in order. May be asked for more than once.

        Raises TransientError where the broker does not answer.
        """
        ...


class TableImage(Protocol):
    """What a partition's tables hold somewhere: a changelog folded, or a store on a disk."""

    @property
    def name(self) -> str:
        """What it is, for a person."""
        ...

    @property
    def settled(self) -> bool:
        """Whether it ends with a whole cycle. One that follows its changelog, a standby or a table
        that is being rebuilt, may stand in the middle of one."""
        ...

    def accounts(self) -> Mapping[bytes, bytes]:
        """All accounts, and the progress under PROGRESS_KEY."""
        ...

    def claims(self) -> tuple[int | None, Iterator[tuple[bytes, bytes]]] | None:
        """The offset of the last claims segment in here, None before the first, and all packed
        claims by key. None where this image has no claims."""
        ...


@dataclass(frozen=True, slots=True)
class RowSum:
    """Rows in short: their number, the sums of what they bill, a sum over the digest of each that
    no removed, doubled or altered row leaves as it was. Cost in pico, all currencies together."""

    rows: int = 0
    digest: int = 0
    units: int = 0
    cost_pico: int = 0


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that is not as the log says: its sequence, how often it should be there in this form
    less how often it is, and its columns as texts."""

    sequence: int
    surplus: int
    columns: Mapping[str, str]


class AuditedRows(Protocol):
    """The tables that the sink fills, read and never written. Blocking."""

    def marks(self) -> Mapping[tuple[str, int, int], int]:
        """The largest sequence by table, generation and partition."""
        ...

    def sum_expected(self, table: str, values: Sequence[bytes]) -> RowSum:
        """The sum of the rows that these records of the log make."""
        ...

    def sum_rows(
        self, table: str, generation: int, partition: int, first: int, last: int, step: int
    ) -> Mapping[int, RowSum]:
        """The sums of the rows whose sequence is in [first, last], by sequence // step."""
        ...

    def compare(
        self,
        table: str,
        generation: int,
        partition: int,
        first: int,
        last: int,
        values: Sequence[bytes],
        limit: int,
    ) -> Sequence[RowDifference]:
        """Where the rows with a sequence in [first, last] are not those that `values` make, by
        sequence, at most `limit`."""
        ...
