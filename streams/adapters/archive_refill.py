"""Fills topics from an archive, each record at the offset that it had.

The broker gives offsets out in order, so what has no record any more (markers, aborted records,
what was deleted) has to take its offsets as well, unseen by those who read committed records. Every
such gap is filled inside a transaction that is aborted: with records of no content, the last offset
of all by the transaction's own marker. What is real goes between them, outside of it. There is one
transaction per block of the archive, so none is open for longer than a block takes.

While a topic is filled it takes the append times that it is given (CreateTime) and deletes nothing;
`finish_topics` gives it its settings back (K6). Uses names of aiokafka that are not public;
tests/guard/test_private_names.py fails when one of them changes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.limits import OUTBOUND_RECORD_BYTES_MAX
from schemas.topics import CATALOG, TOPICS, Topic
from streams.adapters.archive import ArchivedRecord
from streams.errors import FaultError, SetupError, TransientError

BATCH_BYTES_MAX: Final = 512 * 1024
"""A produce batch, below what any topic takes at once."""

FILLERS_AT_ONCE: Final = 10_000
"""Records without content in one batch: some 70 KB."""

TRANSACTION_TIMEOUT_MS: Final = 60_000
"""What the broker allows at the most (K3). A block of an archive is written in a second."""

MARKER_SECONDS_MAX: Final = 30.0
"""How long the broker may take to write the marker of an ended transaction: milliseconds."""

MARKER_POLL_SECONDS: Final = 0.005

REQUEST_TIMEOUT_MS: Final = 30_000

FILLING: Final = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "CreateTime",
}
"""Settings of a topic while it is filled, and how one is recognised whose filling was cut short."""


@asynccontextmanager
async def _admin(bootstrap: Bootstrap) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**client_options(bootstrap), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await client.start()
        yield client
    except KafkaError as error:
        raise TransientError(
            f"Kafka at {bootstrap} did not answer: {type(error).__name__}: {error}",
            action="Check that the broker runs, then run the command again.",
        ) from error
    finally:
        await client.close()


async def clear_unfinished(bootstrap: Bootstrap, prefix: str) -> list[str]:
    """Deletes what a restore left that was cut short, and returns the names.

    Raises SetupError where there are topics that are no such thing.
    """
    names = {topic.full_name(prefix) for topic in TOPICS}
    async with _admin(bootstrap) as admin:
        present = sorted(names & set(await admin.list_topics()))
        if not present:
            return []
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in present]
        types = {
            name: {entry[0]: entry[1] for entry in entries}.get("message.timestamp.type")
            for response in await admin.describe_configs(resources)
            for _code, _message, _kind, name, entries in response.resources
        }
        # The catalog is finished last; nothing starts without it.
        if types.get(CATALOG.full_name(prefix)) != "CreateTime":
            raise SetupError(
                f"the target is not empty: there are the topics {', '.join(present)}",
                action="Restore under a prefix of its own (TOLLGATE_TOPIC_PREFIX) or on an empty "
                "broker. To restore in place, stop everything and delete the topics yourself, "
                "once you are sure that the archive holds what they hold.",
            )
        await admin.delete_topics(present)
        return present


async def create_filling(
    bootstrap: Bootstrap, prefix: str, partitions: int, replication_factor: int
) -> None:
    """Creates all topics of an installation, ready to be filled."""
    async with _admin(bootstrap) as admin:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MARKER_SECONDS_MAX
        missing = {topic.full_name(prefix): topic for topic in TOPICS}
        while missing:
            response = await admin.create_topics(
                [
                    NewTopic(
                        name,
                        topic.partitions or partitions,
                        replication_factor,
                        topic_configs=topic.config() | FILLING,
                    )
                    for name, topic in missing.items()
                ]
            )
            for name, code, *message in response.topic_errors:
                # A topic that was deleted a moment ago may still be there.
                if code == 0:
                    missing.pop(name)
                elif loop.time() > deadline:
                    raise SetupError(
                        f"topic {name} could not be created: {for_code(code).__name__} {message}",
                        action="Check the broker's log and the rights of this client.",
                    )
            if missing:
                await asyncio.sleep(MARKER_POLL_SECONDS)


async def finish_topics(bootstrap: Bootstrap, prefix: str, topics: Iterable[Topic]) -> None:
    """Gives topics the settings that they have in an installation."""
    async with _admin(bootstrap) as admin:
        resources = [
            ConfigResource(ConfigResourceType.TOPIC, topic.full_name(prefix), topic.config())
            for topic in topics
        ]
        for response in await admin.alter_configs(resources):
            for code, message, _kind, name in response.resources:
                if code:
                    raise SetupError(
                        f"the settings of {name} could not be changed: {message}",
                        action="Give this client the right to alter topics, then begin again.",
                    )


class Refill:
    """Writes records into empty partitions. Use as an async context manager."""

    def __init__(self, bootstrap: Bootstrap, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._producer = AIOKafkaProducer(
            **client_options(bootstrap),
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=2 * OUTBOUND_RECORD_BYTES_MAX,
        )
        self._ends = AIOKafkaConsumer(**client_options(bootstrap), enable_auto_commit=False)

    async def __aenter__(self) -> "Refill":
        """Connect."""
        try:
            await self._producer.start()
            await self._ends.start()
        except BaseException as error:
            await self.__aexit__()
            if isinstance(error, KafkaError):
                raise _stopped("the broker", error) from error
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Disconnect."""
        await self._producer.stop()
        await self._ends.stop()

    @asynccontextmanager
    async def place(self, topic: str, partition: int) -> AsyncIterator["PlaceRefill"]:
        """One partition of a logical topic, empty so far."""
        place = TopicPartition(self._prefix + topic, partition)
        filling = PlaceRefill(self._bootstrap, self._producer, self._ends, place)
        try:
            yield filling
        except KafkaError as error:
            raise _stopped(f"{topic}, partition {partition}", error) from error
        finally:
            await filling.stop()


def _stopped(what: str, error: KafkaError) -> FaultError:
    return FaultError(
        f"{what} could not be filled: {type(error).__name__}: {error}",
        action="Read the broker's log, then run `tollgate restore` again: it removes what it has "
        "written and begins anew.",
    )


class PlaceRefill:
    """Writes one partition. `next_offset` is where the next record comes to lie."""

    def __init__(
        self, bootstrap: Bootstrap, producer: Any, ends: Any, place: TopicPartition
    ) -> None:
        self._bootstrap = bootstrap
        self._producer = producer
        self._ends = ends
        self._place = place
        self._filler: Any = None
        self._open = False
        self.next_offset = 0

    async def stop(self) -> None:
        """Disconnects."""
        if self._filler is not None:
            await self._filler.stop()

    async def write(self, records: Sequence[ArchivedRecord], end: int | None = None) -> None:
        """Appends records at their offsets, in order; with `end`, fills what is left up to it."""
        steps: list[list[ArchivedRecord] | int] = []
        at = self.next_offset
        run: list[ArchivedRecord] = []
        for record in records:
            if record.offset != at:
                if run:
                    steps.append(run)
                steps.append(record.offset - at)
                run = []
            run.append(record)
            at = record.offset + 1
        if run:
            steps.append(run)
        if end is not None and end > at:
            steps.append(end - at)
        gaps = sum(isinstance(step, int) for step in steps)
        for step in steps:
            if isinstance(step, int):
                gaps -= 1
                await self._fill(step, last=gaps == 0)
            else:
                await self._append(step)

    async def write_densely(self, records: Sequence[ArchivedRecord]) -> None:
        """Appends records one behind the other, whatever their offsets were."""
        await self._append(records)

    async def _append(self, records: Sequence[ArchivedRecord]) -> None:
        """Appends a run and returns when it lies where it is due."""
        pending = []
        batch = self._producer.create_batch()
        for record in records:
            if not _add(batch, record):
                pending.append(await self._send(self._producer, batch))
                batch = self._producer.create_batch()
                if not _add(batch, record):
                    raise FaultError(
                        f"a record of {len(record.value or b'')} bytes fits no batch",
                        action="Report it.",
                    )
        pending.append(await self._send(self._producer, batch))
        for future, count in pending:
            self._came_to_lie((await future).offset, count)

    async def _send(self, producer: Any, batch: Any) -> tuple[Any, int]:
        batch.close()
        future = await producer.send_batch(
            batch, self._place.topic, partition=self._place.partition
        )
        return future, batch.record_count()

    def _came_to_lie(self, offset: int, count: int) -> None:
        if offset != self.next_offset:
            raise FaultError(
                f"{self._place.topic}, partition {self._place.partition}: offset {offset} where "
                f"{self.next_offset} was due",
                action="Somebody else writes to the topics. Stop producers, gateways and workers, "
                "then run `tollgate restore` again: it begins anew.",
            )
        self.next_offset += count

    async def _fill(self, offsets: int, *, last: bool) -> None:
        """Takes offsets without a record that anybody sees; the `last` time of a block, the
        transaction ends and its marker takes the last of them."""
        if self._filler is None:
            place = self._place
            self._filler = AIOKafkaProducer(
                **client_options(self._bootstrap),
                transactional_id=f"tollgate-restore-{place.topic}-{place.partition}",
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                acks="all",
                max_batch_size=BATCH_BYTES_MAX,
            )
            await self._filler.start()
        if not self._open:
            await self._filler.begin_transaction()
            # Also where no record goes there: the marker alone takes an offset.
            self._filler._txn_manager.maybe_add_partition_to_txn(self._place)
            self._open = True
        left = offsets - 1 if last else offsets
        while left:
            batch = self._filler.create_batch()
            count = min(left, FILLERS_AT_ONCE)
            for _ in range(count):
                batch.append(timestamp=0, key=None, value=None)
            future, sent = await self._send(self._filler, batch)
            self._came_to_lie((await future).offset, sent)
            left -= sent
        if last:
            await self._filler.abort_transaction()
            self._open = False
            await self._marked()

    async def _marked(self) -> None:
        """Returns when the marker lies where it is due: the broker writes it after it has
        answered."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MARKER_SECONDS_MAX
        while True:
            end = (await self._ends.end_offsets([self._place]))[self._place]
            if end > self.next_offset:
                self._came_to_lie(end - 1, 1)
                return
            if loop.time() > deadline:
                raise FaultError(
                    f"{self._place.topic}, partition {self._place.partition}: no marker at offset "
                    f"{self.next_offset}",
                    action="Read the broker's log, then run `tollgate restore` again.",
                )
            await asyncio.sleep(MARKER_POLL_SECONDS)


def _add(batch: Any, record: ArchivedRecord) -> bool:
    added = batch.append(
        timestamp=record.timestamp_ms,
        key=record.key,
        value=record.value,
        headers=list(record.headers),
    )
    return added is not None


async def delete_before(
    bootstrap: Bootstrap, prefix: str, starts: Mapping[tuple[str, int], int]
) -> None:
    """Lets places begin where they began in the log that was archived."""
    if starts:
        async with _admin(bootstrap) as admin:
            await admin.delete_records(
                {
                    TopicPartition(prefix + topic, partition): RecordsToDelete(before_offset=start)
                    for (topic, partition), start in starts.items()
                }
            )
