"""A document for a terminal: aligned columns, corrections under their own headings."""

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Final

from schemas.money import currency_digits
from streams.domain.invoices.documents import Document
from streams.papers.bill import (
    Bill,
    PaperLine,
    bill_of,
    details,
    headings,
    money,
    notes,
    printable,
    quantity_text,
    span,
    zone_of,
)
from streams.papers.plain import Plain, digest_of, plain_of
from streams.papers.prices import Cards, price_text

NAME_COLUMNS: Final = 48
"""Columns of what a line is called; longer names go on in the next row. Figures are never cut."""

PRICE_COLUMNS: Final = 28
"""Columns of how a line was priced."""

Row = tuple[list[str], list[str], list[str], list[str]]
"""Number, name and price, which may need several rows, then the right-hand cells."""


def table_text(document: Document | Plain, cards: Cards | None = None) -> str:
    """The document as lines of text, the last one ended."""
    plain = plain_of(document)
    bill = bill_of(plain)
    out = _head(bill)
    sections = bill.sections()
    rows = [[_cells(bill, line, cards or {}) for line in one.lines] for one in sections]
    totals = [
        ["total" if place == 0 else "", "", money(pico, currency_digits(currency)), currency]
        for place, (currency, pico) in enumerate(bill.totals)
    ]
    titles = ["#", "what", "price", "quantity", "amount", ""]
    flat = [titles, *(row for found in rows for row in _flat(found))]
    widths = _widths([*flat, *(["", total[0], "", *total[1:]] for total in totals)])
    if bill.lines:
        out += ["", _joined(titles, widths), _rule(widths)]
    else:
        out += ["", "nothing is charged"]
    for heading, found in zip(headings(sections), rows, strict=True):
        if heading:
            out.append(heading)
        out += [_joined(row, widths) for row in _flat(found)]
    if totals:
        out.append(_rule(widths))
        out += [_joined(["", total[0], "", *total[1:]], widths) for total in totals]
    out += ["", *notes(bill), f"digest {digest_of(plain)}"]
    return "\n".join(line.rstrip() for line in out) + "\n"


def _head(bill: Bill) -> list[str]:
    zone, zone_name = zone_of(bill.zone)
    out = [
        f"{bill.title} {bill.number}".rstrip(),
        f"customer {printable(bill.customer_id)}",
        f"period   {bill.label}: {span(bill.from_us, bill.to_us, zone)} ({zone_name})",
    ]
    if bill.cards:
        out.append(f"rates    {printable(', '.join(bill.cards))}")
    if bill.price_books:
        out.append(f"prices   {printable(', '.join(bill.price_books))}")
    if bill.voids:
        out.append(f"credits  invoice {bill.voids} in full")
    if bill.reissues and bill.document != "credit_note":
        out.append(f"replaces invoice {bill.reissues}")
    return out


def _cells(bill: Bill, line: PaperLine, cards: Cards) -> Row:
    name = ", ".join([line.name, *details(bill, line)])
    amount = money(line.amount, currency_digits(line.currency))
    return (
        [str(line.line)],
        textwrap.wrap(name, NAME_COLUMNS) or [""],
        textwrap.wrap(price_text(line, cards), PRICE_COLUMNS) or [""],
        [quantity_text(line), amount, line.currency],
    )


def _flat(rows: Sequence[Row]) -> list[list[str]]:
    """Rows of texts: what needs several lines stands below itself, figures on the first."""
    found = []
    for number, name, price, figures in rows:
        for place in range(max(len(name), len(price))):
            cells = [part[place] if place < len(part) else "" for part in (number, name, price)]
            found.append([*cells, *(figures if place == 0 else [""] * len(figures))])
    return found


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(_columns(row[place]) for row in rows) for place in range(len(rows[0]))]


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells in their columns: figures end where they end, texts begin where they begin."""
    right = (True, False, False, True, True, False)
    texts = []
    for cell, width, is_figure in zip(cells, widths, right, strict=True):
        blank = " " * (width - _columns(cell))
        texts.append(blank + cell if is_figure else cell + blank)
    return "  ".join(texts)


def _rule(widths: Sequence[int]) -> str:
    return "-" * (sum(widths) + 2 * (len(widths) - 1))


def _columns(text: str) -> int:
    """Columns that a terminal needs for a text: wide characters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)
