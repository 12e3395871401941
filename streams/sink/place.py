"""Where a sink begins to read: at the first record that the table does not hold yet.

The table's mark rules; the committed offset is a hint that is believed only when the record
before it is the one the mark names. So a table that was dropped, or restored from an older
backup, is filled again from the log, and a table that is ahead of its log is noticed before
anything is inserted."""

from typing import Final

from streams.errors import FaultError
from streams.ports import NO_ROWS, OutboundLog, RowTarget
from streams.sink.rows import Row, read_row

SEARCHES_MAX: Final = 2
"""The second search keeps the marks of the first and reads the log's end anew, so that the log is
as young as the marks: a table that is ahead of it even then holds what the log does not."""


class Marks:
    """The marks of one table and partition, by generation, read once each."""

    def __init__(self, target: RowTarget, table: str, partition: int) -> None:
        self._target = target
        self._table = table
        self._partition = partition
        self._known: dict[int, int] = {}

    async def of(self, generation: int) -> int:
        """The mark of a generation."""
        if generation not in self._known:
            self._known[generation] = await self._target.mark(
                self._table, generation, self._partition
            )
        return self._known[generation]


async def find_place(log: OutboundLog, target: RowTarget) -> int:
    """Moves the log to the first record that the table lacks, and returns that offset.

    The log may be empty, or hold nothing new: then it is its end. Raises FaultError where the
    table holds what the log does not, or lacks what the log no longer has."""
    marks = Marks(target, log.table, log.partition)
    searches = 0
    while True:
        searches += 1
        try:
            offset = await _place(log, marks)
        except FaultError:
            # Between the log's end and the marks, workers may have committed and another sink may
            # have inserted that: the table then only looks ahead of its log.
            if searches == SEARCHES_MAX:
                raise
        else:
            await log.seek(offset)
            return offset


async def _place(log: OutboundLog, marks: Marks) -> int:
    begin, end = await log.bounds()
    last_stored = await _hinted(log, marks, begin, end)
    if last_stored is None:
        last_stored = await _searched(log, marks, begin, end)
    offset = begin if last_stored is None else last_stored.offset + 1
    following = await _row_at(log, offset) if offset < end else None
    await _check_fit(log, marks, last_stored, following)
    return offset


async def _hinted(log: OutboundLog, marks: Marks, begin: int, end: int) -> Row | None:
    """The record right before the hint, if it is exactly the last one that the table holds."""
    hint = await log.hint()
    if hint is None or not begin < hint <= end:
        return None
    row = await _row_at(log, hint - 1)
    if row is None or row.sequence != await marks.of(row.generation):
        return None
    return row


async def _searched(log: OutboundLog, marks: Marks, begin: int, end: int) -> Row | None:
    """The last record that the table holds, found by bisection: generation and sequence grow with
    the offset. None where it holds none of them."""
    first = await _row_at(log, begin) if begin < end else None
    if first is None or first.sequence > await marks.of(first.generation):
        return None  # The common case of a new or dropped table.
    last_stored, low, high = first, first.offset + 1, end
    while low < high:
        middle = (low + high) // 2
        row = await _row_at(log, middle)
        if row is None or row.sequence > await marks.of(row.generation):
            high = middle
        else:
            last_stored, low = row, row.offset + 1
    return last_stored


async def _check_fit(
    log: OutboundLog, marks: Marks, last_stored: Row | None, following: Row | None
) -> None:
    """Raises FaultError unless the log goes on exactly where the table ends."""
    where = f"{log.table}, partition {log.partition}"
    if last_stored is not None:
        mark = await marks.of(last_stored.generation)
        goes_on = following is not None and following.generation == last_stored.generation
        if last_stored.sequence < mark and not goes_on:
            raise FaultError(
                f"{where}: the table holds generation {last_stored.generation} up to sequence "
                f"{mark}, the log only up to {last_stored.sequence}",
                action="The log lost records, or the table belongs to another installation. "
                "Compare TOLLGATE_TOPIC_PREFIX and TOLLGATE_CLICKHOUSE_DATABASE; if the log was "
                "restored or recreated, start a new generation of the topics.",
            )
    if following is not None:
        mark = await marks.of(following.generation)
        if following.sequence > mark + 1:
            held = "no row" if mark == NO_ROWS else f"rows up to sequence {mark}"
            raise FaultError(
                f"{where}: the table holds {held} of generation {following.generation}, the log "
                f"goes on with sequence {following.sequence} at offset {following.offset}",
                action="The log no longer has what the table lacks: restore the topic's archive, "
                "or the table from a younger backup.",
            )


async def _row_at(log: OutboundLog, offset: int) -> Row | None:
    record = await log.peek(offset)
    return None if record is None else read_row(record, log.partition)
