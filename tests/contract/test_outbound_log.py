"""One suite for every outbound log: memory, and a partition on the real broker with its markers."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.adapters.ledger_source import KafkaLog
from streams.adapters.memory_sink import EndOfLogError, MemoryLog
from streams.embedded.endpoints import Endpoints
from streams.ports import OutboundLog, OutboundRecord
from tests.outbound import append, create_outbound_topics

VALUES = [b"r%d" % number for number in range(7)]
CYCLES = [VALUES[:3], VALUES[3:4], VALUES[4:]]
"""What the log holds: three transactions, a marker after each; on Kafka an aborted one before
each."""


@pytest.fixture(params=["memory", "kafka"])
async def log(request: pytest.FixtureRequest, topic_prefix: str) -> AsyncIterator[OutboundLog]:
    if request.param == "memory":
        memory = MemoryLog("ledger", 0)
        for cycle in CYCLES:
            for number, value in enumerate(cycle):
                memory.append(value, gap=1 if number == 0 else 0)
        yield memory
        return
    endpoints: Endpoints = request.getfixturevalue("endpoints")
    bootstrap, topic = endpoints.kafka_bootstrap, f"{topic_prefix}ledger"
    await create_outbound_topics(bootstrap, topic_prefix, 1)
    cycles = [[(0, value) for value in cycle] for cycle in CYCLES]
    await append(bootstrap, topic, cycles, abort_every=1)
    place = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=topic_prefix.rstrip("."),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    ) as consumer:
        consumer.assign([place])
        yield KafkaLog(consumer, place, "ledger", 20, {})


async def take(log: OutboundLog, count: int, *, at_once: int = 1000) -> list[OutboundRecord]:
    """The next `count` records."""
    found: list[OutboundRecord] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            taken = await log.take(at_once, 1_000_000)
            assert len(taken) <= at_once
            found += taken
    return found


def values(records: Sequence[OutboundRecord]) -> list[bytes]:
    return [record.value for record in records]


async def test_every_committed_record_comes_once_and_in_order(log: OutboundLog) -> None:
    await log.seek((await log.bounds())[0])
    found = await take(log, len(VALUES))
    assert values(found) == VALUES
    offsets = [record.offset for record in found]
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_what_is_not_taken_at_once_comes_next(log: OutboundLog, at_once: int) -> None:
    await log.seek((await log.bounds())[0])
    assert values(await take(log, len(VALUES), at_once=at_once)) == VALUES


async def test_a_log_goes_on_from_where_it_was_sent(log: OutboundLog) -> None:
    begin, _ = await log.bounds()
    await log.seek(begin)
    found = await take(log, len(VALUES))
    for number in (5, 0, 3):
        await log.seek(found[number].offset)
        assert values(await take(log, len(VALUES) - number)) == VALUES[number:]


async def test_a_peek_finds_the_first_record_at_or_after_an_offset(log: OutboundLog) -> None:
    begin, end = await log.bounds()
    await log.seek(begin)
    found = await take(log, len(VALUES))
    for offset in range(begin, end + 1):
        expected = next((record for record in found if record.offset >= offset), None)
        assert await log.peek(offset) == expected, offset


async def test_the_end_lies_after_everything_and_nothing_comes_from_there(
    log: OutboundLog,
) -> None:
    _, end = await log.bounds()
    await log.seek(end)
    try:
        assert await log.take(10, 1_000_000) == []
    except EndOfLogError:
        assert isinstance(log, MemoryLog)
