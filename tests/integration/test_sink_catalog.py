"""The catalog in ClickHouse: every record once, whoever inserts, dies or comes second."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from schemas import codec
from schemas.structs import CatalogRecord
from streams.adapters.catalog import append_catalog, read_catalog
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_catalog import TABLE, ClickHouseCatalog
from streams.adapters.memory_sink import EndOfLogError, MemoryLog
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError, TransientError
from streams.ports import NO_ROWS, CatalogPlace, OutboundRecord
from streams.sink.catalog import CatalogSink
from streams.sink.patience import Patience
from streams.sink.rows import BatchLimits
from tests.builders import catalog_record
from tests.sink_processes import WAIT_SECONDS, Sinks, create_topics, running_sinks
from tests.sinks import Counted, Killed, Steps, forget_tokens, reread

WIDE: Final = BatchLimits(rows_max=1_000, bytes_max=1_000_000)
SMALL: Final = BatchLimits(rows_max=2, bytes_max=1_000_000)


@pytest.fixture
def empty(clickhouse: ClickHouse) -> ClickHouse:
    """The table without rows; it remembers no insert."""
    clickhouse.execute(f"TRUNCATE TABLE {TABLE} SYNC")
    forget_tokens(clickhouse, TABLE)
    return clickhouse


@pytest.fixture
def sinks(
    endpoints: Endpoints, unique_name: str, topic_prefix: str, tmp_path: Path
) -> Iterator[Sinks]:
    with running_sinks(endpoints, unique_name, topic_prefix, tmp_path) as made:
        yield made


def override(number: int, **more: Any) -> CatalogRecord:
    fields = {"match": {"equals": "m"}, "multiplier": "2", "id": f"o{number}", **more}
    return catalog_record("price_override", **fields)  # type: ignore[no-any-return]


def key(number: int) -> CatalogRecord:
    return catalog_record(  # type: ignore[no-any-return]
        "api_key",
        id=f"{number:016x}",
        label="crm",
        digest="a" * 64,
        scopes=["read"],
        created_at=1,
    )


def log_of(records: Sequence[CatalogRecord], first_time: int = 1_000) -> MemoryLog:
    """A catalog whose offsets have a gap after every second record."""
    log = MemoryLog(TABLE, 0)
    for number, record in enumerate(records):
        log.append(codec.encode(record), gap=number % 2)
    log.records = [
        OutboundRecord(found.offset, found.value, first_time + number)
        for number, found in enumerate(log.records)
    ]
    return log


MIXED: Final = [key(1), override(1), override(2), key(2), key(3), override(3), override(4), key(4)]


def sink(log: Any, target: Any, limits: BatchLimits = WIDE) -> CatalogSink:
    ticks = iter(range(10**9))

    async def at_once(_seconds: float) -> None:
        await asyncio.sleep(0)

    patience = Patience(lambda: float(next(ticks)), at_once, deadline_seconds=50)
    return CatalogSink(log, target, limits, patience, lambda _inserted: None)


async def drain(log: Any, target: Any, limits: BatchLimits = WIDE) -> None:
    with contextlib.suppress(EndOfLogError):
        await sink(log, target, limits).run()


def rows(clickhouse: ClickHouse) -> list[tuple[Any, ...]]:
    found = clickhouse.query(
        "SELECT offset, toUnixTimestamp64Micro(appended_at), kind, id, version, body "
        f"FROM {TABLE} ORDER BY offset"
    )
    return [tuple(row) for row in found.rows]


def expected(log: MemoryLog) -> list[tuple[Any, ...]]:
    records = [(found, codec.decode_catalog(found.value)) for found in log.records]
    return [
        (
            found.offset,
            found.appended_at_us,
            codec.catalog_key(record).decode().split("/")[0],
            record.id,
            record.version,
            found.value.decode(),
        )
        for found, record in records
        if b'"api_key"' not in found.value
    ]


async def test_every_record_but_keys_is_a_row_and_a_second_sink_adds_nothing(
    empty: ClickHouse,
) -> None:
    log = log_of(MIXED)
    await drain(log, ClickHouseCatalog(empty))
    assert rows(empty) == expected(log)
    assert len(expected(log)) == 4
    assert await log.hint() == log.records[-1].offset + 1
    await drain(reread(log), ClickHouseCatalog(empty), SMALL)
    assert rows(empty) == expected(log)


async def test_a_sink_that_is_killed_at_any_step_loses_and_doubles_nothing(
    empty: ClickHouse,
) -> None:
    steps = Steps()
    log = log_of(MIXED)
    await drain(Counted(log, steps), Counted(ClickHouseCatalog(empty), steps), SMALL)
    assert "insert" in steps.taken
    for kill_at in range(len(steps.taken)):
        empty.execute(f"TRUNCATE TABLE {TABLE} SYNC")
        killed = Steps(kill_at, after=True)
        with contextlib.suppress(Killed):
            await drain(
                Counted(reread(log), killed), Counted(ClickHouseCatalog(empty), killed), SMALL
            )
        await drain(reread(log), ClickHouseCatalog(empty))
        assert rows(empty) == expected(log), kill_at


class Meanwhile:
    """A target into which another sink inserts right before the first insert of ours."""

    def __init__(self, target: ClickHouseCatalog, other: Callable[[], Awaitable[None]]) -> None:
        self._target = target
        self._other: Callable[[], Awaitable[None]] | None = other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    async def insert(self, mark: int, batch: Sequence[tuple[CatalogPlace, bytes]]) -> None:
        other, self._other = self._other, None
        if other is not None:
            await other()
        await self._target.insert(mark, batch)


@pytest.mark.parametrize(("ours", "theirs"), [(WIDE, SMALL), (SMALL, WIDE)])
async def test_of_two_sinks_at_once_one_counts(
    empty: ClickHouse, ours: BatchLimits, theirs: BatchLimits
) -> None:
    log = log_of(MIXED)
    target = ClickHouseCatalog(empty)
    part = reread(log)
    part.records = log.records[:3]
    await drain(log, Meanwhile(target, lambda: drain(part, target, theirs)), ours)
    assert rows(empty) == expected(log)


async def test_a_token_keeps_out_what_the_guard_has_let_in(empty: ClickHouse) -> None:
    """The rows of the first insert are hidden from the guard of the second, as they are from one
    that was evaluated before they came."""
    log = log_of(MIXED)
    target = ClickHouseCatalog(empty)
    await drain(log, target)
    empty.execute(f"ALTER TABLE {TABLE} DELETE WHERE 1 SETTINGS mutations_sync = 2")
    with pytest.raises(FaultError, match="holds none"):
        await drain(reread(log), target)
    assert rows(empty) == []


async def test_the_guard_keeps_out_a_sink_that_slept_until_its_token_was_forgotten(
    empty: ClickHouse,
) -> None:
    log = log_of(MIXED)
    target = ClickHouseCatalog(empty)
    await drain(log, target)
    before = rows(empty)
    forget_tokens(empty, TABLE)
    await target.insert(NO_ROWS, [(CatalogPlace(99, 1, "rules", "r", "1"), b"{}")])
    assert rows(empty) == before


async def test_an_answer_that_is_lost_is_not_sent_for_twice(empty: ClickHouse) -> None:
    log = log_of(MIXED)
    target = ClickHouseCatalog(empty)

    class Lost(Meanwhile):
        async def insert(self, mark: int, batch: Sequence[tuple[CatalogPlace, bytes]]) -> None:
            await target.insert(mark, batch)
            raise TransientError("connection reset", action="Wait.")

    await drain(log, Lost(target, lambda: asyncio.sleep(0)), SMALL)
    assert rows(empty) == expected(log)


async def test_a_topic_made_anew_is_noticed_before_anything_is_inserted(empty: ClickHouse) -> None:
    target = ClickHouseCatalog(empty)
    await drain(log_of(MIXED), target)
    before = rows(empty)
    for other in (log_of(MIXED[:4]), log_of(MIXED, 9_000), log_of([*MIXED[:6], override(9)])):
        with pytest.raises(FaultError, match="does not hold it there") as caught:
            await drain(other, target)
        assert f"TRUNCATE TABLE {TABLE}" in caught.value.action
        assert rows(empty) == before
    empty.execute(f"TRUNCATE TABLE {TABLE}")
    anew = log_of(MIXED[2:], 9_000)
    await drain(anew, target)
    assert rows(empty) == expected(anew)


async def test_a_record_that_is_there_twice_stops_the_sink(empty: ClickHouse) -> None:
    target = ClickHouseCatalog(empty)
    log = log_of(MIXED)
    await drain(log, target)
    empty.execute(f"INSERT INTO {TABLE} SELECT * FROM {TABLE} LIMIT 1")
    with pytest.raises(FaultError, match="5 rows of 4 records") as caught:
        await drain(reread(log), target)
    assert f"TRUNCATE TABLE {TABLE}" in caught.value.action


async def test_what_compaction_took_from_the_log_stays_in_the_table(empty: ClickHouse) -> None:
    target = ClickHouseCatalog(empty)
    log = log_of(MIXED)
    await drain(log, target)
    before = rows(empty)
    last = before[-1][0]
    log.append(codec.encode(override(5)))
    log.records = [found for found in log.records if found.offset != last]
    await drain(log, target)
    assert rows(empty)[: len(before)] == before
    assert [row[3] for row in rows(empty)[len(before) :]] == ["o5"]


def test_sink_processes_that_are_killed_fill_the_table_with_what_the_topic_holds(
    sinks: Sinks,
) -> None:
    create_topics(sinks)
    bootstrap, prefix = str(sinks.settings.kafka_bootstrap), sinks.settings.topic_prefix

    async def tell(records: Sequence[CatalogRecord]) -> None:
        await append_catalog(bootstrap, prefix, await read_catalog(bootstrap, prefix), records)

    asyncio.run(tell([override(1, customer_id="acme"), key(1), override(2)]))
    process = sinks.start()
    sinks.wait_rows(1, TABLE)
    process.kill()
    process.wait()
    asyncio.run(tell([override(3)]))
    process = sinks.start()
    wanted = [
        ("generation", "topics", ""),
        ("price_override", "o1", "acme"),
        ("price_override", "o2", ""),
        ("price_override", "o3", ""),
        ("rules", "rules", ""),
    ]
    found: list[tuple[Any, ...]] = []

    def all_there() -> bool:
        answer = sinks.clickhouse.query(f"SELECT kind, id, customer_id FROM {TABLE} ORDER BY 1, 2")
        found[:] = [tuple(row) for row in answer.rows]
        return len(found) >= len(wanted)

    sinks.wait(all_there, "all records of the catalog")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_SECONDS) == 0, sinks.log_text()
    assert [row[0] for row in found] == [row[0] for row in wanted], found
    assert found[1:4] == wanted[1:4]
