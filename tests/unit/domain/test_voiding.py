"""Invoices taken back: credit notes, reissues, and what waits for them."""

from typing import Any

import pytest

from schemas.errors import RejectCode
from schemas.structs import InvoiceCloseEntry
from tests.builders import of_kind, usage
from tests.invoice_facts import (
    MONTHS,
    Invoiced,
    close,
    credit,
    issue,
    note_of,
    retold,
    void_invoice,
)

IN_ORDER = RejectCode.INVOICE_OUT_OF_ORDER
UNKNOWN = RejectCode.INVOICE_UNKNOWN
NOT_OPEN = RejectCode.INVOICE_NOT_OPEN
SUM = RejectCode.INVOICE_SUM


def test_a_void_is_a_credit_note_with_the_next_number() -> None:
    books = Invoiced()
    books.tell(close(), issue())
    (void,) = books.tell(void_invoice(reason="wrong card"))
    assert (void.number, void.voids, void.note, void.reissue) == (
        *("acme-0002", "acme-0001", "wrong card"),
        False,
    )
    (note,) = books.tell(note_of("acme-0002", "12.50"))
    assert (note.document, note.voids, note.label) == ("credit_note", "acme-0001", "2026-01")
    assert (note.period_from, note.period_to) == MONTHS[:2]


def test_a_credit_note_takes_back_what_was_charged_and_nothing_else() -> None:
    books = Invoiced()
    books.tell(close(), issue(), void_invoice())
    assert books.refused(note_of("acme-0002", "12.49")) is SUM
    assert books.refused(issue("acme-0002", "12.50", document="credit_note")) is SUM
    assert books.refused(note_of("acme-0001", "12.50")) is RejectCode.CONFLICT
    books.tell(note_of("acme-0002", "12.50"))


def test_only_what_is_issued_can_be_voided_and_only_once() -> None:
    books = Invoiced()
    assert books.refused(void_invoice()) is UNKNOWN
    books.tell(close())
    assert books.refused(void_invoice()) is NOT_OPEN
    books.tell(issue(), void_invoice())
    assert books.refused(retold(void_invoice(), event_id="other")) is NOT_OPEN
    assert books.refused(void_invoice("acme-0002")) is UNKNOWN, "a credit note is no invoice"


def test_a_reissue_keeps_the_interval_of_the_invoice_that_it_takes_the_place_of() -> None:
    books = Invoiced()
    books.tell(close(0), issue(), close(1), issue("acme-0002", "7"))
    (first, second) = of_kind(InvoiceCloseEntry, books.entries)
    books.tell(void_invoice("acme-0002", reissue=True), usage())
    (anew,) = books.tell(close(1, reissues="acme-0002"))
    assert anew.number == "acme-0004"
    assert (anew.cut_sequence, anew.after_sequence) == (second.cut_sequence, first.cut_sequence)
    assert (anew.after_end, anew.reissues) == (first.period_to, "acme-0002")
    assert anew.sequence > anew.cut_sequence
    books.tell(issue("acme-0004", "8"), close(2))
    third = of_kind(InvoiceCloseEntry, books.entries)[-1]
    assert (third.after_sequence, third.after_end) == (second.cut_sequence, second.period_to)


def test_a_reissue_may_be_voided_and_reissued_itself() -> None:
    books = Invoiced()
    books.tell(close(), issue(), void_invoice(reissue=True), close(reissues="acme-0001"))
    books.tell(issue("acme-0003"), void_invoice("acme-0003", reissue=True))
    (anew,) = books.tell(close(reissues="acme-0003"))
    assert (anew.number, anew.cut_sequence) == ("acme-0005", 1)
    statuses = {n: one.status for n, one in books.billing().documents.items() if not one.voids}
    assert statuses == {
        "acme-0001": "reissued",
        "acme-0003": "reissued",
        "acme-0005": "closed",
    }


def test_the_next_period_waits_for_a_reissue_that_is_due() -> None:
    books = Invoiced()
    books.tell(close(0), issue(), void_invoice(reissue=True))
    assert books.refused(close(1)) is IN_ORDER
    books.tell(close(0, reissues="acme-0001"))
    assert books.refused(close(1)) is IN_ORDER
    books.tell(issue("acme-0003"), close(1))


def test_a_void_without_a_reissue_holds_up_nothing() -> None:
    books = Invoiced()
    books.tell(close(0), issue(), void_invoice(), close(1))
    assert books.refused(close(0, reissues="acme-0001")) is IN_ORDER


def test_while_an_invoice_waits_to_be_issued_nothing_else_is_voided_or_reissued() -> None:
    books = Invoiced()
    books.tell(close(0), issue(), close(1))
    assert books.refused(void_invoice()) is IN_ORDER
    books.tell(issue("acme-0002"))
    books.tell(*(void_invoice(number, reissue=True) for number in ("acme-0001", "acme-0002")))
    books.tell(close(0, reissues="acme-0001"))
    assert books.refused(close(1, reissues="acme-0002")) is IN_ORDER
    books.tell(issue("acme-0005"), close(1, reissues="acme-0002"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": "2026-02"},
        {"period_to": MONTHS[1] + 1},
        {"period_from": MONTHS[0] + 1},
    ],
)
def test_a_reissue_is_about_the_period_of_its_invoice(wrong: dict[str, Any]) -> None:
    books = Invoiced()
    books.tell(close(0), issue(), void_invoice(reissue=True))
    fields: dict[str, Any] = {"period_from": MONTHS[0], "period_to": MONTHS[1]} | wrong
    segment = {"card": "", "version": ""}
    ends = {"from_us": fields["period_from"], "to_us": fields["period_to"]}
    body = close(0, reissues="acme-0001", segments=[segment | ends], **fields)
    assert books.refused(body) is IN_ORDER


def test_a_reissue_of_what_is_unknown_or_not_void_is_refused() -> None:
    books = Invoiced()
    assert books.refused(close(0, reissues="acme-0001")) is UNKNOWN
    books.tell(close(0), issue())
    assert books.refused(close(0, reissues="acme-0001")) is IN_ORDER


def test_a_credit_may_name_an_invoice_of_the_customer() -> None:
    books = Invoiced()
    assert books.refused(credit(number="acme-0001")) is UNKNOWN
    books.tell(close(0), issue(), credit(number="acme-0001"), void_invoice())
    assert books.refused(credit("c2", number="acme-0002")) is UNKNOWN, "a credit note"
