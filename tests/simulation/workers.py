"""A worker process: joins the group, fences, recovers, places itself, and runs the real cycles."""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.topics import ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG
from streams.adapters.memory import MemoryStore
from streams.adapters.store import expand_segments
from streams.agents.cycle import (
    CLOCK_SKEW_US_MAX,
    FOLD_ORDER,
    PartitionCycle,
    TopicSlice,
    read_progress,
)
from streams.agents.positions import start_positions
from streams.domain.context import CatalogView, Context
from streams.errors import TransientError
from streams.ports import Changes, Table
from tests.simulation.broker import Broker, Group, SimulatedLog
from tests.simulation.scheduler import Crashed, Scheduler, ViolationError

TABLES: Final = ((Table.ACCOUNTS, ACCOUNTS_CHANGELOG.name), (Table.CLAIMS, CLAIMS_CHANGELOG.name))
TAKE_MAX: Final = 7
CLOCK_BEHIND_US: Final = 2 * CLOCK_SKEW_US_MAX


class Disk(MemoryStore):
    """A local store that outlives its process, may be full, and before and after whose writes a
    process may die."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._scheduler = scheduler
        self.whole: set[int] = set()
        """Partitions whose recovery came to its end: in between, a table may stand inside a
        cycle."""

    def write(self, table: Table, partition: int, changes: Changes) -> None:
        """All rows, or none and the process ends."""
        scheduler = self._scheduler
        if scheduler.happens("disk full", scheduler.odds.fault):
            raise OSError(errno.ENOSPC, "No space left on device")
        if scheduler.happens(f"crash before {table.value} are stored", 3 * scheduler.odds.crash):
            raise Crashed
        super().write(table, partition, changes)
        if scheduler.happens(f"crash after {table.value} are stored", 3 * scheduler.odds.crash):
            raise Crashed

    def content(self, partition: int) -> tuple[dict[bytes, bytes], dict[bytes, bytes], int | None]:
        """Accounts, claims, and the offset of the last claims segment."""
        return (
            dict(self._rows[Table.ACCOUNTS, partition]),
            dict(self._rows[Table.CLAIMS, partition]),
            self.changelog_offsets.get((Table.CLAIMS, partition)),
        )


@dataclass
class SimulatedClock:
    """The machine's clock: the broker's, and how far it is off."""

    broker: Broker
    off_us: int = 0
    read_us: int = 0

    def now_us(self) -> int:
        """What it shows; remembered, to be compared with what was committed."""
        self.read_us = self.broker.now_us + self.off_us
        return self.read_us


@dataclass
class CatalogTopic:
    """The catalog as a list of views: `views[n]` has read n records. Grows by `length`."""

    views: Sequence[CatalogView]
    length: int


class Follower:
    """`ports.Catalog` of one process: it lags behind as it likes."""

    def __init__(self, topic: CatalogTopic, scheduler: Scheduler) -> None:
        self._topic = topic
        self._scheduler = scheduler
        self.read = scheduler.chance.randint(3, topic.length)

    @property
    def view(self) -> CatalogView:
        """What it has read."""
        return self._topic.views[self.read]

    async def context(self, at_least: int = 0) -> Context:
        """Waits until it has read far enough; reads on now and then."""
        await self._scheduler.point("catalog")
        if at_least > self._topic.length:
            raise ViolationError("a partition was decided with records that the catalog lacks")
        while self.read < at_least:
            self._scheduler.seen["catalog lags"] += 1
            await self._scheduler.point("catalog lags")
            self.read += 1
        if self.read < self._topic.length and self._scheduler.chance.random() < 0.1:
            self.read += 1
        return self.view.context()


@dataclass
class Process:
    """One worker; `disk` survives it."""

    name: str
    broker: Broker
    group: Group
    catalog: CatalogTopic
    scheduler: Scheduler
    disk: Disk
    clock: SimulatedClock
    make: type[SimulatedLog] = SimulatedLog
    recovered_at_once: int = 10
    """Changelog records that a recovery writes in one batch."""
    inspect: Callable[[Mapping[bytes, bytes], int], None] = lambda _table, _partition: None
    """Told of the accounts of a partition that has been recovered."""
    log: SimulatedLog = field(init=False)
    owned: list[int] = field(default_factory=list)

    async def run(self) -> None:
        """From the start of the process to its end."""
        self.owned = []
        self.log = self.make(self.broker, self.scheduler)
        follower = Follower(self.catalog, self.scheduler)
        self.group.join(self.name)
        while True:
            generation = self.group.generation
            self.owned = self.group.assigned(self.name)
            cycles = await self.take_over(follower)
            while generation == self.group.generation:
                await self.scheduler.point("poll")
                for partition, (cycle, positions) in cycles.items():
                    await self.one_cycle(partition, cycle, positions)
            self.group.join(self.name)

    async def take_over(
        self, follower: Follower
    ) -> dict[int, tuple[PartitionCycle, dict[str, int]]]:
        """Fence first, then recover, then place: decision 006, A2 to A6."""
        await self.log.fence(self.owned)
        await self.recover_all()
        return await self.place(follower)

    async def recover_all(self) -> None:
        """Both tables of every partition."""
        for partition in self.owned:
            self.disk.whole.discard(partition)
            for table, changelog in TABLES:
                await self.recover(table, changelog, partition)
            self.disk.whole.add(partition)

    async def place(self, follower: Follower) -> dict[int, tuple[PartitionCycle, dict[str, int]]]:
        """Where the tables are is where each partition goes on."""
        found = {}
        for partition in self.owned:
            if not self.log.is_fenced(partition):
                self.inspect(self.disk.content(partition)[0], partition)
            progress = read_progress(self.disk, partition)
            await follower.context(progress.catalog_offset)
            committed = {t: self.broker.offsets.get((t, partition)) for t in FOLD_ORDER}
            positions = start_positions(partition, progress, committed, follower.view)
            cycle = PartitionCycle(partition, self.disk, self.log, self.clock, follower)
            found[partition] = (cycle, positions)
        return found

    async def recover(self, table: Table, changelog: str, partition: int) -> None:
        """A table from its own changelog offset on, some records at a time."""
        while True:
            await self.scheduler.point(f"recover {table.value}")
            done = self.disk.changelog_offsets.get((table, partition), -1)
            records = self.broker.read(changelog, partition, done + 1, self.recovered_at_once)
            if not records:
                return
            rows = [(record.key or b"", record.value) for record in records]
            if table is Table.CLAIMS:
                rows = expand_segments(rows)
            self.disk.write(table, partition, Changes(rows, records[-1].offset))

    async def one_cycle(
        self, partition: int, cycle: PartitionCycle, positions: dict[str, int]
    ) -> None:
        """Takes what has arrived, and runs the cycle under test."""
        slices = []
        try:
            await self.scheduler.point("take", "fetch fails")
        except TransientError:
            return
        for topic in FOLD_ORDER:
            most = self.scheduler.chance.randint(0, TAKE_MAX)
            start = positions[topic]
            records = self.broker.read(topic, partition, start, most) if most else []
            if records:
                slices.append(TopicSlice(topic, start, records[-1].offset + 1, records))
        if not slices:
            return
        await cycle.run(slices)
        latest = max(record.appended_at_us for piece in slices for record in piece.records)
        if latest > self.clock.read_us + CLOCK_SKEW_US_MAX:
            raise ViolationError("a record from beyond this machine's clock was committed (D5)")
        for piece in slices:
            positions[piece.topic] = piece.to_offset
