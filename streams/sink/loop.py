"""The sink of one partition: from an outbound log into its table, exactly once (S1 to S7,
decision 008).

    1. find the place: the first record that the table lacks          find_place
    2. take what has arrived, bounded                                  log.take
    3. cut it into batches that may stand in one insert                rows.cut
    4. a batch that does not begin at mark + 1 sends us back to 1
    5. insert under the mark: a compare-and-swap, whoever else inserts target.insert (swap)
    6. read the mark anew and go on from it, whatever the answer was   target.mark (swap)
    7. tell the log how far the table is: a hint for the next start    log.done

Any step may fail, be repeated, be overtaken by another sink, or be the last one of a killed
process: what is in the table is decided by 5 alone, and what to do next by 6 alone."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from streams.errors import FaultError
from streams.ports import OutboundLog, RowTarget
from streams.sink.patience import Patience
from streams.sink.place import find_place
from streams.sink.rows import Batch, BatchLimits, cut, read_row
from streams.sink.swap import STALLS_MAX, swap

FRUITLESS_SEARCHES_MAX: Final = 2
"""Searches in a row that end with the table where it was. Another sink that goes ahead moves the
mark each time; a log whose sequences are not dense does not."""


@dataclass(frozen=True, slots=True)
class Inserted:
    """Rows of one batch that are in the table now, by this sink or another."""

    table: str
    partition: int
    rows: int
    bytes: int


class PartitionSink:
    """Keeps one table up to date with one partition of its topic."""

    def __init__(
        self,
        log: OutboundLog,
        target: RowTarget,
        limits: BatchLimits,
        patience: Patience,
        report: Callable[[Inserted], None],
    ) -> None:
        """Take the log and the table, the bounds of one insert, and who is told about progress."""
        self._log = log
        self._target = target
        self._limits = limits
        self._patience = patience
        self._report = report
        self._generation = 0
        self._mark = 0

    async def run(self) -> None:
        """Runs until cancelled, which may happen at any await.

        Raises TransientError once the deadline of the patience has passed, FaultError and
        SetupError at once."""
        fruitless, stood_at = 0, None
        while True:
            await self._patience.insist(lambda: find_place(self._log, self._target))
            self._generation = 0  # The first batch reads the mark anew.
            while await self._round():
                pass
            fruitless = fruitless + 1 if stood_at == (self._generation, self._mark) else 0
            stood_at = (self._generation, self._mark)
            if fruitless >= FRUITLESS_SEARCHES_MAX:
                raise FaultError(
                    f"{self._log.table}, partition {self._log.partition}: the log's sequences are "
                    f"not dense where the table ends, after {self._mark} of generation "
                    f"{self._generation}",
                    action="Stop the workers and read the records around that sequence: somebody "
                    "else wrote to the topic, or it was recreated under its old generation.",
                )

    async def _round(self) -> bool:
        """Steps 2 to 7 once; False when the place has to be found anew."""
        records = await self._patience.insist(
            lambda: self._log.take(self._limits.rows_max, self._limits.bytes_max)
        )
        rows = [read_row(record, self._log.partition) for record in records]
        for batch in cut(rows, self._limits):
            if batch.generation != self._generation:
                read_mark = partial(self._read_mark, batch.generation)
                self._mark = await self._patience.insist(read_mark)
                self._generation = batch.generation
            if batch.first != self._mark + 1 or not await self._insert(batch):
                return False
            self._log.done(batch.next_offset)
        return True

    async def _insert(self, batch: Batch) -> bool:
        """Steps 5 and 6 until the table holds the batch; False if it then stands anywhere else."""
        table, partition = self._log.table, self._log.partition

        def insert(mark: int) -> Awaitable[None]:
            body = batch.body_after(mark)
            return self._target.insert(table, batch.generation, partition, mark, body)

        read_mark = partial(self._read_mark, batch.generation)
        stalled = partial(self._stalled, batch)
        while self._mark != batch.last:
            self._mark = await swap(self._mark, insert, read_mark, self._patience, stalled)
            if not batch.first <= self._mark <= batch.last:
                return False
        size = sum(map(len, batch.values))
        self._report(Inserted(table, partition, len(batch.values), size))
        return True

    def _read_mark(self, generation: int) -> Awaitable[int]:
        return self._target.mark(self._log.table, generation, self._log.partition)

    def _stalled(self, batch: Batch) -> FaultError:
        table = self._log.table
        return FaultError(
            f"{table}, partition {self._log.partition}: ClickHouse accepted the rows from "
            f"sequence {self._mark + 1} of generation {batch.generation} on {STALLS_MAX} times and "
            "holds none",
            action="It remembers an insert whose rows are gone: rows were deleted, or replaced by "
            "those of a backup. Stop all sinks, see that the table is as you want it, and let "
            f"it forget with `ALTER TABLE {table} MODIFY SETTING "
            "non_replicated_deduplication_window = 0`; set the former value again, and start the "
            "sinks.",
        )
