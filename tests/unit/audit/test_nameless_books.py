"""Events without a customer, audited: what waits, what was passed on, what became of the rest."""

import pytest

from schemas import codec
from schemas.structs import Unassigned
from schemas.times import MICROSECONDS
from schemas.topics import DEAD_LETTERS, LEDGER, SIGNALS, UNASSIGNED, USAGE
from streams.adapters.memory_books import DictImage, ListBook
from streams.audit.forwards import PassedOn, compare_forwards, due_at
from streams.audit.replay import Scope
from streams.audit.report import PartitionReport
from streams.audit.transfers import Sent
from streams.domain.nameless import Forward, forward_of
from streams.domain.unassigned import WAITING, event_row, trace_row
from streams.domain.windows import segment_row
from tests.builders import SECOND_US, usage
from tests.nameless import binding, nameless_signal, nameless_usage
from tests.unit.audit import written_books
from tests.unit.audit.written_books import PARTITION, WrittenBooks, texts

WAIT_US = 86_400 * MICROSECONDS


def put(books: WrittenBooks, *bodies: Unassigned) -> None:
    for body in bodies:
        books.now_us += SECOND_US
        books.put(UNASSIGNED.name, body.trace_id.encode(), codec.encode(body))


@pytest.fixture
def books() -> WrittenBooks:
    """Cycles 1 to 5: events wait, some find their customer, some wait in vain, one still waits."""
    made = WrittenBooks()
    made.append(usage("acme", "own"))
    put(made, nameless_usage("t1", "e1"), nameless_signal("t1", "s1"), nameless_usage("t2", "e2"))
    made.cycle()
    put(made, binding("t1", "acme"), binding("t1", "globex"), nameless_usage("t1", "e1"))
    made.cycle()
    made.now_us += WAIT_US
    put(made, binding("t1", "acme"))
    made.cycle()
    put(made, nameless_usage("t3", "e3"), nameless_usage("t1", "e4"))
    made.append(usage("acme", "own too"))
    made.cycle()
    made.cycle()
    return made


def missing(books: WrittenBooks) -> list[str]:
    """What the comparison of what was passed on says."""
    sent, report = Sent(1), PartitionReport(PARTITION)
    books.audit(sent=sent)
    for (topic, to), due in due_at([sent.passed_on]).items():
        assert to == PARTITION
        compare_forwards(report, due, topic, books.book(topic))
    return texts(report)


def test_books_with_events_that_wait_are_whole(books: WrittenBooks) -> None:
    report = books.audit()
    assert texts(report) == []
    assert report.cannot_tell == ""
    assert len(books.records[USAGE.name]) == 2 + 3
    assert len(books.records[SIGNALS.name]) == 1
    assert len(books.records[DEAD_LETTERS.name]) == 2
    assert missing(books) == []


def test_cycles_that_are_taken_as_recorded_leave_what_waits(books: WrittenBooks) -> None:
    for cycle in range(1, 5):
        since_us = written_books.entry_of(
            books.find(LEDGER.name, f'"cycle":{cycle + 1}'.encode())
        ).decided_at
        report = books.audit(scope=Scope(since_us=since_us))
        assert (texts(report), report.cannot_tell) == ([], "")
        assert report.given > 0


def test_without_its_records_nobody_can_tell_what_waits(books: WrittenBooks) -> None:
    gone = ListBook(books.records[UNASSIGNED.name][3:], start=3, end=books.offsets[UNASSIGNED.name])
    report = books.audit(instead={UNASSIGNED.name: gone})
    assert "cycle 1: the records of unassigned" in report.cannot_tell


@pytest.mark.parametrize("key", [trace_row("t3"), event_row(3), segment_row(WAITING, 1)])
def test_an_altered_row_of_what_waits_is_named(books: WrittenBooks, key: str) -> None:
    accounts = books.accounts()
    row = key.encode()
    spoilt = accounts | {row: accounts[row].replace(b"t3", b"t4").replace(b"0000", b"0001", 1)}
    lines = texts(books.audit(DictImage("spoilt", spoilt)))
    assert len(lines) == 1
    assert "row" in lines[0]
    del spoilt[row]
    assert "missing" in texts(books.audit(DictImage("spoilt", spoilt)))[0]


def test_a_dead_letter_of_what_waited_in_vain_is_demanded(books: WrittenBooks) -> None:
    books.remove(DEAD_LETTERS.name, b'"code":"no_customer"')
    assert any("missing: 1-unassigned-0-2-0" in line for line in texts(books.audit()))


def test_an_event_that_was_passed_on_and_is_not_there_is_named(books: WrittenBooks) -> None:
    put(books, nameless_usage("t1", "e5"))
    books.cycle()
    books.remove(USAGE.name, b'"event_id":"e5"')
    assert texts(books.audit()) == [], "no cycle has taken it yet"
    (line,) = missing(books)
    assert "missing: 'e5', which cycle 6 of partition 0 passed on" in line


def test_an_event_that_was_passed_on_otherwise_is_named(books: WrittenBooks) -> None:
    put(books, nameless_usage("t1", "e5", units=3))
    books.cycle()
    books.alter(USAGE.name, b'"units":3', b'"units":2')
    assert len(missing(books)) == 1


def test_what_was_passed_on_twice_lies_there_twice() -> None:
    forward = forward_of(nameless_usage("t1"), "acme")
    passed = PassedOn(1)
    passed.add([forward, forward], "cycle 1")
    (due,) = due_at([passed]).values()
    books = WrittenBooks()
    for left in (2, 1, 0):
        report = PartitionReport(PARTITION)
        compare_forwards(report, due, USAGE.name, books.book(USAGE.name))
        assert len(texts(report)) == left
        books.put(USAGE.name, forward.key, forward.value)


def test_what_two_partitions_passed_on_is_looked_for_together() -> None:
    forward = forward_of(nameless_usage("t1"), "acme")
    passed = [PassedOn(1), PassedOn(1)]
    for one in passed:
        one.add([forward], "cycle 1")
    (due,) = due_at(passed).values()
    assert [count for count, _ in due.values()] == [2]


def test_only_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.audit.forwards.FORWARDS_MAX", 3)
    passed = PassedOn(1)
    body = nameless_usage("t1")
    made: list[Forward] = []
    for number in range(5):
        told = replace_id(body, f"e{number}")
        made.append(forward_of(told, "acme"))
    passed.add(made, "cycle 1")
    assert passed.forgotten == 2
    assert [name for _, name in passed.due.values()] == [
        f"'e{n}', which cycle 1 passed on" for n in (2, 3, 4)
    ]


def replace_id(body: Unassigned, event_id: str) -> Unassigned:
    value = codec.encode(body).replace(body.event_id.encode(), event_id.encode())
    return codec.decode_unassigned(value)


def test_a_place_whose_oldest_records_are_gone_is_not_compared() -> None:
    passed = PassedOn(1)
    passed.add([forward_of(nameless_usage("t1"), "acme")], "cycle 1")
    (due,) = due_at([passed]).values()
    report = PartitionReport(PARTITION)
    compare_forwards(report, due, USAGE.name, ListBook((), start=5, end=9))
    assert texts(report) == []
    assert "begins at offset 5" in report.notes[0]
