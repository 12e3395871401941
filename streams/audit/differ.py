"""Comparing what was recorded with what is decided again, down to the first field that differs."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from schemas import codec
from streams.audit.report import PartitionReport
from streams.domain.appends import KeyedBytes
from streams.domain.facts import SourceRecord

SHOWN_CHARS_MAX: Final = 120
"""Of a value in a difference: enough to recognise it; producers may write 64 KiB."""

NUMBERS: Final = ("sequence", "cut_sequence", "after_sequence")
"""Fields of a record that count the records of all customers."""

Decode = Callable[[bytes], Any]


def compare_records(
    report: PartitionReport,
    book: str,
    recorded: Sequence[SourceRecord],
    expected: list[KeyedBytes],
    decode: Decode,
    ignored: Iterable[str] = (),
) -> None:
    """Notes every difference between the records of one cycle in one topic and those due.

    Records are matched by their entry ids where not all are equal, so that one that is missing or
    too many does not make all others differ.
    """
    if [(record.key, record.value) for record in recorded] == expected:
        return
    due = {str(decode(value).entry_id): (key, value) for key, value in expected}
    for record in recorded:
        place = f"offset {record.offset}"
        try:
            body = decode(record.value or b"")
        except ValueError:
            report.differs(book, place, "none of Tollgate's records")
            continue
        found = due.pop(body.entry_id, None)
        if found is None:
            what = f"nothing in the log demands this record, {shown(body.entry_id)}"
            report.differs(book, place, what)
            continue
        key, value = found
        if record.value != value:
            what = field_difference(decode, record.value or b"", value, ignored)
            if what:
                report.differs(book, place, f"{body.entry_id}: {what}")
        elif record.key != key:
            what = f"{body.entry_id}: key is {shown(record.key)}, due is {shown(key)}"
            report.differs(book, place, what)
    for entry_id in due:
        report.differs(book, "record", f"missing: {entry_id}")


def field_difference(
    decode: Decode, recorded: bytes, due: bytes, ignored: Iterable[str] = ()
) -> str:
    """The first field in which two records differ, with both values; empty where only ignored
    fields do."""
    ours = codec.to_plain(decode(due))
    try:
        theirs = codec.to_plain(decode(recorded))
    except ValueError:
        return f"cannot be read: {shown(recorded)}, due is {shown(due)}"
    skipped = set(ignored)
    for field in dict.fromkeys([*ours, *theirs]):
        if field not in skipped and theirs.get(field) != ours.get(field):
            return f"{field} is {shown(theirs.get(field))}, due is {shown(ours.get(field))}"
    return "" if skipped else f"is written otherwise: {shown(recorded)}, due is {shown(due)}"


def shown(value: object) -> str:
    """A value for a person, cut to SHOWN_CHARS_MAX."""
    text = ascii(value)
    return text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"
