"""The last committed record of partitions: what a transaction left at their ends."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from schemas.limits import OUTBOUND_RECORD_BYTES_MAX
from streams.adapters.orphans import RETRY_MS
from streams.errors import TransientError

LOOK_BACK: Final = 16
"""Offsets before the end that are searched first: markers and aborted records take some. Ten times
as many are searched when nothing is there, and so on."""

POLL_MS: Final = 100
"""A poll for records that are there already."""


@dataclass(frozen=True, slots=True)
class Tail:
    """How a partition ends: its last committed record, None where it holds none; `cut` where
    retention has deleted records from its beginning."""

    key: bytes | None = None
    value: bytes | None = None
    offset: int | None = None
    cut: bool = False


async def read_tails(
    bootstrap: Bootstrap, topics: Iterable[str], partitions: Iterable[int]
) -> dict[tuple[str, int], Tail]:
    """The tails of these topics (full names) at these partitions, by (topic, partition).

    Raises TransientError where the broker does not answer.
    """
    numbers = list(partitions)
    places = [TopicPartition(topic, number) for topic in topics for number in numbers]
    consumer = AIOKafkaConsumer(
        **client_options(bootstrap),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=2 * OUTBOUND_RECORD_BYTES_MAX,
        fetch_max_wait_ms=POLL_MS,
        retry_backoff_ms=RETRY_MS,
    )
    try:
        await consumer.start()
        return await _search(consumer, places)
    except KafkaError as error:
        raise TransientError(
            f"the ends of the topics cannot be read: {type(error).__name__}: {error}",
            action="Check that the broker runs; the worker starts again.",
        ) from error
    finally:
        await consumer.stop()


async def _search(
    consumer: AIOKafkaConsumer, places: list[TopicPartition]
) -> dict[tuple[str, int], Tail]:
    begins = await consumer.beginning_offsets(places)
    ends = await consumer.end_offsets(places)
    found = {place: Tail(cut=begins[place] > 0) for place in places}
    missing = [place for place in places if begins[place] < ends[place]]
    look_back = LOOK_BACK
    while missing:
        consumer.assign(missing)
        for place in missing:
            consumer.seek(place, max(begins[place], ends[place] - look_back))
        reading = set(missing)
        while reading:
            for place, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                if records:
                    last = records[-1]
                    cut = found[place].cut
                    found[place] = Tail(last.key, last.value, last.offset, cut)
            reading = {p for p in reading if await consumer.position(p) < ends[p]}
        missing = [
            place
            for place in missing
            if found[place].offset is None and ends[place] - look_back > begins[place]
        ]
        look_back *= 10
    return {(place.topic, place.partition): tail for place, tail in found.items()}
