"""Appending facts to the inbound topics from Tollgate's own commands."""

import asyncio
from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.limits import RECORD_BYTES_MAX
from streams.adapters.kafka_trouble import kafka_trouble

BATCH_BYTES_MAX: Final = 256 * 1024
"""A produce batch: large enough for speed, well below what a topic takes at once."""


class FactProducer:
    """An idempotent producer with `acks=all`. Records go to the partition they are given."""

    def __init__(self, bootstrap: Bootstrap, prefix: str) -> None:
        self._prefix = prefix
        self._producer = AIOKafkaProducer(
            **client_options(bootstrap),
            enable_idempotence=True,
            acks="all",
            linger_ms=5,
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=4 * RECORD_BYTES_MAX,
        )
        self._pending: set[asyncio.Future[object]] = set()
        self._failed: BaseException | None = None

    async def __aenter__(self) -> "FactProducer":
        await self._producer.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._producer.stop()

    async def send(
        self, topic: str, partition: int, records: Iterable[tuple[bytes | None, bytes | None]]
    ) -> None:
        """Queues (key, value) records for one partition of a logical topic."""
        name = self._prefix + topic
        for key, value in records:
            future = await self._producer.send(name, value=value, key=key, partition=partition)
            self._pending.add(future)
            future.add_done_callback(self._done)

    def _done(self, future: asyncio.Future[object]) -> None:
        self._pending.discard(future)
        if not future.cancelled() and future.exception() is not None:
            self._failed = self._failed or future.exception()

    async def flush(self) -> None:
        """Returns when everything sent has been acknowledged; raises the first failure."""
        await self._producer.flush()
        if self._pending:
            await asyncio.wait(set(self._pending))
        if self._failed is not None:
            raise self._failed


async def append_facts(
    bootstrap: Bootstrap, prefix: str, topic: str, records: Iterable[tuple[int, bytes, bytes]]
) -> None:
    """Appends (partition, key, value) records to a logical topic, acknowledged by all replicas.

    Raises TransientError where the broker did not acknowledge all of them: some may be in the log.
    """
    try:
        async with FactProducer(bootstrap, prefix) as producer:
            for partition, key, value in records:
                await producer.send(topic, partition, [(key, value)])
            await producer.flush()
    except KafkaError as error:
        raise kafka_trouble(
            error,
            f"Kafka did not acknowledge every record: {type(error).__name__}",
            action="Read the log of the broker, then give the command again: what is in the log "
            "already is recognised and counts once.",
        ) from error
