"""One suite for every lease log: memory, and fenced producers on the real broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import PREFLIGHTS, UNASSIGNED, USAGE
from streams.adapters import lease_log
from streams.adapters.lease_log import KafkaLeaseLog
from streams.adapters.memory_lease import MemoryLeaseLog, MemoryTopic
from streams.app.installation import create_topics
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError
from streams.ports import LeaseLog
from streams.settings import Settings

Produce = Callable[[int, str], Awaitable[None]]


class Setting:
    """Logs of one topic, and a way to append to other topics."""

    def __init__(self, make: Callable[[], LeaseLog], produce: Produce) -> None:
        self._make = make
        self.produce = produce
        self.made: list[LeaseLog] = []

    def log(self) -> LeaseLog:
        self.made.append(self._make())
        return self.made[-1]


@pytest.fixture(params=["memory", "kafka"])
async def setting(
    request: pytest.FixtureRequest, tmp_path: Path, topic_prefix: str
) -> AsyncIterator[Setting]:
    if request.param == "memory":
        topic = MemoryTopic(now_us=1_000)

        async def count(records: int, name: str) -> None:
            ends = topic.usage_ends if name == USAGE.name else topic.unassigned_ends
            ends[0] += records

        yield Setting(lambda: MemoryLeaseLog(topic), count)
        return
    endpoints: Endpoints = request.getfixturevalue("endpoints")
    bootstrap = endpoints.kafka_bootstrap
    app_id = topic_prefix.rstrip(".")
    await create_topics(
        Settings(
            home=tmp_path,
            kafka_bootstrap=bootstrap,
            topic_prefix=topic_prefix,
            app_id=app_id,
            partitions=2,
        )
    )

    async def produce(records: int, name: str) -> None:
        # In a transaction: its marker takes an offset that nobody ever consumes.
        async with AIOKafkaProducer(
            bootstrap_servers=bootstrap, transactional_id=f"{app_id}-elsewhere"
        ) as producer:
            for _ in range(records):
                async with producer.transaction():
                    await producer.send_and_wait(topic_prefix + name, b"x", partition=0)

    made = Setting(lambda: KafkaLeaseLog(bootstrap, app_id, topic_prefix), produce)
    yield made
    await asyncio.gather(*(log.release() for log in made.made))


def rows(*values: bytes) -> list[tuple[bytes | None, bytes]]:
    return [(b"acme", value) for value in values]


async def test_a_group_lies_side_by_side_and_says_where(setting: Setting) -> None:
    log = setting.log()
    await log.fence(0)
    lease = await log.append(0, [(None, b"lease")])
    first = await log.append(0, rows(b"1", b"2", b"3"))
    second = await log.append(0, rows(b"4"))

    assert [lease.base_offset, first.base_offset, second.base_offset] == [0, 1, 4]
    assert 0 < lease.appended_at_us <= first.appended_at_us <= second.appended_at_us
    found = await log.read(0, 0, 5)
    assert [record.value for record in found] == [b"lease", b"1", b"2", b"3", b"4"]
    assert [record.key for record in found] == [None] + 4 * [b"acme"]
    assert {record.topic for record in found} == {PREFLIGHTS.name}


async def test_the_time_that_an_append_returns_is_the_one_that_readers_see(
    setting: Setting,
) -> None:
    log = setting.log()
    await log.fence(0)
    group = await log.append(0, rows(b"1", b"2"))
    assert {r.appended_at_us for r in await log.read(0, 0, 2)} == {group.appended_at_us}


async def test_a_new_owner_refuses_the_former_one_from_its_first_append_on(
    setting: Setting,
) -> None:
    old, new = setting.log(), setting.log()
    await old.fence(0)
    await old.append(0, rows(b"before"))
    await new.fence(0)
    # The fence alone refuses nobody: what is decided until the new lease lies before it.
    await old.append(0, rows(b"still before"))
    assert (await new.append(0, [(None, b"lease")])).base_offset == 2
    with pytest.raises(FaultError, match="unknown outcome"):
        await old.append(0, rows(b"zombie"))
    assert (await new.append(0, rows(b"after"))).base_offset == 3
    values = [record.value for record in await new.read(0, 0, 4)]
    assert values == [b"before", b"still before", b"lease", b"after"]


async def test_partitions_are_fenced_apart(setting: Setting) -> None:
    old, new = setting.log(), setting.log()
    await asyncio.gather(old.fence(0), old.fence(1))
    await new.fence(1)
    await new.append(1, [(None, b"lease")])
    assert (await old.append(0, rows(b"mine"))).base_offset == 0
    with pytest.raises(FaultError):
        await old.append(1, rows(b"not mine"))


async def test_a_partition_can_be_taken_again_by_the_same_process(setting: Setting) -> None:
    log = setting.log()
    for expected in range(3):
        await log.fence(0)
        assert (await log.append(0, [(None, b"lease")])).base_offset == expected
        await log.release()


async def test_a_partition_that_was_given_up_is_refused(setting: Setting) -> None:
    log = setting.log()
    await log.fence(0)
    await log.append(0, rows(b"1"))
    await log.release()
    with pytest.raises(FaultError):
        await log.append(0, rows(b"2"))


async def test_a_range_is_read_as_it_was_asked_for_or_refused(setting: Setting) -> None:
    log = setting.log()
    await log.fence(0)
    await log.append(0, rows(*(b"%d" % number for number in range(30))))
    assert await log.read(0, 7, 7) == []
    for from_offset, to_offset in ((0, 30), (29, 30), (3, 11)):
        found = await log.read(0, from_offset, to_offset)
        assert [record.offset for record in found] == list(range(from_offset, to_offset))
    reads = await asyncio.gather(*(log.read(0, number, number + 1) for number in range(8)))
    assert [record.value for (record,) in reads] == [b"%d" % number for number in range(8)]


@pytest.mark.parametrize("name", [USAGE.name, UNASSIGNED.name])
async def test_the_end_of_a_topic_lies_behind_its_last_record(setting: Setting, name: str) -> None:
    log = setting.log()
    end = log.usage_end if name == USAGE.name else log.unassigned_end
    assert await end(0) == 0
    await setting.produce(1, name)
    assert await end(0) == 1
    await setting.produce(2, name)
    # On the broker each record is followed by a marker: 0, 2, 4 are records, 5 is the last marker.
    assert await end(0) in (3, 5)


@pytest.fixture
async def on_kafka(
    endpoints: Endpoints, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[KafkaLeaseLog]:
    """A log of two partitions on the real broker."""
    app_id, bootstrap = topic_prefix.rstrip("."), endpoints.kafka_bootstrap
    await create_topics(
        Settings(
            home=tmp_path,
            kafka_bootstrap=bootstrap,
            topic_prefix=topic_prefix,
            app_id=app_id,
            partitions=2,
        )
    )
    log = KafkaLeaseLog(bootstrap, app_id, topic_prefix)
    yield log
    await log.release()


async def test_a_group_that_fits_no_batch_is_not_appended(on_kafka: KafkaLeaseLog) -> None:
    await on_kafka.fence(0)
    with pytest.raises(FaultError, match="do not fit one batch"):
        await on_kafka.append(0, rows(bytes(600_000), bytes(600_000)))
    assert (await on_kafka.append(0, rows(b"small"))).base_offset == 0


async def test_a_partition_that_is_read_first_keeps_the_others_from_nothing(
    on_kafka: KafkaLeaseLog,
) -> None:
    for partition in (0, 1):
        await on_kafka.fence(partition)
        await on_kafka.append(partition, rows(b"x"))
        await on_kafka.read(partition, 0, 1)
    consumer = on_kafka._consumers[lease_log.COMMITTED]
    assert len(consumer.assignment()) == 2
    # aiokafka makes no fetch for a tenth of a second while one of them has no position.
    async with asyncio.timeout(30):
        for place in consumer.assignment():
            assert await consumer.position(place) in (0, 1)
