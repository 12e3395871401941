"""A document with something of everything, for tests of its forms: not what any card comes to, but
what a page must be able to show."""

from typing import Any, Final

from streams.domain.invoices.documents import Document, Line, numbered
from streams.domain.invoices.timeline import Segment

PICO: Final = 10**12

# Midnights in Berlin: the last two days of October 2026 are winter time.
OCTOBER: Final = 1_790_805_600_000_000
FIFTEENTH: Final = 1_792_015_200_000_000
NOVEMBER: Final = 1_793_487_600_000_000
SEPTEMBER: Final = 1_788_213_600_000_000
ISSUED: Final = 1_793_577_600_000_000
"""2026-11-02T00:00:00Z."""

CARDS: Final[dict[str, dict[str, Any]]] = {
    "pro@1": {
        "kind": "rate_card",
        "id": "pro",
        "version": "1",
        "fees": [{"id": "base", "title": "Platform fee", "amount": "49"}],
        "items": [
            {
                "id": "calls",
                "title": "Model calls",
                "metric": "calls",
                "tiers": {
                    "mode": "graduated",
                    "steps": [{"up_to": 1000, "price": "0.01"}, {"price": "0.008"}],
                },
            },
            {
                "id": "tokens",
                "title": "Output tokens",
                "metric": "output_tokens",
                "group_by": "model",
                "price": "0.6",
                "per": 1_000_000,
                "included": 100_000,
            },
            {
                "id": "ai",
                "title": "AI cost",
                "metric": "cost",
                "markup_percent": "20",
            },
        ],
        "discounts": [{"id": "friends", "title": "Early customer", "percent": "10"}],
        "minimum": "60",
    },
    "pro@2": {
        "kind": "rate_card",
        "id": "pro",
        "version": "2",
        "items": [{"id": "calls", "title": "Model calls", "metric": "calls", "price": "0.009"}],
    },
}


def line(**said: Any) -> Line:
    """A line of October's first half; `amount` is in hundredths, `quantity` whole."""
    cents, quantity = said.pop("cents"), said.pop("quantity", 1)
    fields: dict[str, Any] = {
        "line": 0,
        "line_kind": "usage",
        "label": "2026-10",
        "item": "calls",
        "title": "Model calls",
        "card": "pro@1",
        "group": "",
        "metric": "calls",
        "quantity_pico": quantity * PICO,
        "from_us": OCTOBER,
        "to_us": FIFTEENTH,
        "amount_pico": cents * PICO // 100,
        "currency": "USD",
    }
    return Line(**(fields | said))


def rich_document(**said: Any) -> Document:
    """An invoice for October in Berlin with two versions of a card, corrections and a credit."""
    half = {"from_us": FIFTEENTH, "to_us": NOVEMBER, "card": "pro@2"}
    of_september = {"corrects": "acme-0001", "label": "2026-09", "from_us": SEPTEMBER}
    lines = [
        line(cents=1_120, quantity=1_150),
        line(
            cents=110,
            quantity=1_934_567,
            item="tokens",
            title="Output tokens",
            metric="output_tokens",
            group="gpt-5 <mini> & co",
        ),
        line(
            cents=1_482,
            item="ai",
            title="AI cost",
            metric="cost",
            quantity_pico=12_345_678_901_234,
        ),
        line(cents=2_213, line_kind="fee", item="base", title="Platform fee", metric=""),
        line(cents=-271, line_kind="discount", item="friends", title="Early customer", quantity=0),
        line(cents=1_800_000, quantity=2_000_000, **half),
        line(cents=33, quantity=33, item="=1+2", title="=HYPERLINK(1)", **half),
        line(cents=-512, quantity=-512, to_us=OCTOBER, **of_september),
        line(cents=40, quantity=5, currency="EUR", to_us=OCTOBER, **of_september),
        line(
            cents=-1_000,
            line_kind="credit",
            item="credit",
            title='Outage of 3 October, "sorry"',
            corrects="acme-0001",
            card="",
            metric="",
        ),
    ]
    fields: dict[str, Any] = {
        "document": "invoice",
        "number": "acme-0002",
        "customer_id": "acme",
        "label": "2026-10",
        "zone": "Europe/Berlin",
        "period_from": OCTOBER,
        "period_to": NOVEMBER,
        "cut": (1, 812),
        "after": (1, 401),
        "segments": (
            Segment("pro", "1", OCTOBER, FIFTEENTH),
            Segment("pro", "2", FIFTEENTH, NOVEMBER),
        ),
        "lines": numbered(lines),
        "price_versions": ("2026-10-01",),
        "notes": {"unpriced_calls": 12},
    }
    return Document(**(fields | said))


PARTIES: Final[dict[str, Any]] = {
    "seller": {
        "name": "Example Agents GmbH",
        "address": ["Torstraße 1", "10119 Berlin", "Germany"],
        "tax_id": "DE123456789",
        "email": "billing@agents.example",
        "payment": ["Account DE00 1234 5678 9012 3456 00 at Example Bank", "Quote the number."],
        "payment_terms": "Payable within 14 days without deduction.",
        "due_days": 14,
        "tax_note": "Reverse charge: the tax is owed by the recipient.",
    },
    "customers": {
        "acme": {
            "name": "Acme & Söhne <Trading> Ltd",
            "address": ["1 High Street", "London EC1A 1AA", "United Kingdom"],
            "tax_id": "GB987654321",
            "reference": "PO 4711",
        }
    },
}
"""What a file of parties says."""
