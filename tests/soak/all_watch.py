"""How far behind everybody is, over time: workers behind what was sent, tables behind the log."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas.topics import LEDGER, PRODUCED
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.groups import group_offsets
from streams.errors import TollgateError
from streams.settings import Settings

EVERY_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 10.0
"""A look at a broker that stands still is given up after this."""


@dataclass(frozen=True, slots=True)
class Lag:
    """One look: None where a server did not answer. `rows` are the offsets of the ledger that lie
    beyond the rows in ClickHouse, markers of transactions among them: it grows with each cycle."""

    at: float
    workers: int | None
    rows: int | None


class LagWatch:
    """Looks every few seconds until it is ended."""

    def __init__(self, settings: Settings, clickhouse: ClickHouse, begun: float) -> None:
        self._settings = settings
        self._clickhouse = clickhouse
        self._begun = begun
        self._ending = False
        self.seen: list[Lag] = []

    def end(self) -> None:
        """`run` returns after the look that is under way."""
        self._ending = True

    async def run(self) -> None:
        """Look."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap, isolation_level="read_committed"
        )
        admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.kafka_bootstrap)
        try:
            await consumer.start()
            await admin.start()
            while not self._ending:
                workers = await self._within(self._behind(consumer, admin))
                rows = await self._within(self._not_inserted(consumer))
                self.seen.append(Lag(time.monotonic() - self._begun, workers, rows))
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            await admin.close()
            await consumer.stop()

    async def _within(self, look: Coroutine[Any, Any, int]) -> int | None:
        with contextlib.suppress(KafkaError, TollgateError, TimeoutError, OSError):
            return await asyncio.wait_for(look, LOOK_SECONDS)
        return None

    def _places(self, *names: str) -> list[TopicPartition]:
        prefix, partitions = self._settings.topic_prefix, self._settings.partitions
        return [TopicPartition(prefix + name, p) for name in names for p in range(partitions)]

    async def _behind(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> int:
        places = self._places(*(topic.name for topic in PRODUCED))
        ends = await consumer.end_offsets(places)
        found = await group_offsets(admin, self._settings.app_id, places)
        behind: int = sum(max(0, ends[place] - max(0, found[place])) for place in places)
        return behind

    async def _not_inserted(self, consumer: AIOKafkaConsumer) -> int:
        ends = await consumer.end_offsets(self._places(LEDGER.name))
        answer = await asyncio.to_thread(self._clickhouse.query, "SELECT count() FROM ledger")
        rows: int = sum(ends.values()) - int(answer.rows[0][0])
        return rows
