"""Reading the books: one partition of a topic as a cursor, the ledger as its cycles."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
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
    """A book read once, in order."""

    def __init__(self, book: Book, batches: Iterator[Sequence[SourceRecord]] | None = None) -> None:
        """`batches` are those of the book from its start where somebody else reads them too."""
        self.start = self.passed = book.start
        self._batches = book.batches(book.start) if batches is None else batches
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
        self.passed = self._batch[self._at].offset + 1
        self._at += 1

    def below(self, offset: int) -> list[SourceRecord]:
        """The next records up to an offset, which they do not reach."""
        found: list[SourceRecord] = []
        while (record := self.peek()) is not None and record.offset < offset:
            end = bisect_left(self._batch, offset, self._at, key=_offset)
            found += self._batch[self._at : end]
            self._at = end
        self.passed = max(self.passed, offset)
        return found


def cursor_pair(book: Book) -> tuple[Cursor, Cursor]:
    """Two cursors on one reading of a book: what lies between them is held in memory."""
    one, other = tee(book.batches(book.start))
    return Cursor(book, one), Cursor(book, other)


@dataclass(slots=True)
class RecordedCycle:
    """The records of the ledger from a cycle's own entry to the next. Where the ledger begins
    without one, `headed` is False."""

    records: list[SourceRecord]
    headed: bool = True


def ledger_cycles(book: Book, offset: int = 0) -> Iterator[RecordedCycle]:
    """The ledger from an offset on, cut where cycles begin. A cycle is in one transaction, so the
    last is whole."""
    current: RecordedCycle | None = None
    for batch in book.batches(max(book.start, offset)):
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
        self._view, self._folded = CatalogView(), 0

    def context(self, offset: int) -> Context:
        """The context as of the records below an offset.

        Raises ValueError where they do not make one, or the catalog ends before it.
        """
        if offset > self._end:
            raise ValueError(f"the catalog ends at offset {self._end}")
        found = self._contexts.get(offset)
        if found is None:
            found = self._contexts[offset] = self._view_at(offset).context()
        return found

    def _view_at(self, offset: int) -> CatalogView:
        """The catalog below an offset: mostly a little further than the last time."""
        if offset < self._view.next_offset:
            self._view, self._folded = CatalogView(), 0
        view, records = self._view, self._records
        while self._folded < len(records) and records[self._folded][0] < offset:
            view.fold(*records[self._folded])
            self._folded += 1
        view.passed(offset)
        return view


Contexts = Callable[[int], Context]
"""The context at a catalog offset; raises ValueError where there is none."""
