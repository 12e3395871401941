"""The topic `asks` on Kafka, shared out among all gateways by a consumer group.

The group's comings and goings are those of the outbound topics' readers (`ledger_source`). Here a
stored offset is where the next gateway begins; what it asks again is answered again and decided
once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaError

from schemas.topics import ASKS
from streams.adapters.ledger_source import (
    FIRST_RECORD_WAIT_MS,
    KafkaLog,
    LedgerSource,
    Serve,
    SourceOptions,
)
from streams.domain.facts import SourceRecord
from streams.errors import TransientError
from streams.ports import OutboundLog


class KafkaAskLog(KafkaLog):
    """One assigned partition of `asks`; see `streams.gateway.ask_lane.AskLog`."""

    async def asks(self, records_max: int) -> list[SourceRecord]:
        """See `streams.gateway.ask_lane.AskLog`."""
        try:
            found = await self._consumer.getmany(
                self._place, timeout_ms=FIRST_RECORD_WAIT_MS, max_records=records_max
            )
        except (IllegalStateError, KafkaError) as error:
            raise TransientError(
                f"Kafka: {type(error).__name__}: {error}",
                action="Check that Kafka runs and that TOLLGATE_KAFKA_BOOTSTRAP names it.",
            ) from error
        return [
            SourceRecord(ASKS.name, one.offset, one.timestamp * 1000, one.key, one.value)
            for one in found.get(self._place, ())
        ]


class AskSource(LedgerSource):
    """Serves every partition of `asks` that the group assigns to this process."""

    def __init__(self, bootstrap: str, group: str, prefix: str, session_timeout_ms: int) -> None:
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
            assert isinstance(log, KafkaAskLog), "take_over makes them"
            await serve(log)

        await self.run(serve_log, stop)

    def take_over(self, places: Sequence[Any], serve: Serve) -> None:
        """Starts serving newly assigned partitions; none where a rebalance meets the end."""
        if self._ending:
            return
        for place in places:
            log = KafkaAskLog(self._consumer, place, ASKS.name, 0, self._done)
            self._logs[place] = log
            task = asyncio.ensure_future(serve(log))
            self._tasks[place] = task
            task.add_done_callback(self._note_end)
