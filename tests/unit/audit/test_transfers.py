"""What cycles send to tasks, against what lies in the topic `transfers`."""

from dataclasses import replace

import pytest

from schemas.topics import LEDGER, TRANSFERS
from streams.audit.report import PartitionReport
from streams.audit.transfers import (
    RECENT_MAX,
    STEP,
    WINDOW,
    Due,
    Received,
    Sent,
    Tally,
    compare_transfers,
    due_transfers,
    found_transfers,
    partings,
)
from tests.builders import usage
from tests.unit.audit.written_books import PARTITION, WrittenBooks, texts

EVENTS = 6
"""With a task, in each of three cycles."""

PLACE = "partition 0, transfers, "


@pytest.fixture
def books() -> WrittenBooks:
    made = WrittenBooks()
    for cycle in range(3):
        events = (
            usage(event_id=f"e{cycle}-{n}", units=n + 1, task_ref=f"job-{n % 2}")
            for n in range(EVENTS)
        )
        made.append(usage(event_id=f"x{cycle}"), *events)
        made.cycle()
    made.cycle()
    return made


def transfers_of(books: WrittenBooks, *, cycles_later: int = 0) -> list[str]:
    """The lines about transfers of an audit, during which so many more cycles commit."""
    sent, received = Sent(1), Received(1, None)
    report = books.audit(sent=sent)
    for number in range(cycles_later):
        books.append(usage(event_id=f"later{number}", task_ref="job-9"))
        books.cycle()
    received.read(report, books.book(TRANSFERS.name))
    for parting in partings({0: sent}, {0: received}):
        due = due_transfers(
            books.book(LEDGER.name), parting, 1, sent.end, None, lambda _generation, _topic: True
        )
        there = found_transfers(books.book(TRANSFERS.name), parting, 1, None)
        compare_transfers(report, due, there)
    return [line.removeprefix(PLACE) for line in texts(report) if line.startswith(PLACE)]


def test_what_was_sent_lies_there(books: WrittenBooks) -> None:
    assert len(books.records[TRANSFERS.name]) == 3 * EVENTS
    sent, received = Sent(1), Received(1, None)
    assert texts(books.audit(sent=sent)) == []
    received.read(PartitionReport(PARTITION), books.book(TRANSFERS.name))
    assert sent.tallies[0].count == 3 * EVENTS
    assert partings({0: sent}, {0: received}) == []


def test_cycles_that_commit_during_the_audit_are_no_difference(books: WrittenBooks) -> None:
    assert transfers_of(books, cycles_later=2) == []


def test_an_altered_transfer_is_named_by_its_field(books: WrittenBooks) -> None:
    altered = books.alter(TRANSFERS.name, b'"units":3', b'"units":9')
    assert transfers_of(books) == [
        f"offset {altered.offset}: 1-usage-0-3-0: units is 9, due is 3",
    ]


def test_a_transfer_under_another_key_is_named(books: WrittenBooks) -> None:
    found = books.find(TRANSFERS.name, b'"units":3')
    books.records[TRANSFERS.name][found.offset] = replace(found, key=b"job-7")
    (line,) = transfers_of(books)
    assert line.endswith("key is b'job-7', due is b'job-0'")


def test_a_removed_transfer_is_named(books: WrittenBooks) -> None:
    books.remove(TRANSFERS.name, b'"units":3')
    assert transfers_of(books) == ["record: missing: 1-usage-0-3-0"]


@pytest.mark.parametrize("cycles_later", [0, 1])
def test_a_transfer_that_is_there_twice_is_named(books: WrittenBooks, cycles_later: int) -> None:
    found = books.find(TRANSFERS.name, b'"units":3')
    doubled = books.put(TRANSFERS.name, found.key, found.value)
    (line,) = transfers_of(books, cycles_later=cycles_later)
    assert line == (
        f"offset {doubled.offset}: nothing in the log demands this record, '1-usage-0-3-0'"
    )


def test_transfers_in_another_order_are_named(books: WrittenBooks) -> None:
    records = books.records[TRANSFERS.name]
    records[1], records[2] = (
        replace(records[1], value=records[2].value, key=records[2].key),
        replace(records[2], value=records[1].value, key=records[1].key),
    )
    assert transfers_of(books)


def test_a_strangers_record_is_named_and_left_out(books: WrittenBooks) -> None:
    strange = books.put(TRANSFERS.name, b"job-0", b"hello")
    assert transfers_of(books) == [f"offset {strange.offset}: none of Tollgate's records"]


def test_a_topic_whose_beginning_is_gone_is_not_compared(books: WrittenBooks) -> None:
    del books.records[TRANSFERS.name][:2]
    report, received = PartitionReport(PARTITION), Received(1, None)
    book = books.book(TRANSFERS.name)
    book.start = 2
    received.read(report, book)
    assert not received.whole
    assert report.notes == ["transfers: begins at offset 2, not compared"]


# --- tallies --------------------------------------------------------------------------------------


def tally(values: list[bytes]) -> Tally:
    """Of these records, each at its offset."""
    made = Tally()
    for offset, value in enumerate(values):
        made.add(b"k", value, offset + 1)
    return made


@pytest.mark.parametrize("at", [0, STEP - 1, STEP, 5 * STEP + 7, 5 * STEP + RECENT_MAX])
def test_a_parting_lies_at_the_last_place_where_both_are_known_to_be_equal(at: int) -> None:
    values = [b"%d" % n for n in range(6 * STEP + RECENT_MAX)]
    sent, received = Sent(2), Received(2, None)
    sent.tallies[1] = tally(values)
    received.tallies[0] = tally([*values[:at], b"x", *values[at + 1 :]])
    (found,) = partings({0: sent}, {1: received})
    assert (found.source, found.to, found.certain) == (0, 1, True)
    assert at - STEP < found.sent.count == found.received.count <= at


@pytest.mark.parametrize(("mine", "theirs"), [(3, 5), (5, 3), (0, 2), (STEP + 5, STEP + 90)])
def test_one_side_that_is_ahead_parts_where_the_other_ends(mine: int, theirs: int) -> None:
    values = [b"%d" % n for n in range(2 * STEP)]
    sent, received = Sent(1), Received(1, None)
    sent.tallies[0], received.tallies[0] = tally(values[:mine]), tally(values[:theirs])
    (found,) = partings({0: sent}, {0: received})
    assert found.sent.count == min(mine, theirs)
    assert not found.certain


def test_what_has_been_sent_since_need_not_lie_there_yet() -> None:
    report = PartitionReport(PARTITION)
    due = [Due(f"1-usage-0-{n}-0", b"k", b"%d" % n, n < 2) for n in range(4)]
    assert compare_transfers(report, iter(due), iter(())) == 2
    assert [d.what for d in report.differences] == [
        "missing: 1-usage-0-0-0",
        "missing: 1-usage-0-1-0",
    ]


def test_a_gap_longer_than_the_window_is_named_all_the_same(books: WrittenBooks) -> None:
    there = books.records[TRANSFERS.name][-1]
    due = [Due(f"x{n}", b"k", b"%d" % n, n < 3) for n in range(WINDOW + 50)]
    last = Due("1-usage-0-20-0", there.key, there.value or b"", True)
    report = PartitionReport(PARTITION)
    compare_transfers(report, iter([*due, last]), iter([there]))
    assert [d.what for d in report.differences] == [
        "nothing in the log demands this record, '1-usage-0-20-0'",
        *(f"missing: x{n}" for n in range(3)),
        "missing: 1-usage-0-20-0",
    ]
