"""Outbound topics for tests of the sink: made on the shared broker, filled in transactions as
workers do."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.topics import ATTRIBUTIONS, CATALOG, DEAD_LETTERS, LEDGER


async def create_outbound_topics(bootstrap: str, prefix: str, partitions: int) -> None:
    """The topics that a sink reads."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(topic.full_name(prefix), topic.partitions or partitions, 1)
                for topic in (LEDGER, ATTRIBUTIONS, DEAD_LETTERS, CATALOG)
            ]
        )
    finally:
        await admin.close()


async def append(
    bootstrap: str,
    topic: str,
    cycles: Iterable[Sequence[tuple[int, bytes]]],
    *,
    abort_every: int = 0,
) -> None:
    """Each cycle's (partition, value)s in a transaction. With `abort_every`, before every so many
    of them the same records are appended by a transaction that is then aborted."""
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=f"{topic}-writer",
        linger_ms=2,
    ) as producer:
        for number, cycle in enumerate(cycles):
            if abort_every and number % abort_every == 0:
                await producer.begin_transaction()
                await _send(producer, topic, cycle)
                await producer.abort_transaction()
            async with producer.transaction():
                await _send(producer, topic, cycle)


async def _send(producer: Any, topic: str, cycle: Sequence[tuple[int, bytes]]) -> None:
    sent = [await producer.send(topic, value, partition=place) for place, value in cycle]
    await asyncio.gather(*sent)
