"""The benchmark's own hands on Kafka: filling a topic quickly, reading one back, making and
dropping.

Apart from the adapters on purpose: what checks a figure shares no code with what made it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from streams.bench.events import BenchRecord
from streams.errors import TransientError

BATCH_BYTES_MAX: Final = 256 * 1024
"""A batch as Tollgate's own producer appends it under load: some 650 records."""

IN_FLIGHT_MAX: Final = 64
"""Batches that wait for their acknowledgement: 16 MB at the most."""

READ_WAIT_MS: Final = 100
"""How long a fetch waits for records when a topic is read back."""

SILENCE_SECONDS_MAX: Final = 60.0
"""Without any record for so long a topic cannot be read to its end."""

FETCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes that one fetch brings from one partition when a topic is read back."""

Take = Callable[[int, bytes | None, bytes, int], None]
"""Gets partition, key, value and append time in milliseconds of each record, in the order of its
partition."""


async def fill(bootstrap: Bootstrap, topic: str, records: Iterable[BenchRecord]) -> int:
    """Appends records to their partitions, acknowledged by all replicas; returns how many.

    Raises TransientError.
    """
    producer = AIOKafkaProducer(
        **client_options(bootstrap),
        acks="all",
        enable_idempotence=True,  # a batch that is sent again must not stand there twice
        max_batch_size=BATCH_BYTES_MAX,
    )
    count = 0
    try:
        await producer.start()
        await await_leaders(bootstrap, topic, len(await producer.partitions_for(topic)))
        open_batches: dict[int, Any] = {}
        waiting: set[asyncio.Future[Any]] = set()

        async def send(partition: int, batch: Any) -> None:
            batch.close()
            waiting.add(await producer.send_batch(batch, topic, partition=partition))
            while len(waiting) >= IN_FLIGHT_MAX:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                waiting.difference_update(done)
                for future in done:
                    future.result()

        for record in records:
            batch = open_batches.get(record.partition)
            if batch is None:
                batch = open_batches[record.partition] = producer.create_batch()
            if batch.append(key=record.key, value=record.value, timestamp=None) is None:
                await send(record.partition, batch)
                batch = open_batches[record.partition] = producer.create_batch()
                batch.append(key=record.key, value=record.value, timestamp=None)
            count += 1
        for partition, batch in open_batches.items():
            await send(partition, batch)
        await asyncio.gather(*waiting)
    except KafkaError as error:
        raise refused(f"fill {topic}", error) from error
    finally:
        await producer.stop()
    return count


class Feeder:
    """Appends records as they come, without waiting for each; `flush` waits for all of them."""

    def __init__(self, bootstrap: Bootstrap, topic: str) -> None:
        """Nothing is connected yet."""
        self._topic = topic
        self._producer = AIOKafkaProducer(
            **client_options(bootstrap),
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES_MAX,
        )
        self._waiting: set[asyncio.Future[Any]] = set()

    async def start(self) -> None:
        """Connects. Raises TransientError."""
        try:
            await self._producer.start()
        except KafkaError as error:
            await self._producer.stop()
            raise refused(f"be ready to take {self._topic}", error) from error

    async def feed(self, records: Iterable[BenchRecord]) -> None:
        """Appends records to their partitions, a batch for each. Raises TransientError for an
        earlier one that the broker refused."""
        batches: dict[int, list[BenchRecord]] = {}
        for record in records:
            batches.setdefault(record.partition, []).append(record)
        try:
            for partition, part in batches.items():
                await self._feed_partition(partition, part)
            done = {future for future in self._waiting if future.done()}
            self._waiting -= done
            for future in done:
                future.result()
        except KafkaError as error:
            raise refused(f"take what was fed to {self._topic}", error) from error

    async def _feed_partition(self, partition: int, records: list[BenchRecord]) -> None:
        batch = self._producer.create_batch()
        for record in records:
            if batch.append(key=record.key, value=record.value, timestamp=None) is None:
                await self._send(partition, batch)
                batch = self._producer.create_batch()
                batch.append(key=record.key, value=record.value, timestamp=None)
        await self._send(partition, batch)

    async def _send(self, partition: int, batch: Any) -> None:
        batch.close()
        sent = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._waiting.add(sent)

    async def flush(self) -> None:
        """Returns when everything is acknowledged. Raises TransientError."""
        try:
            await asyncio.gather(*self._waiting)
        except KafkaError as error:
            raise refused(f"take what was fed to {self._topic}", error) from error
        self._waiting.clear()

    async def stop(self) -> None:
        """Disconnects."""
        await self._producer.stop()


async def await_leaders(bootstrap: Bootstrap, topic: str, partitions: int) -> None:
    """Returns when the leaders of a new topic's partitions know that they are.

    The broker names them before; a question for the ends is repeated until all have answered.
    """
    async with watched_end(bootstrap, topic, partitions) as end:
        await end()


async def follow(
    bootstrap: Bootstrap, topic: str, partitions: int, take: Take, enough: Callable[[], bool]
) -> None:
    """Gives committed records of a topic to `take` as they come, until there are enough. Raises
    TransientError."""
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    consumer = AIOKafkaConsumer(
        **client_options(bootstrap),
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_wait_ms=READ_WAIT_MS,
    )
    loop = asyncio.get_running_loop()
    try:
        await consumer.start()
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        heard = loop.time()
        while not enough():
            if loop.time() - heard > SILENCE_SECONDS_MAX:
                raise _silent(topic)
            for tp, records in (await consumer.getmany(timeout_ms=READ_WAIT_MS)).items():
                heard = loop.time()
                for record in records:
                    take(tp.partition, record.key, record.value, record.timestamp)
    except KafkaError as error:
        raise refused(f"read {topic}", error) from error
    finally:
        await consumer.stop()


async def read_all(bootstrap: Bootstrap, topic: str, partitions: int, take: Take) -> None:
    """Gives every committed record of a topic to `take`. Raises TransientError."""
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    consumer = AIOKafkaConsumer(
        **client_options(bootstrap),
        isolation_level="read_committed",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=READ_WAIT_MS,
    )
    loop = asyncio.get_running_loop()
    try:
        await consumer.start()
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        heard = loop.time()
        while [tp for tp in places if await consumer.position(tp) < ends[tp]]:
            if loop.time() - heard > SILENCE_SECONDS_MAX:
                raise _silent(topic)
            for tp, records in (await consumer.getmany(timeout_ms=READ_WAIT_MS)).items():
                heard = loop.time()
                for record in records:
                    take(tp.partition, record.key, record.value, record.timestamp)
    except KafkaError as error:
        raise refused(f"read {topic}", error) from error
    finally:
        await consumer.stop()


@asynccontextmanager
async def watched_end(
    bootstrap: Bootstrap, topic: str, partitions: int
) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """A question, to be asked again and again: how many offsets all partitions of a topic have
    together. Raises TransientError."""
    places = [TopicPartition(topic, partition) for partition in range(partitions)]
    consumer = AIOKafkaConsumer(**client_options(bootstrap), enable_auto_commit=False)

    async def ask() -> int:
        return sum((await consumer.end_offsets(places)).values())

    try:
        await consumer.start()
        yield ask
    except KafkaError as error:
        raise refused(f"say where {topic} ends", error) from error
    finally:
        await consumer.stop()


async def make_topics(
    bootstrap: Bootstrap,
    names: Iterable[str],
    partitions: int,
    config: Mapping[str, str] | None = None,
) -> None:
    """Creates topics for a contender that is not ours. Raises TransientError."""
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        await admin.create_topics(
            [
                NewTopic(name, partitions, 1, topic_configs=dict(config or {}))
                for name in sorted(names)
            ]
        )
    except KafkaError as error:
        raise refused("create topics", error) from error
    finally:
        await admin.close()


async def drop_topics(bootstrap: Bootstrap, prefixes: Sequence[str]) -> None:
    """Deletes every topic whose name begins with one of these. Raises TransientError."""
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        names = [name for name in await admin.list_topics() if name.startswith(tuple(prefixes))]
        if names:
            await admin.delete_topics(names)
    except KafkaError as error:
        raise refused("delete topics", error) from error
    finally:
        await admin.close()


def refused(what: str, error: KafkaError) -> TransientError:
    """What an error of Kafka means here, where the broker was to do `what`."""
    return TransientError(
        f"Kafka did not {what}: {type(error).__name__}: {error}",
        action="Read the log of the broker, then run the benchmark again.",
    )


def _silent(topic: str) -> TransientError:
    return TransientError(
        f"{topic} could not be read to its end: nothing came for {SILENCE_SECONDS_MAX:.0f} s",
        action="Read the log of the broker; a transaction that was left open keeps readers "
        "waiting for 15 s. Then run the benchmark again.",
    )
