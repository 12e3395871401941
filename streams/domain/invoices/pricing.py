"""Sums to lines: what a segment of a period costs under its card.

The one path from a tally to lines: drafts, closes, verification and corrections all take it. An
amount is an exact fraction until its line is rounded, once, by `round_to_currency`. What follows
from other lines (discounts, the minimum) follows from them as they stand there, rounded, so that a
reader can work it out from the document.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Protocol

from schemas.money import PICO, round_to_currency
from streams.domain.invoices.cards import Card, Item, Tiers
from streams.domain.invoices.documents import Line
from streams.domain.invoices.tallies import TOKEN_CLASSES, Figures, Tally, TallyKey
from streams.domain.invoices.timeline import Segment

GROUPS_MAX: Final = 200
"""Lines that one item is split into, and the most of them have a handful: a document is read."""

OTHERS: Final = "(others)"
"""The group of all beyond GROUPS_MAX, by name."""


class Whole(Protocol):
    """The period of which a segment is a part."""

    @property
    def label(self) -> str:
        """What its lines are labelled."""

    @property
    def from_us(self) -> int:
        """Its beginning."""

    @property
    def to_us(self) -> int:
        """Its end."""


@dataclass(frozen=True, slots=True)
class _Share:
    """A segment's part of its period: `part` of `whole` microseconds."""

    part: int
    whole: int


def price(
    segment: Segment, card: Card | None, tally: Tally, period: Whole, items_only: bool = False
) -> list[Line]:
    """The lines of a segment without numbers: fees, items, discounts, the minimum.

    No card: none. Fees, allowances and the minimum are by the segment's share of the period, the
    limits of tiers are not. `items_only`: without fees, allowances and minimum, for what is no
    whole period. Lines of quantity 0 and amount 0 are left out.
    """
    if card is None:
        return []
    share = _Share(segment.to_us - segment.from_us, period.to_us - period.from_us)
    fees = [] if items_only else _fee_lines(segment, card, period, share)
    items: dict[str, list[Line]] = {}
    for item in card.items:
        allowance = 0 if items_only else item.included * share.part // share.whole
        items[item.id] = _item_lines(segment, card, item, allowance, tally, period)
    lines = [*fees, *(line for found in items.values() for line in found)]
    lines += _discount_lines(segment, card, items, period)
    if not items_only:
        lines += _minimum_line(segment, card, lines, period, share)
    return [line for line in lines if line.quantity_pico or line.amount_pico]


def _line(
    segment: Segment,
    period: Whole,
    kind: str,
    item: str,
    title: str,
    amount_pico: int,
    currency: str,
    quantity_pico: int = 0,
    metric: str = "",
    group: str = "",
) -> Line:
    return Line(
        line=0,
        line_kind=kind,
        label=period.label,
        item=item,
        title=title or item,
        card=segment.name,
        group=group,
        metric=metric,
        quantity_pico=quantity_pico,
        from_us=segment.from_us,
        to_us=segment.to_us,
        amount_pico=amount_pico,
        currency=currency,
    )


def _fee_lines(segment: Segment, card: Card, period: Whole, share: _Share) -> list[Line]:
    return [
        _line(
            segment,
            period,
            "fee",
            fee.id,
            fee.title,
            round_to_currency(fee.amount_pico * share.part, share.whole, card.currency),
            card.currency,
            quantity_pico=PICO,
        )
        for fee in card.fees
    ]


def _item_lines(
    segment: Segment, card: Card, item: Item, allowance: int, tally: Tally, period: Whole
) -> list[Line]:
    lines = []
    for (group, currency), quantity in _quantities(item, tally).items():
        if item.metric == "cost":
            quantity_pico = quantity
            amount = round_to_currency(
                quantity * (100 * PICO + item.markup_pico), 100 * PICO, currency
            )
        else:
            quantity_pico, currency = quantity * PICO, card.currency
            # Less than nothing is only left where what it takes back lies in another period.
            beyond = max(abs(quantity) - allowance, 0)
            numerator = _charge(item, beyond if quantity > 0 else -beyond)
            amount = round_to_currency(numerator, item.per, currency)
        lines.append(
            _line(
                segment,
                period,
                "usage",
                item.id,
                item.title,
                amount,
                currency,
                quantity_pico,
                item.metric,
                group,
            )
        )
    return lines


def _quantities(item: Item, tally: Tally) -> dict[tuple[str, str], int]:
    """What an item counts, by group and (of cost) currency, in the order of these; none is 0."""
    count, group_of = _COUNT[item.metric], _GROUP[item.group_by]
    by_currency = item.metric == "cost"
    sums: dict[tuple[str, str], int] = {}
    for key, figures in tally.items():
        quantity = count(figures)
        if quantity and _matches(item, key):
            group = (group_of(key), key.currency if by_currency else "")
            sums[group] = sums.get(group, 0) + quantity
    kept = _first_groups(sums) if item.group_by else sums
    return {group: quantity for group, quantity in sorted(kept.items()) if quantity}


def _first_groups(sums: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """At most GROUPS_MAX groups by name, all others together as one more."""
    names = sorted({group for group, _ in sums})
    if len(names) <= GROUPS_MAX:
        return sums
    last = names[GROUPS_MAX - 1]
    kept: dict[tuple[str, str], int] = {}
    for (group, currency), quantity in sums.items():
        name = (group if group <= last else OTHERS, currency)
        kept[name] = kept.get(name, 0) + quantity
    return kept


def _matches(item: Item, key: TallyKey) -> bool:
    return (
        (item.provider is None or item.provider == key.provider)
        and (item.model is None or item.model == key.model)
        and (item.agent is None or item.agent == key.agent_id)
        and (item.signal is None or item.signal == key.signal_name)
    )


def _charge(item: Item, quantity: int) -> int:
    """What a quantity costs, times `per`, in pico."""
    if quantity < 0:
        return -_charge(item, -quantity)
    if item.tiers is None:
        return (item.price_pico or 0) * quantity
    return _tiered(item.tiers, item.per, quantity)


def _tiered(tiers: Tiers, per: int, quantity: int) -> int:
    """A step holds what is more than the step before and not more than its `up_to`."""
    total, below = 0, 0
    for step in tiers.steps:
        if quantity <= below:
            break
        end = quantity if step.up_to is None else min(quantity, step.up_to)
        cost = step.price_pico * (end - below) + step.flat_pico * per
        if tiers.mode == "graduated":
            total += cost
        else:
            total = step.price_pico * quantity + step.flat_pico * per
        below = end
    return total


def _discount_lines(
    segment: Segment, card: Card, items: dict[str, list[Line]], period: Whole
) -> list[Line]:
    """A line for each discount and currency. All discounts are of the undiscounted amounts; what
    their roundings would take beyond the items' sum they do not."""
    left = _by_currency([line for found in items.values() for line in found])
    lines = []
    for discount in card.discounts:
        chosen = discount.items or tuple(items)
        base = _by_currency([line for name in chosen for line in items[name]])
        for currency, pico in base.items():
            off = round_to_currency(pico * discount.percent_pico, 100 * PICO, currency)
            if off > 0:
                off = min(off, max(left[currency], 0))
            left[currency] -= off
            lines.append(
                _line(segment, period, "discount", discount.id, discount.title, -off, currency)
            )
    return lines


def _by_currency(lines: Sequence[Line]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.currency] = sums.get(line.currency, 0) + line.amount_pico
    return dict(sorted(sums.items()))


def _minimum_line(
    segment: Segment, card: Card, lines: Sequence[Line], period: Whole, share: _Share
) -> list[Line]:
    """What is missing to the segment's share of the minimum, in the card's currency."""
    if card.minimum_pico is None:
        return []
    least = round_to_currency(card.minimum_pico * share.part, share.whole, card.currency)
    missing = least - _by_currency(lines).get(card.currency, 0)
    if missing <= 0:
        return []
    return [_line(segment, period, "minimum", "minimum", "Minimum", missing, card.currency)]


_COUNT: Final[dict[str, Callable[[Figures], int]]] = {
    "calls": lambda figures: figures.calls,
    "units": lambda figures: figures.units,
    "uncovered_units": lambda figures: figures.units - figures.covered_units,
    "tokens": lambda figures: figures.tokens,
    "uncovered_tokens": lambda figures: figures.tokens - figures.covered_tokens,
    **{name: attrgetter(name) for name in TOKEN_CLASSES},
    "cost": lambda figures: figures.cost_pico,
    "signals": lambda figures: figures.signals,
}

_GROUP: Final[dict[str, Callable[[TallyKey], str]]] = {
    "": lambda key: "",
    "model": lambda key: key.model,
    "agent": lambda key: key.agent_id,
    "signal": lambda key: key.signal_name,
}
