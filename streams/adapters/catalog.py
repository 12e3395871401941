"""The catalog topic: read from its beginning and followed, or appended to.

Its records are facts like any other: keyed by (kind, id, version), never overwritten (D3).
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas import codec
from schemas.client.kafka_access import Bootstrap, client_options
from schemas.limits import OUTBOUND_RECORD_BYTES_MAX
from schemas.structs import CatalogRecord
from schemas.topics import CATALOG
from streams.adapters.kafka_trouble import kafka_trouble, no_topic
from streams.domain.context import CatalogView, Context
from streams.errors import FaultError, SetupError

log = logging.getLogger(__name__)

POLL_MS: Final = 500
"""How long a poll waits for news; a catalog changes a few times a day."""

CATCH_UP_SECONDS_MAX: Final = 10.0
"""How long a new owner of a partition waits until it has read the catalog as far as the previous
owner had: a poll, and the broker's worst moments."""


class CatalogFollower:
    """Keeps a `CatalogView` current. `start` returns when everything there was has been read."""

    def __init__(self, bootstrap: Bootstrap, prefix: str, view: CatalogView | None = None) -> None:
        """`view` is what the records are folded into, an empty one where none is given."""
        self._partition = TopicPartition(CATALOG.full_name(prefix), 0)
        self._bootstrap = bootstrap
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self.view = CatalogView() if view is None else view

    async def context(self, at_least: int = 0) -> Context:
        """See `streams.ports.Catalog.context`. Raises IncompleteCatalogError as well."""
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
                while self.view.next_offset < at_least:
                    self._check_following()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise FaultError(
                f"the catalog ends at {self.view.next_offset}, but a partition has decided with "
                f"records up to {at_least}",
                action="The catalog topic lost records. Restore it before the worker goes on.",
            ) from None
        self._check_following()
        return self.view.context()

    async def start(self) -> None:
        """Reads the catalog to its present end, then follows it.

        Raises FaultError for a record that is none, SetupError where there is no such topic,
        TransientError where the broker does not answer.
        """
        try:
            await self._read_to_end()
        except KafkaError as error:
            raise kafka_trouble(
                error,
                f"the catalog cannot be read: {type(error).__name__}: {error}",
                action="Check that the broker runs and that TOLLGATE_KAFKA_BOOTSTRAP names it.",
            ) from error
        self._task = asyncio.create_task(self._follow())

    async def _read_to_end(self) -> None:
        self._consumer = AIOKafkaConsumer(
            **client_options(self._bootstrap),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=2 * OUTBOUND_RECORD_BYTES_MAX,
        )
        await self._consumer.start()
        # Asking for the end of a topic that is not there would be repeated for ever.
        if self._partition.topic not in await self._consumer.topics():
            raise no_topic(self._bootstrap, self._partition.topic)
        self._consumer.assign([self._partition])
        await self._consumer.seek_to_beginning(self._partition)
        end = (await self._consumer.end_offsets([self._partition]))[self._partition]
        while self.view.next_offset < end:
            await self._poll()

    async def stop(self) -> None:
        """Stops following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    def _check_following(self) -> None:
        if self._task is not None and self._task.done():
            raise FaultError(
                f"the catalog cannot be followed: {self._task.exception()}",
                action="Look at the record that the message names; the worker stops.",
            )

    async def _follow(self) -> None:
        try:
            while True:
                await self._poll()
                self._news.set()
        finally:
            self._news.set()

    async def _poll(self) -> None:
        batches = await self._consumer.getmany(self._partition, timeout_ms=POLL_MS)
        for record in batches.get(self._partition, []):
            if record.value is None:
                continue
            try:
                self.view.fold(record.offset, codec.decode_catalog(record.value))
            except ValueError as fault:
                raise FaultError(
                    f"record {record.offset} of the catalog is none: {fault}",
                    action="If a newer release of Tollgate wrote it, run that one or a newer one; "
                    "else append a correct version of it.",
                ) from fault
        self.view.passed(await self._consumer.position(self._partition))


V = TypeVar("V", bound=CatalogView)


async def read_catalog(bootstrap: Bootstrap, prefix: str) -> CatalogView:
    """The catalog as it is now. Raises FaultError for a record that is none."""
    return await read_catalog_into(CatalogView(), bootstrap, prefix)


async def read_catalog_into(view: V, bootstrap: Bootstrap, prefix: str) -> V:
    """The catalog as it is now, folded into a view of the caller's. Raises as `read_catalog`."""
    follower = CatalogFollower(bootstrap, prefix, view)
    try:
        await follower.start()
    finally:
        await follower.stop()
    return view


_levels: Final[list[int]] = []
"""What each silence under way found."""


@contextmanager
def _retries_unsaid() -> Iterator[None]:
    """Keeps aiokafka from reporting, as errors, its retries against a topic whose leader is only
    being elected. What does not succeed in the end is raised."""
    logger = logging.getLogger("aiokafka")
    _levels.append(logger.level)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        # Whoever ends last puts back what the first one found, in whatever order they end.
        logger.setLevel(_levels.pop())


async def append_catalog(
    bootstrap: Bootstrap, prefix: str, view: CatalogView, records: Sequence[CatalogRecord]
) -> None:
    """Appends catalog records, acknowledged by all replicas, in their order.

    `view` is the catalog as it is; they are folded into it first, because a record that nobody can
    fold would stop every worker. Raises SetupError for such a record, before anything is appended.
    """
    for record in records:
        try:
            view.fold(view.next_offset, record)
        except ValueError as fault:
            raise SetupError(
                f"the catalog cannot take {codec.catalog_key(record).decode()}: {fault}",
                action="Nothing was appended. Correct the record.",
            ) from fault
    producer = AIOKafkaProducer(
        **client_options(bootstrap),
        enable_idempotence=True,
        acks="all",
        compression_type="zstd",
        max_request_size=2 * OUTBOUND_RECORD_BYTES_MAX,
    )
    await producer.start()
    try:
        with _retries_unsaid():
            for record in records:
                await producer.send_and_wait(
                    CATALOG.full_name(prefix),
                    key=codec.catalog_key(record),
                    value=codec.encode(record),
                    partition=0,
                )
    finally:
        await producer.stop()
