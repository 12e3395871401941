"""Waiting until everything that was sent has arrived: decided, committed, visible, inserted."""

import asyncio
from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    INBOUND,
    LEDGER,
    PRODUCED,
    Topic,
)
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.groups import group_offsets
from streams.settings import Settings
from tests.embedded_waiting import until, until_async
from tests.installation import Installation
from tests.soak.fleet import Fleet
from tests.soak.shares import all_closed

DRAIN_SECONDS: Final = 180.0
"""A deadline: two session timeouts and a restart of everything on a busy machine are a sixth."""
WRITTEN: Final = (LEDGER, ATTRIBUTIONS, DEAD_LETTERS, ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG)


def drain(installation: Installation, clickhouse: ClickHouse, fleet: Fleet) -> list[str]:
    """Returns when the workers have committed everything and the sinks have inserted it: workers
    and gateways have ended then. Names who did not end in time."""
    asyncio.run(_drain_group(installation.settings, PRODUCED))
    # While windows wait to close, owners let time pass, and every tick is a cycle.
    until(lambda: all_closed(installation), "all trace windows closed", DRAIN_SECONDS)
    asyncio.run(_drain_group(installation.settings, INBOUND))
    # Time goes on: an owner writes the end of a hold whenever it is due. What there is to insert
    # can be counted once nobody writes.
    late = fleet.end("worker", "gateway")
    asyncio.run(_settle(installation.settings))
    due = {
        table: sum(
            len(installation.read_partition(topic.name, partition))
            for partition in range(installation.settings.partitions)
        )
        for topic, table in (
            (LEDGER, "ledger"),
            (ATTRIBUTIONS, "attributions"),
            (DEAD_LETTERS, "dead_letters"),
        )
    }

    def filled() -> bool:
        return all(
            clickhouse.query(f"SELECT count() FROM {table}").rows[0][0] >= count
            for table, count in due.items()
        )

    until(filled, "all entries in ClickHouse", DRAIN_SECONDS)
    return late


async def _drain_group(settings: Settings, topics: Iterable[Topic]) -> None:
    """Returns when the group's offsets are at the topics' ends."""
    prefix = settings.topic_prefix
    places = [
        TopicPartition(prefix + topic.name, partition)
        for topic in topics
        for partition in range(settings.partitions)
    ]
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await consumer.start()
        await admin.start()
        ends = await consumer.end_offsets(places)
        behind: dict[str, tuple[int, int]] = {}

        async def all_committed() -> bool:
            found = await group_offsets(admin, settings.app_id, places)
            at = {tp: max(0, offset) for tp, offset in found.items()}
            behind.clear()
            behind.update(
                (f"{tp.topic[len(prefix) :]}-{tp.partition}", (at[tp], end))
                for tp, end in ends.items()
                if at[tp] < end
            )
            return not behind

        await until_async(
            all_committed, lambda: f"consumed (committed, end): {behind}", DRAIN_SECONDS, 0.2
        )
    finally:
        await admin.close()
        await consumer.stop()


async def _settle(settings: Settings) -> None:
    """Returns when no transaction is open in any topic that a worker writes: a commit is answered
    before its markers are in every partition, and what lies behind a missing one is not visible."""
    prefix = settings.topic_prefix
    places = [
        TopicPartition(prefix + topic.name, partition)
        for topic in WRITTEN
        for partition in range(settings.partitions)
    ]
    everything = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap)
    visible = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, isolation_level="read_committed"
    )
    try:
        await everything.start()
        await visible.start()
        open_ones: dict[str, tuple[int, int]] = {}

        async def all_ended() -> bool:
            seen, ends = await visible.end_offsets(places), await everything.end_offsets(places)
            open_ones.clear()
            open_ones.update(
                (f"{tp.topic[len(prefix) :]}-{tp.partition}", (seen[tp], ends[tp]))
                for tp in places
                if seen[tp] < ends[tp]
            )
            return not open_ones

        await until_async(
            all_ended,
            lambda: f"all transactions ended (visible, end): {open_ones}",
            DRAIN_SECONDS,
            0.2,
        )
    finally:
        await visible.stop()
        await everything.stop()
