"""Rows under a mark: when an insert is tried once more, and when that is given up."""

import asyncio
from collections.abc import Sequence

import pytest

from streams.errors import FaultError, TransientError
from streams.sink.patience import Patience
from streams.sink.swap import STALLS_MAX, swap

LOST = TransientError("no answer", action="Wait.")
STALLED = FaultError("it stalls", action="Look.")


class Table:
    """Stands at the next of some marks each time it is asked; answers some inserts with nothing."""

    def __init__(self, marks: Sequence[int], unanswered: Sequence[bool]) -> None:
        self.marks, self.unanswered = list(marks), list(unanswered)
        self.inserted: list[int] = []

    async def insert(self, mark: int) -> None:
        self.inserted.append(mark)
        if self.unanswered.pop(0):
            raise LOST

    async def mark(self) -> int:
        return self.marks.pop(0)

    def swap(self, mark: int) -> int:
        async def sleep(_seconds: float) -> None:
            await asyncio.sleep(0)

        patience = Patience(lambda: 0.0, sleep)
        return asyncio.run(swap(mark, self.insert, self.mark, patience, lambda: STALLED))


@pytest.mark.parametrize("unanswered", [False, True])
@pytest.mark.parametrize("there", [9, 7, 20, -1])
def test_where_the_table_stands_is_told_whoever_moved_it_and_whatever_was_answered(
    there: int, unanswered: bool
) -> None:
    table = Table([there], [unanswered])
    assert table.swap(4) == there
    assert table.inserted == [4]


def test_what_did_not_arrive_is_inserted_again_under_the_same_mark() -> None:
    unanswered = [True] * 5 + [False]
    table = Table([4] * 5 + [9], unanswered)
    assert table.swap(4) == 9
    assert table.inserted == [4] * 6


def test_answered_inserts_that_bring_nothing_are_given_up() -> None:
    table = Table([4] * 10, [False, *[True] * 3, *[False] * 6])
    with pytest.raises(FaultError, match="it stalls"):
        table.swap(4)
    assert len(table.inserted) == 3 + STALLS_MAX
