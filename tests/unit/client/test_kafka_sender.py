"""Events onto Kafka: whatever is not certainly in the log is sent again. The broker itself is in
tests/integration/test_producer_client.py."""

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, NotLeaderForPartitionError
from aiokafka.partitioner import DefaultPartitioner

from schemas.client import Later, Outcome, Spooled, kafka_sender
from schemas.client.kafka_sender import KafkaSender
from schemas.partitioner import partition_of
from tests.client_fakes import record


class FakeProducer:
    """An AIOKafkaProducer of which each record gets what `results` says."""

    def __init__(self, *results: Any) -> None:
        self.results = list(results)
        self.sent: list[tuple[str, bytes, bytes]] = []
        self.stopped = 0

    async def send(self, topic: str, value: bytes, key: bytes) -> "asyncio.Future[Any]":
        self.sent.append((topic, key, value))
        result = self.results.pop(0)
        if isinstance(result, KafkaTimeoutError):
            raise result
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if isinstance(result, BaseException):
            future.set_exception(result)
        elif result is not None:
            future.set_result(SimpleNamespace(offset=result))
        return future

    async def stop(self) -> None:
        self.stopped += 1


def spooled(count: int) -> list[Spooled]:
    made = [record(f"e{n}", f"customer-{n}") for n in range(count)]
    return [Spooled(n, one.topic, one.key, one.value) for n, one in enumerate(made)]


async def send(producer: Any, count: int) -> list[Outcome]:
    sender = KafkaSender("127.0.0.1:1", "here.")
    sender._producer = producer
    return list(await sender.send(spooled(count)))


async def test_what_is_acknowledged_with_its_place_is_in_the_log() -> None:
    producer = FakeProducer(0, 1)
    assert await send(producer, 2) == [None, None]
    first, _ = spooled(2)
    assert producer.sent[0] == ("here.usage", b"customer-0", first.value)
    assert producer.stopped == 0


async def test_what_is_not_is_sent_again_by_another_producer() -> None:
    producer = FakeProducer(
        5, -1, NotLeaderForPartitionError(), KafkaTimeoutError(), MessageSizeTooLargeError(), 6
    )
    outcomes = await send(producer, 6)
    assert [type(one) for one in outcomes] == [
        *(type(None), Later, Later, Later, Later),
        type(None),
    ]
    assert producer.stopped == 1


async def test_what_is_not_acknowledged_in_time_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_sender, "ACKNOWLEDGED_SECONDS", 0.01)
    producer = FakeProducer(5, None, 6)
    first, second, third = await send(producer, 3)
    assert (first, third) == (None, None)
    assert isinstance(second, Later)
    assert producer.stopped == 1


async def test_a_broker_that_is_away_is_told_as_what_it_is() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        sender = KafkaSender(f"127.0.0.1:{bound.getsockname()[1]}")
        outcomes = await sender.send(spooled(2))
    assert outcomes == [Later("no broker answers: KafkaConnectionError")] * 2
    await sender.close()


@pytest.mark.parametrize("option", ["partitioner", "acks", "enable_idempotence"])
def test_what_would_break_a_rule_is_no_option(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        KafkaSender("127.0.0.1:1", "here.", **{option: 1})


def test_the_clients_partitioner_is_kafkas() -> None:
    partitioner: Callable[..., int] = DefaultPartitioner()
    for count in (1, 8, 12):
        for n in range(200):
            key = f"customer-{n}".encode()
            assert partitioner(key, list(range(count)), []) == partition_of(key, count)


async def test_another_partitioner_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_sender, "partition_of", lambda _key, _count: 0)
    with pytest.raises(AssertionError, match="murmur2"):
        await KafkaSender("127.0.0.1:1").send(spooled(1))
