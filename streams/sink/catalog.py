"""The catalog into its table, exactly once: rate cards, plans, prices and rules for analysts.

The catalog has no sequences and, being compacted, gaps in its offsets; so the mark is the largest
offset in the table, and an insert is a compare-and-swap on it as in `loop` (decision 028). What
lies between the mark and the first record of a batch is what the table leaves out. Records are
never changed (D3), so a record that is in the table is right for ever.

API keys are left out: digests are nobody's business who reads bills."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from schemas.codec import catalog_key, decode_catalog
from streams.errors import FaultError
from streams.ports import CatalogPlace, CatalogTarget, OutboundLog, OutboundRecord
from streams.sink.loop import Inserted
from streams.sink.patience import Patience
from streams.sink.rows import BatchLimits
from streams.sink.swap import STALLS_MAX, swap

LEFT_OUT: Final = frozenset({"api_key"})
"""Kinds of records that the table does not get."""

KNOWN_ROWS: Final = 100
"""Rows that are looked for in the log before it is believed to be the one that filled the table.
The first decides, unless compaction took it."""

Row = tuple[CatalogPlace, bytes]


class CatalogSink:
    """Keeps the table of catalog records up to date."""

    def __init__(
        self,
        log: OutboundLog,
        target: CatalogTarget,
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
        self._mark = 0

    async def run(self) -> None:
        """Runs until cancelled, which may happen at any await.

        Raises TransientError once the deadline of the patience has passed, FaultError and
        SetupError at once."""
        while True:
            self._mark = await self._patience.insist(self._find_place)
            while await self._round():
                pass

    async def _find_place(self) -> int:
        """Moves the log to the first record above the mark, and returns the mark.

        Raises FaultError where the log is not the one that filled the table."""
        # Before the mark: what another sink appends to the table meanwhile is in the log as well.
        known = await self._target.newest(KNOWN_ROWS)
        for place in known:
            record = await self._log.peek(place.offset)
            if record is None or (record.offset == place.offset and _place(record) != place):
                raise self._other_log(place)
            if record.offset == place.offset:
                break
        else:
            if known:
                raise self._other_log(known[0])
        mark = await self._target.mark()
        await self._log.seek(mark + 1)
        return mark

    async def _round(self) -> bool:
        """Takes what has arrived and inserts it; False when the place has to be found anew."""
        records = await self._patience.insist(
            lambda: self._log.take(self._limits.rows_max, self._limits.bytes_max)
        )
        rows = [(_place(record), record.value) for record in records if record.value]
        for batch in _cut([row for row in rows if row[0].kind not in LEFT_OUT], self._limits):
            if not await self._insert(batch):
                return False
        if records:
            self._log.done(records[-1].offset + 1)
        return True

    async def _insert(self, batch: Sequence[Row]) -> bool:
        """Inserts until the table ends with the batch; False if it then stands anywhere else."""
        self._mark = await swap(
            self._mark,
            lambda mark: self._target.insert(mark, batch),
            self._target.mark,
            self._patience,
            self._stalled,
        )
        if self._mark != batch[-1][0].offset:
            return False
        size = sum(len(value) for _, value in batch)
        self._report(Inserted(self._log.table, self._log.partition, len(batch), size))
        return True

    def _other_log(self, place: CatalogPlace) -> FaultError:
        return FaultError(
            f"{self._log.table} holds {place.kind} {place.id}@{place.version} of offset "
            f"{place.offset}, the catalog does not hold it there",
            action="The topic was restored or made anew, or the table belongs to another "
            f"installation. Where the topic is right, run `TRUNCATE TABLE {self._log.table}` and "
            "start the sink again: it fills the table from the topic.",
        )

    def _stalled(self) -> FaultError:
        return FaultError(
            f"ClickHouse accepted rows for {self._log.table} {STALLS_MAX} times and holds none "
            f"above offset {self._mark}",
            action="It remembers an insert whose rows are gone: rows were deleted, or replaced by "
            f"those of a backup. Run `TRUNCATE TABLE {self._log.table}` and start the sink again.",
        )


def _place(record: OutboundRecord) -> CatalogPlace:
    """Which record it is. Raises FaultError for bytes that are none."""
    if not record.value:
        return CatalogPlace(record.offset, record.appended_at_us, "", "", "")
    try:
        found = decode_catalog(record.value)
    except ValueError as error:
        raise FaultError(
            f"record {record.offset} of the catalog is none: {error}",
            action="Run the release that wrote it, or a newer one.",
        ) from error
    kind = catalog_key(found).decode().partition("/")[0]
    return CatalogPlace(record.offset, record.appended_at_us, kind, found.id, found.version)


def _cut(rows: Sequence[Row], limits: BatchLimits) -> Iterator[list[Row]]:
    """Batches below the bounds, in the order of the rows."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        if batch and (len(batch) >= limits.rows_max or size + len(row[1]) > limits.bytes_max):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row[1])
    if batch:
        yield batch
