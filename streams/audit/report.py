"""What an audit finds: figures and differences per partition, and the verdict over all of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

DIFFERENCES_MAX: Final = 20
"""Differences of a partition that are kept with their text; further ones are counted. The first
ones tell most: what follows is often their consequence."""

EQUAL: Final = 0
DIFFERENT: Final = 1
CANNOT_TELL: Final = 3
"""Exit codes of the command; 2 is a wrong setup, as everywhere."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the log demands. `book` is where, `place` which record or row."""

    book: str
    place: str
    what: str

    def text(self, partition: int) -> str:
        """One line for a person."""
        return f"partition {partition}, {self.book}, {self.place}: {self.what}"


@dataclass(slots=True)
class RowFigures:
    """What ClickHouse holds of one table, generation and partition. Amounts in pico."""

    table: str
    generation: int
    rows: int
    last_sequence: int
    units: int
    cost_pico: int


@dataclass(slots=True)
class PartitionReport:
    """What was found in one partition. Counts cover the audited range, where one was chosen."""

    partition: int
    cycles: int = 0
    given: int = 0
    """Cycles taken as recorded: outside the range, or their inbound records are gone."""
    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    internal: int = 0
    """Refusals by our own fault, taken as recorded."""
    entries: int = 0
    units: int = 0
    cost_pico: dict[str, int] = field(default_factory=dict)
    first_offset: int | None = None
    last_offset: int | None = None
    last_sequence: int = -1
    consumed: dict[str, int] = field(default_factory=dict)
    decisions: int = 0
    """Preflights decided again on what their owner saw."""
    decisions_given: int = 0
    """Those taken as they stand, because what they saw is not known."""
    waiting: int = 0
    """Inbound offsets that no cycle has taken yet."""
    tables: list[str] = field(default_factory=list)
    """The tables that were compared, each with its cycle and the digest of what it must hold."""
    rows: list[RowFigures] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    differences_total: int = 0
    cannot_tell: str = ""
    """Why this partition could not be audited, or not to its end; empty where it could."""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def differs(self, book: str, place: str, what: str) -> None:
        """Notes a difference."""
        self.differences_total += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(Difference(book, place, what))


def exit_code(reports: Iterable[PartitionReport]) -> int:
    """DIFFERENT where anything differs, else CANNOT_TELL where anything could not be told."""
    found = list(reports)
    if any(report.differences_total for report in found):
        return DIFFERENT
    return CANNOT_TELL if any(report.cannot_tell for report in found) else EQUAL


def as_plain(report: PartitionReport) -> dict[str, object]:
    """A report as JSON says it: amounts as decimal strings are the caller's."""
    return {
        "partition": report.partition,
        "cycles": report.cycles,
        "given": report.given,
        "records": report.records,
        "accepted": report.accepted,
        "duplicates": report.duplicates,
        "refused": report.refused,
        "internal": report.internal,
        "decisions": report.decisions,
        "decisions_given": report.decisions_given,
        "entries": report.entries,
        "units": report.units,
        "first_offset": report.first_offset,
        "last_offset": report.last_offset,
        "last_sequence": report.last_sequence,
        "consumed": report.consumed,
        "waiting": report.waiting,
        "tables": report.tables,
        "notes": report.notes,
        "cannot_tell": report.cannot_tell,
        "differences_total": report.differences_total,
        "differences": [
            {"book": d.book, "place": d.place, "what": d.what} for d in report.differences
        ],
    }
