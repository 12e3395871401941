"""The worker's side of the log: one Kafka transaction per cycle, one transactional id per
partition.

The order of a commit, each step awaited (decision 006):
  1. begin, 2. append every batch and wait for its acknowledgement, 3. add the input offsets, 4.
  commit.
The topics of step 2 are appended to at the same time: two exchanges with the broker instead of two
for each of them. aiokafka's `commit_transaction` does not look at failed batches, so step 2 must
wait for each of them: an oversized record would otherwise be lost while the offsets move on.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.limits import OUTBOUND_RECORD_BYTES_MAX
from streams.adapters.orphans import close_orphans
from streams.domain.appends import WRITTEN_ALONE
from streams.errors import FaultError
from streams.limits import TRANSACTION_TIMEOUT_MS
from streams.ports import Appends

BATCH_BYTES_MAX: Final = 512 * 1024
"""A produce batch. Well below the topics' limit of a batch, large enough that a cycle is a few of
them."""

RELEASE_SECONDS_MAX: Final = 5.0
"""How long a producer may take to stop. Fencing does not need it: the next owner takes the id
anyway."""

_NO_HEADERS: Final[list[tuple[str, bytes | None]]] = []


class KafkaCycleLog:
    """`streams.ports.CycleLog` on a real broker."""

    def __init__(self, bootstrap: Bootstrap, app_id: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._app_id = app_id
        self._prefix = prefix
        self._producers: dict[int, AIOKafkaProducer] = {}

    async def fence(self, partitions: Sequence[int]) -> None:
        """Starts a transactional producer per partition, all at once; earlier ones of ours are
        stopped.

        `start()` returns when the previous holder's open transaction is resolved, so offsets and
        high watermarks read afterwards are final. What the broker forgot to end is ended here
        (`orphans`).
        """
        await self.release()
        await asyncio.gather(*(self._start(partition) for partition in partitions))
        topics = [self._prefix + topic for topic in WRITTEN_ALONE]
        await close_orphans(self._bootstrap, self._producers, topics)

    async def _start(self, partition: int) -> None:
        producer = AIOKafkaProducer(
            **client_options(self._bootstrap),
            transactional_id=f"{self._app_id}-{partition}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            acks="all",
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=2 * OUTBOUND_RECORD_BYTES_MAX,
        )
        await producer.start()
        self._producers[partition] = producer

    async def release(self) -> None:
        """Stops all producers. One that hangs is left to the broker's timeout."""
        producers, self._producers = self._producers, {}
        stops = (asyncio.wait_for(p.stop(), RELEASE_SECONDS_MAX) for p in producers.values())
        await asyncio.gather(*stops, return_exceptions=True)

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        """See `streams.ports.CycleLog.commit`."""
        producer = self._producers.get(partition)
        if producer is None:
            raise _stopped(partition, "it is not owned any more")
        try:
            await producer.begin_transaction()
            last = await self._append_all(producer, partition, appends)
            await producer.send_offsets_to_transaction(
                {
                    TopicPartition(self._prefix + topic, partition): offset
                    for topic, offset in offsets.items()
                },
                self._app_id,
            )
            await producer.commit_transaction()
        except KafkaError as error:
            raise _stopped(partition, f"{type(error).__name__}: {error}") from error
        return last

    async def _append_all(
        self, producer: AIOKafkaProducer, partition: int, appends: Sequence[Appends]
    ) -> dict[str, int]:
        held = [append for append in appends if append.records]
        # None is left behind where one fails: whatever was sent has its answer when this returns.
        answers = await asyncio.gather(
            *(self._append(producer, partition, append) for append in held),
            return_exceptions=True,
        )
        last = {}
        for append, answer in zip(held, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            last[append.topic] = answer
        return last

    async def _append(self, producer: AIOKafkaProducer, partition: int, append: Appends) -> int:
        topic = self._prefix + append.topic
        if append.partition is not None:
            partition = append.partition
        pending: list[tuple[asyncio.Future[object], int]] = []
        for batch in _batches(producer, append.records):
            future = await producer.send_batch(batch, topic, partition=partition)
            pending.append((future, batch.record_count()))
        offset = -1
        for future, records in pending:
            metadata = await future
            offset = metadata.offset + records - 1  # type: ignore[attr-defined]
        return offset


def _batches(
    producer: AIOKafkaProducer, records: Sequence[tuple[bytes | None, bytes | None]]
) -> Iterator[BatchBuilder]:
    """These records in closed batches, each filled when it is asked for.

    They go into aiokafka's C builder directly: the layer above it costs more than the builder. A
    record that is larger than a batch gets one of its own, and the broker decides about it.
    """
    now_ms = time.time_ns() // 1_000_000
    batch = producer.create_batch()
    add = batch._builder.append
    count = 0
    for key, value in records:
        if add(count, now_ms, key, value, _NO_HEADERS) is None:
            yield _closed(batch, count)
            batch = producer.create_batch()
            add = batch._builder.append
            if add(0, now_ms, key, value, _NO_HEADERS) is None:
                raise FaultError(
                    f"a record of {len(value or b'')} bytes fits no batch",
                    action="Nothing was changed. Report it with the log of the worker.",
                )
            count = 0
        count += 1
    yield _closed(batch, count)


def _closed(batch: BatchBuilder, count: int) -> BatchBuilder:
    batch._relative_offset = count
    batch.close()
    return batch


def _stopped(partition: int, why: str) -> FaultError:
    return FaultError(
        f"the cycle of partition {partition} could not be committed: {why}",
        action="Nothing was changed. The worker stops and its successor starts from the last "
        "commit; if this repeats, read the broker's log.",
    )
