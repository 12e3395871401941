"""What a gateway appends to the inbound topics: each record to the partition of its key, acks=all,
with the offset and the append time that the broker gave it.

Group commit per partition: while one batch is on its way the records that come wait, and go
together as the next. A record is acknowledged, or its caller is told that nobody knows; then the
caller appends it again under the same id, and it counts once (I1). Nothing here reads a record.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.limits import RECORD_BYTES_MAX
from schemas.partitioner import partition_of
from streams.adapters.kafka_trouble import kafka_trouble
from streams.errors import TransientError

log = logging.getLogger(__name__)

A = TypeVar("A")

BATCH_BYTES_MAX: Final = 256 * 1024
"""A produce batch: some 600 records of usual size, and well below what a topic takes at once."""

WAITING_BYTES_MAX: Final = 32 * 1024 * 1024
"""Records that wait for their acknowledgement, all partitions together: what a broker takes in
about half a second. Beyond it callers are told at once, while they can still slow down."""

RECORD_OVERHEAD_BYTES: Final = 256
"""What a waiting record takes of memory besides its bytes."""

APPEND_SECONDS_MAX: Final = 10.0
"""How long a caller waits for an acknowledgement. A leader that died is replaced within seconds;
HTTP clients have given up by then."""

STOP_SECONDS_MAX: Final = 5.0
"""How long the producer may take for what is on its way when the gateway stops."""

RENEW_SECONDS: Final = 0.5
"""Between two attempts to connect a new producer."""

Appended = Callable[[str, int, int, int], A]
"""Makes the result of a record: of its logical topic, partition, offset and append time in
microseconds."""


@dataclass(slots=True, eq=False)
class _Call(Generic[A]):
    """The records of one `append`, and what has become of them so far."""

    results: list[A | TransientError | None]
    left: int
    done: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False
    """The caller waits no longer."""

    def settle(self, index: int, result: A | TransientError) -> None:
        self.results[index] = result
        self.left -= 1
        if not self.left:
            self.done.set()


Waiting = tuple[_Call[A], int, bytes, bytes]
"""A record that waits: its call, its place there, its key, its value."""


class _Lane(Generic[A]):
    """The records for one partition of one topic, and whether a batch is on its way."""

    __slots__ = ("partition", "sender", "topic", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[Waiting[A]] = deque()
        self.sender: asyncio.Task[None] | None = None


class KafkaInbound(Generic[A]):
    """The inbound topics of a gateway. `appended` makes the results, because the gateway's own
    types are not an adapter's business."""

    def __init__(
        self,
        bootstrap: Bootstrap,
        prefix: str,
        partitions: int,
        appended: Appended[A],
        *,
        append_seconds_max: float = APPEND_SECONDS_MAX,
        waiting_bytes_max: int = WAITING_BYTES_MAX,
    ) -> None:
        """Nothing is connected yet."""
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._partitions = partitions
        self._appended = appended
        self._append_seconds_max = append_seconds_max
        self._waiting_bytes_max = waiting_bytes_max
        self._waiting_bytes = 0
        self._lanes: dict[tuple[str, int], _Lane[A]] = {}
        self._producer: AIOKafkaProducer | None = None
        self._ready = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connects. Raises TransientError where the broker does not answer."""
        try:
            self._producer = await self._connected()
        except KafkaError as error:
            raise kafka_trouble(
                error,
                f"nothing can be appended: {type(error).__name__}: {error}",
                action="Check that the broker runs and that TOLLGATE_KAFKA_BOOTSTRAP names it.",
            ) from error
        self._ready.set()

    async def stop(self) -> None:
        """Waits a moment for what is on its way, then disconnects; callers that still wait are told
        that nobody knows."""
        senders = [lane.sender for lane in self._lanes.values() if lane.sender is not None]
        if senders:
            await asyncio.wait(senders, timeout=STOP_SECONDS_MAX)
        tasks = [*senders, *([] if self._renewing is None else [self._renewing])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self._lanes.values():
            for call, index, key, value in lane.waiting:
                self._settle(call, index, len(key) + len(value), _unknown("the gateway stopped"))
            lane.waiting.clear()
        producer, self._producer = self._producer, None
        self._ready.clear()
        if producer is not None:
            await _stopped(producer)
        await asyncio.gather(*self._stopping, return_exceptions=True)

    async def append(
        self, topic: str, records: Sequence[tuple[bytes, bytes]]
    ) -> list[A | TransientError]:
        """Appends (key, value) records to a logical topic, each to the partition of its key.

        One result per record, in their order: where it stands, or a TransientError where it may or
        may not stand. Records of one key keep their order. Raises TransientError where nothing was
        tried at all, because too much waits already.
        """
        if not records:
            return []
        size = sum(len(key) + len(value) + RECORD_OVERHEAD_BYTES for key, value in records)
        if self._waiting_bytes + size > self._waiting_bytes_max:
            raise TransientError(
                f"{self._waiting_bytes:,} bytes wait for the broker's acknowledgement already",
                action="Send it again a little later; nothing of it was appended.",
            )
        self._waiting_bytes += size
        call: _Call[A] = _Call([None] * len(records), len(records))
        for index, (key, value) in enumerate(records):
            if len(key) + len(value) > RECORD_BYTES_MAX:
                self._settle(call, index, len(key) + len(value), _too_large(len(value)))
                continue
            lane = self._lane(topic, partition_of(key, self._partitions))
            lane.waiting.append((call, index, key, value))
            if lane.sender is None:
                lane.sender = asyncio.create_task(self._send(lane))
        try:
            async with asyncio.timeout(self._append_seconds_max):
                await call.done.wait()
        except TimeoutError:
            late = _unknown(f"there was no acknowledgement in {self._append_seconds_max:g} s")
            return [late if found is None else found for found in call.results]
        finally:
            call.is_over = True
        return [found for found in call.results if found is not None]

    def _lane(self, topic: str, partition: int) -> _Lane[A]:
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane(topic, partition)
        return lane

    def _settle(self, call: _Call[A], index: int, size: int, result: A | TransientError) -> None:
        self._waiting_bytes -= size + RECORD_OVERHEAD_BYTES
        call.settle(index, result)

    async def _send(self, lane: _Lane[A]) -> None:
        """Sends what waits, a batch at a time, until nothing waits."""
        try:
            while lane.waiting:
                await self._ready.wait()
                producer = self._producer
                assert producer is not None, "a producer is there while it is ready"
                group, batch = self._fill(lane, producer)
                if group:
                    await self._send_group(lane, producer, group, batch)
        finally:
            lane.sender = None

    def _fill(self, lane: _Lane[A], producer: AIOKafkaProducer) -> tuple[list[Waiting[A]], Any]:
        """The records that go next, those left out for which nobody waits any more."""
        batch = producer.create_batch()
        group: list[Waiting[A]] = []
        waiting = lane.waiting
        while waiting:
            call, index, key, value = waiting[0]
            if call.is_over:
                waiting.popleft()
                self._settle(call, index, len(key) + len(value), _unknown("it was never sent"))
                continue
            if batch.append(timestamp=None, key=key, value=value) is None:
                # A builder takes any first record, however large: the broker decides about it.
                assert group, "a record fits a batch of its own"
                break
            group.append(waiting.popleft())
        batch.close()
        return group, batch

    async def _send_group(
        self, lane: _Lane[A], producer: AIOKafkaProducer, group: list[Waiting[A]], batch: Any
    ) -> None:
        failed: TransientError | None = _unknown("the gateway stopped")
        offset = at_us = -1
        try:
            sent = await producer.send_batch(
                batch, self._prefix + lane.topic, partition=lane.partition
            )
            found = await sent
            # -1: an answer was lost and the broker knows the batch, but not where it stands.
            if found.offset < 0:
                failed = _unknown("the broker does not say where it stands")
            else:
                offset, at_us = found.offset, found.timestamp * 1000
                failed = None
        except KafkaError as error:
            failed = _unknown(type(error).__name__)
            log.warning("%s/%d was not appended to: %s", lane.topic, lane.partition, error)
            self._renew(producer)
        finally:
            made = self._appended
            for number, (call, index, key, value) in enumerate(group):
                result = failed or made(lane.topic, lane.partition, offset + number, at_us)
                self._settle(call, index, len(key) + len(value), result)

    # --- the producer ---

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **client_options(self._bootstrap),
            enable_idempotence=True,
            acks="all",
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=4 * RECORD_BYTES_MAX,
        )
        try:
            await producer.start()
        except BaseException:
            await _stopped(producer)
            raise
        return producer

    def _renew(self, failed: AIOKafkaProducer) -> None:
        """Puts a new producer in the place of one whose batch was refused: its sequence numbers
        have a gap now, and the broker would refuse everything that follows."""
        if self._producer is failed:
            self._producer = None
            self._ready.clear()
            self._renewing = asyncio.create_task(self._replace(failed))

    async def _replace(self, failed: AIOKafkaProducer) -> None:
        stopping = asyncio.create_task(_stopped(failed))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)
        while True:
            try:
                self._producer = await self._connected()
                break
            except KafkaError as error:
                log.warning("no new producer yet: %s", error)
                await asyncio.sleep(RENEW_SECONDS)
        self._ready.set()


async def _stopped(producer: AIOKafkaProducer) -> None:
    """Stops a producer; one that hangs is left behind."""
    with contextlib.suppress(TimeoutError, KafkaError):
        await asyncio.wait_for(producer.stop(), STOP_SECONDS_MAX)


def _unknown(why: str) -> TransientError:
    return TransientError(
        f"it is not known whether the record was appended: {why}",
        action="Send it again with the same id: it counts once.",
    )


def _too_large(size: int) -> TransientError:
    return TransientError(
        f"a record of {size:,} bytes; the topic takes {RECORD_BYTES_MAX:,}",
        action="Nothing was appended. Send a smaller record.",
    )
