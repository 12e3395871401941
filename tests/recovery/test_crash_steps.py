"""A worker that dies at any place of its life, is paused there, or gets no answer: whoever goes on
comes to the same books.

In memory, so that every place is met: decision 006 has the table that is walked through here, with
the inner steps of a commit and of a recovery. `tests/recovery` beside this does it with real ones.
"""

import random
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from schemas.partitioner import partition_of
from schemas.structs import UsageEntry
from schemas.topics import TRANSFERS, USAGE
from streams.agents.cycle import FOLD_ORDER, TopicSlice
from streams.domain.appends import APPENDED
from streams.domain.facts import SourceRecord
from streams.errors import FaultError, TransientError
from streams.ports import Table
from tests.builders import DAY_US, HOUR_US, of_kind
from tests.property.logs import Event, random_log, records
from tests.simulation.broker import Broker, FencedError, Group, Stored
from tests.simulation.checks import check_audit, check_ledger, entries_of
from tests.simulation.scheduler import Crashed, InjectedError, Scheduler, Turn
from tests.simulation.shares import Shares
from tests.simulation.traces import traced
from tests.simulation.views import PARTITIONS, VIEWS
from tests.simulation.workers import CatalogTopic, Disk, Follower, Process, SimulatedClock

EVENTS: Final = 36
HOURS_AFTER: Final = 4
CUT: Final = 3
OTHER_CUT: Final = 2

PLACES: Final = {
    *("fence", "fenced", "recover accounts", "recover claims", "catalog", "3 load"),
    *("6a begin", "6b append", "6c offsets", "6d commit", "6d committed", "disk full"),
    *("unknown: fence", "unknown: append", "unknown: offsets"),
    *("unknown: commit's request lost", "unknown: commit's answer lost"),
    *("crash before claims are stored", "crash after claims are stored"),
    *("crash before accounts are stored", "crash after accounts are stored"),
}


SHARED: Final = Counter(
    ("rows: share", "rows: unattributed", "rows: signal", "rows: late", "rows: window_full")
)
"""What the shares of the walk must be of, else it tests nothing of them."""


class Walk(Scheduler):
    """Numbers the places of a life, and ends or pauses it at one of them."""

    def __init__(self, end_at: int | None = None, *, pauses: bool = False) -> None:
        super().__init__(random.Random(0))
        self.end_at = end_at
        self.pauses = pauses
        self.places: list[str] = []

    async def point(self, name: str, *faults: str, weight: int = 1) -> None:
        """The process may die or be paused here, or this call fails with any of its faults."""
        if self.happens(name, 1):
            if not self.pauses:
                raise Crashed
            await Turn(name)
        for fault in faults:
            if self.happens(fault, 1):
                raise InjectedError(fault, action="Start again.")

    def happens(self, kind: str, likely: float) -> bool:
        """Whether this is the place."""
        self.places.append(kind)
        return len(self.places) - 1 == self.end_at


class WalkedDisk(Disk):
    """A disk whose process may die while it reads."""

    walk: Scheduler

    def read(self, table: Table, partition: int, keys: Any) -> list[bytes | None]:
        """As ever."""
        if self.walk.happens("3 load", 1):
            raise Crashed
        return super().read(table, partition, keys)


@dataclass
class Installation:
    """A broker with everything that will ever come in, and the disks of its workers."""

    broker: Broker
    disks: dict[str, WalkedDisk] = field(default_factory=dict)

    def life(self, name: str, walk: Walk, cut: int = CUT) -> Coroutine[Any, Any, None]:
        """A worker from its start until nothing is left to do, as a coroutine."""
        disk = self.disks.setdefault(name, WalkedDisk(walk))
        disk.walk = disk._scheduler = walk
        catalog, clock = CatalogTopic(VIEWS, 3), SimulatedClock(self.broker)
        group = Group(PARTITIONS)
        process = Process(name, self.broker, group, catalog, walk, disk, clock)
        return _life(process, cut)

    def books(self) -> dict[str, Any]:
        """What `read_committed` sees, and the committed offsets."""
        found: dict[str, Any] = {
            topic: [(one.key, one.value) for one in self.broker.all(topic, 0)] for topic in APPENDED
        }
        return found | {"offsets": dict(self.broker.offsets)}


async def _life(process: Process, cut: int) -> None:
    """A2 to A6, then cycles that end at every so many records of each topic."""
    broker, process.owned, process.recovered_at_once = process.broker, [0], 2
    process.log = process.make(broker, process.scheduler)
    cycles = await process.take_over(Follower(process.catalog, process.scheduler))
    cycle, positions = cycles[0]
    while any(positions[topic] < broker.end(topic, 0) for topic in FOLD_ORDER):
        slices = []
        for topic, start in positions.items():
            stop = min((start // cut + 1) * cut, broker.end(topic, 0))
            taken = broker.read(topic, 0, start, stop - start) if stop > start else []
            slices.append(TopicSlice(topic, start, stop, taken))
            positions[topic] = stop
        await cycle.run(slices)


def run(life: Coroutine[Any, Any, None]) -> BaseException | None:
    """How a life ends, None where it came to its end; a pause is an end that can be gone on
    from."""
    try:
        life.send(None)
    except StopIteration:
        return None
    except (Crashed, FaultError, TransientError, OSError) as fault:
        return fault
    return Crashed("paused")


def inbound() -> list[SourceRecord]:
    """Everything that comes in, some of it refused, repeated, in conflict; in the end hours in
    which nothing names a trace, so that all windows close."""
    log = [traced(event) for event in random_log(random.Random(33), EVENTS)]
    ours = [one for one in log if partition_of(one.customer.encode(), PARTITIONS) == 0]
    now_us = max(one.appended_us for one in ours)
    ours += [
        Event(USAGE.name, "c4", "crm", f"later {n}", now_us + n * 3 * HOUR_US, None, ())
        for n in range(1, HOURS_AFTER + 1)
    ]
    return records(ours)


def installation() -> Installation:
    """One that has not begun."""
    found, broker = inbound(), Broker(0)
    broker.now_us = max(record.appended_at_us for record in found) + DAY_US
    for record in found:
        stored = Stored(record.key, record.value, record.appended_at_us)
        broker.logs[record.topic, 0].append(stored)
    return Installation(broker)


@pytest.fixture(scope="module")
def undisturbed() -> tuple[Walk, dict[str, Any]]:
    """A life without trouble: its places and its books."""
    walk, calm = Walk(), installation()
    assert run(calm.life("w", walk)) is None
    return walk, calm.books()


def places(walk: Walk) -> Iterator[tuple[int, str]]:
    """Every place of a life, by its number."""
    return enumerate(walk.places)


def check(found: Installation) -> None:
    """The audit and the counts, whatever the cut was."""
    check_ledger(found.broker, 0)
    check_audit(found.broker, dict(found.disks), 0)
    Shares(found.broker, 0).check_closed()


def accepted(found: Installation) -> dict[str, str]:
    """What was accepted, and what it cost."""
    entries = of_kind(UsageEntry, entries_of(found.broker, 0))
    return {entry.entry_id: entry.cost for entry in entries}


def test_the_walk_meets_every_step_of_the_decision_record(
    undisturbed: tuple[Walk, dict[str, Any]],
) -> None:
    walk, books = undisturbed
    calm = installation()
    assert run(calm.life("w", Walk())) is None
    assert set(walk.places) >= PLACES
    assert walk.places.count("6d commit") >= 5
    # Nothing of the walk names a task: nothing is transferred.
    assert all(books[topic] for topic in APPENDED if topic != TRANSFERS.name)
    shares = Shares(calm.broker, 0)
    shares.check_closed()
    assert shares.seen() >= SHARED, shares.seen()


@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_a_death_at_any_place_leaves_the_books_as_if_nothing_had_happened(
    undisturbed: tuple[Walk, dict[str, Any]], disk: str
) -> None:
    walk, books = undisturbed
    for number, place in places(walk):
        found = installation()
        assert run(found.life("w", Walk(number))) is not None, place
        if disk == "lost":
            found.disks.clear()
        assert run(found.life("w", Walk())) is None, place
        assert found.books() == books, (number, place)
        check(found)


def test_a_death_at_any_place_and_another_cut_afterwards_change_no_cost(
    undisturbed: tuple[Walk, dict[str, Any]],
) -> None:
    walk, _ = undisturbed
    calm = installation()
    run(calm.life("w", Walk()))
    for number, place in places(walk):
        found = installation()
        assert run(found.life("w", Walk(number))) is not None, place
        assert run(found.life("w", Walk(), OTHER_CUT)) is None, place
        assert accepted(found) == accepted(calm), (number, place)
        check(found)


def test_a_group_whose_offsets_the_broker_forgot_goes_on_where_the_tables_are(
    undisturbed: tuple[Walk, dict[str, Any]],
) -> None:
    walk, books = undisturbed
    for number, place in places(walk):
        found = installation()
        assert run(found.life("w", Walk(number))) is not None, place
        found.broker.offsets.clear()
        assert run(found.life("w", Walk())) is None, place
        after = found.books()
        assert {topic: after[topic] for topic in APPENDED} == {
            topic: books[topic] for topic in APPENDED
        }, (number, place)


def test_a_death_at_any_place_of_a_recovery_is_recovered_from(
    undisturbed: tuple[Walk, dict[str, Any]],
) -> None:
    walk, books = undisturbed
    halfway = [at for at, place in places(walk) if place == "6d committed"][-2]
    number, met = 0, set[str]()
    while True:
        found, second = installation(), Walk(number)
        run(found.life("w", Walk(halfway)))
        found.disks.clear()
        if run(found.life("w", second)) is None:
            break
        met.add(second.places[-1])
        assert run(found.life("w", Walk())) is None, second.places[-1]
        assert found.books() == books, (number, second.places[-1])
        check(found)
        number += 1
    assert met >= {"recover accounts", "recover claims", "crash after accounts are stored"}
    assert number > 20


def test_a_worker_that_is_paused_at_any_place_changes_nothing_when_it_wakes(
    undisturbed: tuple[Walk, dict[str, Any]],
) -> None:
    walk, books = undisturbed
    paused_at, refused = 0, 0
    for number, place in places(walk):
        found = installation()
        zombie = found.life("zombie", Walk(number, pauses=True))
        ended = run(zombie)
        if not isinstance(ended, Crashed) or str(ended) != "paused":
            zombie.close()
            continue
        paused_at += 1
        assert run(found.life("owner", Walk())) is None
        assert found.books() == books, (number, place)
        refused += isinstance(run(zombie), FencedError | FaultError)
        assert found.books() == books, (number, place)
        # Its disk is its own; what it wrote there is completed by its next start.
        assert run(found.life("zombie", Walk())) is None
        assert found.books() == books, (number, place)
        check(found)
    assert paused_at >= 40
    assert refused > 0.9 * paused_at
