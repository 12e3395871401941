"""A machine's clock decides nothing; it only stops what lies too far ahead of it (D5)."""

import asyncio
from dataclasses import replace

import pytest

from schemas.structs import CycleEntry
from schemas.topics import LEDGER, USAGE
from streams.adapters.memory import (
    MemoryBroker,
    MemoryCatalog,
    MemoryClock,
    MemoryCycleLog,
    MemoryStore,
)
from streams.agents.cycle import CLOCK_SKEW_US_MAX, PartitionCycle, TopicSlice
from streams.errors import FaultError
from tests.builders import DAY_US, NOON_US, context, record, usage


def decide_at(clock_us: int, appended_us: int) -> tuple[CycleEntry, MemoryBroker]:
    """One cycle of one record on a machine with this clock."""
    broker = MemoryBroker()
    log = MemoryCycleLog(broker)
    one = replace(context(), partitions=1)
    cycle = PartitionCycle(0, MemoryStore(), log, MemoryClock(clock_us), MemoryCatalog(one))
    piece = TopicSlice(USAGE.name, 0, 1, [record(usage(), 0, appended_us)])

    async def run() -> CycleEntry:
        await log.fence([0])
        return (await cycle.run([piece])).entry

    return asyncio.run(run()), broker


@pytest.mark.parametrize("step", [-1, 0])
def test_an_append_time_up_to_the_limit_ahead_of_the_clock_is_decided(step: int) -> None:
    entry, _ = decide_at(NOON_US, NOON_US + CLOCK_SKEW_US_MAX + step)
    assert entry.decided_at == NOON_US + CLOCK_SKEW_US_MAX + step


def test_an_append_time_beyond_it_stops_the_partition_before_anything_is_written() -> None:
    with pytest.raises(FaultError, match="ahead of this machine's clock"):
        decide_at(NOON_US, NOON_US + CLOCK_SKEW_US_MAX + 1)


@pytest.mark.parametrize("ahead_us", [0, 1, DAY_US, 400 * DAY_US])
def test_a_clock_that_jumps_ahead_changes_no_byte(ahead_us: int) -> None:
    """A backlog, a clock set wrong, a machine that slept: the cycle is the same."""
    _, here = decide_at(NOON_US, NOON_US)
    _, there = decide_at(NOON_US + ahead_us, NOON_US)
    assert there.topics == here.topics
    assert there.topics[LEDGER.name, 0]
