"""The partitions that this process owns: what has arrived for them, and whose turn it is.

The adapter delivers runs of records; a partition with records is announced once; whoever serves the
announcements calls `turn`, which runs one cycle. Between two cycles of a partition lies a pause, so
that a cycle holds a few hundred records rather than a few (`pace`: a transaction costs much the
same whatever it holds).
"""

import asyncio
import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from schemas.topics import PREFLIGHTS, USAGE
from streams.agents.cycle import FOLD_ORDER, CycleOutcome, PartitionCycle, TopicSlice
from streams.agents.pace import PERIOD_SECONDS, pause_seconds
from streams.domain.facts import SourceRecord

log = logging.getLogger(__name__)

INBOX_RECORDS_MAX: Final = 5_000
"""Records that wait for one partition before the fetcher is held back: one cycle of the usual bound
and the beginning of the next, so that reading and folding overlap. A fetch may exceed it by itself.
Decision 015: 3,000 were as fast as 20,000 and took 135 MiB less."""

INBOX_BYTES_MAX: Final = 32 * 1024 * 1024
"""The same in bytes, for producers of large records."""


@dataclass(frozen=True, slots=True)
class CycleBounds:
    """How much a cycle takes, and how long a partition pauses between two of them: both at the
    most. Cycles that are quick begin `period_seconds` apart."""

    records_max: int
    bytes_max: int
    pause_seconds: float
    period_seconds: float = PERIOD_SECONDS

    def are_reached(self, records: int, size: int) -> bool:
        """Whether so many records and bytes fill a cycle."""
        return records >= self.records_max or size >= self.bytes_max


class _Run:
    """Records of one topic as they were fetched, up to `to_offset`.

    What they weigh is added up once, so that cutting a piece off costs nothing per record.
    """

    __slots__ = ("_sums", "_taken", "records", "to_offset")

    def __init__(self, to_offset: int, records: Sequence[Any]) -> None:
        self.to_offset = to_offset
        self.records = records
        sizes = [len(record.value or b"") + len(record.key or b"") for record in records]
        self._sums = list(accumulate(sizes, initial=0))
        self._taken = 0

    def __len__(self) -> int:
        return len(self.records) - self._taken

    @property
    def bytes(self) -> int:
        """Keys and values of all its records."""
        return self._sums[-1]

    @property
    def waiting_since_us(self) -> int:
        """The append time of the next record, by the log's clock."""
        return int(self.records[self._taken].timestamp) * 1_000

    @property
    def is_over(self) -> bool:
        """Whether every record has been taken."""
        return self._taken == len(self.records)

    def take(self, records_max: int, bytes_max: int) -> tuple[Sequence[Any], int]:
        """The next records and their bytes: at the most `records_max`, and none after the one with
        which they reach `bytes_max`; at least one."""
        begin, sums = self._taken, self._sums
        by_bytes = bisect_left(sums, sums[begin] + bytes_max, begin + 1)
        end = self._taken = min(begin + records_max, by_bytes, len(self.records))
        return self.records[begin:end], sums[end] - sums[begin]


@dataclass(slots=True)
class _Inbox:
    cycle: PartitionCycle
    cursor: dict[str, int]
    runs: dict[str, deque[_Run]] = field(default_factory=dict)
    records: int = 0
    bytes: int = 0
    announced: bool = False
    stated: bool = False
    """Whether a cycle has said where this owner began: the first one names every topic."""


class Ownership:
    """The inboxes of all owned partitions. All methods belong to one event loop."""

    def __init__(
        self,
        make_cycle: Callable[[int], PartitionCycle],
        announce: Callable[[int], Awaitable[None]],
        bounds: Callable[[], CycleBounds],
        halt: Callable[[BaseException], None],
        observe: Callable[[int, CycleOutcome, float], None] = lambda _partition, _cycle, _took: (
            None
        ),
    ) -> None:
        """`announce` says that a partition has records; `bounds` what a cycle may take that begins
        now; `halt` ends the process after a failed
        cycle and does not return in production; `observe` is told of every committed cycle and how
        many seconds it took."""
        self._make_cycle = make_cycle
        self._announce = announce
        self._bounds = bounds
        self._halt = halt
        self._observe = observe
        self._inboxes: dict[int, _Inbox] = {}
        self._running: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._space = asyncio.Event()
        self._space.set()

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that are owned now."""
        return frozenset(self._inboxes)

    async def quiesce(self) -> None:
        """Gives everything up: drops what waits, and returns when no cycle is running any more.

        What was dropped is not committed, so it is read again by the next owner.
        """
        self._inboxes = {}
        self._space.set()
        await self._idle.wait()

    def take_over(self, positions: Mapping[int, Mapping[str, int]]) -> None:
        """Owns these partitions from these offsets (by logical topic) on. Nothing may be
        running."""
        self._inboxes = {
            partition: _Inbox(
                self._make_cycle(partition), {topic: offsets[topic] for topic in FOLD_ORDER}
            )
            for partition, offsets in positions.items()
        }

    async def deliver(
        self, topic: str, partition: int, to_offset: int, records: Sequence[Any]
    ) -> None:
        """Takes a run of records that follows the last one of its topic and ends before
        `to_offset`.

        Waits while the inbox is full. Runs of a partition that is not owned any more are dropped.
        """
        inbox = self._inboxes.get(partition)
        if inbox is None:
            return
        self._put(inbox, topic, to_offset, records)
        if not inbox.announced:
            inbox.announced = True
            await self._announce(partition)
        while inbox is self._inboxes.get(partition) and _full(inbox):
            self._space.clear()
            await self._space.wait()

    def hand_over(self, partition: int, records: Sequence[SourceRecord]) -> None:
        """Takes records of `preflights` that the owner of the partition has appended, in the same
        step: whatever cycle begins after this folds them before any usage (P4)."""
        inbox = self._inboxes.get(partition)
        if inbox is None or not records:
            return
        self._put(inbox, PREFLIGHTS.name, records[-1].offset + 1, records)
        if not inbox.announced:
            inbox.announced = True
            self._announce_soon(partition)

    def waiting_since_us(self, partition: int) -> int | None:
        """The append time of the oldest record of `usage` that waits for a cycle, None for none:
        how far behind the log the state of a partition is (P7)."""
        inbox = self._inboxes.get(partition)
        runs = None if inbox is None else inbox.runs.get(USAGE.name)
        return None if not runs else runs[0].waiting_since_us

    def waiting_records(self) -> dict[tuple[str, int], int]:
        """How many records of each topic and owned partition wait for a cycle."""
        return {
            (topic, partition): sum(len(run) for run in inbox.runs.get(topic, ()))
            for partition, inbox in self._inboxes.items()
            for topic in FOLD_ORDER
        }

    def _put(self, inbox: _Inbox, topic: str, to_offset: int, records: Sequence[Any]) -> None:
        run = _Run(to_offset, records)
        inbox.runs.setdefault(topic, deque()).append(run)
        inbox.records += len(records)
        inbox.bytes += run.bytes

    def _announce_soon(self, partition: int) -> None:
        task = asyncio.ensure_future(self._announce(partition))
        task.add_done_callback(lambda done: done.result())

    async def turn(self, partition: int) -> None:
        """One cycle of an announced partition; announces it again after the pause while records
        wait."""
        inbox = self._inboxes.get(partition)
        if inbox is None or partition in self._running:
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        slices = self._take(inbox)
        self._running.add(partition)
        self._idle.clear()
        try:
            if slices:
                outcome = await inbox.cycle.run(slices)
                self._observe(partition, outcome, loop.time() - began)
        except Exception as fault:
            self._halt(fault)
            raise
        finally:
            self._running.discard(partition)
            if not self._running:
                self._idle.set()
        if inbox is self._inboxes.get(partition):
            bounds = self._bounds()
            pause = pause_seconds(
                loop.time() - began,
                full_cycle_waits=bounds.are_reached(inbox.records, inbox.bytes) or _full(inbox),
                pause_seconds_max=bounds.pause_seconds,
                period_seconds=bounds.period_seconds,
            )
            loop.call_later(pause, self._after_pause, partition, inbox)

    def _after_pause(self, partition: int, inbox: _Inbox) -> None:
        if inbox is not self._inboxes.get(partition):
            return
        if inbox.records:
            self._announce_soon(partition)
        else:
            inbox.announced = False

    def _take(self, inbox: _Inbox) -> list[TopicSlice]:
        slices = []
        bounds = self._bounds()
        records_left, bytes_left = bounds.records_max, bounds.bytes_max
        for topic in FOLD_ORDER:
            runs = inbox.runs.get(topic, deque())
            piece = TopicSlice(topic, inbox.cursor[topic], inbox.cursor[topic])
            while runs and records_left > 0 and bytes_left > 0:
                run = runs[0]
                part, size = run.take(records_left, bytes_left)
                records_left -= len(part)
                bytes_left -= size
                inbox.records -= len(part)
                inbox.bytes -= size
                piece.records += _source_records(topic, part)
                piece.to_offset = part[-1].offset + 1
                if run.is_over:
                    piece.to_offset = run.to_offset
                    runs.popleft()
            inbox.cursor[topic] = piece.to_offset
            slices.append(piece)
        moved = [piece for piece in slices if piece.to_offset > piece.from_offset]
        if moved and inbox.stated:
            slices = moved
        inbox.stated = inbox.stated or bool(moved)
        if not _full(inbox):
            self._space.set()
        return slices if moved else []


def _source_records(topic: str, records: Sequence[Any]) -> Sequence[SourceRecord]:
    """Records as the core knows them; the log's time is in milliseconds."""
    if topic == PREFLIGHTS.name:
        return records  # handed over as they are
    return [
        SourceRecord(topic, record.offset, record.timestamp * 1000, record.key, record.value)
        for record in records
    ]


def _full(inbox: _Inbox) -> bool:
    return inbox.records >= INBOX_RECORDS_MAX or inbox.bytes >= INBOX_BYTES_MAX
