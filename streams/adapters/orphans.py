"""Records of a transaction that is over, whose end the broker never wrote into the partition.

A broker that was away for longer than the transaction timeout rolls open transactions back while
it starts. Kafka 4.3 does so even before the partitions have a leader again, takes them for deleted,
and skips their abort markers ("Couldn't find leader endpoint for partitions … likely deleted
already"). Nobody sees the records, and nothing ends them, until the next transaction under the same
transactional id does: it has the same producer id, so its commit marker would make entries visible
that were rolled back, and they would count twice.

So an owner looks for them between fencing and reading (decision 006, A2) and ends them itself, by
an abort. Everything that it writes belongs to it alone, and after fencing nothing of it may be
open.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from streams.errors import FaultError

log = logging.getLogger(__name__)

CLOSE_ATTEMPTS_MAX: Final = 3
"""Aborts until the partitions are clean: the first does it, the others are for a broker that is
still busy with its start."""

BACKOFF_MS: Final = 5
"""The client waits this long once for each topic that it has not heard of yet; its default of 100
would take up most of a planned hand-over."""

RETRY_MS: Final = 5
"""The client learns of each topic by a failed try and pauses; its default of 100 ms, eight times,
would be most of a hand-over."""

PLACEHOLDER_KEY: Final = b"\x00orphans"
"""Key of the record that takes part in the abort; a compacted topic takes none without a key."""


async def close_orphans(
    bootstrap: Bootstrap, producers: Mapping[int, AIOKafkaProducer], topics: Iterable[str]
) -> list[str]:
    """Ends what is open in these topics (full names) at the producers' partitions, by an abort.

    The producers are fenced and idle. Returns the partitions that held orphans. Raises FaultError
    where something stays open.
    """
    places = [TopicPartition(topic, number) for topic in topics for number in producers]
    found: list[str] = []
    for _ in range(CLOSE_ATTEMPTS_MAX):
        orphans = await open_places(bootstrap, places)
        if not orphans:
            return found
        named = [f"{place.topic}-{place.partition}" for place in orphans]
        log.warning("ending transactions that the broker left open: %s", ", ".join(named))
        found += [name for name in named if name not in found]
        by_partition: dict[int, list[str]] = {}
        for place in orphans:
            by_partition.setdefault(place.partition, []).append(place.topic)
        await asyncio.gather(
            *(_abort(producers[number], number, names) for number, names in by_partition.items())
        )
    orphans = await open_places(bootstrap, places)
    if orphans:
        raise FaultError(
            f"transactions stay open in {', '.join(found)}, although their owner is fenced",
            action="Somebody else writes to these topics, or the broker is not well: read its "
            "log, and see `kafka-transactions.sh find-hanging`.",
        )
    return found


async def open_places(bootstrap: Bootstrap, places: list[TopicPartition]) -> list[TopicPartition]:
    """The partitions in which a transaction is open: the last stable offset is not the end."""
    if not places:
        return []
    # The stable offsets first: nobody writes, but if somebody did, this order finds it.
    stable = await _ends(bootstrap, places, "read_committed")
    ends = await _ends(bootstrap, places, "read_uncommitted")
    return [place for place in places if stable[place] < ends[place]]


async def _ends(bootstrap: Bootstrap, places: list[TopicPartition], isolation: str) -> Any:
    consumer = AIOKafkaConsumer(
        **client_options(bootstrap),
        enable_auto_commit=False,
        isolation_level=isolation,
        retry_backoff_ms=BACKOFF_MS,
    )
    try:
        await consumer.start()
        return await consumer.end_offsets(places)
    except KafkaError as error:
        raise FaultError(
            f"the broker does not say where the partitions end: {type(error).__name__}",
            action="Nothing was read or written. The worker starts again; see the broker's log.",
        ) from error
    finally:
        await consumer.stop()


async def _abort(producer: AIOKafkaProducer, partition: int, topics: list[str]) -> None:
    try:
        await producer.begin_transaction()
        for topic in topics:
            # An abort reaches only partitions that take part in the transaction.
            await producer.send_and_wait(topic, b"", key=PLACEHOLDER_KEY, partition=partition)
        await producer.abort_transaction()
    except KafkaError as error:
        raise FaultError(
            f"partition {partition}: what a transaction left open could not be ended: "
            f"{type(error).__name__}: {error}",
            action="Nothing was read or written. The worker starts again; see the broker's log.",
        ) from error
