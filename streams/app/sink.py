"""The sink process, put together from its loop and its adapters."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from schemas.topics import DEAD_LETTERS, LEDGER
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.ledger_source import LedgerSource, SourceOptions
from streams.app.addresses import kafka_bootstrap, sink_group
from streams.app.generations import check_topics, recorded_generation
from streams.app.warehouse import clickhouse
from streams.errors import TransientError
from streams.ports import OutboundLog
from streams.settings import Settings
from streams.sink.loop import Inserted, PartitionSink
from streams.sink.patience import DEADLINE_SECONDS, Patience
from streams.sink.rows import BatchLimits

SAY_EVERY_SECONDS: Final = 5.0
"""How often a running sink says how far it is."""


def source_options(settings: Settings, bootstrap: str) -> SourceOptions:
    """What the sink reads: the outbound topics and the tables they fill (S5: one topic per
    table)."""
    tables = ((LEDGER, "ledger"), (DEAD_LETTERS, "dead_letters"))
    return SourceOptions(
        bootstrap=bootstrap,
        group=sink_group(settings),
        topics={topic.full_name(settings.topic_prefix): table for topic, table in tables},
        linger_ms=settings.sink_linger_ms,
        session_timeout_ms=int(settings.session_timeout_seconds * 1000),
    )


def run_sink(settings: Settings, say: Callable[[str], None]) -> None:
    """Runs the sink until SIGTERM or SIGINT; `say` gets a line now and then.

    Raises SetupError, TransientError or FaultError; then the process should end with a message,
    and a supervisor may start it again."""
    target = clickhouse(settings)
    try:
        asyncio.run(_serve(settings, target, say))
    finally:
        target.close()


async def _serve(settings: Settings, target: ClickHouse, say: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    generation = await recorded_generation(settings)
    await check_topics(settings, generation)
    source = LedgerSource(source_options(settings, kafka_bootstrap(settings)))
    rows = ClickHouseRows(target)
    limits = BatchLimits(settings.sink_batch_rows_max, settings.sink_batch_bytes_max)
    progress = Progress(loop.time, source, say)

    def tell(error: TransientError) -> None:
        say(f"sink: {error.message}; trying again for up to {DEADLINE_SECONDS:.0f} s")

    async def serve(log: OutboundLog) -> None:
        patience = Patience(loop.time, asyncio.sleep, tell=tell)
        await PartitionSink(log, rows, limits, patience, progress.add).run()

    async def check() -> None:
        # A broker that restarts makes a rebalance, and may not answer in the middle of it.
        patience = Patience(loop.time, asyncio.sleep, tell=tell)
        await patience.insist(lambda: check_topics(settings, generation))

    say(f"sink: into {target.address.url}, database {target.address.database}")
    talking = asyncio.ensure_future(progress.talk())
    try:
        await source.run(serve, stop, check)
    finally:
        talking.cancel()
    say(f"sink: stopped after {progress.rows} rows")


class Progress:
    """Counts what was inserted, and says it where something changed."""

    def __init__(
        self, now: Callable[[], float], source: LedgerSource, say: Callable[[str], None]
    ) -> None:
        """Take the clock, the source that knows the lag, and who is told."""
        self.rows = 0
        self._now = now
        self._source = source
        self._say = say

    def add(self, inserted: Inserted) -> None:
        """Count one batch."""
        self.rows += inserted.rows

    async def talk(self) -> None:
        """Say something every few seconds, as long as there is something new."""
        said, since = 0, self._now()
        while True:
            await asyncio.sleep(SAY_EVERY_SECONDS)
            new, now = self.rows - said, self._now()
            if new:
                self._say(
                    f"sink: {self.rows} rows, {new / (now - since):.0f} rows/s, lag "
                    f"{self._source.lag()} on {self._source.partitions()} partitions"
                )
            said, since = self.rows, now
