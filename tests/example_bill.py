"""A customer's bills for tests and documents: a rate card, late usage, an outcome, a credit."""

from typing import Any, Final

from streams.domain.invoices.bundle import Bundle
from tests.invoiced import Books, card, item

CARD: Final = card(
    fees=[{"id": "base", "title": "Platform fee", "amount": "49"}],
    items=[
        item(id="calls", title="Calls", metric="calls", price="0.01"),
        item(id="tokens", title="Tokens", metric="output_tokens", price="0.6", per=1_000_000),
        item(id="solved", title="Solved", metric="signals", signal="resolved", price="2.5"),
    ],
    discounts=[{"id": "friends", "title": "Friends", "percent": "10", "items": ["calls"]}],
)
BY_COST: Final = card(items=[item(id="ai", title="AI cost", metric="cost", markup_percent="20")])


def used(plain_card: dict[str, Any]) -> Books:
    """September closed, then late usage and October, closed, then November's first call.

    `acme-0002` is October's invoice: it corrects September and has a credit.
    """
    books = Books([plain_card])
    books.usage("2026-09-10T12:00:00Z", output_tokens=5, cost="0.5", event_id="a")
    books.close("2026-09")
    books.usage("2026-09-20T12:00:00Z", output_tokens=2_000_000, cost="1", event_id="late")
    for day in range(1, 29):
        at = f"2026-10-{day:02d}T12:00:00Z"
        books.usage(at, output_tokens=day * 10_000, model="gpt-5", cost="0.125", event_id=f"e{day}")
    books.signal("2026-10-02T00:00:00Z", trace_id="secret-trace")
    books.credit("3.50", "Outage")
    books.close("2026-10")
    books.usage("2026-11-01T12:00:00Z", output_tokens=7, event_id="november")
    return books


def whole(books: Books, number: str) -> Bundle:
    """All that is known of a customer, as the log gives it for one document: later entries too."""
    close = next(one for one in books.closes if one["number"] == number)
    return books.bundle(close)
