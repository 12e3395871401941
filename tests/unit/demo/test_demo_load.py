"""Loading: done means every promised row is there, and what hangs is named."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from schemas.topics import INBOUND, USAGE
from streams.demo import load
from streams.demo.events import Scenario
from streams.demo.load import Load
from streams.demo.observe import Counts, Observer
from streams.demo.ports import Place
from streams.demo.sequence import build_records
from streams.demo.trace import read_calls
from streams.errors import FaultError, SetupError, TransientError

PARTITIONS = 2
RECORDS = build_records(read_calls(300), Scenario(date(2026, 1, 14), 5, PARTITIONS))
NOTHING = Counts(0, 0, 0, 0, {})


@dataclass
class World(Observer):
    """A log, a worker and a sink in one object; each can stand still."""

    ends: dict[Place, int] = field(
        default_factory=lambda: {(t.name, p): 0 for t in INBOUND for p in range(PARTITIONS)}
    )
    worker_works: bool = True
    sink_works: bool = True
    looks_until_rows: int = 0
    """Rows of the last cycle are missing for so many looks after the cycle's own row is there."""
    killed_after: int | None = None
    shown: list[tuple[str, int, int]] = field(default_factory=list)
    failure: SetupError | None = None

    async def send(
        self, topic: str, partition: int, records: Iterable[tuple[bytes | None, bytes | None]]
    ) -> None:
        self.ends[topic, partition] += len(list(records))

    async def flush(self) -> None:
        """Everything is acknowledged already."""

    async def end_offsets(self) -> dict[Place, int]:
        return dict(self.ends)

    async def committed(self) -> dict[Place, int]:
        return {place: end for place, end in self.ends.items() if end} if self.worker_works else {}

    def consumed(self) -> dict[Place, int]:
        works = self.worker_works and self.sink_works
        return {place: end for place, end in self.ends.items() if end} if works else {}

    def missing_rows(self) -> int:
        if self.looks_until_rows and self.sent():
            self.looks_until_rows -= 1
            return 7
        return 0

    def counts(self) -> Counts:
        return NOTHING

    def calls(self) -> int:
        return 0

    def sent(self) -> int:
        return sum(self.ends.values())

    # What of an installation a load needs.

    logs = Path("/logs")

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def kill_roles(self) -> dict[str, int]:
        self.killed_after = self.sent()
        return {"worker": 1, "sink": 2}


async def run(world: World, *, kill: bool = False) -> tuple[int, Counts]:
    def show(name: str, done: int, total: int) -> None:
        world.shown.append((name, done, total))

    def say(_line: str) -> None:
        """Nobody listens."""

    return await Load(world, world, RECORDS, show, say).run(world, world, kill=kill)


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "STALL_SECONDS_MAX", 0.1)
    monkeypatch.setattr(load, "POLL_SECONDS", 0.01)


async def test_a_load_ends_when_everything_is_there() -> None:
    world = World()
    assert await run(world) == (0, NOTHING)
    assert world.sent() == len(RECORDS)
    total = len(RECORDS)
    assert {name for name, done, _ in world.shown if done == total} == {
        "sent",
        "decided by the worker",
        "stored in ClickHouse",
    }


async def test_a_cycles_own_row_does_not_count_for_the_rows_it_promises() -> None:
    world = World(looks_until_rows=3)
    await run(world)
    assert world.looks_until_rows == 0
    assert ("stored in ClickHouse", len(RECORDS) - 1, len(RECORDS)) in world.shown


async def test_a_worker_that_stands_still_is_named_with_its_log() -> None:
    with pytest.raises(TransientError, match="the worker hangs") as stalled:
        await run(World(worker_works=False))
    assert "/logs/worker.log" in stalled.value.action


async def test_a_sink_that_stands_still_is_named_with_its_log() -> None:
    with pytest.raises(TransientError, match="the sink hangs") as stalled:
        await run(World(sink_works=False))
    assert "/logs/sink.log" in stalled.value.action


async def test_a_process_that_will_not_stay_up_ends_the_wait_with_its_own_error() -> None:
    failure = SetupError("worker ended with status 2 before it was ready", action="Read its log.")
    with pytest.raises(SetupError, match="before it was ready"):
        await run(World(failure=failure))


async def test_records_of_somebody_else_make_the_counts_worthless_and_that_is_said() -> None:
    world = World()
    send = world.send

    async def send_and_disturb(
        topic: str, partition: int, records: Iterable[tuple[bytes | None, bytes | None]]
    ) -> None:
        await send(topic, partition, records)
        if world.sent() == 10:
            world.ends[USAGE.name, 0] += 1

    world.send = send_and_disturb  # type: ignore[method-assign]
    with pytest.raises(FaultError, match="somebody else wrote 1 records"):
        await run(world)


async def test_the_kill_comes_with_half_of_the_records_sent() -> None:
    world = World()
    await run(world, kill=True)
    assert world.killed_after == len(RECORDS) // 2
    assert world.sent() == len(RECORDS)
