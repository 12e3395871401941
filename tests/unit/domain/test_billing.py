"""Terms, credits and invoices as facts: numbers, cuts, the order of a customer's documents."""

from typing import Any

import pytest

from schemas import codec
from schemas.errors import RejectCode
from schemas.limits import INVOICES_MAX
from schemas.structs import CreditEntry, InvoiceCloseEntry, InvoiceIssueEntry, TermsEntry
from streams.domain.billing import Document, number_base, row_key
from streams.domain.facts import touched_by
from tests.builders import (
    DAY_US,
    cycle,
    fact,
    json_of,
    of_kind,
    record,
    replay,
    signal,
    usage,
)
from tests.invoice_facts import (
    DIGEST,
    MONTHS,
    Invoiced,
    close,
    credit,
    issue,
    line,
    note_of,
    retold,
    terms,
    total,
    void_invoice,
)

IN_ORDER = RejectCode.INVOICE_OUT_OF_ORDER
UNKNOWN = RejectCode.INVOICE_UNKNOWN
NOT_OPEN = RejectCode.INVOICE_NOT_OPEN
SUM = RejectCode.INVOICE_SUM
NOT_DUE = RejectCode.INVOICE_NOT_DUE


# --- terms and credits ---------------------------------------------------------------------------


def test_terms_and_credits_are_entries_that_touch_no_account() -> None:
    books = Invoiced()
    told, let_off = books.tell(
        terms(zone="Europe/Berlin", anchor_day=31, effective_from=MONTHS[2]),
        credit(amount="5.10", currency="EUR", reason="an outage"),
    )
    assert isinstance(told, TermsEntry)
    assert (told.plan, told.card, told.zone, told.anchor_day, told.terms_from) == (
        *("", "pro", "Europe/Berlin", 31),
        MONTHS[2],
    )
    assert isinstance(let_off, CreditEntry)
    assert (let_off.amount, let_off.currency, let_off.reason) == ("5.1", "EUR", "an outage")
    assert (books.state.accounts, books.state.billing) == ({}, {})
    assert (books.state.touched, books.state.touched_billing) == (set(), set())


def test_terms_that_begin_nowhere_hold_from_ever() -> None:
    (told,) = Invoiced().tell(terms(card=None, plan="standard"))
    assert (told.plan, told.card, told.terms_from, told.zone, told.anchor_day) == (
        *("standard", "", 0, "UTC", 1),
    )


# --- closing -------------------------------------------------------------------------------------


def test_the_cut_is_the_place_of_the_close_itself() -> None:
    books = Invoiced()
    entries = books.tell(close(), usage(units=3), signal())
    (closed,) = of_kind(InvoiceCloseEntry, entries)
    assert (closed.cut_generation, closed.cut_sequence) == (1, closed.sequence)
    assert (closed.after_generation, closed.after_sequence, closed.after_end) == (0, 0, 0)
    assert closed.number == "acme-0001"
    assert all(entry.sequence > closed.sequence for entry in entries if entry is not closed)


def test_periods_follow_on_one_another_and_each_cut_comes_after_the_one_before() -> None:
    books = Invoiced()
    (first,) = books.tell(close(0))
    books.tell(issue())
    books.tell(usage())
    (second,) = books.tell(close(1))
    assert (second.number, second.period_from) == ("acme-0002", first.period_to)
    assert second.cut_sequence > first.cut_sequence
    assert (second.after_generation, second.after_sequence, second.after_end) == (
        *(1, first.cut_sequence),
        first.period_to,
    )


@pytest.mark.parametrize("month", [0, 2])
def test_a_period_that_does_not_begin_where_the_last_one_ended_is_refused(month: int) -> None:
    books = Invoiced()
    books.tell(close(0), issue())
    assert books.refused(close(month, event_id="again")) is IN_ORDER


def test_a_period_is_closed_only_when_the_one_before_it_is_issued() -> None:
    books = Invoiced()
    books.tell(close(0))
    assert books.refused(close(1)) is IN_ORDER
    books.tell(issue(), close(1))


def test_a_period_is_closed_to_the_microsecond_when_its_grace_is_over() -> None:
    books = Invoiced()
    books.now_us = MONTHS[1] + DAY_US - 1
    assert books.refused(close()) is NOT_DUE
    books.now_us += 1
    (closed,) = books.tell(close())
    assert closed.cut_sequence == closed.sequence


def test_the_grace_is_that_of_the_rules() -> None:
    books = Invoiced()
    books.rules(invoice_grace_us=0)
    books.now_us = MONTHS[1]
    books.tell(close())


def test_what_a_cycle_holds_beside_a_close_makes_it_no_more_due() -> None:
    # Domain time is that of the cycle's latest record; the close was appended before it was due.
    books = Invoiced()
    books.now_us = MONTHS[1]
    early = books.facts_of(close())
    books.now_us = MONTHS[2]
    late = books.facts_of(usage())
    (first,) = early
    (second,) = late
    result = cycle(books.state, first, second, context=books.context, at_us=books.now_us)
    assert [r.code for r in result.rejected] == [NOT_DUE]


def test_a_close_that_came_too_early_counts_when_it_is_replayed_in_time() -> None:
    books = Invoiced()
    books.now_us = MONTHS[1]
    source = record(close(), 0, books.now_us)
    assert books.refused(close()) is NOT_DUE
    books.now_us = MONTHS[1] + DAY_US
    entries = books.tell(replay(source))
    (closed,) = of_kind(InvoiceCloseEntry, entries)
    assert closed.cut_sequence == closed.sequence


# --- issuing -------------------------------------------------------------------------------------


def test_an_issue_says_what_is_on_the_document_and_which_period_it_is_about() -> None:
    books = Invoiced()
    lines = [line(1, "12.50"), line(2, "-2.50"), line(3, "3", "EUR", group="large")]
    (closed,) = books.tell(close())
    (issued,) = books.tell(issue(lines=lines, totals=[total("EUR", "3"), total("USD", "10.00")]))
    assert isinstance(issued, InvoiceIssueEntry)
    assert codec.to_plain(issued.lines) == lines
    assert (issued.number, issued.document, issued.digest) == (closed.number, "invoice", DIGEST)
    assert (issued.label, issued.period_from, issued.period_to) == ("2026-01", *MONTHS[:2])
    assert issued.voids == ""


def test_an_invoice_of_nothing_has_no_lines_and_no_totals() -> None:
    books = Invoiced()
    books.tell(close(), issue(lines=[], totals=[]))
    assert books.billing().documents["acme-0001"].totals == {}


@pytest.mark.parametrize(
    "totals",
    [
        [],
        [total("USD", "12.49")],
        [total("USD", "12.500000000001")],
        [total("EUR", "12.50")],
        [total("USD", "12.50"), total("EUR", "0")],
        [total("USD", "12.50"), total("USD", "0")],
        [total("USD", "-12.50")],
    ],
)
def test_totals_that_are_not_the_sums_of_the_lines_are_refused(totals: Any) -> None:
    books = Invoiced()
    books.tell(close())
    assert books.refused(issue(totals=totals)) is SUM
    books.tell(issue())


def test_what_was_never_closed_is_not_issued() -> None:
    books = Invoiced()
    assert books.refused(issue()) is UNKNOWN
    books.tell(close())
    assert books.refused(issue("acme-0002")) is UNKNOWN


def test_what_is_issued_is_not_issued_again() -> None:
    books = Invoiced()
    books.tell(close(), issue())
    again = issue("acme-0001", "12.50", "1")
    assert books.refused(again) is RejectCode.CONFLICT
    assert books.refused(retold(again, event_id="other")) is NOT_OPEN


def test_an_invoice_is_no_credit_note() -> None:
    books = Invoiced()
    books.tell(close())
    assert books.refused(issue(document="credit_note")) is NOT_OPEN


def test_numbers_of_other_customers_are_unknown() -> None:
    books = Invoiced()
    books.tell(close(), close(customer="bolt"))
    assert books.refused(issue("bolt-0001")) is UNKNOWN
    assert {row.customer_id for row in books.state.billing.values()} == {"acme", "bolt"}


# --- repeats, bounds, keys -----------------------------------------------------------------------


def test_every_fact_counts_once() -> None:
    books = Invoiced()
    told = (terms(), credit(), close(), issue(), void_invoice(), note_of("acme-0002", "12.50"))
    for body in told:
        books.tell(body)
    row, count = codec.encode(books.billing()), len(books.state.claims)
    for body in told:
        assert books.tell(body) == []
    assert (codec.encode(books.billing()), len(books.state.claims)) == (row, count)


def test_reasons_are_no_billing_content() -> None:
    books = Invoiced()
    books.tell(close(), issue(), void_invoice(reason="wrong card"), credit(reason="sorry"))
    assert books.tell(void_invoice(reason="another word"), credit(reason="so sorry")) == []


def test_the_same_close_with_other_pins_is_a_conflict() -> None:
    books = Invoiced()
    books.tell(close())
    pins = [{"card": "pro", "version": "2", "from_us": MONTHS[0], "to_us": MONTHS[1]}]
    assert books.refused(close(segments=pins)) is RejectCode.CONFLICT


def test_a_customer_has_so_many_documents_at_the_most() -> None:
    books = Invoiced()
    books.tell(close(0), issue())
    for number in range(2, INVOICES_MAX):
        books.billing().documents[f"acme-{number:04d}"] = Document("issued", "x", 0, 1)
    books.tell(close(1, event_id="last"), issue_of_last := issue("acme-0002", "1"))
    assert issue_of_last.number == "acme-0002"
    books.billing().documents["acme-1000"] = Document("issued", "x", 0, 1)
    assert books.refused(close(2)) is RejectCode.TOO_MANY_INVOICES
    assert books.refused(void_invoice()) is RejectCode.TOO_MANY_INVOICES


@pytest.mark.parametrize(
    ("customer", "base"),
    [
        ("acme", "acme"),
        ("Acme_7.eu", "Acme_7.eu"),
        ("customer-01", "customer-01"),
        ("018f6d3e-7c1a-7b21-9d3e-0242ac120002", "018f6d3e-7c1a-7b21-9d3e-0242ac120002"),
        ("a" * 40, "a" * 40),
    ],
)
def test_a_customer_whose_id_can_be_typed_has_numbers_that_begin_with_it(
    customer: str, base: str
) -> None:
    assert number_base(customer) == base


@pytest.mark.parametrize(
    "customer", ["a" * 41, "-a", "", ".acme", "müller", "a b", "acme\n", "\u0661", "~acme"]
)
def test_any_other_customer_has_numbers_that_begin_with_a_hash(customer: str) -> None:
    base = number_base(customer)
    assert len(base) == 17
    assert base[0] == "~"
    assert set(base[1:]) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert number_base(customer + "x") != base


def test_the_numbers_of_a_customer_are_the_same_on_every_machine() -> None:
    assert number_base("a b") == "~ayvr4qzg6cpx6rim"


def test_only_facts_about_terms_and_invoices_look_at_the_row() -> None:
    facts = [fact(body) for body in (usage(), signal(), close(), terms(customer="bolt"))]
    assert list(touched_by(facts).billed) == ["acme", "bolt"]
    source = record(close(), 0)
    assert list(touched_by([fact(replay(source))]).billed) == ["acme"]
    assert touched_by([fact(replay(record(usage(), 0)))]).billed == {}
    assert row_key("acme") == b"\0billing\0acme"


def test_a_void_of_a_signal_belongs_to_the_period_of_the_signal() -> None:
    books = Invoiced()
    books.tell(signal())
    fields = {
        "kind": "void",
        "signal_source": "crm",
        "signal_event_id": "s1",
        "signal_entry": "1-signals-0-0-0",
        "signal_decided_at": books.now_us,
        "signal_name": "ticket_closed",
    }
    before = books.state.progress.event_time_us
    body = codec.decode_budget(json_of("acme", "v1", fields | {"signal_occurred_at": MONTHS[3]}))
    (void,) = books.tell(body)
    assert (void.occurred_at, void.appended_at) == (MONTHS[3], books.now_us)
    assert books.state.progress.event_time_us == before, "no void moves the watermark"


def test_a_void_that_does_not_say_when_the_signal_was_belongs_to_its_own_time() -> None:
    books = Invoiced()
    books.tell(signal())
    fields = {
        "kind": "void",
        "signal_source": "crm",
        "signal_event_id": "s1",
        "signal_entry": "1-signals-0-0-0",
        "signal_decided_at": books.now_us,
        "signal_name": "ticket_closed",
    }
    (void,) = books.tell(codec.decode_budget(json_of("acme", "v1", fields)))
    assert void.occurred_at == books.now_us
