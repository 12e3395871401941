"""Sinks and a ClickHouse of one process: answers get lost, statements are slow, tokens are
forgotten, the tables come back from an old backup."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.codec import decode_mark
from streams.errors import FaultError, TransientError
from streams.ports import NO_ROWS, OutboundRecord
from streams.sink.loop import PartitionSink
from streams.sink.patience import Patience
from streams.sink.rows import BatchLimits
from tests.simulation.broker import Broker
from tests.simulation.scheduler import Scheduler

STATEMENT_STEPS_MAX: Final = 16
"""How long a body may take, as the server measures it; at most one insert per step."""
TOKENS_MAX: Final = STATEMENT_STEPS_MAX + 1
LIMITS: Final = BatchLimits(rows_max=9, bytes_max=100_000)

Series = tuple[str, int, int]


@dataclass
class Database:
    """What the server has on its disk."""

    rows: dict[Series, list[bytes]] = field(default_factory=dict)
    tokens: deque[tuple[str, int, int, int]] = field(
        default_factory=lambda: deque(maxlen=TOKENS_MAX)
    )
    backup: dict[Series, list[bytes]] = field(default_factory=dict)
    life: int = 0

    def back_up(self) -> None:
        """A copy of all tables."""
        self.backup = {series: list(rows) for series, rows in self.rows.items()}

    def restore(self) -> None:
        """The tables as they were; statements under way die, tokens are gone."""
        self.rows = {series: list(rows) for series, rows in self.backup.items()}
        self.tokens.clear()
        self.life += 1


class SimulatedRows:
    """`ports.RowTarget` of one sink."""

    def __init__(self, database: Database, scheduler: Scheduler) -> None:
        self._database = database
        self._scheduler = scheduler

    async def mark(self, table: str, generation: int, partition: int) -> int:
        """The largest sequence; refuses missing or doubled rows as the real one does."""
        await self._scheduler.point("mark", "mark fails")
        rows = self._database.rows.get((table, generation, partition), [])
        mark = max((decode_mark(row).sequence for row in rows), default=NO_ROWS)
        if len(rows) != mark + 1:
            raise FaultError(f"{table}: {len(rows)} rows up to {mark}", action="Stop.")
        return mark

    async def insert(
        self, table: str, generation: int, partition: int, mark: int, body: bytes
    ) -> None:
        """Guard, then the body arrives, then limit and token: three moments, as in the server."""
        database, scheduler = self._database, self._scheduler
        await scheduler.point("insert", "insert's request lost", weight=3)
        life, began = database.life, scheduler.step
        rows = database.rows.setdefault((table, generation, partition), [])
        if not self.guard_passes(rows, mark):
            return
        await scheduler.point("body", "insert breaks off", weight=3)
        if database.life != life:
            raise TransientError("the tables were replaced", action="Try again.")
        if scheduler.step - began > STATEMENT_STEPS_MAX:
            scheduler.seen["insert too slow"] += 1
            raise TransientError("too slow", action="Try again.")
        self.write(rows, (table, generation, partition, mark), body)
        await scheduler.point("inserted", "insert's answer lost", weight=3)

    def guard_passes(self, rows: list[bytes], mark: int) -> bool:
        """Whether the table stands at the mark when the statement begins."""
        return len(rows) - 1 == mark

    def write(self, rows: list[bytes], token: tuple[str, int, int, int], body: bytes) -> None:
        """The block, unless its token is known."""
        tokens = self._database.tokens
        if token in tokens:
            self._scheduler.seen["token refused"] += 1
            return
        if len(tokens) == TOKENS_MAX:
            self._scheduler.seen["token forgotten"] += 1
        tokens.append(token)
        rows += body.rstrip(b"\n").split(b"\n")


class Outbound:
    """`ports.OutboundLog` over the broker's committed records."""

    def __init__(
        self,
        topic: str,
        partition: int,
        broker: Broker,
        scheduler: Scheduler,
        hints: dict[str, int],
    ) -> None:
        self._topic = topic
        self._partition = partition
        self._broker = broker
        self._scheduler = scheduler
        self._hints = hints
        self._position = 0

    @property
    def table(self) -> str:
        """The table of the topic."""
        return self._topic

    @property
    def partition(self) -> int:
        """The partition."""
        return self._partition

    async def bounds(self) -> tuple[int, int]:
        """From the beginning to the last stable offset."""
        await self._scheduler.point("bounds", "bounds fail")
        return 0, self._broker.end(self._topic, self._partition)

    async def hint(self) -> int | None:
        """What some sink stored."""
        await self._scheduler.point("hint")
        return self._hints.get(f"{self._topic}-{self._partition}")

    async def peek(self, offset: int) -> OutboundRecord | None:
        """The first record from there on."""
        await self._scheduler.point("peek", "peek fails")
        found = self._read(offset, 1)
        return found[0] if found else None

    async def seek(self, offset: int) -> None:
        """Sets the position."""
        self._position = offset

    async def take(self, rows_max: int, bytes_max: int) -> Sequence[OutboundRecord]:
        """What is there; empty when nothing came."""
        await self._scheduler.point("take", "take fails")
        found = self._read(self._position, self._scheduler.chance.randint(1, rows_max))
        if found:
            self._position = found[-1].offset + 1
        return found

    def done(self, offset: int) -> None:
        """The hint, which does not always arrive."""
        if not self._scheduler.happens("hint lost", 0.1):
            self._hints[f"{self._topic}-{self._partition}"] = offset

    def _read(self, offset: int, most: int) -> list[OutboundRecord]:
        records = self._broker.read(self._topic, self._partition, offset, most)
        return [OutboundRecord(record.offset, record.value or b"") for record in records]


async def run_sink(log: Outbound, target: SimulatedRows, scheduler: Scheduler) -> None:
    """The real sink, with a patience that counts steps."""

    async def sleep(_seconds: float) -> None:
        await scheduler.point("patience")

    patience = Patience(lambda: scheduler.step / 10, sleep, deadline_seconds=20)
    await PartitionSink(log, target, LIMITS, patience, lambda _inserted: None).run()
