"""Sinks for tests: one face for tables in memory and in ClickHouse, sinks killed at any step."""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import pytest

from streams.adapters.clickhouse import ClickHouse, ClickHouseAddress
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.memory_sink import EndOfLogError, MemoryLog, MemoryRows
from streams.embedded.endpoints import Endpoints
from streams.errors import TransientError
from streams.ports import OutboundLog, RowTarget
from streams.shipped import clickhouse_migrations
from streams.sink.loop import Inserted, PartitionSink
from streams.sink.migrations import TABLE as MIGRATIONS
from streams.sink.migrations import Applied, migrate, read_applied, read_migrations
from streams.sink.patience import Patience
from streams.sink.rows import BatchLimits

T = TypeVar("T")

WIDE = BatchLimits(rows_max=1000, bytes_max=1_000_000)


class MemoryTable:
    """The `ledger` of a MemoryRows, as a test looks at it and spoils it."""

    def __init__(self) -> None:
        self.memory = MemoryRows()
        self.target: RowTarget = self.memory

    def sequences(self, generation: int = 1, partition: int = 0) -> list[int]:
        """All sequences in the table, sorted."""
        return sorted(self.memory.rows.get(("ledger", generation, partition), []))

    def batches(self) -> int:
        """How many inserts took effect."""
        return len(self.memory.bodies)

    def lose_rows_from(self, sequence: int) -> None:
        """What deleting rows does: the tokens stay."""
        for rows in self.memory.rows.values():
            rows[:] = [kept for kept in rows if kept < sequence]

    def forget_tokens(self) -> None:
        """What a restored table, or a window of 0, does."""
        self.memory.forget_tokens()


class ClickHouseTable:
    """The `ledger` of a database of its own."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse
        self.target: RowTarget = ClickHouseRows(clickhouse)

    def sequences(self, generation: int = 1, partition: int = 0) -> list[int]:
        """All sequences in the table, sorted."""
        answer = self.clickhouse.query(
            "SELECT sequence FROM ledger WHERE generation = {g:UInt32} AND partition = {p:UInt32} "
            "ORDER BY sequence",
            {"g": generation, "p": partition},
        )
        return [int(sequence) for (sequence,) in answer.rows]

    def batches(self) -> int:
        """How many inserts took effect: each is one block, which merged parts still count."""
        answer = self.clickhouse.query(
            "SELECT sum(max_block_number - min_block_number + 1) FROM system.parts "
            "WHERE database = currentDatabase() AND table = 'ledger' AND active"
        )
        return int(answer.rows[0][0] or 0)

    def lose_rows_from(self, sequence: int) -> None:
        """What deleting rows does: the tokens stay."""
        self.clickhouse.execute(
            f"ALTER TABLE ledger DELETE WHERE sequence >= {sequence} SETTINGS mutations_sync = 2"
        )

    def forget_tokens(self) -> None:
        """What the sink tells the operator to do."""
        forget_tokens(self.clickhouse, "ledger")


Table = MemoryTable | ClickHouseTable


def forget_tokens(clickhouse: ClickHouse, table: str) -> None:
    """Makes a table remember no insert."""
    for window in (0, 10_000):
        clickhouse.execute(
            f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = {window}"
        )


def empty_tables(clickhouse: ClickHouse) -> None:
    """Makes the tables of a database as they are when they have been made."""
    for table in ("ledger", "dead_letters", "draft_lines", "draft_runs"):
        clickhouse.execute(f"TRUNCATE TABLE {table} SYNC")
        forget_tokens(clickhouse, table)


@contextlib.contextmanager
def clickhouse_database(endpoints: Endpoints, name: str) -> Iterator[ClickHouse]:
    """A connection to a new database, which is dropped afterwards."""
    address = ClickHouseAddress(
        endpoints.clickhouse_url, endpoints.clickhouse_user, endpoints.clickhouse_password, name
    )
    clickhouse = ClickHouse(address)
    clickhouse.create_database()
    try:
        yield clickhouse
    finally:
        clickhouse.execute(f"DROP DATABASE IF EXISTS `{name}` SYNC")
        clickhouse.close()


@dataclass(frozen=True, slots=True)
class Template:
    """A database as the migrations leave it: its name, what makes its tables and views, and the
    rows of `migrations`."""

    name: str
    statements: tuple[str, ...]
    applied: tuple[Applied, ...]


_templates: dict[str, Template] = {}
_making = threading.Lock()
"""Some tests run their cases in threads, and one of them is the first."""


@contextlib.contextmanager
def migrated_database(endpoints: Endpoints, name: str) -> Iterator[ClickHouse]:
    """A connection to a new database with all tables.

    Migrations run once for each server; what they leave is copied after that, which takes a
    twentieth of the time. A test of the migrations compares a copy with what they make.
    """
    with _making:
        template = _templates.get(endpoints.clickhouse_url)
        if template is None:
            template = _templates[endpoints.clickhouse_url] = _migrate_once(endpoints)
    with clickhouse_database(endpoints, name) as clickhouse:
        for statement in template.statements:
            clickhouse.execute(statement.replace(f"{template.name}.", f"`{name}`."))
        for done in template.applied:
            clickhouse.record(MIGRATIONS, asdict(done), str(done.number))
        yield clickhouse


def _migrate_once(endpoints: Endpoints) -> Template:
    # A name that stands in no comment and no query, because it is replaced as text.
    name = f"template_{secrets.token_hex(8)}"
    with clickhouse_database(endpoints, name) as clickhouse:
        migrate(clickhouse, read_migrations(clickhouse_migrations()))
        return Template(name, tuple(created(clickhouse)), tuple(read_applied(clickhouse)))


def created(clickhouse: ClickHouse) -> list[str]:
    """What makes a database's tables and views, tables first: a view reads from them."""
    found = clickhouse.query(
        "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() "
        "ORDER BY engine = 'View', metadata_modification_time, name"
    )
    return [str(statement) for (statement,) in found.rows]


def table_for(request: pytest.FixtureRequest, kind: str) -> Table:
    """An empty table of this kind: `memory` or `clickhouse`."""
    if kind == "memory":
        return MemoryTable()
    return ClickHouseTable(request.getfixturevalue("clickhouse"))


class Killed(BaseException):
    """The process ended here: no Exception, because nothing catches SIGKILL either."""


@dataclass
class Steps:
    """Counts the calls that a sink makes, and kills it before or after one of them."""

    kill_at: int | None = None
    after: bool = False
    taken: list[str] = field(default_factory=list)

    async def call(self, name: str, step: Callable[[], Awaitable[T]]) -> T:
        """Take one step, unless this is where the process ends."""
        number = len(self.taken)
        self.taken.append(name)
        if number == self.kill_at and not self.after:
            raise Killed(name)
        result = await step()
        if number == self.kill_at:
            raise Killed(name)
        return result


class Counted:
    """A port whose every call is a step. `done` of a log, which is not awaited, is one as well."""

    def __init__(self, port: Any, steps: Steps) -> None:
        self._port = port
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found
        if name == "done":
            return self._done

        async def counted(*arguments: Any) -> Any:
            return await self._steps.call(name, lambda: found(*arguments))

        return counted

    def _done(self, offset: int) -> None:
        number = len(self._steps.taken)
        self._steps.taken.append("done")
        if number == self._steps.kill_at and not self._steps.after:
            raise Killed("done")
        self._port.done(offset)
        if number == self._steps.kill_at:
            raise Killed("done")


class Shaky:
    """A target some of whose inserts fail, before they arrive or when the answer is under way."""

    def __init__(self, target: RowTarget, *, lost_requests: int = 0, lost_answers: int = 0) -> None:
        self._target = target
        self._lost_requests = lost_requests
        self._lost_answers = lost_answers

    async def mark(self, table: str, generation: int, partition: int) -> int:
        """As ever."""
        return await self._target.mark(table, generation, partition)

    async def insert(
        self, table: str, generation: int, partition: int, mark: int, body: bytes
    ) -> None:
        """Fails as often as it was told to."""
        if self._lost_requests:
            self._lost_requests -= 1
            raise TransientError("connection refused", action="Wait.")
        await self._target.insert(table, generation, partition, mark, body)
        if self._lost_answers:
            self._lost_answers -= 1
            raise TransientError("connection reset", action="Wait.")


class Overtaken:
    """A target into which somebody else inserts at chosen moments, right before an insert of ours.

    `meanwhile` is called with the number of our insert; it may insert, or wait for something.
    """

    def __init__(self, target: RowTarget, meanwhile: Callable[[int], Awaitable[None]]) -> None:
        self._target = target
        self._meanwhile = meanwhile
        self._inserts = 0

    async def mark(self, table: str, generation: int, partition: int) -> int:
        """As ever."""
        return await self._target.mark(table, generation, partition)

    async def insert(
        self, table: str, generation: int, partition: int, mark: int, body: bytes
    ) -> None:
        """Let the other one go first."""
        self._inserts += 1
        await self._meanwhile(self._inserts - 1)
        await self._target.insert(table, generation, partition, mark, body)


def sink_of(
    log: OutboundLog,
    target: RowTarget,
    limits: BatchLimits = WIDE,
    told: list[Inserted] | None = None,
) -> PartitionSink:
    """A sink whose retries do not wait, under a deadline that counts them."""
    ticks = iter(range(10**9))

    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    patience = Patience(lambda: float(next(ticks)), at_once, deadline_seconds=50)
    report = (told if told is not None else []).append
    return PartitionSink(log, target, limits, patience, report)


async def drain(
    log: OutboundLog,
    target: RowTarget,
    limits: BatchLimits = WIDE,
    told: list[Inserted] | None = None,
) -> None:
    """Run a sink up to the end of its log."""
    with contextlib.suppress(EndOfLogError):
        await sink_of(log, target, limits, told).run()


def reread(log: MemoryLog, *, hint: int | None = None) -> MemoryLog:
    """The same log as another process comes to it, with the hint it finds."""
    other = MemoryLog(log.table, log.partition, hint=hint)
    other.records = log.records
    return other
