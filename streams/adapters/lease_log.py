"""The topic `preflights` on a real broker: one fenced producer for each partition, one batch at a
time (decision 016, rules B1, B4, B5, B7).

A fence borrows the broker's own: a transactional producer is started and stopped, which gives its
transactional id a higher epoch. A plain idempotent producer then appends under that producer id and
epoch. From its first append on the broker refuses whatever comes under an older epoch, whoever
sends it and however long it was on its way; and no transaction is ever begun, whose markers would
take offsets.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.limits import RECORD_BYTES_MAX
from schemas.topics import PREFLIGHTS, UNASSIGNED, USAGE
from streams.domain.facts import SourceRecord
from streams.errors import FaultError, TransientError
from streams.limits import TRANSACTION_TIMEOUT_MS
from streams.ports import Appended

log = logging.getLogger(__name__)

BATCH_BYTES_MAX: Final = RECORD_BYTES_MAX - 64 * 1024
"""A group. The topic takes batches of RECORD_BYTES_MAX, headers included."""

APPEND_SECONDS_MAX: Final = 10.0
"""How long an append may take before its outcome counts as unknown. aiokafka repeats an idempotent
batch for ever; the asker has given up long before, and the group has given the partition away."""

FENCE_SECONDS_MAX: Final = 20.0
"""How long a fence may take: longer than a broker needs to elect a coordinator anew."""

STOP_SECONDS_MAX: Final = 5.0
"""How long a client may take to stop. The fence does not need it."""

BACKOFF_MS: Final = 5
"""The clients of fences and reads pause so long before they try again, which they do once for each
coordinator and topic that they have not heard of yet."""

RETRY_MS: Final = 20
"""Pause before a batch is repeated that the broker could not take yet."""

POLL_MS: Final = 50
"""A poll for records that are there already."""

FETCH_WAIT_MS: Final = 5
"""How long the broker keeps a fetch for which there is nothing. The client fetches ahead, and the
next read has to wait for that; between reads it fetches nothing."""

UNREAD: Final = (KafkaError, ConsumerStoppedError, TimeoutError)
"""How a read fails: the broker's faults, a client that was stopped meanwhile, time."""

READ_SECONDS_MAX: Final = 10.0
"""How long a read may take: the records are there already."""

COMMITTED: Final = "read_committed"
UNCOMMITTED: Final = "read_uncommitted"

LOOK_BACK: Final = 16
"""Offsets before the end of a topic that are searched for its last record: markers of producers'
transactions take some. Ten times as many are searched when nothing is there, and so on."""


class KafkaLeaseLog:
    """`streams.ports.LeaseLog` on a real broker."""

    def __init__(self, bootstrap: Bootstrap, app_id: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._app_id = app_id
        self._topic = PREFLIGHTS.full_name(prefix)
        self._usage = USAGE.full_name(prefix)
        self._unassigned = UNASSIGNED.full_name(prefix)
        self._producers: dict[int, AIOKafkaProducer] = {}
        self._consumers: dict[str, AIOKafkaConsumer] = {}
        self._reading = asyncio.Lock()

    async def fence(self, partition: int) -> None:
        """See `streams.ports.LeaseLog.fence`. Raises FaultError."""
        await self._drop(partition)
        try:
            async with asyncio.timeout(FENCE_SECONDS_MAX):
                producer_id, epoch = await self._take_epoch(partition)
                producer = AIOKafkaProducer(
                    **client_options(self._bootstrap),
                    enable_idempotence=True,
                    acks="all",
                    max_batch_size=BATCH_BYTES_MAX,
                    max_request_size=RECORD_BYTES_MAX,
                    request_timeout_ms=int(APPEND_SECONDS_MAX * 1_000),
                    retry_backoff_ms=RETRY_MS,
                )
                # Before its start, so that it asks the broker for no identity of its own.
                producer._txn_manager.set_pid_and_epoch(producer_id, epoch)
                self._producers[partition] = producer
                await producer.start()
        except (KafkaError, TimeoutError) as error:
            raise FaultError(
                f"partition {partition} of preflights could not be fenced: "
                f"{type(error).__name__}: {error}",
                action="Nothing was read or written. The worker starts again; see the broker's "
                "log.",
            ) from error

    async def _take_epoch(self, partition: int) -> tuple[int, int]:
        """Raises the epoch of the partition's transactional id and returns it with the producer
        id."""
        fence = AIOKafkaProducer(
            **client_options(self._bootstrap),
            transactional_id=f"{self._app_id}-preflight-{partition}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            acks="all",
            retry_backoff_ms=BACKOFF_MS,
        )
        try:
            await fence.start()
            identity = fence._txn_manager
            return identity.producer_id, identity.producer_epoch
        finally:
            await _stop(fence)

    async def append(
        self, partition: int, records: Sequence[tuple[bytes | None, bytes]]
    ) -> Appended:
        """See `streams.ports.LeaseLog.append`."""
        producer = self._producers.get(partition)
        if producer is None:
            raise _unknown(partition, "the partition is not owned any more")
        batch = producer.create_batch()
        for key, value in records:
            if batch.append(timestamp=None, key=key, value=value) is None:
                raise _unknown(partition, f"{len(records)} records do not fit one batch")
        batch.close()
        try:
            async with asyncio.timeout(APPEND_SECONDS_MAX):
                answer = await producer.send_batch(batch, self._topic, partition=partition)
                metadata = await answer
        except (KafkaError, TimeoutError, AssertionError) as error:
            # An assertion of aiokafka: the topic has no such partition.
            raise _unknown(partition, f"{type(error).__name__}: {error}") from error
        if metadata is None or metadata.offset < 0 or metadata.timestamp < 0:
            # A sequence that the broker knows already comes back as a success without an offset.
            raise _unknown(partition, "the broker names no offset or no time")
        return Appended(metadata.offset, metadata.timestamp * 1_000)

    async def read(self, partition: int, from_offset: int, to_offset: int) -> list[SourceRecord]:
        """See `streams.ports.LeaseLog.read`."""
        found: list[SourceRecord] = []
        if from_offset < to_offset:
            place = TopicPartition(self._topic, partition)
            records = await self._between(place, from_offset, to_offset)
            found = [
                SourceRecord(PREFLIGHTS.name, r.offset, r.timestamp * 1_000, r.key, r.value)
                for r in records
            ]
        if [record.offset for record in found] != list(range(from_offset, to_offset)):
            raise FaultError(
                f"partition {partition} of preflights lacks records between {from_offset} and "
                f"{to_offset}",
                action="Somebody deleted records, or wrote to the topic in a transaction. Restore "
                "the topic; nothing was decided.",
            )
        return found

    async def usage_end(self, partition: int) -> int:
        """See `streams.ports.LeaseLog.usage_end`. Raises TransientError.

        Counts what had been appended when it is asked, also in a transaction that ends later; and
        it is not the end of the partition: a marker at the end is never consumed.
        """
        return await self._readable_end(TopicPartition(self._usage, partition))

    async def unassigned_end(self, partition: int) -> int:
        """See `usage_end`."""
        return await self._readable_end(TopicPartition(self._unassigned, partition))

    async def _readable_end(self, place: TopicPartition) -> int:
        end = await self._end(place, UNCOMMITTED)
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                while True:
                    if await self._end(place, COMMITTED) >= end:
                        break
                    await asyncio.sleep(POLL_MS / 1_000)
        except TimeoutError as error:
            raise _unread(place, error) from error
        begin = await self._begin(place)
        look_back = LOOK_BACK
        while begin < end:
            start = max(begin, end - look_back)
            records = await self._between(place, start, end)
            if records:
                return int(records[-1].offset) + 1
            if start == begin:
                break
            look_back *= 10
        return begin

    async def release(self) -> None:
        """Stops all clients. What hangs is left to itself: the next owner's fence does not need
        it."""
        producers, self._producers = self._producers, {}
        consumers, self._consumers = self._consumers, {}
        clients = [*producers.values(), *consumers.values()]
        await asyncio.gather(*(_stop(client) for client in clients))

    async def _drop(self, partition: int) -> None:
        producer = self._producers.pop(partition, None)
        if producer is not None:
            await _stop(producer)

    async def _between(self, place: TopicPartition, start: int, end: int) -> list[Any]:
        """The records at the offsets [start, end), all of which are taken and committed."""
        consumer = await self._reader(COMMITTED)
        found: list[Any] = []
        async with self._reading:
            try:
                async with asyncio.timeout(READ_SECONDS_MAX):
                    if place not in consumer.assignment():
                        # Anew for each read would ask for the cluster's metadata each time.
                        places = [*consumer.assignment(), place]
                        consumer.assign(places)
                        consumer.pause(*places)
                        # An assignment forgets all positions, and a partition without one keeps
                        # aiokafka from fetching for a tenth of a second. Each read sets its own.
                        for known in places:
                            consumer.seek(known, start)
                    consumer.seek(place, start)
                    consumer.resume(place)
                    while await consumer.position(place) < end:
                        for records in (await consumer.getmany(place, timeout_ms=POLL_MS)).values():
                            found += [record for record in records if record.offset < end]
            except UNREAD as error:
                await self._forget(consumer)
                raise _unread(place, error) from error
            finally:
                # Else it would go on fetching what nobody wants.
                with suppress(KafkaError):
                    consumer.pause(place)
        return found

    async def _forget(self, consumer: AIOKafkaConsumer) -> None:
        """Stops a client that failed; the next read makes another one."""
        for isolation, known in list(self._consumers.items()):
            if known is consumer:
                del self._consumers[isolation]
        await _stop(consumer)

    async def _begin(self, place: TopicPartition) -> int:
        consumer = await self._reader(COMMITTED)
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                return int((await consumer.beginning_offsets([place]))[place])
        except UNREAD as error:
            raise _unread(place, error) from error

    async def _end(self, place: TopicPartition, isolation: str) -> int:
        consumer = await self._reader(isolation)
        try:
            # aiokafka goes on asking for 40 s, whatever became of the broker meanwhile.
            async with asyncio.timeout(READ_SECONDS_MAX):
                return int((await consumer.end_offsets([place]))[place])
        except UNREAD as error:
            raise _unread(place, error) from error

    async def _reader(self, isolation: str) -> AIOKafkaConsumer:
        async with self._reading:
            if isolation not in self._consumers:
                consumer = AIOKafkaConsumer(
                    **client_options(self._bootstrap),
                    enable_auto_commit=False,
                    auto_offset_reset="none",
                    isolation_level=isolation,
                    max_partition_fetch_bytes=4 * RECORD_BYTES_MAX,
                    fetch_max_wait_ms=FETCH_WAIT_MS,
                    retry_backoff_ms=BACKOFF_MS,
                )
                try:
                    await consumer.start()
                except BaseException as error:
                    # Cancelled as well: whoever asks waits only so long.
                    await _stop(consumer)
                    if isinstance(error, KafkaError):
                        raise _unread(TopicPartition(self._topic, -1), error) from error
                    raise
                self._consumers[isolation] = consumer
            return self._consumers[isolation]


async def _stop(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    with suppress(KafkaError, TimeoutError):
        await asyncio.wait_for(client.stop(), STOP_SECONDS_MAX)


def _unknown(partition: int, why: str) -> FaultError:
    return FaultError(
        f"unknown outcome of an append to partition {partition} of preflights: {why}",
        action="Nobody was answered. The worker stops and the partition's next owner goes on; "
        "whoever asks again with the same key gets one decision.",
    )


def _unread(place: TopicPartition, error: Exception) -> TransientError:
    return TransientError(
        f"{place.topic}, partition {place.partition}, cannot be read: "
        f"{type(error).__name__}: {error}",
        action="Check that the broker runs.",
    )
