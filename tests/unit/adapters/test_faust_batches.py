"""Which fetched records reach an owner or a table, and which are read again.
The paths around Faust are tested on the real broker."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from faust.tables.recovery import Recovery
from faust.transport.drivers.aiokafka import Consumer as DriverConsumer
from faust.types import TP

from streams.adapters.faust_batches import BatchConsumer
from streams.adapters.faust_recovery import BatchRecovery
from streams.adapters.whole_batches import Run

USAGE = TP("usage", 0)
CHANGELOG = TP("accounts-changelog", 0)
CHANGELOG_OF_ANOTHER = TP(CHANGELOG.topic, CHANGELOG.partition + 1)


@dataclass
class Owner:
    """Remembers what it is given."""

    delivered: list[tuple[int, ...]] = field(default_factory=list)

    async def deliver(self, _topic: str, _partition: int, _to: int, records: list[Any]) -> None:
        self.delivered.append(tuple(record.offset for record in records))


class Table:
    """Remembers what it is given."""

    def __init__(self) -> None:
        self.applied: list[tuple[int, ...]] = []

    def apply_changelog(self, _partition: int, records: list[Any]) -> None:
        self.applied.append(tuple(record.offset for record in records))


class Consumer(BatchConsumer):
    """A consumer without a broker: `sought` are the seeks that it would have made. The log begins
    at `begins`; the table has the changelog up to offset 41."""

    def __init__(
        self, expected: int | None, *, standby: bool = False, recovers: bool = True, begins: int = 0
    ) -> None:
        self._expected = {} if expected is None else {USAGE: expected}
        self._seek_generation = 1
        self._assignments_ended = 0
        self._read_offset = {}
        self.flow_active = True
        self.sought: list[tuple[TP, int]] = []
        self.begins = begins
        self.owner = Owner()
        self.table = Table()
        recovery = BatchRecovery.__new__(BatchRecovery)
        mine, others = ({CHANGELOG}, set[TP]())[:: -1 if standby else 1]
        recovery.active_tps, recovery.standby_tps = mine, others
        recovery.active_offsets = Counter({CHANGELOG: 41})
        recovery.standby_offsets = Counter({CHANGELOG: 41})
        recovery.active_highwaters = Counter()
        recovery.in_recovery = recovers
        recovery.tables = SimpleNamespace(  # type: ignore[assignment]
            _changelogs={CHANGELOG.topic: SimpleNamespace(data=self.table)}
        )
        self.recovery = recovery
        self.app: Any = SimpleNamespace(
            owner=self.owner,
            inbound_topics={USAGE.topic},
            consumer_generation_id=1,
            tables=SimpleNamespace(recovery=recovery, changelog_topics={CHANGELOG.topic}),
        )

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        return dict.fromkeys(partitions, self.begins)

    async def _seek(self, partition: TP, offset: int) -> None:
        self.sought.append((partition, offset))

    def assignment(self) -> set[TP]:
        return {USAGE, CHANGELOG}

    def nothing_fetched(self, **delivered_up_to: int) -> None:
        """A fetch brought nothing, and so much was delivered before."""
        ends = {USAGE: delivered_up_to["usage"], CHANGELOG: delivered_up_to["changelog"]}
        thread: Any = SimpleNamespace(delivered_beyond=lambda tp, expected: ends[tp] > expected)
        asyncio.run(self._look_back(thread))

    def fetched(
        self, *offsets: int, tp: TP = USAGE, since: int | None = None, generation: int = 1
    ) -> None:
        """A run of records arrives, whole from `since` on, else from its first record."""
        run = Run(
            offsets[0] if since is None else since,
            [SimpleNamespace(offset=offset) for offset in offsets],
        )
        self.app.consumer_generation_id = generation
        asyncio.run(self._take({tp: run}))


def test_runs_that_join_are_delivered() -> None:
    consumer = Consumer(expected=5)
    consumer.fetched(5, 6)
    consumer.fetched(7)
    consumer.fetched(10, since=8)
    assert consumer.owner.delivered == [(5, 6), (7,), (10,)]
    assert consumer.sought == []


def test_a_run_behind_a_hole_is_dropped_and_what_is_missing_sought() -> None:
    consumer = Consumer(expected=5)
    consumer.fetched(8, 9)
    consumer.fetched(8, 9)
    assert consumer.owner.delivered == []
    assert consumer.sought == [(USAGE, 5), (USAGE, 5)]
    consumer.fetched(5, 6, 8, 9)
    assert consumer.owner.delivered == [(5, 6, 8, 9)]


def test_what_the_log_has_deleted_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer(expected=5, begins=8)
    consumer.fetched(8, 9)
    assert consumer.owner.delivered == [(8, 9)]
    assert "nothing is left of the offsets 5 to 7" in caplog.text


def test_a_run_behind_a_hole_is_sought_from_where_the_log_begins() -> None:
    consumer = Consumer(expected=5, begins=7)
    consumer.fetched(8, 9)
    assert (consumer.owner.delivered, consumer.sought) == ([], [(USAGE, 7)])


def test_records_from_before_the_position_are_cut_off() -> None:
    consumer = Consumer(expected=5)
    consumer.fetched(3, 4, 5)
    consumer.fetched(3, 4)
    assert consumer.owner.delivered == [(5,)]


@pytest.mark.parametrize("expected", [None, 5])
def test_records_from_before_the_take_over_are_not_delivered(expected: int | None) -> None:
    consumer = Consumer(expected)
    consumer.fetched(5, generation=2)
    assert consumer.owner.delivered == []


def test_what_was_delivered_last_and_never_arrived_is_sought_when_nothing_else_comes() -> None:
    consumer = Consumer(expected=5)
    consumer.nothing_fetched(usage=5, changelog=42)
    assert consumer.sought == []
    consumer.nothing_fetched(usage=7, changelog=42)
    consumer.nothing_fetched(usage=5, changelog=43)
    assert consumer.sought == [(USAGE, 5), (CHANGELOG, 42)]


def test_before_the_take_over_and_after_a_recovery_nothing_is_sought() -> None:
    consumer = Consumer(expected=5, recovers=False)
    consumer._seek_generation = None
    consumer.nothing_fetched(usage=7, changelog=60)
    assert consumer.sought == []


@pytest.mark.parametrize("when", ["seeking", "taking over"])
def test_a_rebalance_during_a_seek_leaves_the_partitions_to_its_own(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Consumer(expected=None)
    consumer._seek_generation = None
    taken: list[bool] = []

    async def seek(_: Any) -> None:
        if when == "seeking":
            await consumer.on_partitions_revoked(set())

    async def take_over(_: Any) -> dict[TP, int]:
        taken.append(True)
        await consumer.on_partitions_revoked(set())
        return {USAGE: 5}

    async def nothing(*_: Any) -> None:
        pass

    monkeypatch.setattr(DriverConsumer, "perform_seek", seek)
    monkeypatch.setattr(DriverConsumer, "on_partitions_revoked", nothing)
    consumer.app.owner = SimpleNamespace(quiesce=nothing, release=nothing, take_over=take_over)
    asyncio.run(consumer.perform_seek())
    assert taken == ([True] if when == "taking over" else [])
    assert (consumer._expected, consumer._seek_generation) == ({}, None)


@pytest.mark.parametrize("standby", [False, True])
def test_a_table_takes_only_what_joins_on_to_what_it_has(standby: bool) -> None:
    consumer = Consumer(None, standby=standby)
    consumer.fetched(60, tp=CHANGELOG, since=59)
    assert (consumer.table.applied, consumer.sought) == ([], [(CHANGELOG, 42)])
    consumer.fetched(40, 41, 43, 60, tp=CHANGELOG)
    consumer.fetched(62, tp=CHANGELOG, since=61)
    assert consumer.table.applied == [(43, 60), (62,)]
    assert consumer.recovery.applied(CHANGELOG) == 62


def test_a_table_that_is_written_here_does_not_take_its_own_changelog() -> None:
    consumer = Consumer(None, recovers=False)
    consumer.fetched(42, tp=CHANGELOG)
    assert (consumer.table.applied, consumer.sought) == ([], [])


def test_during_a_rebalance_no_table_takes_anything() -> None:
    consumer = Consumer(None)
    consumer.flow_active = False
    consumer.fetched(42, tp=CHANGELOG)
    assert (consumer.table.applied, consumer.sought) == ([], [])


def ending(recovery: BatchRecovery) -> tuple[BatchRecovery, list[bool]]:
    """A recovery, and how often it has said that it is over."""
    ended: list[bool] = []
    recovery.app = SimpleNamespace()  # type: ignore[assignment]
    recovery._set_recovery_ended = lambda: ended.append(True)  # type: ignore[method-assign]
    recovery._signal_recovery_end = asyncio.Event()
    recovery._signal_recovery_start = asyncio.Event()
    return recovery, ended


@pytest.mark.parametrize(("read", "ends"), [((42, 44), True), ((43, 44), False), ((42, 43), False)])
def test_a_recovery_ends_only_when_nothing_but_markers_is_left_behind_what_was_applied(
    read: tuple[int, int], ends: bool
) -> None:
    recovery, ended = ending(Consumer(None).recovery)
    recovery._knows_its_end = True
    recovery.active_highwaters = Counter({CHANGELOG: 44})
    thread: Any = SimpleNamespace(
        shows_nothing=lambda _, first, last: read[0] <= first and last <= read[1]
    )
    recovery.pass_markers(thread)
    assert bool(ended) is ends


async def test_what_was_complete_before_a_rebalance_does_not_end_the_recovery_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Faust begins a recovery with the watermarks of the last one and asks for its own meanwhile;
    whoever polls the fetcher asks in between whether it is over."""
    recovery, ended = ending(Consumer(None).recovery)
    read_all: Any = SimpleNamespace(shows_nothing=lambda *_: True)
    recovery.active_highwaters = Counter({CHANGELOG: 41})

    async def assigned(*_args: Any, **_kwargs: Any) -> None:
        recovery.signal_recovery_start.set()

    async def told(_self: Any, _consumer: Any, _tps: Any, destination: Any, _title: str) -> None:
        recovery.pass_markers(read_all)
        destination.update({CHANGELOG: 41, CHANGELOG_OF_ANOTHER: 900})

    async def sought(*_args: Any) -> None:
        recovery.pass_markers(read_all)

    monkeypatch.setattr(Recovery, "on_rebalance", assigned)
    monkeypatch.setattr(Recovery, "_build_highwaters", told)
    monkeypatch.setattr(Recovery, "_seek_offsets", sought)
    recovery._knows_its_end = True
    await recovery.on_rebalance()
    recovery.pass_markers(read_all)
    recovery.signal_recovery_start.clear()
    mine = {CHANGELOG, CHANGELOG_OF_ANOTHER}
    recovery.active_offsets.update({CHANGELOG_OF_ANOTHER: 10})
    await recovery._build_highwaters(None, mine, recovery.active_highwaters, "active")
    await recovery._seek_offsets(None, mine, recovery.active_offsets, "active")
    assert ended == []
    assert not recovery.signal_recovery_end.is_set()

    only_markers: Any = SimpleNamespace(shows_nothing=lambda tp, *_: tp == CHANGELOG)
    recovery.pass_markers(only_markers)
    assert ended == [], "899 records are missing"
    recovery.active_offsets[CHANGELOG_OF_ANOTHER] = 900
    recovery.pass_markers(only_markers)
    assert ended == [True]


async def test_a_recovery_overtaken_by_a_rebalance_waits_for_its_own_watermarks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recovery, ended = ending(Consumer(None).recovery)

    async def overtaken(*_args: Any) -> None:
        recovery.signal_recovery_start.set()

    monkeypatch.setattr(Recovery, "_seek_offsets", overtaken)
    recovery.active_highwaters = Counter({CHANGELOG: 41})
    await recovery._seek_offsets(None, {CHANGELOG}, recovery.active_offsets, "active")
    recovery.pass_markers(SimpleNamespace(shows_nothing=lambda *_: True))
    assert ended == []
