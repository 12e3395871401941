"""Reading the books: one partition of a topic as a cursor, the ledger as its cycles."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from schemas.structs import CatalogRecord
from streams.domain.context import CatalogView, Context
from streams.domain.facts import SourceRecord
from streams.ports import Book

CYCLE_HEAD: Final = b'{"kind":"cycle",'
"""How the bytes of every cycle's own entry begin: the encoder writes the tag first."""

_offset: Final = attrgetter("offset")


class Cursor:
    """A book read once, from an offset on, in order."""

    def __init__(self, book: Book) -> None:
        self.start = book.start
        self._batches = book.batches(book.start)
        self._batch: Sequence[SourceRecord] = ()
        self._at = 0

    def peek(self) -> SourceRecord | None:
        """The next record, None at the end."""
        while self._at >= len(self._batch):
            batch = next(self._batches, None)
            if batch is None:
                return None
            self._batch, self._at = batch, 0
        return self._batch[self._at]

    def advance(self) -> None:
        """Passes the record that `peek` returned."""
        self._at += 1

    def below(self, offset: int) -> list[SourceRecord]:
        """The next records up to an offset, which they do not reach."""
        found: list[SourceRecord] = []
        while (record := self.peek()) is not None and record.offset < offset:
            end = bisect_left(self._batch, offset, self._at, key=_offset)
            found += self._batch[self._at : end]
            self._at = end
        return found


@dataclass(slots=True)
class RecordedCycle:
    """The records of the ledger from a cycle's own entry to the next. Where the ledger begins
    without one, `headed` is False."""

    records: list[SourceRecord]
    headed: bool = True


def ledger_cycles(book: Book) -> Iterator[RecordedCycle]:
    """The ledger cut where cycles begin. A cycle is in one transaction, so the last is whole."""
    current: RecordedCycle | None = None
    for batch in book.batches(book.start):
        for record in batch:
            if record.value is not None and record.value.startswith(CYCLE_HEAD):
                if current is not None:
                    yield current
                current = RecordedCycle([record])
            elif current is None:
                current = RecordedCycle([record], headed=False)
            else:
                current.records.append(record)
    if current is not None:
        yield current


class CatalogHistory:
    """The catalog at any offset that a cycle has recorded (D3)."""

    def __init__(self, records: Sequence[tuple[int, CatalogRecord]], end: int) -> None:
        """Take all records below `end` with their offsets, in order."""
        self._records = records
        self._end = end
        self._contexts: dict[int, Context] = {}

    def context(self, offset: int) -> Context:
        """The context as of the records below an offset.

        Raises ValueError where they do not make one, or the catalog ends before it.
        """
        if offset > self._end:
            raise ValueError(f"the catalog ends at offset {self._end}")
        found = self._contexts.get(offset)
        if found is None:
            view = CatalogView()
            for at, record in self._records:
                if at >= offset:
                    break
                view.fold(at, record)
            view.passed(offset)
            found = self._contexts[offset] = view.context()
        return found


Contexts = Callable[[int], Context]
"""The context at a catalog offset; raises ValueError where there is none."""
