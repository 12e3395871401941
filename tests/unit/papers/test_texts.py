"""Tables and CSV of a document, and how papers write times, counts, amounts and prices."""

import csv
import io
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from schemas.money import PICO, parse_signed_amount
from streams.domain.invoices.documents import credit_note, digest, document_bytes
from streams.papers.bill import bill_of, count, day, money, printable, span
from streams.papers.parties import parties_of
from streams.papers.plain import digest_of, json_text
from streams.papers.prices import price_text
from streams.papers.rows import COLUMNS, cell_text, csv_text
from streams.papers.table import table_text
from tests.papers import CARDS, FIFTEENTH, ISSUED, NOVEMBER, OCTOBER, line, rich_document

BERLIN = ZoneInfo("Europe/Berlin")


def test_json_is_what_the_digest_is_of() -> None:
    document = rich_document()
    assert json_text(document).encode() == document_bytes(document) + b"\n"
    assert digest_of(document.plain()) == digest(document)


def test_every_line_stands_in_exactly_one_section() -> None:
    for document in (rich_document(), credit_note(rich_document(), {"number": "acme-0003"})):
        bill = bill_of(document.plain())
        found = sorted(one.line for section in bill.sections() for one in section.lines)
        assert found == [one.line for one in document.lines]


def test_a_table_shows_lines_totals_and_the_digest() -> None:
    document = rich_document()
    text = table_text(document, CARDS)
    assert f"digest {digest(document)}" in text
    for told in ("Corrections of invoice acme-0001", "18,031.75  USD", "0.40  EUR", "12 calls"):
        assert told in text
    assert "rates    pro@1, pro@2\nprices   2026-10-01\n" in text
    heads = [one[:2].strip() for one in text.partition("total")[0].splitlines()]
    assert [head for head in heads if head.isdigit()] == [str(n) for n in range(1, 11)]


def test_amounts_in_a_table_end_in_one_column_whatever_the_script_of_a_title() -> None:
    lines = (
        line(cents=1, title="模型调用"),
        line(cents=-123_456, title="naïve cafe\N{COMBINING ACUTE ACCENT}"),
    )
    text = table_text(rich_document(lines=lines, segments=(), notes={}))
    rows = [one for one in text.splitlines() if one.endswith("USD")]
    assert len(rows) == 3
    ends = {
        len(row) + sum(char in "模型调用" for char in row) - row.count("\u0301") for row in rows
    }
    assert len(ends) == 1


def test_a_table_does_not_steer_the_terminal() -> None:
    lines = (line(cents=1, title="\x1b]0;gone\x07\u202eabc\r\nnext"),)
    text = table_text(rich_document(lines=lines))
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(text)


def test_csv_has_a_row_per_line_and_no_formula() -> None:
    document = rich_document()
    text = csv_text(document, CARDS)
    head, *rows = list(csv.reader(io.StringIO(text, newline="")))
    assert tuple(head) == COLUMNS
    assert len(rows) == len(document.lines)
    for row, one in zip(rows, document.lines, strict=True):
        told = dict(zip(COLUMNS, row, strict=True))
        assert parse_signed_amount(told["amount"]) == one.amount_pico
        assert told["quantity"] == one.quantity
        assert told["currency"] == one.currency
    assert rows[6][8:10] == ["'=1+2", "'=HYPERLINK(1)"]
    assert text.count("\r\n") == len(rows) + 1
    assert text.endswith("\r\n")


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "-", "-1e9"]
)
def test_a_cell_that_a_spreadsheet_might_run_becomes_text(text: str) -> None:
    assert cell_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1", "-0.5", "12", "", "plain", "a=b", "2026-10"])
def test_a_cell_that_is_harmless_stays_as_it_is(text: str) -> None:
    assert cell_text(text) == text


@pytest.mark.parametrize(
    ("pico", "decimals", "text"),
    [
        (0, 2, "0.00"),
        (1_234_500_000_000_000, 2, "1,234.50"),
        (-5 * PICO // 100, 2, "-0.05"),
        (7 * PICO, 0, "7"),
        (7 * PICO, 3, "7.000"),
        (1, 2, "0.000000000001"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(pico: int, decimals: int, text: str) -> None:
    assert money(pico, decimals) == text


@pytest.mark.parametrize(
    ("quantity", "text"),
    [("1234567.5", "1,234,567.5"), ("-1000", "-1,000"), ("0", "0"), ("odd", "odd")],
)
def test_counts_have_separators(quantity: str, text: str) -> None:
    assert count(quantity) == text


def test_spans_include_their_last_day_in_the_zone() -> None:
    assert span(OCTOBER, NOVEMBER, BERLIN) == "1 to 31 October 2026"
    assert span(OCTOBER, OCTOBER + 86_400_000_000, BERLIN) == "1 October 2026"
    assert span(OCTOBER - 86_400_000_000, FIFTEENTH, BERLIN) == "30 September to 14 October 2026"
    assert span(OCTOBER, NOVEMBER, UTC) == "30 September 2026 22:00 to 31 October 2026 23:00"
    new_year = 1_798_758_000_000_000
    assert span(NOVEMBER, new_year + 86_400_000_000, BERLIN) == "1 November 2026 to 1 January 2027"


def test_days_are_counted_by_the_calendar_across_the_end_of_summer_time() -> None:
    late_on_october_24 = OCTOBER + (23 * 24 + 23) * 3_600_000_000
    assert day(late_on_october_24, BERLIN) == "24 October 2026"
    assert day(late_on_october_24, BERLIN, later=1) == "25 October 2026"
    assert day(late_on_october_24, BERLIN, later=2) == "26 October 2026"
    assert day(ISSUED, BERLIN, later=60) == "1 January 2027"


def test_letters_that_join_are_kept_and_those_that_turn_are_not() -> None:
    assert printable("می\u200cخواهم") == "می\u200cخواهم"
    assert (
        printable("a\u202eb\x00c\td") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c d"
    )


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"metric": "calls", "price": "2"}, "2.00"),
        ({"metric": "tokens", "price": "0.0000025"}, "0.0000025"),
        ({"metric": "tokens", "price": "1200", "per": 1000}, "1,200.00 per 1,000"),
        ({"metric": "calls", "price": "1", "included": 1000}, "1.00, 1,000 included"),
        ({"metric": "cost"}, "at cost"),
        ({"metric": "cost", "markup_percent": "12.5"}, "cost + 12.5 %"),
        (
            {
                "metric": "units",
                "tiers": {
                    "mode": "volume",
                    "steps": [{"up_to": 10, "price": "1", "flat": "5"}, {"price": "0.5"}],
                },
            },
            "by volume: 1.00 plus 5.00 to 10, 0.50 beyond",
        ),
        (
            {
                "metric": "units",
                "tiers": {
                    "mode": "graduated",
                    "steps": [*({"up_to": n, "price": "1"} for n in range(1, 6)), {"price": "0"}],
                },
            },
            "6 prices in tiers",
        ),
    ],
)
def test_a_price_says_how_a_line_was_priced(item: dict[str, object], text: str) -> None:
    priced = bill_of(rich_document(lines=(line(cents=1, item="x"),)).plain()).lines[0]
    assert price_text(priced, {"pro@1": {"items": [{"id": "x", **item}]}}) == text


@pytest.mark.parametrize(
    ("cents", "quantity", "text"),
    [
        (100, 3, "0.333333 on average"),
        (1, 10**9, "below 0.000001 on average"),
        (-100, -4, "0.25 on average"),
        (0, 5, ""),
        (5, 0, ""),
    ],
)
def test_without_the_card_a_price_is_an_average(cents: int, quantity: int, text: str) -> None:
    lines = (line(cents=cents, quantity=quantity),)
    assert price_text(bill_of(rich_document(lines=lines).plain()).lines[0], {}) == text


def test_a_file_of_parties_is_told_everything_that_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match=r"seller\.nmae: .*\ncustomers\.acme\.address: ") as caught:
        parties_of({"seller": {"nmae": "x"}, "customers": {"acme": {"address": "one line"}}})
    assert "pydantic" not in str(caught.value)
    with pytest.raises(ValueError, match="the file"):
        parties_of(["no", "mapping"])  # type: ignore[arg-type]
