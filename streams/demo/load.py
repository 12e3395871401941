"""Sending the records and waiting, by an exact condition, until all of them are in ClickHouse.

A partition is done when (1) the workers have committed its end offset, (2) ClickHouse has a cycle's
row that consumed up to the end, and (3) every row that these cycles promise is there. What hangs is
told apart by the same three: sending, worker, sink.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from schemas.topics import USAGE
from streams.demo.events import DemoRecord
from streams.demo.observe import Counts, Observer
from streams.demo.ports import EventProducer, Place, Positions
from streams.errors import FaultError, TransientError

STALL_SECONDS_MAX = 60.0
"""Without any progress for so long something hangs. A killed worker is back within 10 s (its
session times out after 6), a killed sink sooner; the rest is for a busy machine."""

POLL_SECONDS = 0.2
"""Between two looks at the condition: often enough for a bar, seldom enough to cost nothing."""

SHOW_EVERY = 500
"""Records between two moves of the bar."""

Show = Callable[[str, int, int], None]
"""Moves a bar: its name, done, total."""


class LoadTarget(Protocol):
    """What of an installation a load needs."""

    @property
    def logs(self) -> Path:
        """Where the logs of worker and sink are."""
        ...

    def check(self) -> None:
        """Raises what ended a process of the installation for good."""
        ...

    def kill_roles(self) -> dict[str, int]:
        """Kills worker and sink where they run; returns the pids."""
        ...


class Patience:
    """Notices that nothing moves any more."""

    def __init__(self) -> None:
        """Begins to wait now."""
        self._mark: object = None
        self._since = time.monotonic()

    def exhausted(self, mark: object) -> bool:
        """Whether `mark`, which changes with every progress, stood still for STALL_SECONDS_MAX."""
        if mark != self._mark:
            self._mark, self._since = mark, time.monotonic()
        return time.monotonic() - self._since > STALL_SECONDS_MAX


class Load:
    """One load of the demo's records into an installation that is otherwise at rest."""

    def __init__(
        self,
        target: LoadTarget,
        observer: Observer,
        records: Sequence[DemoRecord],
        show: Show,
        say: Callable[[str], None],
    ) -> None:
        """Nothing is sent yet."""
        self._target = target
        self._observer = observer
        self._records = records
        self._show = show
        self._say = say

    async def run(
        self, producer: EventProducer, positions: Positions, *, kill: bool = False
    ) -> tuple[int, Counts]:
        """Sends everything and returns when all of it is in ClickHouse, whole.

        Returns how many of the demo's calls were there before, and what became of the records.
        With `kill`, worker and sink are killed when half is sent and some of that is stored.
        Raises TransientError naming the stage that stands still and the log to read; FaultError
        where somebody else wrote to the inbound topics meanwhile, so that nothing can be counted.
        """
        begun = await positions.end_offsets()
        await self._arrived(positions, begun, begun={}, show=False)
        before = await asyncio.to_thread(self._observer.counts)
        stored = await asyncio.to_thread(self._observer.consumed)
        calls_before = await asyncio.to_thread(self._observer.calls)
        ends = dict(begun)
        for partition, count in Counter(r.partition for r in self._records).items():
            ends[USAGE.name, partition] += count

        arriving = asyncio.create_task(self._arrived(positions, ends, begun=begun, show=True))
        try:
            await self._send(producer, partial(self._kill_roles, stored) if kill else None)
            found = await positions.end_offsets()
            if found != ends:
                raise _disturbed(sum(found.values()) - sum(ends.values()))
            await arriving
        finally:
            arriving.cancel()
        return calls_before, (await asyncio.to_thread(self._observer.counts)).since(before)

    async def settled(self, positions: Positions) -> None:
        """Returns when everything that is in the inbound topics now is in ClickHouse, whole.

        Raises TransientError where nothing moves any more.
        """
        await self._arrived(positions, await positions.end_offsets(), begun={}, show=False)

    async def _send(
        self, producer: EventProducer, halfway: Callable[[], Awaitable[None]] | None
    ) -> None:
        total = len(self._records)
        for number, record in enumerate(self._records, 1):
            await producer.send(USAGE.name, record.partition, [(record.key, record.value)])
            if number % SHOW_EVERY == 0:
                self._show("sent", number, total)
            if halfway is not None and number == total // 2:
                await producer.flush()
                await halfway()
        await producer.flush()
        self._show("sent", total, total)

    async def _arrived(
        self,
        positions: Positions,
        ends: Mapping[Place, int],
        *,
        begun: Mapping[Place, int],
        show: bool,
    ) -> None:
        """Returns when everything below `ends` is in ClickHouse. Bars count from `begun`."""
        total = sum(end - begun.get(place, 0) for place, end in ends.items())

        def done(offsets: Mapping[Place, int]) -> int:
            return sum(
                max(min(offsets.get(place, 0), end) - begun.get(place, 0), 0)
                for place, end in ends.items()
            )

        patience = Patience()
        while True:
            self._target.check()
            decided = done(await positions.committed())
            stored = done(await asyncio.to_thread(self._observer.consumed))
            missing = None
            if stored == total:
                missing = await asyncio.to_thread(self._observer.missing_rows)
            # Fewer than none are missing where rows are doubled: that is for the comparison to say.
            whole = missing is not None and missing <= 0
            if show:
                self._show("decided by the worker", decided, total)
                self._show(
                    "stored in ClickHouse", stored if whole else min(stored, total - 1), total
                )
            if whole:
                return
            if patience.exhausted((decided, stored, missing)):
                raise _stalled(decided, stored, total, self._target.logs)
            await asyncio.sleep(POLL_SECONDS)

    async def _kill_roles(self, at_first: Mapping[Place, int]) -> None:
        """Kills worker and sink once more is stored than there was at first."""
        patience = Patience()
        while await asyncio.to_thread(self._observer.consumed) == at_first:
            self._target.check()
            if patience.exhausted("the first rows"):
                raise _stalled(0, 0, len(self._records), self._target.logs)
            await asyncio.sleep(POLL_SECONDS)
        pids = self._target.kill_roles()
        killed = " and ".join(f"{role} (pid {pid})" for role, pid in pids.items())
        self._say(f"kill -9 of {killed} with half of the records sent")


def _stalled(decided: int, stored: int, total: int, logs: Path) -> TransientError:
    stage = "worker" if decided < total else "sink"
    what = f"{decided:,} decided and {stored:,} in ClickHouse of {total:,} records"
    return TransientError(
        f"nothing has moved for {STALL_SECONDS_MAX:.0f} s: {what}; the {stage} hangs",
        action=f"Read {logs / f'{stage}.log'}, then run the demo again: it goes on from there.",
    )


def _disturbed(others: int) -> FaultError:
    return FaultError(
        f"somebody else wrote {others} records to the inbound topics during the demo: duplicates "
        "and dead letters cannot be told apart from theirs",
        action="Run the demo while nobody else writes, or on a home directory of its own.",
    )
