"""The compare-and-swap of a sink: rows go in under the mark that the table has, and what came of
it the mark alone tells (S1, decision 008).

Whoever inserts under a mark that has moved adds nothing, so an insert may be repeated, cut off or
overtaken by another sink. All that is decided here is when to try once more: as long as the mark
stands where it was."""

from collections.abc import Awaitable, Callable
from typing import Final

from streams.errors import FaultError, TransientError
from streams.sink.patience import Patience

STALLS_MAX: Final = 2
"""Answered inserts in a row after which the mark still stands where it was. One may be a read
that came too early on a replica; the second is a table that remembers a token for rows that it
does not hold."""


async def swap(
    mark: int,
    insert: Callable[[int], Awaitable[None]],
    read_mark: Callable[[], Awaitable[int]],
    patience: Patience,
    stalled: Callable[[], FaultError],
) -> int:
    """Inserts under `mark` until the table's mark is another, and returns that: where this sink's
    rows end, those of another one, or anything else that somebody did to the table.

    Raises what `stalled` says where answered inserts do not move the mark, TransientError once the
    deadline of the patience has passed, FaultError and SetupError at once."""
    stalls = 0
    while True:
        try:
            await insert(mark)
            answered = True
        except TransientError as error:
            # Whether the rows arrived is unknown; the mark will tell, so nothing is sent twice.
            await patience.after(error)
            answered = False
        found = await patience.insist(read_mark)
        if found != mark:
            patience.recovered()
            return found
        stalls += answered
        if stalls >= STALLS_MAX:
            raise stalled()
