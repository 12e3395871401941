"""Records to batches: which of them may stand in one insert. Pure.

One insert is one block of one ClickHouse partition (S3), so a batch never mixes generations,
never crosses a month of `decided_at` (UTC), has no gap, and stays below bounds in rows and bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from schemas.codec import decode_mark, join_rows
from streams.domain.months import Period, month_containing
from streams.errors import FaultError
from streams.ports import OutboundRecord


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one insert. A single row above `bytes_max` is a batch of its own."""

    rows_max: int
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of consecutive sequences, `first` to `last`, of one generation and month.

    `next_offset` is the offset after the last row's record.
    """

    generation: int
    first: int
    last: int
    next_offset: int
    values: Sequence[bytes]

    def body_after(self, mark: int) -> bytes:
        """The rows above a mark in [first - 1, last), as an insert body."""
        if not self.first - 1 <= mark < self.last:
            raise AssertionError(
                f"mark {mark} does not lie before a row of {self.first}..{self.last}"
            )
        return join_rows(self.values[mark + 1 - self.first :])


@dataclass(frozen=True, slots=True)
class Row:
    """A record and what its bytes say about where it stands."""

    generation: int
    sequence: int
    decided_at: int
    offset: int
    value: bytes


def read_row(record: OutboundRecord, partition: int) -> Row:
    """The position of one record of a Kafka partition.

    Raises FaultError for bytes that Tollgate did not write, or wrote for another partition: the
    sequence would belong to another series."""
    try:
        mark = decode_mark(record.value)
    except ValueError as error:
        raise FaultError(
            f"the record at offset {record.offset} of partition {partition} is none of Tollgate's: "
            f"{error}",
            action="Find out who else may write to the outbound topics and take the right away; "
            "then start a new generation of the topics.",
        ) from error
    if mark.partition != partition:
        raise FaultError(
            f"the record at offset {record.offset} says partition {mark.partition} but lies in "
            f"{partition}",
            action="The topic was copied or repartitioned: start a new generation of the topics.",
        )
    return Row(mark.generation, mark.sequence, mark.decided_at, record.offset, record.value)


def cut(rows: Iterable[Row], limits: BatchLimits) -> Iterator[Batch]:
    """Batches of all rows, in their order. A gap or a step back in the sequence begins a new
    batch."""
    batch: list[Row] = []
    size = 0
    period: Period | None = None
    for row in rows:
        ends = bool(batch) and (
            row.sequence != batch[-1].sequence + 1
            or row.generation != batch[-1].generation
            or len(batch) >= limits.rows_max
            or size + len(row.value) + 1 > limits.bytes_max
        )
        if period is None or not period.from_us <= row.decided_at < period.to_us:
            period = month_containing(row.decided_at)
            ends = bool(batch)
        if ends:
            yield _batch(batch)
            batch, size = [], 0
        batch.append(row)
        size += len(row.value) + 1
    if batch:
        yield _batch(batch)


def _batch(rows: list[Row]) -> Batch:
    first, last = rows[0], rows[-1]
    return Batch(
        first.generation,
        first.sequence,
        last.sequence,
        last.offset + 1,
        [row.value for row in rows],
    )
