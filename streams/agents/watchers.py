"""Who waits for a record to be folded, and what became of it (R1).

Answers about records, grants, releases and extensions come from committed entries alone, found by
the position of their record: what the overlay would say, a crash could contradict.
"""

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from schemas.structs import Consumed, CycleEntry, LedgerEntry
from streams.agents.lease import Outcome
from streams.domain.facts import Rejected

CYCLES_KEPT_MAX: Final = 64
"""Committed cycles of a partition in which a record is still found whose question comes late: four
seconds of a busy partition. The question follows the append at once."""

ENTRIES_KEPT_MAX: Final = 20_000
"""Their entries, which dead workers' backlogs make large: some 30 MB."""

WAITING_MAX: Final = 10_000
"""Questions that wait for a cycle in one partition; at 300 ms each, far more than a gateway may
have open."""


@dataclass(slots=True)
class Found:
    """What a cycle made of one record: its entries in their order (none for a duplicate), or why
    it was refused."""

    entries: list[LedgerEntry] = field(default_factory=list)
    rejected: Rejected | None = None


class Watchers:
    """The questions of one partition. All futures belong to its event loop."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, dict[int, list[asyncio.Future[Found | None]]]] = (
            defaultdict(dict)
        )
        self._count = 0
        self._kept: deque[Outcome] = deque()
        self._entries_kept = 0

    @property
    def is_full(self) -> bool:
        """Whether no more may wait."""
        return self._count >= WAITING_MAX

    def watch(self, topic: str, offset: int) -> asyncio.Future[Found | None]:
        """Resolves with the commit of the cycle that takes the record there; with None where the
        partition is given up before."""
        future: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        self._waiting[topic].setdefault(offset, []).append(future)
        self._count += 1
        return future

    def forget(self, topic: str, offset: int, future: asyncio.Future[Found | None]) -> None:
        """Nobody waits any more; nothing where it has resolved."""
        futures = self._waiting[topic].get(offset, [])
        if future in futures:
            futures.remove(future)
            self._count -= 1
            if not futures:
                del self._waiting[topic][offset]

    def recall(self, topic: str, offset: int) -> Found | None:
        """What became of a record whose cycle has committed; None where that is long ago."""
        for outcome in self._kept:
            for piece in _consumed(outcome):
                if piece.topic == topic and piece.from_offset <= offset < piece.to_offset:
                    return _search(outcome, {(topic, offset)})[topic, offset]
        return None

    def fold(self, outcome: Outcome) -> None:
        """Answers whoever waits for a record of this cycle."""
        self._keep(outcome)
        due = [
            (piece.topic, offset)
            for piece in _consumed(outcome)
            for offset in self._waiting[piece.topic]
            if offset < piece.to_offset
        ]
        if not due:
            return
        found = _search(outcome, set(due))
        for topic, offset in due:
            for future in self._waiting[topic].pop(offset):
                self._count -= 1
                if not future.done():
                    future.set_result(found[topic, offset])

    def give_up(self) -> None:
        """Nothing will be folded here any more."""
        for by_offset in self._waiting.values():
            for futures in by_offset.values():
                for future in futures:
                    if not future.done():
                        future.set_result(None)
        self._waiting.clear()
        self._count = 0

    def _keep(self, outcome: Outcome) -> None:
        self._kept.append(outcome)
        self._entries_kept += len(outcome.entries)
        while len(self._kept) > 1 and (
            len(self._kept) > CYCLES_KEPT_MAX or self._entries_kept > ENTRIES_KEPT_MAX
        ):
            self._entries_kept -= len(self._kept.popleft().entries)


def _consumed(outcome: Outcome) -> list[Consumed]:
    own = outcome.entries[0]
    assert isinstance(own, CycleEntry)
    return own.consumed


def _search(outcome: Outcome, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], Found]:
    found = {place: Found() for place in wanted}
    for entry in outcome.entries:
        if not isinstance(entry, CycleEntry):
            place = (entry.topic, entry.source_offset)
            if place in wanted:
                found[place].entries.append(entry)
    for rejected in outcome.rejected:
        place = (rejected.record.topic, rejected.record.offset)
        if place in wanted:
            found[place].rejected = rejected
    return found
