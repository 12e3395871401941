"""Rate cards and plans as the catalog holds them: what a schema cannot say of a card, and a view of
the catalog that keeps them.

Owns no price and no period: `streams.domain.invoices` does. No worker's decision looks at cards, so
its view of the catalog does not keep them; invoices and commands read with a `RateShelf`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, get_args

from schemas.catalog import CardTerms, Metric
from schemas.money import PICO, parse_amount
from schemas.structs import (
    CardDiscount,
    CardItem,
    CardTiers,
    CatalogRecord,
    PriceBook,
    RateCard,
    RatePlan,
)
from streams.domain.context import CatalogView
from streams.domain.invoices.timeline import CardAt, PlanAt
from streams.domain.prices import EMPTY_BOOK, PriceIndex

DEFAULT_PLAN: Final = "default"
"""The plan of customers who were assigned none."""


@dataclass(frozen=True, slots=True)
class CardFault:
    """What is wrong in a card, and where: names and indexes from its top."""

    path: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        return f"{path_text(self.path)}: {self.message}"


def path_text(path: Sequence[str | int]) -> str:
    """A place in a record as a person writes it: `items[2].tiers.steps[0].price`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def card_faults(card: RateCard) -> Iterator[CardFault]:
    """What is wrong with a card whose fields are right each for itself: everything at once."""
    yield from repeated_ids(
        {
            "fees": [fee.id for fee in card.fees],
            "items": [item.id for item in card.items],
            "discounts": [discount.id for discount in card.discounts],
        }
    )
    if card.minimum is not None:
        yield from _amount_faults(("minimum",), card.minimum)
    for at, fee in enumerate(card.fees):
        yield from _amount_faults(("fees", at, "amount"), fee.amount)
    for at, item in enumerate(card.items):
        yield from below(("items", at), item_faults(item))
    known = [item.id for item in card.items]
    readable: list[CardDiscount | None] = []
    for at, discount in enumerate(card.discounts):
        faults = list(discount_faults(discount, known))
        yield from below(("discounts", at), faults)
        readable.append(None if faults else discount)
    yield from too_much_off(readable, known)


def repeated_ids(ids: Mapping[str, Sequence[str | None]]) -> Iterator[CardFault]:
    """Ids that stand twice: lines name fees, items and discounts by them alone. `ids` are those of
    each group in its order, None where a part has none."""
    seen: dict[str, tuple[str | int, ...]] = {}
    for group, names in ids.items():
        for at, name in enumerate(names):
            first = (group, at) if name is None else seen.setdefault(name, (group, at))
            if first != (group, at):
                yield CardFault((group, at, "id"), f"{name!r} is the id of {path_text(first)}")


def item_faults(item: CardItem) -> Iterator[CardFault]:
    """What is wrong with one item, by paths from the item."""
    if item.metric == "cost":
        for name in ("price", "tiers"):
            if getattr(item, name) is not None:
                yield CardFault((name,), "metric cost is charged as it is: use markup_percent")
        for name, usual in (("included", 0), ("per", 1)):
            if getattr(item, name) != usual:
                yield CardFault((name,), "metric cost has none")
    else:
        if item.markup_percent is not None:
            yield CardFault(("markup_percent",), "only metric cost has a markup")
        if item.price is None and item.tiers is None:
            yield CardFault((), f"metric {item.metric} needs a price or tiers")
        if item.price is not None and item.tiers is not None:
            yield CardFault(("tiers",), "either a price or tiers, not both")
    yield from _filter_faults(item)
    for name in ("price", "markup_percent"):
        amount = getattr(item, name)
        if amount is not None:
            yield from _amount_faults((name,), amount)
    if item.tiers is not None:
        yield from below(("tiers", "steps"), _step_faults(item.tiers))


def _filter_faults(item: CardItem) -> Iterator[CardFault]:
    if item.metric == "signals":
        for name in ("provider", "model"):
            if getattr(item, name) is not None:
                yield CardFault((name,), f"a signal has no {name}")
        if item.group_by == "model":
            yield CardFault(("group_by",), "a signal has no model")
    else:
        if item.signal is not None:
            yield CardFault(("signal",), "only metric signals counts signals")
        if item.group_by == "signal":
            yield CardFault(("group_by",), "only metric signals counts signals")


def _step_faults(tiers: CardTiers) -> Iterator[CardFault]:
    before = 0
    for at, step in enumerate(tiers.steps):
        yield from _amount_faults((at, "price"), step.price)
        yield from _amount_faults((at, "flat"), step.flat)
        last = at == len(tiers.steps) - 1
        if last and step.up_to is not None:
            yield CardFault((at, "up_to"), "the last step has no end: leave it out")
        elif not last and step.up_to is None:
            yield CardFault((at,), "only the last step may be without up_to")
        elif step.up_to is not None:
            if step.up_to <= before:
                yield CardFault((at, "up_to"), f"must be above {before}, where the step begins")
            before = max(before, step.up_to)


def too_much_off(
    discounts: Sequence[CardDiscount | None], item_ids: Sequence[str]
) -> Iterator[CardFault]:
    """Discounts that together take more off an item than it costs, at the one that does; None is
    a discount that cannot be read."""
    said = set()
    for name in item_ids:
        off = 0
        for at, discount in enumerate(discounts):
            if discount is None or (discount.items and name not in discount.items):
                continue
            off += parse_amount(discount.percent)
            if off > 100 * PICO and at not in said:
                said.add(at)
                yield CardFault(
                    ("discounts", at, "percent"),
                    f"more than 100 percent is off item {name!r}, with the discounts before it",
                )
                break


def discount_faults(discount: CardDiscount, known: Sequence[str]) -> Iterator[CardFault]:
    """What is wrong with one discount, by paths from it; `known` are the ids of the items."""
    faults = list(_amount_faults(("percent",), discount.percent))
    yield from faults
    if not faults and not 0 < parse_amount(discount.percent) <= 100 * PICO:
        yield CardFault(("percent",), "must be above 0 and 100 at the most")
    for at, name in enumerate(discount.items):
        if name not in known:
            yield CardFault(("items", at), f"the card has no item {name!r}")
        elif name in discount.items[:at]:
            yield CardFault(("items", at), f"{name!r} is named twice")


_TOKENS: Final = frozenset(
    name for name in get_args(Metric) if name.endswith("_tokens") and name != "uncovered_tokens"
)

_COUNTED: Final[dict[str, frozenset[str]]] = {
    "uncovered_units": frozenset({"units"}),
    "tokens": _TOKENS,
    "uncovered_tokens": _TOKENS,
}
"""What a metric counts, where that is not what it is called."""


def doubts(card: CardTerms) -> Iterator[CardFault]:
    """What is right in a card and may not be meant so."""
    if not card.fees and not card.items and card.minimum is None:
        yield CardFault((), "the card charges nothing")
    if card.discounts and not card.items:
        yield CardFault(("discounts",), "there is no item to take anything off")
    for at, item in enumerate(card.items):
        if item.group_by and getattr(item, item.group_by) is not None:
            yield CardFault(
                ("items", at, "group_by"),
                f"the item counts one {item.group_by} alone: there is one group",
            )
        for earlier in range(at):
            if _overlap(card.items[earlier], item):
                yield CardFault(
                    ("items", at),
                    f"counts what {path_text(('items', earlier))} counts too: what matches both "
                    "is charged by both",
                )


def _overlap(one: CardItem, other: CardItem) -> bool:
    """Whether something may be counted by both."""
    counted = _COUNTED.get(one.metric, frozenset({one.metric}))
    if not counted & _COUNTED.get(other.metric, frozenset({other.metric})):
        return False
    filters = ((getattr(one, name), getattr(other, name)) for name in _FILTERS)
    return all(a is None or b is None or a == b for a, b in filters)


_FILTERS: Final = ("provider", "model", "agent", "signal")


def _amount_faults(path: tuple[str | int, ...], text: str) -> Iterator[CardFault]:
    try:
        parse_amount(text)
    except ValueError as fault:
        yield CardFault(path, str(fault))


def below(path: tuple[str | int, ...], faults: Iterable[CardFault]) -> Iterator[CardFault]:
    """Faults of a part as those of what it is part of."""
    for fault in faults:
        yield CardFault((*path, *fault.path), fault.message)


class RateShelf(CatalogView):
    """The catalog with all versions of all rate cards and plans, in the order of their append."""

    def __init__(self) -> None:
        """Empty; fold the catalog into it."""
        super().__init__()
        self.card_records: list[RateCard] = []
        self.plan_records: list[RatePlan] = []
        self.cards: dict[str, RateCard] = {}
        """All versions of all cards, by `card@version`."""
        self.card_versions: list[CardAt] = []
        """From when on which version of which card is in force."""
        self.plan_versions: list[PlanAt] = []
        """From when on which plan points to which card."""

    def fold(self, offset: int, record: CatalogRecord) -> None:
        """See `CatalogView.fold`. Raises ValueError for a card that contradicts itself as well."""
        if isinstance(record, RateCard):
            faults = [str(fault) for fault in card_faults(record)]
            if faults:
                raise ValueError(f"rate card {record.id}@{record.version}: {'; '.join(faults)}")
        super().fold(offset, record)
        if isinstance(record, RateCard):
            self.card_records.append(record)
            self.cards[f"{record.id}@{record.version}"] = record
            self.card_versions.append(CardAt(record.id, record.version, begins_us(record)))
        elif isinstance(record, RatePlan):
            self.plan_records.append(record)
            self.plan_versions.append(PlanAt(record.id, begins_us(record), record.card))

    def _indexed(self, _record: PriceBook) -> PriceIndex:
        """Invoices look at no list price, and indexing one takes longer than all else here."""
        return EMPTY_BOOK

    def card(self, card_id: str, version: str) -> RateCard | None:
        """The version of a card that an invoice pins."""
        return self.cards.get(f"{card_id}@{version}")

    def card_in_force(self, card_id: str, at_us: int) -> RateCard | None:
        """The version of a card that is in force at a time."""
        return in_force([one for one in self.card_records if one.id == card_id], at_us)

    def plan_in_force(self, plan_id: str, at_us: int) -> RatePlan | None:
        """The version of a plan that is in force at a time."""
        return in_force([one for one in self.plan_records if one.id == plan_id], at_us)


V = TypeVar("V", bound=RateCard | RatePlan)


def in_force(versions: Iterable[V], at_us: int) -> V | None:
    """Of the versions of one card or plan, in the order of their append, the one in force at a
    time: the latest that has come, of equal ones the last."""
    found: V | None = None
    for one in versions:
        if begins_us(one) <= at_us and (found is None or begins_us(one) >= begins_us(found)):
            found = one
    return found


def begins_us(version: RateCard | RatePlan) -> int:
    """From when on a version is in force."""
    return version.effective_from or 0
