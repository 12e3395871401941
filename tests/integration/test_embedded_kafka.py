"""The real broker: what is acknowledged survives kill -9, and topics appear only on request."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from streams.embedded.kafka import broker_answers
from streams.embedded.ports import LOOPBACK, is_free, pick_free_ports
from streams.embedded.stack import EmbeddedStack, StackOptions
from tests.embedded_waiting import until

NOT_STARTED = f"http://{LOOPBACK}:1"


def kafka_alone(home: Path, **ports: int) -> EmbeddedStack:
    """Return a stack without ClickHouse; nobody connects to the address given in its place."""
    return EmbeddedStack(StackOptions(root=home, clickhouse_url=NOT_STARTED, **ports))  # type: ignore[arg-type]  # names of ports


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kafka")


@pytest.fixture
def stack(home: Path) -> Iterator[EmbeddedStack]:
    with kafka_alone(home) as running:
        yield running


async def create_topic(bootstrap: str) -> str:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    topic = f"t-{uuid.uuid4().hex}"
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    return topic


async def append(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    for value in values:
        await producer.send_and_wait(topic, value)
    await producer.stop()


async def read(bootstrap: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    await consumer.seek_to_beginning(partition)
    end = (await consumer.end_offsets([partition]))[partition]
    values: list[bytes] = []
    while len(values) < end:
        values.append((await consumer.getone()).value)
    await consumer.stop()
    return values


async def test_acknowledged_records_survive_kill_9_and_a_restart(
    stack: EmbeddedStack, home: Path
) -> None:
    bootstrap = stack.endpoints().kafka_bootstrap
    topic = await create_topic(bootstrap)
    await append(bootstrap, topic, [b"1", b"2"])

    os.kill(stack.endpoints().pids["kafka"], signal.SIGKILL)
    stack.supervisor.wait_ready("kafka", restarts=1)
    await append(bootstrap, topic, [b"3"])
    assert await read(bootstrap, topic) == [b"1", b"2", b"3"]

    stack.stop()
    with kafka_alone(home) as again:
        # Other ports than before: the data directory must not remember the old ones.
        assert again.endpoints().kafka_bootstrap != bootstrap
        assert await read(again.endpoints().kafka_bootstrap, topic) == [b"1", b"2", b"3"]


async def test_a_topic_that_nobody_created_is_an_error(stack: EmbeddedStack) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=stack.endpoints().kafka_bootstrap, request_timeout_ms=500
    )
    await producer.start()
    with pytest.raises(KafkaError):
        await producer.send_and_wait("never-created", b"x")
    await producer.stop()


def test_a_stopped_broker_does_not_answer_and_frees_its_ports(home: Path) -> None:
    port, controller = pick_free_ports(2)
    with kafka_alone(home, kafka_port=port, kafka_controller_port=controller):
        assert broker_answers(LOOPBACK, port)
    assert not broker_answers(LOOPBACK, port)
    until(lambda: is_free(port) and is_free(controller), "the release of the ports", 2)
