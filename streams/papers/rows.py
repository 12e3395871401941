"""A document as CSV: one row per line, as RFC 4180 has it, for a spreadsheet or an import.

Texts that came from producers could be formulas to a spreadsheet; such cells begin with an
apostrophe, which spreadsheets take for "this is text".
"""

import csv
import io
import re
from typing import Final

from schemas.money import currency_digits
from schemas.times import format_time
from streams.domain.invoices.documents import Document
from streams.papers.bill import bill_of, money
from streams.papers.plain import Plain, plain_of
from streams.papers.prices import Cards, price_text

COLUMNS: Final = (
    "number",
    "document",
    "customer_id",
    "period",
    "line",
    "line_kind",
    "corrects",
    "about",
    "item",
    "title",
    "card",
    "group",
    "metric",
    "quantity",
    "price",
    "from",
    "to",
    "amount",
    "currency",
)
"""`period` is the label of the document's period, `about` that of the period which the line is
about; `from` and `to` are UTC, `to` is the first moment that no longer counts."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet may take for the beginning of a formula, the full-width signs included."""

_number = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z")


def csv_text(document: Document | Plain, cards: Cards | None = None) -> str:
    """The lines of a document, a head before them, rows ended by CR LF.

    Amounts and quantities are exact decimal texts with a point, whatever the machine's language.
    """
    bill = bill_of(plain_of(document))
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow(COLUMNS)
    for line in bill.lines:
        cells = (
            bill.number,
            bill.document,
            bill.customer_id,
            bill.label,
            str(line.line),
            line.line_kind,
            line.corrects,
            line.label,
            line.item,
            line.title,
            line.card,
            line.group,
            line.metric,
            line.quantity,
            price_text(line, cards or {}),
            format_time(line.from_us),
            format_time(line.to_us),
            money(line.amount, currency_digits(line.currency)).replace(",", ""),
            line.currency,
        )
        writer.writerow([cell_text(cell) for cell in cells])
    return target.getvalue()


def cell_text(text: str) -> str:
    """A cell that no spreadsheet runs: numbers stay, what looks like a formula becomes text."""
    if _number.match(text) or not text.lstrip(" ").startswith(_FORMULA):
        return text
    return f"'{text}"
