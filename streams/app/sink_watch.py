"""What a sink shows of its work: inserts and their time, failures, lag and marks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from streams.adapters import clickhouse_catalog
from streams.adapters.ledger_source import LedgerSource
from streams.adapters.spans import Spans
from streams.errors import TransientError
from streams.metrics import Metrics
from streams.metrics.sink import (
    SINK_FAILURES,
    SINK_INSERT_SECONDS,
    SINK_LAG,
    SINK_MARK,
    SINK_PARTITIONS,
    SINK_REACHABLE,
    SINK_ROWS,
)
from streams.ports import CatalogPlace, CatalogTarget, RowTarget
from streams.sink.loop import Inserted


class SinkWatch:
    """Counts what the sink does, and gathers how far it is when somebody asks. `now` is a
    monotonic clock in seconds."""

    def __init__(
        self, metrics: Metrics, spans: Spans | None, source: LedgerSource, now: Callable[[], float]
    ) -> None:
        self._metrics = metrics
        self._spans = spans
        self._source = source
        self._now = now
        self._trouble = ""
        metrics.set(SINK_REACHABLE, 1)
        for table in source.tables:
            metrics.set(SINK_ROWS, 0, table)
            metrics.set(SINK_FAILURES, 0, table)
        metrics.gather(self._gather)

    def inserted(self, inserted: Inserted) -> None:
        """Rows of a batch are in their table."""
        self._metrics.add(SINK_ROWS, inserted.table, by=inserted.rows)

    def not_ready(self) -> str:
        """Why the tables do not follow the log, '' where they do."""
        if not self._source.is_member:
            return "it is no member of its group yet"
        return self._trouble

    @contextmanager
    def asking(self, table: str) -> Iterator[None]:
        """Around one request to ClickHouse about a table."""
        try:
            yield
        except TransientError as error:
            self._metrics.add(SINK_FAILURES, table)
            self._metrics.set(SINK_REACHABLE, 0)
            self._trouble = error.message
            raise
        self._metrics.set(SINK_REACHABLE, 1)
        self._trouble = ""

    @contextmanager
    def inserting(self, table: str) -> Iterator[None]:
        """Around one insert into a table."""
        began, failed = self._now(), True
        try:
            with self.asking(table):
                yield
            failed = False
        finally:
            took = self._now() - began
            self._metrics.observe(SINK_INSERT_SECONDS, took, table)
            if self._spans is not None:
                self._spans.done("insert", took, {"db.collection.name": table}, failed=failed)

    def _gather(self) -> None:
        metrics, places = self._metrics, self._source.places()
        metrics.set(SINK_PARTITIONS, len(places))
        metrics.replace(SINK_LAG, {(table, str(p)): lag for table, p, lag, _ in places})
        metrics.replace(
            SINK_MARK,
            {(table, str(p)): mark for table, p, _, mark in places if mark is not None},
        )


class WatchedRows:
    """`streams.ports.RowTarget` over another one, watched."""

    def __init__(self, target: RowTarget, watch: SinkWatch) -> None:
        self._target = target
        self._watch = watch

    async def mark(self, table: str, generation: int, partition: int) -> int:
        """See `ports.RowTarget`."""
        with self._watch.asking(table):
            return await self._target.mark(table, generation, partition)

    async def insert(
        self, table: str, generation: int, partition: int, mark: int, body: bytes
    ) -> None:
        """See `ports.RowTarget`."""
        with self._watch.inserting(table):
            await self._target.insert(table, generation, partition, mark, body)


class WatchedCatalog:
    """`streams.ports.CatalogTarget` over another one, watched."""

    def __init__(self, target: CatalogTarget, watch: SinkWatch) -> None:
        self._target = target
        self._watch = watch

    async def mark(self) -> int:
        """See `ports.CatalogTarget`."""
        with self._watch.asking(clickhouse_catalog.TABLE):
            return await self._target.mark()

    async def newest(self, count: int) -> Sequence[CatalogPlace]:
        """See `ports.CatalogTarget`."""
        with self._watch.asking(clickhouse_catalog.TABLE):
            return await self._target.newest(count)

    async def insert(self, mark: int, rows: Sequence[tuple[CatalogPlace, bytes]]) -> None:
        """See `ports.CatalogTarget`."""
        with self._watch.inserting(clickhouse_catalog.TABLE):
            await self._target.insert(mark, rows)
