"""A worker that dies after any step of its cycle, or before: its successor goes on as if nothing
was.

In memory, so that every point is exact; decision 006 has the table that these tests walk through.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import pytest

from schemas import codec
from schemas.structs import UsageEntry
from schemas.topics import ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG, LEDGER, USAGE
from streams.adapters.memory import (
    MemoryBroker,
    MemoryCatalog,
    MemoryClock,
    MemoryCycleLog,
    MemoryStore,
)
from streams.adapters.store import expand_segments
from streams.agents.cycle import PartitionCycle, TopicSlice
from streams.domain.context import Context
from streams.domain.facts import SourceRecord
from streams.ports import Appends, Changes, Table
from tests.builders import NOON_US, context, record, usage

POINTS: Final = ("load", "before commit", "after commit", "after claims", "after accounts")


def one_partition() -> Context:
    """The rules of an installation with a single partition, so that every customer is in it."""
    return replace(context(plan=[("unit", "4")]), partitions=1)


class CrashError(Exception):
    """The process is gone."""


class CrashingStore(MemoryStore):
    """A store whose process dies at a point."""

    point = ""

    def read(self, table: Table, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        if self.point == "load":
            raise CrashError
        return super().read(table, partition, keys)

    def write(self, table: Table, partition: int, changes: Changes) -> None:
        super().write(table, partition, changes)
        if self.point == f"after {table.value}":
            raise CrashError


class CrashingLog(MemoryCycleLog):
    """A log whose process dies right before or right after the commit."""

    point = ""

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        if self.point == "before commit":
            raise CrashError
        last = await super().commit(partition, appends, offsets)
        if self.point == "after commit":
            raise CrashError
        return last


def recover(broker: MemoryBroker, store: MemoryStore) -> None:
    """What Faust's recovery does: each table from its own changelog offset on."""
    for table, changelog in (
        (Table.ACCOUNTS, ACCOUNTS_CHANGELOG.name),
        (Table.CLAIMS, CLAIMS_CHANGELOG.name),
    ):
        log = broker.topics[changelog, 0]
        done = store.changelog_offsets.get((table, 0), -1)
        rest = log[done + 1 :]
        if rest:
            rows: list[tuple[bytes, bytes | None]] = [(key or b"", value) for key, value in rest]
            if table is Table.CLAIMS:
                rows = expand_segments(rows)
            store.write(table, 0, Changes(rows, len(log) - 1))


async def run_cycles(
    broker: MemoryBroker, store: MemoryStore, log: MemoryCycleLog, records: list[SourceRecord]
) -> None:
    """A worker's life: fence, recover, then cycles of three records from the committed offset
    on."""
    await log.fence([0])
    recover(broker, store)
    cycle = PartitionCycle(0, store, log, MemoryClock(NOON_US), MemoryCatalog(one_partition()))
    offset = broker.offsets.get((USAGE.name, 0), 0)
    while offset < len(records):
        batch = records[offset : offset + 3]
        await cycle.run([TopicSlice(USAGE.name, offset, offset + len(batch), batch)])
        offset += len(batch)


def events() -> list[SourceRecord]:
    bodies = [usage(event_id=f"e{i % 9}", customer=f"c{i % 3}") for i in range(12)]
    return [record(body, offset) for offset, body in enumerate(bodies)]


def ledger(broker: MemoryBroker) -> list[bytes]:
    return [value for _, value in broker.topics[LEDGER.name, 0]]


@pytest.mark.parametrize("cycle_number", [0, 2])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_leaves_the_ledger_as_if_nothing_had_happened(
    point: str, cycle_number: int
) -> None:
    undisturbed = MemoryBroker()
    asyncio.run(run_cycles(undisturbed, MemoryStore(), MemoryCycleLog(undisturbed), events()))

    broker, store = MemoryBroker(), CrashingStore()
    log = CrashingLog(broker)
    records = events()
    asyncio.run(run_cycles(broker, store, log, records[: 3 * cycle_number]))
    store.point = log.point = point
    with pytest.raises(CrashError):
        asyncio.run(run_cycles(broker, store, log, records))
    store.point = log.point = ""
    asyncio.run(run_cycles(broker, store, CrashingLog(broker), records))

    assert ledger(broker) == ledger(undisturbed)
    assert broker.topics == undisturbed.topics


def test_a_lost_store_is_rebuilt_from_the_changelogs() -> None:
    broker, records = MemoryBroker(), events()
    asyncio.run(run_cycles(broker, MemoryStore(), MemoryCycleLog(broker), records[:6]))
    asyncio.run(run_cycles(broker, MemoryStore(), MemoryCycleLog(broker), records))
    ids = [
        entry.event_id
        for entry in map(codec.decode_entry, ledger(broker))
        if isinstance(entry, UsageEntry)
    ]
    assert sorted(ids) == sorted({f"e{i}" for i in range(9)})


def test_a_zombie_changes_nothing_when_it_wakes() -> None:
    broker, records = MemoryBroker(), events()
    zombie_store, zombie_log = MemoryStore(), MemoryCycleLog(broker)
    asyncio.run(run_cycles(broker, zombie_store, zombie_log, records[:3]))
    asyncio.run(run_cycles(broker, MemoryStore(), MemoryCycleLog(broker), records))
    before = {at: list(log) for at, log in broker.topics.items()}

    zombie = PartitionCycle(
        0, zombie_store, zombie_log, MemoryClock(NOON_US), MemoryCatalog(one_partition())
    )
    with pytest.raises(Exception, match="fenced"):
        asyncio.run(zombie.run([TopicSlice(USAGE.name, 3, 6, records[3:6])]))
    assert broker.topics == before
