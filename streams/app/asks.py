"""The asks of the log, put together for one gateway: the topic `asks`, and a lane for each of its
partitions that the group gives to this gateway.
"""

import asyncio
from typing import Final

from streams.adapters.ask_source import AskSource, KafkaAskLog
from streams.adapters.ledger_source import end_tasks
from streams.app.addresses import kafka_bootstrap
from streams.gateway.ask_lane import AskLane, LaneSetting
from streams.gateway.services import Services
from streams.settings import Settings

STOP_SECONDS_MAX: Final = 7.0
"""How long leaving the group may take, beside the server's own end: storing positions has five
seconds, the rest is for a coordinator that is slow to say goodbye. The broker forgets a member
after its session timeout."""


def asks_group(settings: Settings) -> str:
    """The consumer group of all gateways."""
    return f"{settings.app_id}-asks"


class LogAsks:
    """The asks of the log that one gateway answers: `start`, `check` now and then, `stop`."""

    def __init__(self, settings: Settings, services: Services) -> None:
        """Nothing is connected yet."""
        self._setting = LaneSetting(
            asking=services.asking,
            partitions=services.directory.partitions,
            metrics=services.metrics,
            now_us=services.now_us,
            decision_seconds=services.decision_seconds,
        )
        self._source = AskSource(
            kafka_bootstrap(settings),
            asks_group(settings),
            settings.topic_prefix,
            int(settings.session_timeout_seconds * 1000),
        )
        self._stop = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to follow the topic."""
        self._following = asyncio.create_task(self._source.follow(self._serve, self._stop))

    def check(self) -> None:
        """Raises what ended the following: SetupError where there is no topic, TransientError where
        the broker did not answer at the start."""
        if self._following is not None and self._following.done():
            self._following.result()

    async def stop(self) -> None:
        """Stores the positions and leaves the group."""
        self._stop.set()
        if self._following is not None:
            await asyncio.wait({self._following}, timeout=STOP_SECONDS_MAX)
            await end_tasks([self._following])

    async def _serve(self, log: KafkaAskLog) -> None:
        await AskLane(self._setting, log).run()
