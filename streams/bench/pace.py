"""Load at a given rate that does not wait for anybody: an open loop.

Records are due by the clock. Where the producer falls behind it catches up, and says by how much it
was late; it never slows the load down because the answer is slow.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from streams.bench.broker import BATCH_BYTES_MAX, await_leaders, refused
from streams.bench.events import BenchRecord

TICK_SECONDS: Final = 0.02
"""Records that are due within one tick are appended together, a batch for each partition: as a
producer with `linger.ms` 20 does it."""


@dataclass(slots=True)
class Paced:
    """What has been appended so far; `late_seconds_max` is the longest that a record was appended
    after it was due, beyond the tick."""

    records: int = 0
    late_seconds_max: float = 0.0


def due(rate: float, elapsed_seconds: float) -> int:
    """How many records are due so long after the beginning."""
    return int(rate * elapsed_seconds)


async def pace(
    bootstrap: Bootstrap,
    topic: str,
    partitions: int,
    records: Iterator[BenchRecord],
    rate: float,
    paced: Paced | None = None,
) -> Paced:
    """Appends records at a rate per second until there are no more, and returns when all are
    acknowledged; `paced` is brought up to date meanwhile. Raises TransientError."""
    found = Paced() if paced is None else paced
    producer = AIOKafkaProducer(
        **client_options(bootstrap),
        acks="all",
        enable_idempotence=True,
        max_batch_size=BATCH_BYTES_MAX,
    )
    waiting: set[asyncio.Future[Any]] = set()
    try:
        await producer.start()
        await await_leaders(bootstrap, topic, partitions)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            elapsed = loop.time() - begun
            part = list(islice(records, due(rate, elapsed) - found.records))
            if not part and due(rate, elapsed) > found.records:
                break
            if part:
                late = elapsed - found.records / rate - TICK_SECONDS
                found.late_seconds_max = max(found.late_seconds_max, late)
                found.records += len(part)
                waiting |= await _append(producer, topic, part)
            done = {future for future in waiting if future.done()}
            waiting -= done
            for future in done:
                future.result()
            await asyncio.sleep(max(TICK_SECONDS - (loop.time() - begun - elapsed), 0))
        await asyncio.gather(*waiting)
    except KafkaError as error:
        raise refused(f"take the load on {topic}", error) from error
    finally:
        with contextlib.suppress(KafkaError):
            await producer.stop()
    return found


async def _append(producer: Any, topic: str, part: list[BenchRecord]) -> set[asyncio.Future[Any]]:
    batches: dict[int, Any] = {}
    full: list[tuple[int, Any]] = []
    for record in part:
        batch = batches.get(record.partition)
        if batch is None:
            batch = batches[record.partition] = producer.create_batch()
        if batch.append(key=record.key, value=record.value, timestamp=None) is None:
            full.append((record.partition, batch))
            batch = batches[record.partition] = producer.create_batch()
            batch.append(key=record.key, value=record.value, timestamp=None)
    futures = set()
    for partition, batch in [*full, *batches.items()]:
        batch.close()
        futures.add(await producer.send_batch(batch, topic, partition=partition))
    return futures
