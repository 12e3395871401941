"""Sink processes on the real Kafka and ClickHouse: killed, racing, cut off, and still exact."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from schemas.topics import DEAD_LETTERS
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.ledger_source import LedgerSource
from streams.app.sink import source_options
from streams.embedded.endpoints import Endpoints
from streams.errors import SetupError, TransientError
from streams.ports import OutboundLog
from streams.sink.loop import Inserted, PartitionSink
from streams.sink.patience import Patience
from streams.sink.rows import BatchLimits
from tests.embedded_waiting import until_async
from tests.outbound import append
from tests.sink_processes import (
    CYCLES,
    WAIT_SECONDS,
    Sinks,
    assert_exact,
    create_topics,
    fill,
    running_sinks,
)
from tests.sinks import Killed

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack

KILLS: Final = 2
"""Each costs a session timeout (6 s), until Kafka gives the partitions to the next sink."""


@pytest.fixture
def sinks(
    endpoints: Endpoints, unique_name: str, topic_prefix: str, tmp_path: Path
) -> Iterator[Sinks]:
    with running_sinks(endpoints, unique_name, topic_prefix, tmp_path) as made:
        yield made


def test_sinks_killed_in_mid_load_lose_and_double_nothing(sinks: Sinks) -> None:
    create_topics(sinks)
    total = fill(sinks)
    for kill in range(KILLS):
        process = sinks.start()
        due = sinks.count() + 1 + kill * 300
        sinks.wait_rows(min(due, total))
        process.kill()
        process.wait()
    sinks.start()
    sinks.wait_rows(total)
    assert_exact(sinks, total)
    total = fill(sinks, CYCLES, 3)
    sinks.wait_rows(total)
    assert_exact(sinks, total)


def test_both_topics_reach_their_tables_and_sigterm_ends_a_sink_cleanly(sinks: Sinks) -> None:
    create_topics(sinks)
    total = fill(sinks, cycles=2)
    letters = [
        b'{"schema_version":1,"entry_id":"%d","generation":1,"partition":0,"sequence":%d,'
        b'"cycle":1,"decided_at":1768478400000000,"code":"malformed","reason":"","topic":"usage",'
        b'"source_offset":0,"appended_at":0,"record_value":"e30="}' % (n, n)
        for n in range(3)
    ]
    topic = DEAD_LETTERS.full_name(sinks.settings.topic_prefix)
    bootstrap = str(sinks.settings.kafka_bootstrap)
    asyncio.run(append(bootstrap, topic, [[(0, letter) for letter in letters]]))
    process = sinks.start()
    sinks.wait_rows(total)
    sinks.wait_rows(3, "dead_letters")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_SECONDS) == 0, sinks.log_text()
    assert_exact(sinks, total)
    assert sinks.exact("dead_letters") == {0: (3, 3, 2)}


def test_a_dropped_table_is_filled_again_though_kafka_remembers_the_end(sinks: Sinks) -> None:
    create_topics(sinks)
    total = fill(sinks, cycles=3)
    process = sinks.start()
    sinks.wait_rows(total)
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_SECONDS) == 0, sinks.log_text()
    sinks.clickhouse.execute("TRUNCATE TABLE ledger")
    sinks.start()
    sinks.wait_rows(total)
    assert_exact(sinks, total)


def test_a_clickhouse_that_is_killed_in_mid_load_delays_rows_and_nothing_else(
    sinks: Sinks, stack: "EmbeddedStack"
) -> None:
    create_topics(sinks)
    total = fill(sinks)
    process = sinks.start()
    sinks.wait_rows(1)
    restarts = stack.supervisor.restarts("clickhouse")
    os.kill(stack.endpoints().pids["clickhouse"], signal.SIGKILL)
    stack.supervisor.wait_ready("clickhouse", restarts=restarts + 1)
    sinks.wait_rows(total)
    assert process.poll() is None, sinks.log_text()
    assert_exact(sinks, total)


def test_a_sink_without_topics_or_tables_says_what_to_run_and_exits_with_2(sinks: Sinks) -> None:
    process = sinks.start()
    assert process.wait(WAIT_SECONDS) == 2
    assert "tollgate topics create" in sinks.log_text()
    create_topics(sinks)
    fill(sinks, cycles=1)
    sinks.clickhouse.execute("DROP TABLE ledger SYNC")
    process = sinks.start()
    assert process.wait(WAIT_SECONDS) == 2
    assert "tollgate migrate" in sinks.log_text()


# --- the source, in this process -----------------------------------------------------------------


async def _serve_until(sinks: Sinks, count: int, wanted: int) -> None:
    """`count` sinks of one group in this process, until the table holds `wanted` rows; they join
    one after another, and all but one leave again."""
    loop = asyncio.get_running_loop()
    bootstrap = str(sinks.settings.kafka_bootstrap)
    target = ClickHouseRows(sinks.clickhouse)
    seen: list[Inserted] = []

    async def serve(log: OutboundLog) -> None:
        if log.table == "catalog_records":
            await asyncio.Event().wait()
        patience = Patience(loop.time, asyncio.sleep)
        limits = BatchLimits(rows_max=50, bytes_max=1_000_000)
        await PartitionSink(log, target, limits, patience, seen.append).run()

    running: list[tuple[asyncio.Event, asyncio.Task[None]]] = []
    for number in range(count):
        source, stop = LedgerSource(source_options(sinks.settings, bootstrap)), asyncio.Event()
        running.append((stop, asyncio.ensure_future(source.run(serve, stop))))
        await until_async(source.partitions, f"partitions for sink {number}", WAIT_SECONDS)
        if number == 0:
            await until_async(lambda: seen, "an insert of the first sink", WAIT_SECONDS)
    for stop, task in running[1:]:
        stop.set()
        await task
    # Not by what was reported: an insert that a rebalance overtook counts and is told by nobody.
    await asyncio.to_thread(sinks.wait_rows, wanted)
    running[0][0].set()
    await running[0][1]


def test_sinks_that_come_and_go_share_the_partitions_and_stay_exact(sinks: Sinks) -> None:
    create_topics(sinks)
    total = fill(sinks, cycles=30)
    asyncio.run(_serve_until(sinks, 3, total))
    assert_exact(sinks, total)


def test_what_ends_one_partition_ends_the_whole_sink(sinks: Sinks) -> None:
    create_topics(sinks)
    fill(sinks, cycles=1)
    bootstrap = str(sinks.settings.kafka_bootstrap)

    async def serve(log: OutboundLog) -> None:
        if log.partition == 1:
            raise SetupError("no table", action="Make one.")
        await asyncio.Event().wait()

    async def run() -> None:
        source = LedgerSource(source_options(sinks.settings, bootstrap))
        await asyncio.wait_for(source.run(serve, asyncio.Event()), WAIT_SECONDS)

    with pytest.raises(SetupError, match="no table"):
        asyncio.run(run())


def test_a_broker_that_is_not_there_is_a_transient_error(sinks: Sinks) -> None:
    async def serve(_log: OutboundLog) -> None:
        raise Killed

    async def run() -> None:
        options = source_options(sinks.settings, "127.0.0.1:1")
        await LedgerSource(options).run(serve, asyncio.Event())

    with pytest.raises(TransientError, match="Kafka"):
        asyncio.run(run())
