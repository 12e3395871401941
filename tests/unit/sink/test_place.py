"""Where a sink begins while workers and other sinks go on between its own steps."""

import pytest

from streams.adapters.memory_sink import MemoryLog, MemoryRows
from streams.errors import FaultError
from streams.sink.place import find_place
from tests.rows import log_of, row, rows
from tests.sinks import drain, reread


class BusyLog(MemoryLog):
    """A log that grows right after its bounds were read, by rows that another sink, where there is
    one, inserts before the marks are."""

    def __init__(self, other: MemoryRows | None, growths: int) -> None:
        super().__init__("ledger", 0)
        self._other = other
        self.growths = growths

    async def bounds(self) -> tuple[int, int]:
        """Bounds that are out of date when they arrive."""
        found = await super().bounds()
        if self.growths:
            self.growths -= 1
            for _ in range(3):
                self.append(row(len(self.records)))
            if self._other is not None:
                await drain(reread(self), self._other)
        return found


async def test_a_table_that_another_sink_fills_beyond_the_bounds_read_is_not_ahead_of_its_log() -> (
    None
):
    target = MemoryRows()
    log = BusyLog(target, growths=1)
    for value in rows(range(5)):
        log.append(value)
    assert await find_place(log, target) == 8
    assert await target.mark("ledger", 1, 0) == 7


async def test_a_log_that_grows_during_every_search_does_not_keep_a_sink_from_its_place() -> None:
    target = MemoryRows()
    log = BusyLog(target, growths=100)
    for value in rows(range(5)):
        log.append(value)
    # Where the first search's marks were; the rows of the second are found by the sink itself.
    assert await find_place(log, target) == 8


async def test_a_table_ahead_of_a_log_that_keeps_growing_stops_the_sink_all_the_same() -> None:
    target = MemoryRows()
    await drain(log_of(rows(range(50))), target)
    log = BusyLog(None, growths=10)
    log.append(row(0))
    with pytest.raises(FaultError, match="up to sequence 49, the log only up to"):
        await find_place(log, target)
    assert log.growths == 8, "two searches tell"
