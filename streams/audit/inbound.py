"""The inbound topics of a partition, read along the ranges that the cycles say they consumed."""

from collections.abc import Callable, Iterator, Mapping

from schemas.structs import Consumed, CycleEntry
from schemas.topics import PREFLIGHTS, UNASSIGNED
from streams.audit.books import Cursor, cursor_pair
from streams.audit.differ import shown
from streams.audit.report import PartitionReport
from streams.domain.facts import SourceRecord
from streams.ports import Book


class InboundBooks:
    """Ranges must follow on each other, and no record may lie between two of them."""

    def __init__(
        self,
        report: PartitionReport,
        books: Mapping[str, Book],
        lives: Callable[[int, str], bool],
        customer: str | None,
    ) -> None:
        self._report = report
        self._books = books
        self.preflights_ahead, preflights = cursor_pair(books[PREFLIGHTS.name])
        """The same reading of `preflights`, for somebody who is further than the cycles."""
        self._cursors = {
            name: preflights if name == PREFLIGHTS.name else Cursor(book)
            for name, book in books.items()
        }
        self._lives = lives
        self._key = None if customer is None else customer.encode()
        self._positions: dict[str, int] = {}

    def holds(self, own: CycleEntry) -> bool:
        """Whether all that a cycle consumed is still there."""
        return all(self._holds(own, piece) for piece in own.consumed)

    def _holds(self, own: CycleEntry, piece: Consumed) -> bool:
        cursor = self._cursors.get(piece.topic)
        if cursor is None or piece.from_offset >= piece.to_offset:
            return True
        return self._lives(own.generation, piece.topic) and piece.from_offset >= cursor.start

    def take(self, own: CycleEntry) -> Iterator[tuple[list[SourceRecord], int]]:
        """The records of each range of a cycle, and the latest append time among them all; with a
        customer, that one's records only."""
        for piece in own.consumed:
            cursor = self._cursors.get(piece.topic)
            if cursor is None:
                what = f"consumed {shown(piece.topic)}, which is no inbound topic"
                self._report.differs("ledger", f"cycle {own.cycle}", what)
                continue
            self._follow_on(own, piece, cursor)
            records = cursor.below(piece.to_offset)
            self._positions[piece.topic] = piece.to_offset
            latest_us = max((record.appended_at_us for record in records), default=0)
            if self._key is not None:
                # A lease has no key, and what follows it counts only after it.
                leases = piece.topic == PREFLIGHTS.name
                records = [r for r in records if r.key == self._key or (leases and r.key is None)]
            yield records, latest_us

    def begin_generation(self) -> None:
        """A new generation reads `preflights` from its beginning again, made anew or not: what its
        leases were is no state that it takes over."""
        book = self._books[PREFLIGHTS.name]
        self.preflights_ahead, self._cursors[PREFLIGHTS.name] = cursor_pair(book)
        self._positions.pop(PREFLIGHTS.name, None)

    def _follow_on(self, own: CycleEntry, piece: Consumed, cursor: Cursor) -> None:
        due = self._positions.get(piece.topic)
        passed = cursor.below(piece.from_offset)
        place = f"{piece.topic}, cycle {own.cycle}"
        if passed:
            what = (
                f"{len(passed)} records at offsets {passed[0].offset} to {passed[-1].offset} were "
                "decided by no cycle"
            )
            self._report.differs("inbound", place, what)
        elif due is not None and piece.from_offset != due:
            what = f"begins at offset {piece.from_offset}, due is {due}"
            self._report.differs("inbound", place, what)

    def nameless_of(self, own: CycleEntry) -> list[SourceRecord] | None:
        """What a cycle consumed of `unassigned`, None where it is gone; none of it with a customer,
        whom it does not name. Passes it."""
        for piece in own.consumed:
            if piece.topic == UNASSIGNED.name and self._key is None:
                if not self._holds(own, piece):
                    return None
                if piece.from_offset < piece.to_offset:
                    cursor = self._cursors[piece.topic]
                    cursor.below(piece.from_offset)
                    return cursor.below(piece.to_offset)
        return []

    def skip(self, own: CycleEntry) -> None:
        """Passes what a cycle consumed that is taken as recorded."""
        for piece in own.consumed:
            cursor = self._cursors.get(piece.topic)
            if cursor is not None and self._lives(own.generation, piece.topic):
                cursor.below(piece.to_offset)
                self._positions[piece.topic] = piece.to_offset

    def finish(self) -> None:
        """Notes how far the cycles came, and what is still waiting for one."""
        for name, book in self._books.items():
            consumed = self._positions.get(name, book.start)
            self._report.consumed[name] = consumed
            # Markers take offsets and wait for nobody.
            if consumed < book.end:
                self._report.waiting += sum(map(len, book.batches(consumed)))
