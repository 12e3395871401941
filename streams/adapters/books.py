"""The books of an installation as the audit reads them: `ports.Book` over Kafka, and the images of
tables.

Reads alone: no consumer group, no commit, nothing written. Blocking, on an event loop of its own,
because an audit is a process that does nothing else.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

import rocksdict
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.limits import OUTBOUND_RECORD_BYTES_MAX
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CATALOG,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    INBOUND,
    LEDGER,
)
from streams.adapters.databases import make_options
from streams.adapters.kafka_trouble import GIVE_RIGHTS, RIGHTS, kafka_trouble
from streams.adapters.store import FOLLOWING_KEY
from streams.domain.facts import SourceRecord
from streams.domain.identity import CLAIM_BYTES
from streams.errors import FaultError, SetupError, TransientError
from streams.ports import Book, Table

FETCH_BYTES: Final = max(4 * 1024 * 1024, 2 * OUTBOUND_RECORD_BYTES_MAX)
"""One fetch: some ten thousand records. Two of them are held per book."""

RECORDS_AT_ONCE: Final = 10_000

FETCH_WAIT_MS: Final = 50
"""How long the broker may wait with an answer while nothing is there: there always is something."""

SILENCE_SECONDS_MAX: Final = 30.0
"""How long a broker may send nothing while there is something to be read: as long as it takes to
come back after a restart."""

AUDITED: Final = (
    ACCOUNTS_CHANGELOG,
    LEDGER,
    ATTRIBUTIONS,
    DEAD_LETTERS,
    CLAIMS_CHANGELOG,
    *INBOUND,
    CATALOG,
)
"""The topics that an audit reads, in the order in which their ends are asked for: what a table
holds must be in the ledger, and what the ledger names must be in the other topics, while all of
them go on growing."""

Bounds = Mapping[tuple[str, int], tuple[int, int]]
"""First kept offset and end, by logical topic and partition."""


class Shelf:
    """Some partitions of some topics behind one consumer, each between two offsets.

    One connection for all of them: opening one per book would take longer than reading it. A book
    is fetched only while somebody reads it. Use as a context manager.
    """

    def __init__(
        self, bootstrap: Bootstrap, bounds: Mapping[TopicPartition, tuple[int, int]]
    ) -> None:
        self._bootstrap = bootstrap
        self._bounds = {place: found for place, found in bounds.items() if found[0] < found[1]}
        self._loop = asyncio.new_event_loop()
        self._consumer: Any = None

    def __enter__(self) -> Self:
        """Nothing is opened before somebody reads."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Disconnect."""
        if self._consumer is not None:
            self._loop.run_until_complete(self._consumer.stop())
        self._loop.close()

    def batches(self, place: TopicPartition, offset: int) -> Iterator[list[Any]]:
        """The records of a place from an offset to its end."""
        start, end = self._bounds.get(place, (0, 0))
        offset = max(offset, start)
        if offset >= end:
            return
        try:
            self._loop.run_until_complete(self._begin(place, offset))
            while (found := self._loop.run_until_complete(self._next(place, end))) is not None:
                yield found
        except KafkaError as error:
            raise _unanswered(error, place.topic) from error

    async def _begin(self, place: TopicPartition, offset: int) -> None:
        if self._consumer is None:
            self._consumer = consumer = AIOKafkaConsumer(
                **client_options(self._bootstrap),
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                max_partition_fetch_bytes=FETCH_BYTES,
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
            await consumer.start()
            consumer.assign(list(self._bounds))
            consumer.pause(*self._bounds)
            for other, (start, _) in self._bounds.items():
                consumer.seek(other, start)
        self._consumer.seek(place, offset)
        self._consumer.resume(place)

    async def _next(self, place: TopicPartition, end: int) -> list[Any] | None:
        """The next records, None at the end. Offsets of markers are passed without a record."""
        consumer, loop = self._consumer, asyncio.get_running_loop()
        deadline = loop.time() + SILENCE_SECONDS_MAX
        position = await consumer.position(place)
        while position < end:
            found = await consumer.getmany(place, timeout_ms=500, max_records=RECORDS_AT_ONCE)
            records = [record for record in found.get(place, ()) if record.offset < end]
            if records:
                return records
            before, position = position, await consumer.position(place)
            if position > before:
                deadline = loop.time() + SILENCE_SECONDS_MAX
            elif loop.time() > deadline:
                raise TransientError(
                    f"nothing came from {place.topic}, partition {place.partition}, for "
                    f"{SILENCE_SECONDS_MAX:.0f} s at offset {position}",
                    action="Read the log of the broker, then try again.",
                )
        consumer.pause(place)
        return None


@dataclass(frozen=True, slots=True)
class KafkaBook:
    """One partition of one topic on a shelf. `topic` is the logical name."""

    shelf: Shelf
    topic: str
    place: TopicPartition
    start: int
    end: int

    def batches(self, offset: int) -> Iterator[Sequence[SourceRecord]]:
        """See `ports.Book`."""
        topic = self.topic
        for batch in self.shelf.batches(self.place, offset):
            yield [SourceRecord(topic, r.offset, r.timestamp * 1000, r.key, r.value) for r in batch]


@dataclass(frozen=True, slots=True)
class LogEnds:
    """How far the log is at one moment: the bounds of all books, and the whole catalog."""

    bounds: Bounds
    catalog: list[tuple[int, bytes]]


def read_ends(bootstrap: Bootstrap, prefix: str, partitions: int) -> LogEnds:
    """How far the log is now. Raises TransientError, and SetupError where a topic is missing."""
    bounds = read_bounds(bootstrap, prefix, partitions)
    return LogEnds(bounds, read_catalog_records(bootstrap, prefix, bounds))


def read_bounds(bootstrap: Bootstrap, prefix: str, partitions: int) -> Bounds:
    """The bounds of all audited topics as of now. Raises TransientError, and SetupError where a
    topic is missing."""
    return asyncio.run(_bounds(bootstrap, prefix, partitions))


async def _bounds(bootstrap: Bootstrap, prefix: str, partitions: int) -> Bounds:
    consumer = AIOKafkaConsumer(
        **client_options(bootstrap), enable_auto_commit=False, isolation_level="read_committed"
    )
    found: dict[tuple[str, int], tuple[int, int]] = {}
    try:
        await consumer.start()
        known = await consumer.topics()
        for topic in AUDITED:
            if prefix + topic.name not in known:
                raise SetupError(
                    f"there is no topic {prefix}{topic.name}",
                    action="Check TOLLGATE_TOPIC_PREFIX, or run `tollgate topics create`.",
                )
            count = topic.partitions or partitions
            places = [TopicPartition(prefix + topic.name, p) for p in range(count)]
            ends = await consumer.end_offsets(places)
            starts = await consumer.beginning_offsets(places)
            for place in places:
                found[topic.name, place.partition] = (int(starts[place]), int(ends[place]))
    except KafkaError as error:
        raise _unanswered(error, "the books") from error
    finally:
        await consumer.stop()
    return found


def read_catalog_records(
    bootstrap: Bootstrap, prefix: str, bounds: Bounds
) -> list[tuple[int, bytes]]:
    """All records of the catalog, with their offsets."""
    place = TopicPartition(CATALOG.full_name(prefix), 0)
    with Shelf(bootstrap, {place: bounds[CATALOG.name, 0]}) as shelf:
        return [
            (record.offset, record.value)
            for batch in shelf.batches(place, 0)
            for record in batch
            if record.value is not None
        ]


@contextmanager
def open_books(
    bootstrap: Bootstrap, prefix: str, partition: int, bounds: Bounds
) -> Iterator[dict[str, KafkaBook]]:
    """The books of a partition by logical topic, as long as the context lasts."""
    places = {
        topic.name: TopicPartition(topic.full_name(prefix), partition)
        for topic in AUDITED
        if topic is not CATALOG
    }
    within = {place: bounds[name, partition] for name, place in places.items()}
    with Shelf(bootstrap, within) as shelf:
        yield {
            name: KafkaBook(shelf, name, place, *within[place]) for name, place in places.items()
        }


@dataclass(frozen=True, slots=True)
class KafkaLibrary:
    """All books of an installation, on its broker. Crosses over to other processes."""

    bootstrap: Bootstrap
    prefix: str
    partitions: int

    def bounds(self) -> Bounds:
        """See `read_bounds`."""
        return read_bounds(self.bootstrap, self.prefix, self.partitions)

    def ends(self) -> LogEnds:
        """See `read_ends`."""
        return read_ends(self.bootstrap, self.prefix, self.partitions)

    def open(self, partition: int, bounds: Bounds) -> AbstractContextManager[dict[str, KafkaBook]]:
        """See `open_books`."""
        return open_books(self.bootstrap, self.prefix, partition, bounds)


class Library(Protocol):
    """Where the books of an installation are read: a broker, or an archive."""

    @property
    def partitions(self) -> int:
        """How many partitions the customer topics have."""
        ...

    def bounds(self) -> Bounds:
        """First offset and end of every book, as of now."""
        ...

    def ends(self) -> LogEnds:
        """The same, with the whole catalog."""
        ...

    def open(self, partition: int, bounds: Bounds) -> AbstractContextManager[Mapping[str, Book]]:
        """The books of a partition by logical topic, as long as the context lasts."""
        ...


def _unanswered(error: KafkaError, what: str) -> SetupError | TransientError | FaultError:
    message = f"Kafka does not give {what}: {type(error).__name__}: {error}"
    if isinstance(error, RIGHTS):
        return kafka_trouble(error, message, action=GIVE_RIGHTS)
    if getattr(error, "retriable", False):
        return TransientError(message, action="Read the log of the broker, then try again.")
    return FaultError(message, action="Read the log of the broker; a damaged topic is restored.")


# --- images of tables -----------------------------------------------------------------------------


class ChangelogImage:
    """The accounts as their changelog says: what a recovery would rebuild. Claims are compared
    segment by segment, with the cycles."""

    name = "accounts changelog"
    settled = True

    def __init__(self, book: Book) -> None:
        self._book = book

    def accounts(self) -> Mapping[bytes, bytes]:
        """See `ports.TableImage`."""
        found: dict[bytes, bytes] = {}
        for batch in self._book.batches(self._book.start):
            for record in batch:
                key = record.key or b""
                if record.value is None:
                    found.pop(key, None)
                else:
                    found[key] = record.value
        return found

    def claims(self) -> None:
        """See `ports.TableImage`."""
        return


class StoreImage:
    """The local tables of a worker in a state directory, opened for reading only: the worker may go
    on writing."""

    def __init__(self, directory: Path, partition: int) -> None:
        """Open the databases. Raises SetupError where one cannot be read."""
        self.name = f"store {directory}"
        self._own_keys = (b"__faust\0offset__", FOLLOWING_KEY)
        self._paths = {
            table: directory / "v1" / "tables" / f"{table.value}-{partition}.db" for table in Table
        }
        # Claims are written first: opened first, they are never ahead of what the accounts name.
        self._claims = self._open(Table.CLAIMS)
        self._accounts = self._open(Table.ACCOUNTS)
        self.settled = self._accounts is None or self._accounts.get(FOLLOWING_KEY) is None

    def _open(self, table: Table) -> Any:
        path = self._paths[table]
        if not path.exists():
            return None
        options = make_options()
        options.create_if_missing(False)
        try:
            return rocksdict.Rdict(
                str(path),
                options,
                {"default": options},
                access_type=rocksdict.AccessType.read_only(),
            )
        except Exception as error:
            raise SetupError(
                f"the store {path} cannot be read: {error}",
                action="Name a state directory of a worker of this release; a damaged store is "
                "set aside and rebuilt when its worker starts.",
            ) from error

    def close(self) -> None:
        """Let go of the databases."""
        for database in (self._claims, self._accounts):
            if database is not None:
                database.close()

    def accounts(self) -> Mapping[bytes, bytes]:
        """See `ports.TableImage`."""
        if self._accounts is None:
            return {}
        return {k: v for k, v in self._accounts.items() if k not in self._own_keys}

    def claims(self) -> tuple[int | None, Iterator[tuple[bytes, bytes]]] | None:
        """See `ports.TableImage`."""
        if self._claims is None:
            return None
        offset = self._claims.get(self._own_keys[0])
        # With an expiry RocksDB keeps four bytes of time behind each value, which only a
        # connection with an expiry takes away.
        last = None if offset is None else int(offset[:-4])
        rows = ((k, v[:CLAIM_BYTES]) for k, v in self._claims.items() if k not in self._own_keys)
        return last, rows
