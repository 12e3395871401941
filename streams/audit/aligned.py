"""The books that go along with the ledger: dead letters and claims segments, cycle by cycle."""

from collections.abc import Sequence

from schemas import codec
from schemas.errors import RejectCode
from schemas.structs import CycleEntry, DeadLetter
from streams.audit.books import Cursor
from streams.audit.report import PartitionReport
from streams.domain.facts import SourceRecord
from streams.ports import Book

NOT_OURS = "none of Tollgate's records"

CycleNumber = tuple[int, int]
"""Generation and cycle."""


class AlignedBooks:
    """Hands out what each cycle appended to the other topics. Ask in the order of the cycles."""

    def __init__(self, report: PartitionReport, letters: Book, segments: Book) -> None:
        self._report = report
        self._letters = Cursor(letters)
        self._segments = Cursor(segments)
        self.segments_whole = segments.start == 0
        """False where the oldest segments have been deleted by time (I6)."""

    def letters_of(self, own: CycleEntry) -> list[SourceRecord]:
        """The dead letters that say they are of this cycle, or of one that is over."""
        found: list[SourceRecord] = []
        while (record := self._letters.peek()) is not None:
            of = self._letter_cycle(record)
            if of is not None and of > (own.generation, own.cycle):
                break
            self._letters.advance()
            if of is not None:
                found.append(record)
        return found

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
        while (record := self._letters.peek()) is not None:
            self._letters.advance()
            of = self._letter_cycle(record)
            if of is not None and of <= (generation, cycle):
                what = "nothing in the log demands this record"
                self._report.differs("dead letters", f"offset {record.offset}", what)
        while (record := self._segments.peek()) is not None:
            self._segments.advance()
            of = _segment_cycle(record.key)
            if of is None or of <= (generation, cycle):
                what = "nothing in the log demands this record"
                self._report.differs("claims changelog", f"offset {record.offset}", what)

    def _letter_cycle(self, record: SourceRecord) -> CycleNumber | None:
        try:
            letter = codec.decode_dead_letter(record.value or b"")
        except ValueError:
            self._report.differs("dead letters", f"offset {record.offset}", NOT_OURS)
            return None
        return letter.generation, letter.cycle


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
