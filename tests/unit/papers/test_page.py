"""The page of a bill: whole, escaped, and saying what the document says."""

import re

import pytest

from schemas.money import PICO
from streams.domain.invoices.documents import Document, credit_note, digest
from streams.papers.page import html_page
from streams.papers.parties import Parties, parties_of
from tests.pages import Page, page_of
from tests.papers import CARDS, ISSUED, PARTIES, line, rich_document

EVIL = '"><script>alert(1)</script><img src=x onerror=y>\x1b[2J\u202e'


def page(document: Document, parties: Parties | None = None) -> Page:
    return page_of(html_page(document, parties, issued_at_us=ISSUED, cards=CARDS))


def cents(text: str) -> tuple[int, str]:
    """An amount of a page as hundredths and its currency."""
    amount, currency = text.split(" ")
    return int(re.sub("[,.]", "", amount).replace("\N{MINUS SIGN}", "-")), currency


@pytest.fixture
def parties() -> Parties:
    return parties_of(PARTIES)


def test_the_tags_of_a_page_fit_together(parties: Parties) -> None:
    assert page(rich_document(), parties).faults == []
    assert page(rich_document()).faults == []


def test_every_line_stands_on_the_page_with_its_amount() -> None:
    document = rich_document()
    rows = page(document).rows
    assert list(rows) == [f"line-{one.line}" for one in document.lines]
    for one in document.lines:
        number, what, _, _, amount = rows[f"line-{one.line}"]
        assert number == str(one.line)
        assert what.startswith(one.title)
        assert cents(amount) == (one.amount_pico * 100 // PICO, one.currency)


def test_the_totals_of_a_page_are_the_sums_of_its_lines_per_currency() -> None:
    shown = page(rich_document())
    sums: dict[str, int] = {}
    for row in shown.rows.values():
        amount, currency = cents(row[-1])
        sums[currency] = sums.get(currency, 0) + amount
    assert {cents(row[1])[1]: cents(row[1])[0] for row in shown.foot} == sums
    assert [row[0] for row in shown.foot] == ["Total EUR", "Total USD"]


def test_a_page_says_who_bills_whom_when_and_until_when_it_is_due(parties: Parties) -> None:
    text = page(rich_document(), parties).text
    for told in (
        "Example Agents GmbH",
        "Tax number DE123456789",
        "Acme & Söhne <Trading> Ltd",
        "PO 4711",
        "Date 2 November 2026",
        "Due 16 November 2026",
        "1 to 31 October 2026 (Europe/Berlin)",
        "Payable within 14 days without deduction.",
        "Reverse charge",
    ):
        assert told in text


def test_a_page_names_the_rate_cards_and_price_books_of_its_period() -> None:
    text = page(rich_document()).text
    assert "Rates pro@1, pro@2. Model prices 2026-10-01." in text
    assert "Rates" not in page(rich_document(segments=(), price_versions=())).text


def test_names_and_addresses_change_nothing_of_the_digest(parties: Parties) -> None:
    document = rich_document()
    for shown in (page(document, parties), page(document)):
        assert digest(document) in shown.text


def test_a_page_shows_texts_of_producers_and_runs_none() -> None:
    evil = [line(cents=1, title=EVIL, group=EVIL, item=EVIL, corrects=EVIL, label=EVIL)]
    said = {"number": EVIL, "customer_id": EVIL, "label": EVIL, "zone": EVIL, "voids": EVIL}
    told = {"reason": EVIL}
    document = rich_document(lines=tuple(evil), notes=told, reissues=EVIL, **said)
    sold = {"seller": {"name": EVIL, "address": [EVIL], "payment": [EVIL], "tax_note": EVIL}}
    customers = {EVIL: {"name": EVIL, "address": [EVIL], "tax_id": EVIL, "reference": EVIL}}
    html = html_page(document, parties_of(sold | {"customers": customers}), issued_at_us=ISSUED)
    shown = page_of(html)
    assert shown.faults == []
    assert not {tag for tag, _ in shown.tags} & {"script", "img", "link", "iframe", "object"}
    assert shown.text.count("<script>alert(1)</script>") >= 15
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_a_page_fetches_nothing(parties: Parties) -> None:
    html = html_page(rich_document(), parties, cards=CARDS)
    attributes = [name for _, found in page_of(html).tags for name in found]
    assert not set(attributes) & {"src", "href", "action", "background"}
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src &#x27;none&#x27;" in html


def test_corrections_stand_under_the_invoice_that_they_correct() -> None:
    text = page(rich_document()).text
    correction = text.index("Corrections of invoice acme-0001 (period 2026-09)")
    assert text.index("Period 2026-10") < correction < text.index("Credits")


def test_a_credit_note_says_what_it_takes_back_and_asks_for_no_payment(parties: Parties) -> None:
    invoice = rich_document()
    note = credit_note(invoice, {"number": "acme-0003", "note": "wrong rates"})
    shown = page(note, parties)
    assert shown.faults == []
    for told in ("Credit note acme-0003", "invoice acme-0002 in full", "Reason: wrong rates"):
        assert told in shown.text
    assert "Payable" not in shown.text
    assert "Due" not in shown.text
    assert shown.foot[1] == ["Total credited USD", "\N{MINUS SIGN}18,031.75 USD"]


def test_a_draft_has_no_digest_and_says_so() -> None:
    shown = page(rich_document(document="draft", number=""))
    assert "Draft invoice" in shown.text
    assert "figures change until the period is closed" in shown.text
    assert "SHA-256" not in shown.text


def test_a_document_without_lines_says_that_nothing_is_charged() -> None:
    shown = page(rich_document(lines=()))
    assert "Nothing is charged for this period." in shown.text
    assert shown.faults == []


def test_the_size_of_the_page_is_that_of_the_printer_unless_one_is_asked_for() -> None:
    assert "@page{size" not in html_page(rich_document())
    for paper in ("A4", "Letter"):
        asked = parties_of({"seller": {"paper": paper}})
        assert f"@page{{size:{paper}}}" in html_page(rich_document(), asked)


def test_a_zone_that_this_machine_does_not_know_is_shown_as_utc() -> None:
    text = page(rich_document(zone="Mars/Olympus")).text
    assert "30 September 2026 22:00 to 31 October 2026 23:00 (UTC)" in text
