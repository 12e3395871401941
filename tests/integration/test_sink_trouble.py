"""Sink processes in trouble on the real Kafka and ClickHouse: old backups, full disks, a server
that stands still, topics made anew; and how soon rows arrive when there is none."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.codec import join_rows
from schemas.topics import LEDGER
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.ledger_source import LedgerSource
from streams.app.sink import source_options
from streams.embedded.endpoints import Endpoints
from streams.errors import SetupError
from streams.ports import NO_ROWS, OutboundLog
from tests.outbound import append
from tests.rows import rows
from tests.sink_processes import (
    CYCLE,
    PARTITIONS,
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

BACKLOG_ROWS: Final = 90_000
MEMORY_BYTES_MAX: Final = 48 * 1024 * 1024
"""Two fetches of 4 MiB per partition and topic, and what Python makes of them."""


@pytest.fixture
def sinks(
    endpoints: Endpoints, unique_name: str, topic_prefix: str, tmp_path: Path
) -> Iterator[Sinks]:
    with running_sinks(endpoints, unique_name, topic_prefix, tmp_path) as made:
        yield made


def test_a_table_restored_from_a_backup_older_than_the_committed_offsets_is_filled_up(
    sinks: Sinks,
) -> None:
    create_topics(sinks)
    total = fill(sinks, cycles=3)
    process = sinks.start()
    sinks.wait_rows(total)
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_SECONDS) == 0, sinks.log_text()
    # The backup: all but the last rows of each partition; Kafka's offsets say that nothing is due.
    sinks.clickhouse.execute("CREATE TABLE backup AS ledger")
    sinks.clickhouse.execute("INSERT INTO backup SELECT * FROM ledger WHERE sequence < 50")
    sinks.clickhouse.execute("DROP TABLE ledger SYNC")
    sinks.clickhouse.execute("RENAME TABLE backup TO ledger")
    sinks.start()
    sinks.wait_rows(total)
    assert_exact(sinks, total)


def test_a_table_ahead_of_its_log_stops_the_sink_with_a_message_and_status_1(sinks: Sinks) -> None:
    create_topics(sinks)
    fill(sinks, cycles=1)
    target = ClickHouseRows(sinks.clickhouse)
    asyncio.run(target.insert("ledger", 1, 0, NO_ROWS, join_rows(rows(range(CYCLE + 5)))))
    process = sinks.start()
    assert process.wait(WAIT_SECONDS) == 1
    said = " ".join(sinks.log_text().split())  # The command line breaks long lines.
    assert f"up to sequence {CYCLE + 4}, the log only up to {CYCLE - 1}" in said
    assert "start a new generation" in said
    assert sinks.exact()[0] == (CYCLE + 5, CYCLE + 5, CYCLE + 4), "nothing was added"


def test_a_clickhouse_without_room_delays_rows_and_the_sink_says_so(sinks: Sinks) -> None:
    """The setting makes the real server answer NOT_ENOUGH_SPACE (243), as a full disk does."""
    create_topics(sinks)
    total = fill(sinks, cycles=2)
    room = "ALTER TABLE ledger MODIFY SETTING min_free_disk_bytes_to_perform_insert = {}"
    sinks.clickhouse.execute(room.format(2**60))
    process = sinks.start()
    sinks.wait(lambda: "trying again for up to 60 s" in sinks.log_text(), "a sink that tries again")
    assert "free bytes" in sinks.log_text() or "space" in sinks.log_text()
    assert sinks.count() == 0
    sinks.clickhouse.execute(room.format(0))
    sinks.wait_rows(total)
    assert process.poll() is None, sinks.log_text()
    assert_exact(sinks, total)


def test_a_clickhouse_that_stands_still_does_not_fill_the_memory_of_a_sink(
    sinks: Sinks, stack: "EmbeddedStack"
) -> None:
    """A backlog of 60 MB, of which the client may hold two fetches per partition."""
    sinks.settings = sinks.settings.model_copy(update={"sink_batch_rows_max": 5_000})
    create_topics(sinks)
    process = sinks.start()
    fill(sinks, cycles=1)
    sinks.wait(lambda: sinks.count() == PARTITIONS * CYCLE, "the first cycle's rows")
    total = PARTITIONS * (CYCLE + BACKLOG_ROWS)
    before = psutil.Process(process.pid).memory_info().rss
    server = stack.endpoints().pids["clickhouse"]
    os.kill(server, signal.SIGSTOP)
    try:
        sent = fill_backlog(sinks)
        assert sent > 60_000_000
        peak = [0]

        def seen_for(seconds: float) -> Callable[[], bool]:
            end = time.monotonic() + seconds

            def look() -> bool:
                peak[0] = max(peak[0], psutil.Process(process.pid).memory_info().rss)
                return time.monotonic() > end

            return look

        # Long enough to fetch all of it several times over.
        sinks.wait(seen_for(5.0), "the memory watched")
    finally:
        os.kill(server, signal.SIGCONT)
    sinks.wait_rows(total)
    assert_exact(sinks, total)
    print(f"{(peak[0] - before) / 2**20:.0f} MiB more while ClickHouse stood still")
    assert peak[0] - before < MEMORY_BYTES_MAX


def fill_backlog(sinks: Sinks) -> int:
    """Appends BACKLOG_ROWS to each partition, and returns their bytes."""
    sent = 0

    def cycles() -> Iterator[list[tuple[int, bytes]]]:
        nonlocal sent
        for first in range(CYCLE, CYCLE + BACKLOG_ROWS, 2_000):
            part = [
                (p, value)
                for p in range(PARTITIONS)
                for value in rows(range(first, first + 2_000), partition=p)
            ]
            sent += sum(len(value) for _, value in part)
            yield part

    topic = LEDGER.full_name(sinks.settings.topic_prefix)
    asyncio.run(append(str(sinks.settings.kafka_bootstrap), topic, cycles()))
    return sent


def test_a_sink_whose_topics_were_made_anew_stops_and_says_which(sinks: Sinks) -> None:
    create_topics(sinks)
    total = fill(sinks, cycles=1)
    first = sinks.start()
    sinks.wait_rows(total)
    first.send_signal(signal.SIGTERM)
    assert first.wait(WAIT_SECONDS) == 0
    asyncio.run(make_anew(sinks, LEDGER.full_name(sinks.settings.topic_prefix)))
    second = sinks.start()
    assert second.wait(WAIT_SECONDS) == 2
    assert "ledger: deleted and made anew" in sinks.log_text()
    assert "new-generation" in sinks.log_text()


async def make_anew(sinks: Sinks, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=str(sinks.settings.kafka_bootstrap))
    await admin.start()
    try:
        await admin.delete_topics([topic])
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                answer = await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
                if all(code == 0 for _, code, *_ in answer.topic_errors):
                    return
    finally:
        await admin.close()


def test_a_rebalance_checks_the_topics_again_before_it_serves_them(sinks: Sinks) -> None:
    create_topics(sinks)
    checks: list[int] = []

    async def serve(_log: OutboundLog) -> None:
        raise Killed

    async def check() -> None:
        checks.append(1)
        raise SetupError("the topics are others", action="Look.")

    async def run() -> None:
        source = LedgerSource(source_options(sinks.settings, str(sinks.settings.kafka_bootstrap)))
        await asyncio.wait_for(source.run(serve, asyncio.Event(), check), WAIT_SECONDS)

    with pytest.raises(SetupError, match="the topics are others"):
        asyncio.run(run())
    assert checks


def test_rows_are_visible_within_two_seconds_of_their_commit(sinks: Sinks) -> None:
    """100 transactions at 20 a second, each timed from its commit to the visible row."""
    create_topics(sinks)
    fill(sinks, cycles=1)
    sinks.start()
    sinks.wait(lambda: sinks.count() == PARTITIONS * CYCLE, "the first cycle's rows")
    delays = asyncio.run(_delays(sinks, 100, pause_seconds=0.05))
    p99 = sorted(delays)[98]
    print(f"rows arrive after {sorted(delays)[49]:.2f} s (median), {p99:.2f} s (p99)")
    assert p99 < 2.0


async def _delays(sinks: Sinks, count: int, pause_seconds: float) -> list[float]:
    committed: dict[int, float] = {}
    seen: dict[int, float] = {}
    mark = CYCLE - 1

    async def look() -> None:
        nonlocal mark
        sql = "SELECT max(sequence) FROM ledger WHERE partition = 0"
        while len(seen) < count:
            answer = await asyncio.to_thread(sinks.clickhouse.query, sql)
            now, mark = time.monotonic(), int(answer.rows[0][0])
            seen.update({last: now for last in committed if last <= mark and last not in seen})
            await asyncio.sleep(0.01)

    looking = asyncio.ensure_future(look())
    topic = LEDGER.full_name(sinks.settings.topic_prefix)
    async with AIOKafkaProducer(
        bootstrap_servers=str(sinks.settings.kafka_bootstrap),
        transactional_id=f"{topic}-timed",
        linger_ms=2,
    ) as producer:
        for number in range(count):
            first = CYCLE + 10 * number
            async with producer.transaction():
                for value in rows(range(first, first + 10)):
                    await producer.send(topic, value, partition=0)
            committed[first + 9] = time.monotonic()
            await asyncio.sleep(pause_seconds)
        async with asyncio.timeout(WAIT_SECONDS):
            await looking
    return [seen[last] - at for last, at in committed.items()]
