"""streams.adapters.inbound on a real broker: one result for each record, and it is true."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schemas.limits import RECORD_BYTES_MAX
from schemas.partitioner import partition_of
from streams.adapters.inbound import BATCH_BYTES_MAX, KafkaInbound
from streams.embedded.endpoints import Endpoints
from streams.errors import TransientError
from tests.installation import Installation

PARTITIONS = 2
SECONDS = 30.0
"""A deadline, not an expectation."""


@dataclass(frozen=True)
class Appended:
    topic: str
    partition: int
    offset: int
    appended_at_us: int


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Installation:
    return Installation.create(endpoints, topic_prefix, tmp_path, partitions=PARTITIONS)


@asynccontextmanager
async def appending(
    installation: Installation, **more: Any
) -> AsyncIterator[KafkaInbound[Appended]]:
    settings = installation.settings
    assert settings.kafka_bootstrap is not None
    inbound = KafkaInbound(
        settings.kafka_bootstrap, settings.topic_prefix, PARTITIONS, Appended, **more
    )
    await inbound.start()
    try:
        yield inbound
    finally:
        await inbound.stop()


def records(count: int, size: int = 10) -> list[tuple[bytes, bytes]]:
    return [(b"customer-%d" % (n % 7), b"%0*d" % (size, n)) for n in range(count)]


def standing(installation: Installation, topic: str = "usage") -> dict[tuple[int, int], Any]:
    """The records of a topic by partition and offset."""
    return {
        (partition, record.offset): record
        for partition, part in enumerate(installation.read(topic))
        for record in part
    }


def where(result: "Appended | TransientError") -> tuple[int, int]:
    assert isinstance(result, Appended)
    return result.partition, result.offset


async def append_all(
    installation: Installation, sent: list[list[tuple[bytes, bytes]]], **more: Any
) -> list[list["Appended | TransientError"]]:
    async with asyncio.timeout(SECONDS), appending(installation, **more) as inbound:
        return await asyncio.gather(*(inbound.append("usage", part) for part in sent))


def test_each_result_says_where_its_record_stands_and_when_it_was_appended(
    installation: Installation,
) -> None:
    sent = records(1_000)
    (results,) = asyncio.run(append_all(installation, [sent]))
    found = standing(installation)
    assert len(found) == len(results) == 1_000
    for (key, value), result in zip(sent, results, strict=True):
        assert isinstance(result, Appended)
        record = found[where(result)]
        assert (record.key, record.value) == (key, value)
        assert result.partition == partition_of(key, PARTITIONS)
        assert result.appended_at_us == record.timestamp * 1000
        assert record.timestamp_type == 1  # LogAppendTime
        assert result.topic == "usage"


def test_many_callers_at_once_are_each_told_of_their_own_records(
    installation: Installation,
) -> None:
    sent = [[(b"customer-%d" % (n % 5), b"value-%d" % n)] for n in range(500)]
    results = asyncio.run(append_all(installation, sent))
    found = standing(installation)
    assert len(found) == 500
    for ((_, value),), (result,) in zip(sent, results, strict=True):
        assert found[where(result)].value == value


def test_records_of_a_key_keep_their_order_over_many_batches(installation: Installation) -> None:
    size = BATCH_BYTES_MAX // 10
    sent = [(b"customer", b"%0*d" % (size, n)) for n in range(60)]
    (results,) = asyncio.run(append_all(installation, [sent]))
    offsets = [where(result)[1] for result in results]
    assert offsets == sorted(offsets)
    assert len(set(offsets)) == 60


def test_a_record_that_is_too_large_fails_alone(installation: Installation) -> None:
    sent = [*records(3), (b"customer-1", bytes(RECORD_BYTES_MAX)), (b"customer-2", b"after")]
    (results,) = asyncio.run(append_all(installation, [sent]))
    assert [isinstance(result, TransientError) for result in results] == [False] * 3 + [True, False]
    assert len(standing(installation)) == 4


def test_a_batch_that_the_broker_refuses_fails_alone_and_appending_goes_on(
    installation: Installation,
) -> None:
    # Just within our own bound; with the batch's head it is beyond the topic's.
    large = (b"customer-1", bytes(RECORD_BYTES_MAX - len(b"customer-1")))

    async def run() -> list[list["Appended | TransientError"]]:
        async with asyncio.timeout(SECONDS), appending(installation) as inbound:
            rounds = [await inbound.append("usage", part) for part in (records(2), [large])]
            return [*rounds, await inbound.append("usage", records(7))]

    first, refused, after = asyncio.run(run())
    assert all(isinstance(result, Appended) for result in [*first, *after])
    (error,) = refused
    assert isinstance(error, TransientError)
    assert "MessageSizeTooLarge" in error.message
    assert len(standing(installation)) == 9


def test_a_caller_that_gives_up_takes_nothing_from_the_others(installation: Installation) -> None:
    async def run() -> list["Appended | TransientError"]:
        async with asyncio.timeout(SECONDS), appending(installation) as inbound:
            gone = asyncio.create_task(inbound.append("usage", [(b"customer-0", b"gone")]))
            stays = asyncio.create_task(inbound.append("usage", [(b"customer-0", b"stays")]))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            results = await stays
            assert inbound._waiting_bytes == 0
            return results

    (result,) = asyncio.run(run())
    assert standing(installation)[where(result)].value == b"stays"


def test_more_than_may_wait_is_refused_at_once_and_nothing_of_it_appended(
    installation: Installation,
) -> None:
    async def run() -> None:
        async with appending(installation, waiting_bytes_max=10_000) as inbound:
            fits = asyncio.create_task(inbound.append("usage", records(20)))
            await asyncio.sleep(0)
            with pytest.raises(TransientError, match="wait for the broker"):
                await inbound.append("usage", records(20))
            assert all(isinstance(result, Appended) for result in await fits)
            assert len(await inbound.append("usage", records(20))) == 20

    asyncio.run(run())
    assert len(standing(installation)) == 40


def test_a_broker_that_hangs_leaves_no_caller_waiting(
    installation: Installation, endpoints: Endpoints
) -> None:
    async def run() -> None:
        async with (
            asyncio.timeout(SECONDS),
            appending(installation, append_seconds_max=0.5) as inbound,
        ):
            (before,) = await inbound.append("usage", [(b"customer-0", b"before")])
            assert isinstance(before, Appended)
            os.kill(endpoints.pids["kafka"], signal.SIGSTOP)
            try:
                results = await inbound.append("usage", records(5))
            finally:
                os.kill(endpoints.pids["kafka"], signal.SIGCONT)
            assert all(isinstance(result, TransientError) for result in results)
            inbound._append_seconds_max = SECONDS
            (after,) = await inbound.append("usage", [(b"customer-0", b"after")])
            assert isinstance(after, Appended)
            assert inbound._waiting_bytes == 0

    asyncio.run(run())
