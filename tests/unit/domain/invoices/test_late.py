"""streams.domain.invoices.late: what came after the close, voids, reissues, drafts."""

from dataclasses import replace
from typing import Any

from schemas.times import parse_time_us
from streams.domain.invoices.bundle import differences, late_in, looks_back, spans
from streams.domain.invoices.documents import document_bytes
from streams.domain.invoices.tallies import Span, TallyKey, tally
from streams.domain.invoices.timeline import TermsAt
from tests.invoiced import Books, amounts, card, item, line_of, totals_of

OCTOBER, NOVEMBER = "2026-10-10T00:00:00Z", "2026-11-10T00:00:00Z"


def units_books(**fields: Any) -> Books:
    return Books([card(items=[item(price="1")], **fields)])


def test_what_is_late_is_charged_once_over_many_closes() -> None:
    books = units_books()
    books.close("2026-08")
    for number in range(3):
        books.usage("2026-08-15T00:00:00Z", units=10**number)
        books.close()
    books.close()
    found = [
        [(line.corrects, line.amount) for line in document.lines]
        for document in books.documents.values()
    ]
    assert found == [
        [],
        [("acme-0001", "1")],
        [("acme-0001", "10")],
        [("acme-0001", "100")],
        [],
    ]


def test_a_signal_that_is_voided_after_the_close_comes_off_the_next_invoice() -> None:
    books = Books([card(items=[item(id="won", metric="signals", price="5", group_by="signal")])])
    books.signal(OCTOBER, "won", quantity=3)
    books.close("2026-10")
    books.add("void", OCTOBER, signal_name="won", quantity=3)
    late = line_of(books.close(), "won")
    assert (late.quantity, late.amount, late.group, late.label) == ("-3", "-15", "won", "2026-10")


def test_a_call_that_is_priced_after_the_close_is_corrected() -> None:
    books = Books([card(items=[{"id": "ai", "metric": "cost", "markup_percent": "10"}])])
    books.usage(OCTOBER, cost="0", cost_basis="unpriced")
    first = books.close("2026-10")
    assert (amounts(first), first.notes) == ([], {"unpriced_calls": 1})
    books.add("adjustment", OCTOBER, cost="7", was_unpriced=True)
    assert amounts(books.close()) == [("ai", "7.7 USD")]


def test_what_is_late_is_charged_under_the_card_that_the_close_has_pinned() -> None:
    books = units_books()
    books.close("2026-10")
    books.cards.append(card(version="2", items=[item(price="9")]))
    books.usage(OCTOBER, units=2)
    books.usage(NOVEMBER, units=2)
    found = books.close()
    assert [(line.card, line.amount) for line in found.lines] == [("pro@2", "18"), ("pro@1", "2")]


def test_before_the_first_period_items_alone_are_charged() -> None:
    books = units_books(fees=[{"id": "base", "amount": "5"}], minimum="30")
    books.cards[0]["items"][0]["included"] = 4
    books.usage("2026-01-01T00:00:00Z", units=6)
    found = [
        (one.label, one.item, one.amount, one.corrects) for one in books.close("2026-10").lines
    ]
    assert found == [
        ("2026-10", "base", "5", ""),
        ("2026-10", "minimum", "25", ""),
        ("before", "units", "6", ""),
    ]
    books.usage("2026-02-01T00:00:00Z", units=1)
    last = books.close().lines[-1]
    assert (last.label, last.amount, last.corrects) == ("before", "1", "")


def test_a_void_for_good_lets_the_period_off_and_keeps_what_comes_after() -> None:
    books = units_books()
    books.usage(OCTOBER, units=10)
    books.close("2026-10")
    assert totals_of(books.void("acme-0001")) == {"USD": "-10"}
    books.usage(OCTOBER, units=1)
    assert totals_of(books.close()) == {"USD": "1"}


def test_a_reissue_charges_the_same_interval_once_more_and_later_ones_nothing() -> None:
    books = units_books()
    books.usage(OCTOBER, units=10)
    books.credit("3")
    first = books.close("2026-10")
    books.usage(OCTOBER, units=1)
    books.void("acme-0001", reissue=True)
    again = books.reissue("acme-0001")
    assert [replace(line) for line in again.lines] == list(first.lines)
    assert (again.cut, again.after, again.reissues) == (first.cut, first.after, "acme-0001")
    assert amounts(books.close()) == [("units", "1 USD")]
    assert amounts(books.close()) == []


def test_a_reissue_of_an_invoice_that_was_corrected_leaves_the_correction() -> None:
    books = units_books()
    books.usage(OCTOBER, units=10)
    books.close("2026-10")
    books.usage(OCTOBER, units=1)
    books.close()
    books.void("acme-0001", reissue=True)
    books.cards.append(card(version="2", items=[item(price="2")]))
    assert amounts(books.reissue("acme-0001")) == [("units", "20 USD")]
    # One unit was charged 1 as a correction; under the new card all eleven come to 22. The line
    # under the old card is taken back, that under the new one has what is missing.
    assert [(line.card, line.amount, line.corrects) for line in books.close().lines] == [
        ("pro@2", "2", "acme-0004"),
        ("pro@1", "-1", "acme-0004"),
    ]


def test_a_reissue_says_nothing_of_later_periods() -> None:
    books = units_books()
    books.usage(OCTOBER, units=10)
    books.close("2026-10")
    books.usage(NOVEMBER, units=7)
    books.close()
    books.void("acme-0001", reissue=True)
    assert amounts(books.reissue("acme-0001")) == [("units", "10 USD")]
    assert amounts(books.close()) == []


def test_only_periods_with_something_after_the_previous_cut_are_late() -> None:
    books = units_books()
    books.usage("2026-08-15T00:00:00Z", units=1)
    books.usage("2026-09-15T00:00:00Z", units=1)
    books.close("2026-08")
    books.usage("2026-08-15T00:00:00Z", units=1)
    books.usage("2026-01-15T00:00:00Z", units=1)
    books.close()
    assert late_in(books.bundles["acme-0001"]) == set()
    assert late_in(books.bundles["acme-0002"]) == {"before", "acme-0001"}
    books.usage("2026-09-15T00:00:00Z", units=1)
    books.close()
    assert late_in(books.bundles["acme-0003"]) == {"acme-0002"}


def test_until_it_is_reissued_a_voided_invoice_is_not_charged_by_another() -> None:
    books = units_books()
    books.usage(OCTOBER, units=10)
    books.close("2026-10")
    books.void("acme-0001", reissue=True)
    books.usage(OCTOBER, units=1)
    draft = books.draft()
    assert (draft.document, draft.number, amounts(draft)) == ("draft", "", [])


def test_a_draft_is_what_the_close_issues() -> None:
    books = units_books()
    books.usage(OCTOBER, units=10)
    draft = books.draft("2026-10")
    issued = books.close("2026-10")
    same = replace(draft, document="invoice", number=issued.number, cut=issued.cut)
    assert document_bytes(same) == document_bytes(issued)


def test_spans_of_earlier_periods_are_asked_for_only_where_they_are_late() -> None:
    books = units_books()
    for label in ("2026-08", "", "", ""):
        books.close(label)
    case = books.bundles["acme-0004"].case
    assert len(spans(case)) == 1 + 4
    assert len(spans(case, set())) == 1
    assert [span.from_us for span in spans(case, {"acme-0002", "before"})][1:] == [
        0,
        parse_time_us("2026-09-01T00:00:00Z"),
    ]
    assert not looks_back(case)
    books.void("acme-0001", reissue=True)
    books.reissue("acme-0001")
    books.close()
    case = books.bundles["acme-0007"].case
    assert looks_back(case)
    assert len(spans(case, set())) == 1 + 5


def test_a_credit_note_of_another_invoice_is_refused() -> None:
    books = units_books()
    books.close("2026-10")
    books.void("acme-0001")
    bundle = books.bundles["acme-0002"]
    assert bundle.case.void is not None
    wrong = replace(bundle.case, void={**bundle.case.void, "voids": "acme-0007"})
    (found,) = differences(replace(bundle, case=wrong), books.issued("acme-0002"))
    assert "acme-0007" in found


def test_places_compare_by_generation_first() -> None:
    entry = {"kind": "usage", "occurred_at": 5, "units": 1}
    entries = [
        entry | {"generation": 1, "sequence": 900},
        entry | {"generation": 2, "sequence": 3},
        entry | {"generation": 2, "sequence": 4},
    ]
    (found,) = tally(entries, [Span(0, 10, (2, 3))])
    assert found[TallyKey(currency="USD")].units == 2


def test_a_period_without_a_card_charges_nothing_and_can_be_closed() -> None:
    books = Books([], terms=[TermsAt(0, plan="none")])
    books.usage(OCTOBER, units=10)
    assert books.close("2026-10").lines == ()
