"""The audit of terms and invoices: decided again from the log, compared in ledger and tables."""

import pytest

from schemas import codec
from schemas.topics import ACCOUNTS_CHANGELOG, BUDGETS, LEDGER
from streams.audit.replay import Scope
from streams.domain.billing import is_billing_row, row_key
from tests.builders import usage
from tests.invoice_facts import (
    MONTHS,
    close,
    credit,
    issue,
    note_of,
    terms,
    void_invoice,
)
from tests.unit.audit.written_books import WrittenBooks, texts

NUMBERS = ("acme-0001", "acme-0002", "acme-0003", "acme-0004")


@pytest.fixture
def books() -> WrittenBooks:
    """Two customers; one period closed, issued, voided and issued anew, and the next one."""
    made = WrittenBooks(now_us=MONTHS[3])
    made.append(terms(), terms(customer="bolt"), usage(event_id="e1"), usage("bolt", event_id="e2"))
    made.cycle()
    made.append(close(0, customer="bolt"), close(0), usage(event_id="e3"))
    made.cycle()
    made.append(issue(), credit(), void_invoice(reissue=True), note_of("acme-0002", "12.50"))
    made.append(close(1))
    made.cycle()
    made.append(close(0, reissues="acme-0001"), issue("acme-0003", "9"))
    made.cycle()
    made.append(close(1, event_id="now"))
    made.cycle()
    return made


def test_what_a_worker_wrote_is_equal_and_its_invoices_are_counted(books: WrittenBooks) -> None:
    report = books.audit()
    assert texts(report) == []
    assert report.refused == 1, "the close that came before the reissue"
    assert "invoices of 2 customers" in report.tables[0]
    found = codec.to_plain(
        next(
            codec.decode_entry(r.value or b"")
            for r in reversed(books.records[LEDGER.name])
            if b'"kind":"invoice_close"' in (r.value or b"")
        )
    )
    assert found["number"] == "acme-0004"


def test_the_row_of_a_customer_is_written_only_by_cycles_that_change_it(
    books: WrittenBooks,
) -> None:
    rows = [r.key for r in books.records[ACCOUNTS_CHANGELOG.name] if is_billing_row(r.key or b"")]
    acme, bolt = row_key("acme"), row_key("bolt")
    assert rows == [acme, bolt, acme, acme, acme]


@pytest.mark.parametrize(
    ("due", "instead", "named"),
    [
        (b'"number":"acme-0001"', b'"number":"acme-0009"', "number is"),
        (b'"cut_sequence":9', b'"cut_sequence":7', "cut_sequence is"),
        (b'"amount":"12.50"', b'"amount":"12.51"', "lines is"),
        (b'"reissue":true', b'"reissue":false', "reissue is"),
        (b'"digest":"01', b'"digest":"02', "digest is"),
        (b'"version":"1"', b'"version":"2"', "segments is"),
    ],
)
def test_an_altered_entry_is_one_difference_that_names_the_field(
    books: WrittenBooks, due: bytes, instead: bytes, named: str
) -> None:
    books.alter(LEDGER.name, due, instead)
    (line,) = texts(books.audit())
    assert named in line


def test_an_altered_row_is_named_by_its_customer(books: WrittenBooks) -> None:
    image = books.accounts()
    image[row_key("acme")] = image[row_key("acme")].replace(b'"next_number":5', b'"next_number":6')
    report = books.audit(type(books.image())("changelog", image, books.claims(), None))
    (line,) = [text for text in texts(report) if "claims" not in text]
    assert "invoices of 'acme'" in line
    assert "next_number is 6, due is 5" in line


def test_a_row_that_nothing_demands_is_named(books: WrittenBooks) -> None:
    image = books.accounts()
    image[row_key("nobody")] = image[row_key("acme")]
    report = books.audit(type(books.image())("changelog", image, books.claims(), None))
    (line,) = [text for text in texts(report) if "claims" not in text]
    assert "invoices of 'nobody': nothing in the log demands this row" in line


def test_one_customer_alone_is_decided_again_with_the_same_documents(books: WrittenBooks) -> None:
    report = books.audit(scope=Scope(customer="acme"))
    assert texts(report) == []
    books.alter(LEDGER.name, b'"number":"acme-0003"', b'"number":"acme-0009"')
    (line,) = texts(books.audit(scope=Scope(customer="acme")))
    assert "number is 'acme-0009', due is 'acme-0003'" in line


def test_cycles_that_are_taken_as_recorded_leave_the_same_row(books: WrittenBooks) -> None:
    for since in [r.appended_at_us for r in books.records[BUDGETS.name]][::3]:
        assert texts(books.audit(scope=Scope(since_us=since))) == []
