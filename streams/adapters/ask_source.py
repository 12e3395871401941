"""The topic `asks` on Kafka, shared out among all gateways by a consumer group.

The group's comings and goings are those of the outbound topics' readers (`ledger_source`). Here a
stored offset is where the next gateway begins; what it asks again is answered again and decided
once.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka import TopicPartition

from schemas.client.kafka_access import Bootstrap
from schemas.topics import ASKS
from streams.adapters.ledger_source import (
    FIRST_RECORD_WAIT_MS,
    KafkaLog,
    LedgerSource,
    SourceOptions,
)
from streams.domain.facts import SourceRecord
from streams.ports import OutboundLog


class KafkaAskLog(KafkaLog):
    """One assigned partition of `asks`; see `streams.gateway.ask_lane.AskLog`."""

    async def asks(self, records_max: int) -> list[SourceRecord]:
        """See `streams.gateway.ask_lane.AskLog`."""
        records = await self._next_records(FIRST_RECORD_WAIT_MS, records_max)
        return [
            SourceRecord(ASKS.name, one.offset, one.timestamp * 1000, one.key, one.value)
            for one in records
        ]


class AskSource(LedgerSource):
    """Serves every partition of `asks` that the group assigns to this process."""

    def __init__(
        self, bootstrap: Bootstrap, group: str, prefix: str, session_timeout_ms: int
    ) -> None:
        """Connects to nothing yet."""
        super().__init__(
            SourceOptions(
                bootstrap=bootstrap,
                group=group,
                topics={ASKS.full_name(prefix): ASKS.name},
                linger_ms=0,
                session_timeout_ms=session_timeout_ms,
            )
        )

    async def follow(
        self, serve: Callable[[KafkaAskLog], Awaitable[None]], stop: asyncio.Event
    ) -> None:
        """Serves until `stop` is set, each partition in a task of its own. Raises what `run`
        raises."""

        async def serve_log(log: OutboundLog) -> None:
            assert isinstance(log, KafkaAskLog), "`_make_log` makes them"
            await serve(log)

        await self.run(serve_log, stop)

    def _make_log(self, place: TopicPartition) -> KafkaAskLog:
        return KafkaAskLog(self._consumer, place, ASKS.name, 0, self._done)
