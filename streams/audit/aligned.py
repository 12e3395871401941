"""The books that go along with the ledger: dead letters, attributions and claims segments, cycle by
cycle."""

from collections.abc import Callable, Sequence

from schemas import codec
from schemas.errors import RejectCode
from schemas.structs import Attribution, CycleEntry, DeadLetter
from streams.audit.books import Cursor
from streams.audit.report import PartitionReport
from streams.domain.facts import SourceRecord
from streams.ports import Book

NOT_OURS = "none of Tollgate's records"
NOT_DEMANDED = "nothing in the log demands this record"

CycleNumber = tuple[int, int]
"""Generation and cycle."""


class _Numbered:
    """A book whose records name the cycle that they are of."""

    def __init__(
        self,
        report: PartitionReport,
        name: str,
        book: Book,
        decode: Callable[[bytes], DeadLetter | Attribution],
    ) -> None:
        self._report = report
        self._name = name
        self._cursor = Cursor(book)
        self._decode = decode

    def of(self, own: CycleEntry) -> list[SourceRecord]:
        """The records that say they are of this cycle, or of one that is over."""
        found: list[SourceRecord] = []
        while (record := self._cursor.peek()) is not None:
            of = self._cycle(record)
            if of is not None and of > (own.generation, own.cycle):
                break
            self._cursor.advance()
            if of is not None:
                found.append(record)
        return found

    def left_over(self, generation: int, cycle: int) -> None:
        """After the last cycle."""
        while (record := self._cursor.peek()) is not None:
            self._cursor.advance()
            of = self._cycle(record)
            if of is not None and of <= (generation, cycle):
                self._report.differs(self._name, f"offset {record.offset}", NOT_DEMANDED)

    def _cycle(self, record: SourceRecord) -> CycleNumber | None:
        try:
            body = self._decode(record.value or b"")
        except ValueError:
            self._report.differs(self._name, f"offset {record.offset}", NOT_OURS)
            return None
        return body.generation, body.cycle


class AlignedBooks:
    """Hands out what each cycle appended to the other topics. Ask in the order of the cycles."""

    def __init__(
        self, report: PartitionReport, letters: Book, attributions: Book, segments: Book
    ) -> None:
        self._report = report
        self._letters = _Numbered(report, "dead letters", letters, codec.decode_dead_letter)
        self._attributions = _Numbered(
            report, "attributions", attributions, codec.decode_attribution
        )
        self._segments = Cursor(segments)
        self.segments_whole = segments.start == 0
        """False where the oldest segments have been deleted by time (I6)."""

    def letters_of(self, own: CycleEntry) -> list[SourceRecord]:
        """The dead letters that say they are of this cycle, or of one that is over."""
        return self._letters.of(own)

    def attributions_of(self, own: CycleEntry) -> list[SourceRecord]:
        """The attributions that do."""
        return self._attributions.of(own)

    def segment_of(self, own: CycleEntry) -> SourceRecord | None:
        """The claims segment of a cycle, None where there is none."""
        found: SourceRecord | None = None
        while (record := self._segments.peek()) is not None:
            of = _segment_cycle(record.key)
            if of is not None and of > (own.generation, own.cycle):
                break
            self._segments.advance()
            place = f"offset {record.offset}"
            if of is None:
                self._report.differs("claims changelog", place, NOT_OURS)
            elif of == (own.generation, own.cycle) and found is None:
                found = record
            elif found is not None or (of[0] == own.generation and own.cycle > 1):
                what = f"a segment of cycle {of[1]} where none is due"
                self._report.differs("claims changelog", place, what)
        return found

    def left_over(self, generation: int, cycle: int) -> None:
        """After the last cycle: records of cycles that are over are differences. Those of later
        ones are the next cycles' of a running installation."""
        self._letters.left_over(generation, cycle)
        self._attributions.left_over(generation, cycle)
        while (record := self._segments.peek()) is not None:
            self._segments.advance()
            of = _segment_cycle(record.key)
            if of is None or of <= (generation, cycle):
                self._report.differs("claims changelog", f"offset {record.offset}", NOT_DEMANDED)


def internal_letters(letters: Sequence[SourceRecord]) -> dict[tuple[str, int], DeadLetter]:
    """The refusals by our own fault among dead letters, by topic and offset of the original."""
    found = {}
    for record in letters:
        letter = codec.decode_dead_letter(record.value or b"")
        if letter.code == RejectCode.INTERNAL:
            found[letter.topic, letter.source_offset] = letter
    return found


def _segment_cycle(key: bytes | None) -> CycleNumber | None:
    generation, _, cycle = (key or b"").partition(b"-")
    return (int(generation), int(cycle)) if generation.isdigit() and cycle.isdigit() else None
