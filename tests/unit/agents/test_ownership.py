"""What a cycle takes of what has arrived, and when the fetcher is held back."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from schemas.topics import BUDGETS, PREFLIGHTS, SIGNALS, TRANSFERS, UNASSIGNED, USAGE
from streams.agents import ownership
from streams.agents.cycle import TopicSlice
from streams.agents.ownership import CycleBounds, Ownership

START = {
    USAGE.name: 10,
    SIGNALS.name: 0,
    BUDGETS.name: 5,
    PREFLIGHTS.name: 0,
    TRANSFERS.name: 0,
    UNASSIGNED.name: 0,
}
Taken = tuple[str, int, int, list[int]]


@dataclass
class Cycle:
    """Remembers the slices that it was run with."""

    ran: list[list[TopicSlice]] = field(default_factory=list)

    async def run(self, slices: Sequence[TopicSlice]) -> None:
        self.ran.append(list(slices))


class Owned:
    """An ownership of partition 0 whose turns the test takes itself."""

    def __init__(
        self, records_max: int = 100, bytes_max: int = 10_000, pause_seconds: float = 0.0
    ) -> None:
        self.cycle = Cycle()
        self.announced: list[int] = []

        async def announce(partition: int) -> None:
            self.announced.append(partition)

        self.ownership = Ownership(
            make_cycle=lambda _: self.cycle,  # type: ignore[arg-type, return-value]
            announce=announce,
            bounds=lambda: CycleBounds(records_max, bytes_max, pause_seconds),
            halt=lambda fault: None,
        )
        self.ownership.take_over({0: START})

    async def deliver(
        self, topic: Any, *offsets: int, size: int = 4, to: int | None = None
    ) -> None:
        end = offsets[-1] + 1 if to is None else to
        await self.ownership.deliver(topic.name, 0, end, records(*offsets, size=size))

    async def turn(self) -> list[Taken]:
        """What one turn takes: topic, range, offsets."""
        before = len(self.cycle.ran)
        await self.ownership.turn(0)
        return [
            (piece.topic, piece.from_offset, piece.to_offset, [r.offset for r in piece.records])
            for slices in self.cycle.ran[before:]
            for piece in slices
        ]


def records(*offsets: int, size: int = 4) -> list[Any]:
    """Records whose key and value weigh `size` bytes."""
    return [
        SimpleNamespace(offset=n, timestamp=1_000 + n, key=b"kk", value=b"v" * (size - 2))
        for n in offsets
    ]


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(story(), 30)

    asyncio.run(bounded())


def test_the_first_cycle_names_every_topic_and_the_next_only_what_moved() -> None:
    async def story() -> None:
        owned = Owned()
        await owned.deliver(USAGE, 10, 11)
        assert await owned.turn() == [
            (BUDGETS.name, 5, 5, []),
            (PREFLIGHTS.name, 0, 0, []),
            (TRANSFERS.name, 0, 0, []),
            (SIGNALS.name, 0, 0, []),
            (USAGE.name, 10, 12, [10, 11]),
            (UNASSIGNED.name, 0, 0, []),
        ]
        await owned.deliver(USAGE, 12)
        assert await owned.turn() == [(USAGE.name, 12, 13, [12])]

    run(story)


def test_records_come_with_the_topic_the_time_and_the_bytes_of_the_log() -> None:
    async def story() -> None:
        owned = Owned()
        await owned.deliver(USAGE, 10)
        await owned.turn()
        (record,) = next(s.records for s in owned.cycle.ran[0] if s.topic == USAGE.name)
        assert (record.topic, record.offset, record.appended_at_us, record.key, record.value) == (
            USAGE.name, 10, 1_010_000, b"kk", b"vv",
        )  # fmt: skip

    run(story)


def test_a_cycle_is_bounded_by_records_across_runs_and_topics() -> None:
    async def story() -> None:
        owned = Owned(records_max=3)
        await owned.deliver(USAGE, 10, 11, 12, 13, 14)
        await owned.deliver(USAGE, 15)
        await owned.deliver(BUDGETS, 5, 6)
        assert [taken[3] for taken in await owned.turn()] == [[5, 6], [], [], [], [10], []]
        assert await owned.turn() == [(USAGE.name, 11, 14, [11, 12, 13])]
        assert await owned.turn() == [(USAGE.name, 14, 16, [14, 15])]
        assert await owned.turn() == []

    run(story)


def test_a_cycle_ends_with_the_record_that_reaches_its_bytes() -> None:
    async def story() -> None:
        owned = Owned(bytes_max=10)
        await owned.deliver(USAGE, 10, 11, 12, 13, 14, 15, size=4)
        assert [taken[3] for taken in await owned.turn()] == [[], [], [], [], [10, 11, 12], []]
        assert [taken[3] for taken in await owned.turn()] == [[13, 14, 15]]

    run(story)


def test_a_cycle_whose_bytes_are_reached_exactly_takes_nothing_more() -> None:
    async def story() -> None:
        owned = Owned(bytes_max=8)
        await owned.deliver(USAGE, 10, 11, 12, size=4)
        await owned.deliver(USAGE, 13, size=4)
        assert [taken[3] for taken in await owned.turn()] == [[], [], [], [], [10, 11], []]
        assert [taken[3] for taken in await owned.turn()] == [[12, 13]]

    run(story)


def test_a_record_beyond_the_bytes_of_a_cycle_is_taken_alone() -> None:
    async def story() -> None:
        owned = Owned(bytes_max=10)
        await owned.deliver(USAGE, 10, 11, size=500)
        assert [taken[3] for taken in await owned.turn()] == [[], [], [], [], [10], []]
        assert [taken[3] for taken in await owned.turn()] == [[11]]

    run(story)


def test_offsets_without_a_record_at_the_end_of_a_run_are_taken_with_its_last_record() -> None:
    async def story() -> None:
        owned = Owned(records_max=2)
        await owned.deliver(USAGE, 10, 12, 15, to=18)
        assert (await owned.turn())[-2] == (USAGE.name, 10, 13, [10, 12])
        assert (await owned.turn())[-1] == (USAGE.name, 13, 18, [15])

    run(story)


def test_a_tombstone_weighs_nothing_and_is_taken() -> None:
    async def story() -> None:
        owned = Owned()
        empty = SimpleNamespace(offset=10, timestamp=1, key=None, value=None)
        await owned.ownership.deliver(USAGE.name, 0, 11, [empty])
        assert (await owned.turn())[-2] == (USAGE.name, 10, 11, [10])

    run(story)


@pytest.mark.parametrize("bound", ["records", "bytes"])
def test_a_full_inbox_holds_the_fetcher_back_until_a_cycle_has_made_room(
    monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(ownership, "INBOX_RECORDS_MAX", 4 if bound == "records" else 1_000)
    monkeypatch.setattr(ownership, "INBOX_BYTES_MAX", 16 if bound == "bytes" else 1_000)

    async def story() -> None:
        owned = Owned(records_max=2)
        delivery = asyncio.ensure_future(owned.deliver(USAGE, 10, 11, 12, 13, 14))
        await asyncio.sleep(0)
        assert not delivery.done()
        await owned.turn()
        await delivery
        assert [taken[3] for taken in await owned.turn()] == [[12, 13]]

    run(story)


@pytest.mark.parametrize(("bytes_max", "turns"), [(17, 2), (16, 3)])
def test_what_was_taken_of_a_run_weighs_no_more(
    monkeypatch: pytest.MonkeyPatch, bytes_max: int, turns: int
) -> None:
    monkeypatch.setattr(ownership, "INBOX_BYTES_MAX", bytes_max)

    async def story() -> None:
        owned = Owned(records_max=1)
        delivery = asyncio.ensure_future(owned.deliver(USAGE, *range(10, 16), size=4))
        for _ in range(turns):
            await asyncio.sleep(0)
            assert not delivery.done()
            await owned.turn()
        await delivery

    run(story)


def test_giving_up_lets_a_waiting_delivery_go_and_drops_what_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ownership, "INBOX_RECORDS_MAX", 1)

    async def story() -> None:
        owned = Owned()
        delivery = asyncio.ensure_future(owned.deliver(USAGE, 10, 11))
        await asyncio.sleep(0)
        assert not delivery.done()
        await owned.ownership.quiesce()
        await delivery
        assert await owned.turn() == []
        assert owned.ownership.partitions == frozenset()

    run(story)


def test_a_partition_is_announced_once_for_all_that_arrives_before_its_turn() -> None:
    async def story() -> None:
        owned = Owned()
        await owned.deliver(USAGE, 10)
        await owned.deliver(USAGE, 11)
        assert owned.announced == [0]

    run(story)


def test_a_partition_pauses_only_while_less_than_a_full_cycle_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        pauses: list[float] = []
        loop = asyncio.get_running_loop()
        owned = Owned(records_max=2, bytes_max=1_000, pause_seconds=0.01)
        await owned.deliver(USAGE, 10, 11, 12, 13, 14)
        with monkeypatch.context() as patched:
            patched.setattr(loop, "call_later", lambda delay, *_: pauses.append(delay))
            await owned.turn()
            await owned.turn()
            await owned.deliver(USAGE, 15, size=1_000)
            await owned.turn()
        assert pauses == [0.0, 0.01, 0.01]

    run(story)


def test_a_full_cycle_may_be_one_of_few_large_records(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        pauses: list[float] = []
        loop = asyncio.get_running_loop()
        owned = Owned(records_max=1_000, bytes_max=1_000, pause_seconds=0.01)
        await owned.deliver(USAGE, 10, 11, size=1_000)
        with monkeypatch.context() as patched:
            patched.setattr(loop, "call_later", lambda delay, *_: pauses.append(delay))
            await owned.turn()
            await owned.turn()
        assert pauses == [0.0, 0.01]

    run(story)


def test_a_full_inbox_is_not_paused_for_since_nothing_more_could_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ownership, "INBOX_RECORDS_MAX", 2)

    async def story() -> None:
        pauses: list[float] = []
        loop = asyncio.get_running_loop()
        owned = Owned(records_max=3, pause_seconds=0.01)
        delivery = asyncio.ensure_future(owned.deliver(USAGE, 10, 11, 12, 13, 14))
        await asyncio.sleep(0)
        with monkeypatch.context() as patched:
            patched.setattr(loop, "call_later", lambda delay, *_: pauses.append(delay))
            await owned.turn()
            await owned.turn()
        assert pauses == [0.0, 0.01]
        await owned.ownership.quiesce()
        await delivery

    run(story)
