"""A bundle as it leaves the house: everything that its bill follows from, and nothing else.

What the log says of the time after the document, and of entries whatever no bill depends on
(traces, tasks, grants), stays behind. `verify` must find the same in what is left; who writes a
bill asks it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from streams.domain.invoices.bundle import Bundle, late_in, spans
from streams.domain.invoices.cards import Card
from streams.domain.invoices.tallies import TOKEN_CLASSES, Entry, place_of
from streams.domain.invoices.verify import bill_plain
from streams.papers.plain import canonical_text

PLACE: Final = ("kind", "entry_id", "generation", "sequence", "customer_id", "occurred_at")
"""What an entry is and where it stands."""

KNOWN_BY: Final = ("source", "event_id")
"""How whoever sent an event finds it in their own records."""

COUNTED: Final = (
    "signal_name",
    "quantity",
    "provider",
    "model",
    "agent_id",
    "units",
    "covered_units",
    *TOKEN_CLASSES,
    "missing_tokens",
    "covered_tokens",
    "cost",
    "currency",
    "cost_basis",
    "price_version",
    "was_unpriced",
    "adjusted_entry",
    "flags",
)
"""What lines are made of (streams.domain.invoices.tallies), and which entry an adjustment is of."""

FIELDS: Final = frozenset((*PLACE, *KNOWN_BY, *COUNTED))
"""All that is told of an entry."""


def leaving(bundle: Bundle, *, with_costs: bool = True) -> Bundle:
    """The bundle without what its document does not follow from.

    Without costs, what calls cost the seller is 0 in it. Raises ValueError where the bill charges
    by cost: nobody could check it then.
    """
    case = bundle.case
    if not with_costs and charges_cost(case.cards):
        raise ValueError("a rate card of this bill charges by cost, so that costs belong to it")
    close = place_of(case.close)
    after = (case.close.get("after_generation", 0), case.close.get("after_sequence", 0))
    cut = (case.close["cut_generation"], case.close["cut_sequence"])
    trimmed = replace(
        case,
        closes=_before(case.closes, close),
        issues=_before(case.issues, close),
        voids=_before(case.voids, close),
        credits=tuple(one for one in case.credits if after < place_of(one) <= cut),
        cards=tuple(case.cards),
    )
    needed = spans(trimmed, late_in(bundle))
    entries = (
        entry
        for entry in bundle.entries
        if any(span.from_us <= entry["occurred_at"] < span.to_us for span in needed)
        and place_of(entry) <= cut
    )
    return Bundle(trimmed, tuple(_told(entry, with_costs) for entry in entries))


def charges_cost(cards: Iterable[Mapping[str, Any] | Card]) -> bool:
    """Whether any item of any of the cards charges by cost."""
    for card in cards:
        metrics = (
            [item.metric for item in card.items]
            if isinstance(card, Card)
            else [item.get("metric") for item in card.get("items") or ()]
        )
        if "cost" in metrics:
            return True
    return False


def bill_text(bundle: Bundle, issued: Entry) -> str:
    """The file of a bill: canonical JSON, so that the same bill is the same file."""
    return canonical_text(bill_plain(bundle, issued))


def _before(entries: Iterable[Entry], place: tuple[int, int]) -> tuple[Entry, ...]:
    return tuple(one for one in entries if place_of(one) < place)


def _told(entry: Entry, with_costs: bool) -> Entry:
    told = {name: value for name, value in entry.items() if name in FIELDS}
    if not with_costs and "cost" in told:
        told["cost"] = "0"
    return told
