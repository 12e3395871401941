"""A sink says that it cannot insert while it cannot, and counts every try."""

import pytest

from streams.adapters.ledger_source import LedgerSource, SourceOptions
from streams.app.sink_watch import SinkWatch, WatchedRows
from streams.errors import TransientError
from streams.metrics import Metrics, metrics_of
from streams.metrics.sink import SINK_FAILURES, SINK_INSERT_SECONDS, SINK_REACHABLE
from streams.ports import OutboundLog
from tests.observed import parse


class Table:
    """A `RowTarget` that fails as long as it is told to."""

    def __init__(self) -> None:
        self.trouble = ""

    async def mark(self, table: str, generation: int, partition: int) -> int:
        self._check()
        return -1

    async def insert(
        self, table: str, generation: int, partition: int, mark: int, body: bytes
    ) -> None:
        self._check()

    def _check(self) -> None:
        if self.trouble:
            raise TransientError(self.trouble, action="Wait.")


class Sink:
    """A watched table and the source of a sink that has not been connected."""

    def __init__(self) -> None:
        options = SourceOptions("127.0.0.1:1", "group", {"t.ledger": "ledger"}, 20, 6_000)
        self.source = LedgerSource(options)
        self.metrics: Metrics = metrics_of("sink")
        self.seconds = 0.0
        self.table = Table()
        self.watch = SinkWatch(self.metrics, None, self.source, lambda: self.seconds)
        self.rows = WatchedRows(self.table, self.watch)

    def join(self) -> None:
        async def serve(log: OutboundLog) -> None:
            raise AssertionError("nothing was assigned")

        self.source.take_over([], serve)

    async def insert(self) -> None:
        await self.rows.insert("ledger", 1, 0, -1, b"{}")


@pytest.fixture
def sink() -> Sink:
    return Sink()


def test_a_sink_is_ready_once_its_group_has_given_it_partitions_or_none(sink: Sink) -> None:
    assert "no member" in sink.watch.not_ready()
    sink.join()
    assert sink.watch.not_ready() == ""


async def test_a_table_that_does_not_answer_is_told_until_it_does(sink: Sink) -> None:
    sink.join()
    sink.table.trouble = "ClickHouse: connection refused"
    for _ in range(2):
        with pytest.raises(TransientError):
            await sink.insert()
    assert sink.watch.not_ready() == sink.table.trouble
    assert sink.metrics.value(SINK_REACHABLE) == 0
    sink.table.trouble = ""
    await sink.rows.mark("ledger", 1, 0)
    assert sink.watch.not_ready() == ""
    assert sink.metrics.value(SINK_REACHABLE) == 1
    assert sink.metrics.value(SINK_FAILURES, "ledger") == 2


async def test_the_time_of_an_insert_counts_whether_it_works_or_not(sink: Sink) -> None:
    sink.table.trouble = "away"
    with pytest.raises(TransientError):
        await sink.insert()
    sink.table.trouble = ""
    await sink.insert()
    shown = parse(sink.metrics.text())
    assert shown.total("tollgate_sink_insert_seconds_count", table="ledger") == 2
    assert sink.metrics.value(SINK_INSERT_SECONDS, "ledger") == 0


def test_a_sink_begins_with_every_table_at_nothing(sink: Sink) -> None:
    shown = parse(sink.metrics.text())
    assert shown.value("tollgate_sink_rows_total", table="ledger") == 0
    assert shown.value("tollgate_sink_failures_total", table="ledger") == 0
