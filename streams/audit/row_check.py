"""The sink's tables against the log: first by sums over thousands of rows, then row by row where
they differ.

What the tables must hold is what their topics say as recorded, the very bytes that a sink reads;
whether those are right is `replay`'s question.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.codec import decode_mark
from schemas.topics import ATTRIBUTIONS, DEAD_LETTERS, LEDGER
from streams.audit.differ import shown
from streams.audit.report import PartitionReport, RowFigures
from streams.domain.facts import SourceRecord
from streams.ports import AuditedRows, Book, RowDifference, RowSum

STEP: Final = 50_000
"""Sequences of one sum: a difference is looked for among as many rows, some 30 MB."""

SENT_BYTES_MAX: Final = 32 * 1024 * 1024
"""What is held back until it is sent to be summed."""

SHOWN_MAX: Final = 20
"""Rows shown of one stretch."""

TABLES: Final = {
    LEDGER.name: "ledger",
    ATTRIBUTIONS.name: "attributions",
    DEAD_LETTERS.name: "dead_letters",
}
"""Outbound topics and the tables that they fill."""


@dataclass(slots=True)
class _Series:
    """One table and generation of the partition: what the log says so far."""

    topic: str
    generation: int
    first: int
    first_offset: int
    last: int = -1
    sums: dict[int, RowSum] = field(default_factory=dict)
    waiting: list[bytes] = field(default_factory=list)
    waiting_bytes: int = 0
    step: int = 0
    offsets: dict[int, int] = field(default_factory=dict)


class RowCheck:
    """Takes the records of a partition as they come, then compares."""

    def __init__(self, rows: AuditedRows, partition: int, customer: str | None) -> None:
        self._rows = rows
        self._partition = partition
        self._key = None if customer is None else customer.encode()
        self._series: dict[tuple[str, int], _Series] = {}

    def add(self, topic: str, records: Sequence[SourceRecord]) -> None:
        """Records of an outbound topic, in their order. What is none of ours is left out: the
        sink stops at it, and `replay` names it."""
        for record in records:
            value = record.value or b""
            try:
                mark = decode_mark(value)
            except ValueError:
                continue
            at = (topic, mark.generation)
            series = self._series.get(at)
            if series is None:
                series = _Series(topic, mark.generation, mark.sequence, record.offset)
                series.step = mark.sequence // STEP
                self._series[at] = series
            step = mark.sequence // STEP
            if step != series.step or series.waiting_bytes > SENT_BYTES_MAX:
                self._send(series)
                series.step = step
            series.offsets.setdefault(step, record.offset)
            series.last = max(series.last, mark.sequence)
            if self._key is None or record.key == self._key:
                series.waiting.append(value)
                series.waiting_bytes += len(value)

    def _send(self, series: _Series) -> None:
        if series.waiting:
            found = self._rows.sum_expected(TABLES[series.topic], series.waiting)
            series.sums[series.step] = _added(series.sums.get(series.step), found)
        series.waiting, series.waiting_bytes = [], 0

    def lasts(self) -> dict[tuple[str, int], int]:
        """The last sequence by outbound topic and generation, as far as the log was read."""
        return {at: series.last for at, series in self._series.items()}

    def finish(
        self,
        report: PartitionReport,
        books: Callable[[str], Book],
        marks: Mapping[tuple[str, int, int], int],
    ) -> None:
        """Compares. `marks` are those that the tables had before the ledger's end was asked for."""
        for series in self._series.values():
            self._send(series)
            self._compare(report, series, books(series.topic))
        for (table, generation, partition), mark in sorted(marks.items()):
            if partition != self._partition:
                continue
            of = next((s for s in self._series.values() if _is(s, table, generation)), None)
            if of is None or mark > of.last:
                what = f"rows up to sequence {mark}, the log has them up to {of.last if of else -1}"
                report.differs(f"ClickHouse {table}", f"generation {generation}", what)

    def _compare(self, report: PartitionReport, series: _Series, book: Book) -> None:
        table = TABLES[series.topic]
        found = self._rows.sum_rows(
            table, series.generation, report.partition, series.first, series.last, STEP
        )
        total = RowSum()
        for row_sum in found.values():
            total = _added(total, row_sum)
        report.rows.append(
            RowFigures(
                table, series.generation, total.rows, series.last, total.units, total.cost_pico
            )
        )
        for step in sorted(series.sums.keys() | found.keys()):
            if series.sums.get(step) != found.get(step):
                self._drill(report, series, step, book)

    def _drill(self, report: PartitionReport, series: _Series, step: int, book: Book) -> None:
        """Names the rows of a stretch that differ."""
        table = TABLES[series.topic]
        first, last = max(series.first, step * STEP), min(series.last, step * STEP + STEP - 1)
        values = list(self._between(series, step, book, first, last))
        differing = self._rows.compare(
            table, series.generation, report.partition, first, last, values, SHOWN_MAX
        )
        by_sequence: dict[int, list[RowDifference]] = {}
        for row in differing:
            by_sequence.setdefault(row.sequence, []).append(row)
        for sequence, rows in by_sequence.items():
            name = rows[0].columns.get("entry_id", "")
            place = f"generation {series.generation}, sequence {sequence}, {name}"
            report.differs(f"ClickHouse {table}", place, _described(rows))

    def _between(
        self, series: _Series, step: int, book: Book, first: int, last: int
    ) -> Iterable[bytes]:
        for batch in book.batches(series.offsets.get(step, series.first_offset)):
            for record in batch:
                value = record.value or b""
                try:
                    mark = decode_mark(value)
                except ValueError:
                    continue
                if mark.generation != series.generation or mark.sequence > last:
                    return
                if mark.sequence >= first and (self._key is None or record.key == self._key):
                    yield value


def _is(series: _Series, table: str, generation: int) -> bool:
    return TABLES[series.topic] == table and series.generation == generation


def _added(one: RowSum | None, other: RowSum) -> RowSum:
    if one is None:
        return other
    return RowSum(
        one.rows + other.rows,
        (one.digest + other.digest) % 2**128,
        one.units + other.units,
        one.cost_pico + other.cost_pico,
    )


def _described(rows: Sequence[RowDifference]) -> str:
    due = [row for row in rows if row.surplus > 0]
    found = [row for row in rows if row.surplus < 0]
    if due and found:
        for column, value in due[0].columns.items():
            theirs = found[0].columns.get(column)
            if theirs != value:
                return f"{column} is {shown(theirs)}, due is {shown(value)}"
    if due:
        return "the row is missing"
    if sum(row.surplus for row in found) < -1 or len(found) > 1:
        return f"{-sum(row.surplus for row in found)} rows too many"
    return "a row too many"
