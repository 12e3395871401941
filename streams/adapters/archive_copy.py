"""Copies what the log has gained into an archive.

Reads committed records only, without a consumer group, and writes nothing to the broker.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.topics import CLAIMS_CHANGELOG, PAID_CATALOGUE, TOPICS
from streams.adapters.archive import (
    JOINED_BYTES,
    SEGMENT_BYTES,
    ArchivedRecord,
    Manifest,
    Place,
    Segment,
)
from streams.adapters.archive_files import SegmentWriter
from streams.adapters.books import AUDITED, Bounds, Shelf
from streams.errors import FaultError, SetupError, TransientError

ARCHIVED: Final = (*AUDITED, PAID_CATALOGUE)
"""What is archived, in the order in which the ends are asked for (`books.AUDITED` says why). Not
the asks and answers, which nobody needs after a week, nor who owns what, which owners say anew."""

BY_NAME: Final = {topic.name: topic for topic in TOPICS}

Copied = Callable[[int], None]
"""Told how many offsets more are done."""

Finished = Callable[[Segment], None]


def read_archived_bounds(bootstrap: Bootstrap, prefix: str, partitions: int) -> Bounds:
    """First kept offset and end of every place that is archived, as of now.

    Raises TransientError, and SetupError where a topic is missing.
    """
    return asyncio.run(_bounds(bootstrap, prefix, partitions))


async def _bounds(bootstrap: Bootstrap, prefix: str, partitions: int) -> Bounds:
    consumer = AIOKafkaConsumer(
        **client_options(bootstrap), enable_auto_commit=False, isolation_level="read_committed"
    )
    found: dict[Place, tuple[int, int]] = {}
    try:
        await consumer.start()
        known = await consumer.topics()
        for topic in ARCHIVED:
            name = topic.full_name(prefix)
            if name not in known:
                raise SetupError(
                    f"there is no topic {name}",
                    action="Check TOLLGATE_TOPIC_PREFIX, or run `tollgate topics create`.",
                )
            places = [TopicPartition(name, p) for p in range(topic.partitions or partitions)]
            ends = await consumer.end_offsets(places)
            starts = await consumer.beginning_offsets(places)
            for place in places:
                found[topic.name, place.partition] = (int(starts[place]), int(ends[place]))
    except KafkaError as error:
        raise TransientError(
            f"Kafka does not say how far its topics are: {type(error).__name__}: {error}",
            action="Read the log of the broker, then run the backup again: it goes on where it "
            "stopped.",
        ) from error
    finally:
        await consumer.stop()
    return found


async def first_since(
    bootstrap: Bootstrap, prefix: str, places: Sequence[Place], since_ms: int
) -> dict[Place, int]:
    """The first offset of each place that was appended at a time or later; missing where there is
    none. Raises TransientError."""
    consumer = AIOKafkaConsumer(**client_options(bootstrap), enable_auto_commit=False)
    on_broker = {
        TopicPartition(prefix + topic, number): (topic, number) for topic, number in places
    }
    try:
        await consumer.start()
        found = await consumer.offsets_for_times(dict.fromkeys(on_broker, since_ms))
    except KafkaError as error:
        raise TransientError(
            f"Kafka does not say what is how old: {type(error).__name__}: {error}",
            action="Read the log of the broker, then run the command again.",
        ) from error
    finally:
        await consumer.stop()
    return {
        on_broker[place]: int(first.offset) for place, first in found.items() if first is not None
    }


def begin_at(manifest: Manifest, place: Place, start: int, end: int) -> int:
    """Where to go on copying a place that the log has from `start` to `end`.

    Raises SetupError where the log has lost what the archive has, FaultError where records were
    deleted before they were archived.
    """
    copied = manifest.copied(place)
    name = f"{place[0]}, partition {place[1]}"
    if copied is None:
        return start
    if copied > end:
        raise SetupError(
            f"{name} ends at offset {end}, the archive holds it up to {copied}",
            action="The log has lost records that the archive has: stop the workers and restore "
            "(docs/backup.md). Never delete the archive to get past this.",
        )
    topic = BY_NAME[place[0]]
    if start > copied and topic is not CLAIMS_CHANGELOG and topic.cleanup == "delete":
        raise FaultError(
            f"{name} begins at offset {start}, the archive ends at {copied}: records were deleted "
            "before they were archived",
            action="They are gone. Find out who deleted them, and begin a new archive with "
            "`tollgate backup --to` another directory; keep this one.",
        )
    return copied


def copy_places(
    bootstrap: Bootstrap,
    prefix: str,
    archive: tuple[Path, Manifest],
    spans: Mapping[Place, tuple[int, int]],
    copied: Copied,
    finished: Finished,
) -> None:
    """Copies the records of places between two offsets each into segments of an archive (its
    directory and manifest), each of which is on the disk when `finished` is told of it. Holds a
    fetch and a block in memory."""
    places = {
        place: TopicPartition(BY_NAME[place[0]].full_name(prefix), place[1]) for place in spans
    }
    directory, manifest = archive
    with Shelf(
        bootstrap, {on_broker: spans[place] for place, on_broker in places.items()}
    ) as shelf:
        for place, on_broker in places.items():
            segments = manifest.segments.get(place)
            last = segments[-1] if segments else None
            named = (place, on_broker)
            _copy_place(directory, shelf, named, spans[place], last, copied, finished)


def _copy_place(
    directory: Path,
    shelf: Shelf,
    place: tuple[Place, TopicPartition],
    span: tuple[int, int],
    last: Segment | None,
    copied: Copied,
    finished: Finished,
) -> None:
    where, partition = place
    start, end = span
    joined = last if last is not None and last.bytes < JOINED_BYTES else None
    writer, position = SegmentWriter(directory, where, start, joined), start
    try:
        for batch in shelf.batches(partition, start):
            for record in batch:
                writer.add(_archived(record))
            copied(batch[-1].offset + 1 - position)
            position = int(batch[-1].offset) + 1
            if writer.held >= SEGMENT_BYTES and position < end:
                finished(writer.close(position))
                writer = SegmentWriter(directory, where, position)
        copied(end - position)
        finished(writer.close(end))
    except BaseException:
        writer.abandon()
        raise


def _archived(record: Any) -> ArchivedRecord:
    headers = tuple((str(name), value) for name, value in record.headers)
    return ArchivedRecord(record.offset, record.timestamp, record.key, record.value, headers)
