"""A topic of one partition that is read from its beginning and followed: what stands in memory is
what its records say.

Owns where the topic stands and who waits for it. What a record means is said by whoever inherits.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from streams.adapters.kafka_trouble import kafka_trouble, no_topic
from streams.errors import FaultError

log = logging.getLogger(__name__)

POLL_MS: Final = 100
"""How long the broker waits for news before it answers. A question for the end of the topic waits
behind that answer, so this is what catching up with it costs at the most."""

FETCH_BYTES_MAX: Final = 1024 * 1024
"""What one fetch may bring, the client's default: a hundred records at the least."""

STOP_SECONDS_MAX: Final = 5.0
"""How long the consumer may take to stop."""

RETRY_SECONDS: Final = 0.5
"""Between two tries to read where the broker does not answer."""


class FollowedTopic(ABC):
    """Gives every record of a topic to `_take`, in their order. `start` returns when everything
    there was has been given. Belongs to one event loop."""

    def __init__(
        self, bootstrap: Bootstrap, topic: str, what: str, fetch_bytes_max: int = FETCH_BYTES_MAX
    ) -> None:
        """Nothing is read yet. `topic` is its full name; `what` names its content in messages."""
        self._fetch_bytes_max = fetch_bytes_max
        self._bootstrap = bootstrap
        self._place = TopicPartition(topic, 0)
        self._what = what
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._position = 0
        self._moved = asyncio.Condition()

    @abstractmethod
    def _take(self, record: Any) -> None:
        """Takes one record; never raises for what it says."""

    async def start(self) -> None:
        """Reads the topic to its present end, then follows it.

        Raises SetupError where there is no such topic, TransientError where the broker does not
        answer.
        """
        self._consumer = AIOKafkaConsumer(
            **client_options(self._bootstrap),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=POLL_MS,
            max_partition_fetch_bytes=self._fetch_bytes_max,
        )
        try:
            await self._consumer.start()
            # Asking for the end of a topic that is not there would be repeated for ever.
            if self._place.topic not in await self._consumer.topics():
                raise no_topic(self._bootstrap, self._place.topic)
            self._consumer.assign([self._place])
            await self._consumer.seek_to_beginning(self._place)
            end = await self._end()
            while self._position < end:
                await self._poll()
        except KafkaError as error:
            await self.stop()
            raise kafka_trouble(
                error,
                f"{self._what} cannot be read: {type(error).__name__}: {error}",
                action="Check that the broker runs and that TOLLGATE_KAFKA_BOOTSTRAP names it.",
            ) from error
        except BaseException:
            # Cancelled as well: who starts a gateway may be asked to stop.
            await self.stop()
            raise
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stops following. What is known stays known."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(consumer.stop(), STOP_SECONDS_MAX)

    def check(self) -> None:
        """Raises FaultError where the topic is not followed any more."""
        if self._task is not None and self._task.done():
            raise FaultError(
                f"{self._what} cannot be followed: {self._task.exception()!r}",
                action="Read the log above this; the process stops and may be started again.",
            )

    async def _reached(self, end: int) -> None:
        """Returns when every record below an offset has been given."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= end)

    async def _end(self) -> int:
        assert self._consumer is not None, "it was started"
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets([self._place])
        return ends[self._place]

    async def _follow(self) -> None:
        while True:
            try:
                await self._poll()
            except KafkaError as error:
                log.warning("%s cannot be read: %s: %s", self._what, type(error).__name__, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _poll(self) -> None:
        assert self._consumer is not None, "it was started"
        batches = await self._consumer.getmany(self._place, timeout_ms=POLL_MS)
        for record in batches.get(self._place, []):
            self._take(record)
        async with self._moved:
            self._position = await self._consumer.position(self._place)
            self._moved.notify_all()
