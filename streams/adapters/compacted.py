"""The latest record of each key of a topic with one partition, and such records appended."""

from collections.abc import Iterable, Mapping

from aiokafka import TopicPartition

from schemas.client.kafka_access import Bootstrap
from schemas.topics import Topic
from streams.adapters.archive_copy import read_archived_bounds
from streams.adapters.books import Shelf
from streams.adapters.producer import append_facts


def read_latest(
    bootstrap: Bootstrap, prefix: str, topic: Topic, partitions: int
) -> dict[bytes, bytes]:
    """The latest value of each key; what has been taken away is missing. `partitions` are those of
    the customer topics."""
    place = TopicPartition(topic.full_name(prefix), 0)
    bounds = read_archived_bounds(bootstrap, prefix, partitions)[topic.name, 0]
    found: dict[bytes, bytes] = {}
    with Shelf(bootstrap, {place: bounds}) as shelf:
        for batch in shelf.batches(place, 0):
            for record in batch:
                found.pop(record.key, None)
                if record.value is not None:
                    found[record.key] = record.value
    return found


async def append_latest(
    bootstrap: Bootstrap, prefix: str, topic: Topic, records: Mapping[bytes, bytes]
) -> None:
    """Appends values by key, in their order. Raises TransientError."""
    given: Iterable[tuple[int, bytes, bytes]] = ((0, key, value) for key, value in records.items())
    await append_facts(bootstrap, prefix, topic.name, given)
