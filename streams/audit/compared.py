"""One cycle as it lies in the log, against the same cycle decided again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas import codec
from schemas.structs import Attribution, CycleEntry
from streams.audit.differ import NUMBERS, compare_records
from streams.audit.report import PartitionReport
from streams.domain.appends import (
    attribution_records,
    claims_record,
    dead_letter_record,
    ledger_records,
)
from streams.domain.facts import SourceRecord
from streams.domain.folding import CycleResult
from streams.domain.identity import Claim


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a cycle appended, as it lies in the log."""

    own: CycleEntry
    entries: Sequence[SourceRecord]
    attributions: Sequence[SourceRecord]
    letters: Sequence[SourceRecord]
    segment: SourceRecord | None


def compare_cycle(
    report: PartitionReport,
    result: CycleResult,
    found: Recorded,
    claims: Mapping[bytes, Claim],
    *,
    segments_whole: bool,
) -> bool:
    """Notes what differs. Returns whether there are more records than are due, or fewer, so that
    later ones are numbered otherwise.

    `claims` are those that the cycle made; where the oldest segments are gone, a missing one is no
    difference.
    """
    head = result.entries[0]
    assert isinstance(head, CycleEntry)
    entries = ledger_records(result.entries)
    first = head.dead_letter_sequence - head.dead_letters
    due = [dead_letter_record(r, head, n) for n, r in enumerate(result.rejected, first)]
    renumbered = (len(entries), len(result.attributions), len(due)) != (
        len(found.entries),
        len(found.attributions),
        len(found.letters),
    )
    numbers = NUMBERS if renumbered else ()
    compare_records(report, "ledger", found.entries, entries, codec.decode_entry, numbers)
    compare_attributions(report, result.attributions, found)
    decode = codec.decode_dead_letter
    compare_records(report, "dead letters", found.letters, due, decode, numbers)
    segment, place = found.segment, f"cycle {head.cycle}"
    if segment is None:
        if claims and segments_whole:
            report.differs("claims changelog", place, "the segment is missing")
    elif not claims:
        report.differs("claims changelog", place, "a segment where none is due")
    elif (segment.key, segment.value) != claims_record(head, dict(claims)):
        what = f"offset {segment.offset}: not the claims that the cycle made"
        report.differs("claims changelog", place, what)
    return renumbered


def compare_attributions(
    report: PartitionReport, due: Sequence[Attribution], found: Recorded
) -> None:
    """Notes what differs. The id of an attribution is its number, so none of it is left aside."""
    rows, decode = attribution_records(due), codec.decode_attribution
    compare_records(report, "attributions", found.attributions, rows, decode)


def compare_customer(
    report: PartitionReport, result: CycleResult, found: Recorded, key: bytes
) -> None:
    """Notes what differs in the records of one customer, whatever their numbers: those count all
    customers. Attributions are left out: which cycle they are of depends on all of them too."""
    theirs = [record for record in found.entries[1:] if record.key == key]
    entries = ledger_records(result.entries[1:])
    compare_records(report, "ledger", theirs, entries, codec.decode_entry, NUMBERS)
    theirs = [record for record in found.letters if record.key == key]
    due = [dead_letter_record(rejected, found.own, 0) for rejected in result.rejected]
    compare_records(report, "dead letters", theirs, due, codec.decode_dead_letter, NUMBERS)
