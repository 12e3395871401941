"""The sink process, put together from its loop and its adapters."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from schemas.client.kafka_access import Bootstrap
from schemas.topics import ATTRIBUTIONS, CATALOG, DEAD_LETTERS, LEDGER
from streams import shipped
from streams.adapters import clickhouse_catalog
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_catalog import ClickHouseCatalog
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.ledger_source import LedgerSource, SourceOptions
from streams.app.addresses import kafka_bootstrap, sink_group
from streams.app.generations import check_topics, recorded_generation
from streams.app.observed import Observed
from streams.app.sink_watch import SinkWatch, WatchedCatalog, WatchedRows
from streams.app.warehouse import clickhouse
from streams.errors import TransientError
from streams.ports import OutboundLog
from streams.settings import Settings
from streams.sink.catalog import CatalogSink
from streams.sink.loop import Inserted, PartitionSink
from streams.sink.migrations import read_migrations, refuse_newer
from streams.sink.patience import DEADLINE_SECONDS, Patience
from streams.sink.rows import BatchLimits

SAY_EVERY_SECONDS: Final = 5.0
"""How often a running sink says how far it is."""


def source_options(settings: Settings, bootstrap: Bootstrap) -> SourceOptions:
    """What the sink reads: the outbound topics and the catalog, and the tables they fill (S5: one
    topic per table)."""
    tables = (
        (LEDGER, "ledger"),
        (ATTRIBUTIONS, "attributions"),
        (DEAD_LETTERS, "dead_letters"),
        (CATALOG, clickhouse_catalog.TABLE),
    )
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
    observed = Observed(settings, "sink")
    target = clickhouse(settings)
    try:
        refuse_newer(target, read_migrations(shipped.clickhouse_migrations()))
        asyncio.run(_serve(settings, target, observed, observed.narrator(say)))
    finally:
        target.close()


async def _serve(
    settings: Settings, target: ClickHouse, observed: Observed, say: Callable[[str], None]
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await observed.start()
    generation = await recorded_generation(settings)
    await check_topics(settings, generation)
    source = LedgerSource(source_options(settings, kafka_bootstrap(settings)))
    watch = SinkWatch(observed.metrics, observed.spans, source, loop.time)
    observed.not_ready = watch.not_ready
    rows = WatchedRows(ClickHouseRows(target), watch)
    catalog = WatchedCatalog(ClickHouseCatalog(target), watch)
    limits = BatchLimits(settings.sink_batch_rows_max, settings.sink_batch_bytes_max)
    progress = Progress(loop.time, source, say, watch)

    def tell(error: TransientError) -> None:
        say(f"sink: {error.message}; trying again for up to {DEADLINE_SECONDS:.0f} s")

    async def serve(log: OutboundLog) -> None:
        patience = Patience(loop.time, asyncio.sleep, tell=tell)
        if log.table == clickhouse_catalog.TABLE:
            await CatalogSink(log, catalog, limits, patience, progress.add).run()
        else:
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
        await observed.stop()
    say(f"sink: stopped after {progress.rows} rows")


class Progress:
    """Counts what was inserted, and says it where something changed."""

    def __init__(
        self,
        now: Callable[[], float],
        source: LedgerSource,
        say: Callable[[str], None],
        watch: SinkWatch,
    ) -> None:
        """Take the clock, the source that knows the lag, and who is told."""
        self.rows = 0
        self._watch = watch
        self._now = now
        self._source = source
        self._say = say

    def add(self, inserted: Inserted) -> None:
        """Count one batch."""
        self.rows += inserted.rows
        self._watch.inserted(inserted)

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
