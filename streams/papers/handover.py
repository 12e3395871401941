"""Issued documents as what a payment processor is to charge: one object per document and currency.

Each object maps onto a processor's invoice and its items one to one (docs/handover.md shows it for
Stripe). Amounts are integers in the currency's smallest unit. Keys are functions of the document's
number, so that whoever sends the same object twice charges once. No payment is taken here, nothing
is sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.money import smallest_unit_pico
from schemas.times import MICROSECONDS
from streams.papers.bill import Bill, PaperLine, bill_of, printable, span, zone_of

FORMAT: Final = "tollgate-handover/1"
"""What the objects are; a later form of them gets another name."""

DESCRIPTION_CHARS_MAX: Final = 500
"""Characters of an item's description: longer than any title, short enough for every processor."""


@dataclass(frozen=True, slots=True)
class Issued:
    """An issued document for the hand-over: its lines and totals as the issue entry has them, in
    the names of a document's JSON, and what the entry knows beside them."""

    plain: Mapping[str, Any]
    digest: str
    issued_at_us: int


def handover(issued: Issued, *, items_max: int | None = None) -> list[dict[str, Any]]:
    """The objects of a document, by currency; none where it charges nothing.

    With `items_max` (two at least), the lines from the (items_max - 1)-th on become one item, for
    processors that bound the items of an invoice. Raises ValueError for an amount that is not a
    whole number of the currency's smallest unit, which no issued document has.
    """
    bill = bill_of(issued.plain)
    found = []
    for currency in dict.fromkeys(line.currency for line in bill.lines):
        lines = [line for line in bill.lines if line.currency == currency]
        found.append(_object(bill, issued, currency, lines, items_max))
    return found


def _object(
    bill: Bill, issued: Issued, currency: str, lines: Sequence[PaperLine], items_max: int | None
) -> dict[str, Any]:
    key = f"{bill.number}-{currency}"
    kept, joined = list(lines), list[PaperLine]()
    if items_max is not None and len(lines) > items_max:
        kept, joined = list(lines[: items_max - 1]), list(lines[items_max - 1 :])
    items = [_item(bill, key, line) for line in kept]
    if joined:
        items.append(_joined(bill, key, joined))
    total = sum(item["amount"] for item in items)
    if total != _minor(sum(line.amount for line in lines), currency):
        raise ValueError(f"items of {key} do not add up to its lines")
    metadata = {
        "tollgate_number": bill.number,
        "tollgate_document": bill.document,
        "tollgate_customer": bill.customer_id,
        "tollgate_period": bill.label,
        "tollgate_digest": issued.digest,
    }
    if bill.voids:
        metadata["tollgate_credits"] = bill.voids
    if bill.reissues and bill.document != "credit_note":
        metadata["tollgate_replaces"] = bill.reissues
    return {
        "format": FORMAT,
        "idempotency_key": key,
        "document": bill.document,
        "number": bill.number,
        "customer": bill.customer_id,
        "currency": currency.lower(),
        "amount": total,
        "issued_at": issued.issued_at_us // MICROSECONDS,
        "period": _period(bill.from_us, bill.to_us),
        "items": items,
        "metadata": metadata,
    }


def _item(bill: Bill, key: str, line: PaperLine) -> dict[str, Any]:
    return {
        "idempotency_key": f"{key}-{line.line}",
        "amount": _minor(line.amount, line.currency),
        "currency": line.currency.lower(),
        "description": _description(bill, line)[:DESCRIPTION_CHARS_MAX],
        "quantity": line.quantity,
        "period": _period(line.from_us, line.to_us),
        "metadata": {
            "tollgate_number": bill.number,
            "tollgate_line": str(line.line),
            "tollgate_item": line.item,
            "tollgate_kind": line.line_kind,
            "tollgate_corrects": line.corrects,
            "tollgate_quantity": line.quantity,
        },
    }


def _joined(bill: Bill, key: str, lines: Sequence[PaperLine]) -> dict[str, Any]:
    """Many lines as one item: what stands on the bill in full is not lost, only not repeated."""
    first, last, currency = lines[0].line, lines[-1].line, lines[0].currency
    begin = min(line.from_us for line in lines)
    end = max(line.to_us for line in lines)
    return {
        "idempotency_key": f"{key}-{first}-and-more",
        "amount": _minor(sum(line.amount for line in lines), currency),
        "currency": currency.lower(),
        "description": f"{len(lines):,} more lines of {bill.title.lower()} {bill.number}",
        "quantity": "1",
        "period": _period(begin, end),
        "metadata": {
            "tollgate_number": bill.number,
            "tollgate_line": f"{first} to {last}",
            "tollgate_kind": "joined",
        },
    }


def _description(bill: Bill, line: PaperLine) -> str:
    zone, _ = zone_of(bill.zone)
    parts = [line.name]
    if line.group:
        parts.append(printable(line.group))
    if line.corrects:
        parts.append(f"correction of {line.corrects}")
    if line.line_kind != "credit":
        parts.append(span(line.from_us, line.to_us, zone))
    return ", ".join(parts)


def _period(from_us: int, to_us: int) -> dict[str, int]:
    """[from, to) as the first and the last second in it, which is how processors count."""
    start = from_us // MICROSECONDS
    return {"start": start, "end": max(start, (to_us - 1) // MICROSECONDS)}


def _minor(pico: int, currency: str) -> int:
    """An amount in the currency's smallest unit."""
    unit = smallest_unit_pico(currency)
    if pico % unit:
        raise ValueError(f"{pico} pico is no whole number of the smallest unit of {currency}")
    return pico // unit
