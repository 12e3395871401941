"""A Kafka of one process: logs with open, committed and aborted transactions, epochs, a group.

The commit of a cycle is split into its inner steps, each a point of the scheduler, because that is
where owners die. What a transaction wrote takes offsets at once and is seen when it is committed.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streams.domain.facts import SourceRecord
from streams.errors import FaultError
from streams.ports import Appends
from tests.simulation.scheduler import InjectedError, Scheduler

LOST_ANSWER = "unknown: commit's answer lost"


class FencedError(FaultError):
    """An epoch that is over."""


@dataclass(slots=True)
class Transaction:
    """What one producer has open."""

    epoch: int
    state: str = "open"
    places: list[tuple[str, int]] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Stored:
    """An offset of a log: a record, or (value None and key None) a marker."""

    key: bytes | None
    value: bytes | None
    appended_us: int
    transaction: Transaction | None = None
    marker: bool = False


@dataclass
class Broker:
    """All logs, by logical topic and partition."""

    now_us: int
    logs: defaultdict[tuple[str, int], list[Stored]] = field(
        default_factory=lambda: defaultdict(list)
    )
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    epochs: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    open: dict[int, Transaction] = field(default_factory=dict)

    def end(self, topic: str, partition: int) -> int:
        """The last stable offset: what is behind an open transaction nobody sees."""
        log = self.logs[topic, partition]
        opened = [one for one in self.open.values() if (topic, partition) in one.places]
        if not opened:
            return len(log)
        return next(
            at for at, one in enumerate(log) if any(one.transaction is other for other in opened)
        )

    def read(self, topic: str, partition: int, offset: int, most: int) -> list[SourceRecord]:
        """Committed records from an offset on."""
        log, found = self.logs[topic, partition], list[SourceRecord]()
        for at in range(offset, self.end(topic, partition)):
            one = log[at]
            if one.marker or (one.transaction is not None and one.transaction.state != "done"):
                continue
            found.append(SourceRecord(topic, at, one.appended_us, one.key, one.value))
            if len(found) == most:
                break
        return found

    def all(self, topic: str, partition: int) -> list[SourceRecord]:
        """Everything committed."""
        return self.read(topic, partition, 0, 10**9)

    def finish(self, partition: int, state: str) -> None:
        """Ends the open transaction, with a marker in every log that it wrote to."""
        transaction = self.open.pop(partition, None)
        if transaction is None:
            return
        transaction.state = state
        for place in transaction.places:
            self.logs[place].append(Stored(None, None, self.now_us, None, marker=True))
        if state == "done":
            for topic, offset in transaction.offsets.items():
                self.offsets[topic, partition] = offset


class SimulatedLog:
    """`ports.CycleLog` of one process."""

    def __init__(self, broker: Broker, scheduler: Scheduler) -> None:
        self._broker = broker
        self._scheduler = scheduler
        self.epochs: dict[int, int] = {}

    async def fence(self, partitions: Sequence[int]) -> None:
        """Bumps the epochs and aborts what is open."""
        for partition in partitions:
            await self._scheduler.point("fence", "unknown: fence")
            self._broker.epochs[partition] += 1
            self._broker.finish(partition, "aborted")
            self.epochs[partition] = self._broker.epochs[partition]
            await self._scheduler.point("fenced")

    async def release(self) -> None:
        """Forgets the epochs."""
        self.epochs = {}

    def is_fenced(self, partition: int) -> bool:
        """Whether somebody took the partition's id meanwhile."""
        return self.epochs.get(partition) != self._broker.epochs[partition]

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        """Begin, append, offsets, commit: each may be the last thing this process does."""
        broker, point = self._broker, self._scheduler.point
        await point("6a begin")
        self._check(partition)
        transaction = broker.open[partition] = Transaction(self.epochs[partition])
        last: dict[str, int] = {}
        for append in appends:
            await point("6b append", "unknown: append")
            self._check(partition)
            if append.records:
                to = partition if append.partition is None else append.partition
                log = broker.logs[append.topic, to]
                transaction.places.append((append.topic, to))
                log += [Stored(k, v, broker.now_us, transaction) for k, v in append.records]
                last[append.topic] = len(log) - 1
        await point("6c offsets", "unknown: offsets", weight=3)
        self._check(partition)
        transaction.offsets = dict(offsets)
        await point("6d commit", "unknown: commit's request lost", weight=3)
        self._check(partition)
        self._end(partition)
        if self._scheduler.happens(LOST_ANSWER, 3 * self._scheduler.odds.fault):
            raise InjectedError("the answer is lost", action="Start again.")
        await point("6d committed")
        return last

    def _end(self, partition: int) -> None:
        self._broker.finish(partition, "done")

    def _check(self, partition: int) -> None:
        if self.is_fenced(partition):
            self._scheduler.seen["zombie refused"] += 1
            raise FencedError(f"partition {partition} is fenced", action="Stop.")


@dataclass
class Group:
    """Who owns which partition; every change is a new generation."""

    partitions: int
    members: list[str] = field(default_factory=list)
    generation: int = 0

    def join(self, name: str) -> None:
        """A new member."""
        if name not in self.members:
            self.members.append(name)
            self.generation += 1

    def leave(self, name: str) -> None:
        """A member that left, or whose session ran out."""
        if name in self.members:
            self.members.remove(name)
            self.generation += 1

    def assigned(self, name: str) -> list[int]:
        """The partitions of a member now."""
        if name not in self.members:
            return []
        at, count = self.members.index(name), len(self.members)
        # Turned by the generation, so that partitions wander at every rebalance.
        return [p for p in range(self.partitions) if (p + self.generation) % count == at]
