"""Rate cards as the arithmetic needs them, read from the plain JSON of the catalog's records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from schemas.money import PICO, parse_amount
from streams.domain.invoices.tallies import TOKEN_CLASSES

METRICS: Final = (
    "calls",
    "units",
    "uncovered_units",
    "tokens",
    "uncovered_tokens",
    *TOKEN_CLASSES,
    "cost",
    "signals",
)
"""What an item can charge for."""

GROUPINGS: Final = ("", "model", "agent", "signal")
"""What an item can be split by; empty: not at all."""


@dataclass(frozen=True, slots=True)
class Fee:
    """A flat fee of a whole period, in pico of the card's currency."""

    id: str
    title: str
    amount_pico: int


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of tiers: what lies beyond the step before, up to and with `up_to` (None: no end)."""

    up_to: int | None
    price_pico: int
    flat_pico: int = 0
    """Charged once, where anything lies in the step."""


@dataclass(frozen=True, slots=True)
class Tiers:
    """Steps in ascending order. `graduated`: each part at the price of its step; `volume`: all at
    the price of the step in which the whole lies."""

    mode: str
    steps: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """What is charged for one metric. None of provider, model, agent and signal: any."""

    id: str
    title: str
    metric: str
    provider: str | None = None
    model: str | None = None
    agent: str | None = None
    signal: str | None = None
    group_by: str = ""
    price_pico: int | None = None
    """Pico of the card's currency for each `per` of the metric."""
    per: int = 1
    included: int = 0
    tiers: Tiers | None = None
    markup_pico: int = 0
    """Percent of the cost on top of it, times 10**12."""


@dataclass(frozen=True, slots=True)
class Discount:
    """A share off the items named; no name: off all of them."""

    id: str
    title: str
    percent_pico: int
    """Percent times 10**12, more than 0, 100 at most."""
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """A version of a rate card."""

    id: str
    version: str
    title: str = ""
    currency: str = "USD"
    effective_from_us: int = 0
    fees: tuple[Fee, ...] = ()
    items: tuple[Item, ...] = ()
    discounts: tuple[Discount, ...] = ()
    minimum_pico: int | None = None
    """What a whole period costs at least, in the card's currency."""

    @property
    def name(self) -> str:
        """Card and version, as lines name it: `pro@2`."""
        return f"{self.id}@{self.version}"


def card_from(plain: Mapping[str, Any]) -> Card:
    """The card that a record of kind `rate_card` says. Raises ValueError that names the field."""
    card = Card(
        id=_text(plain, "id", ""),
        version=_text(plain, "version", ""),
        title=_text(plain, "title", "", default=""),
        currency=_text(plain, "currency", "", default="USD"),
        effective_from_us=_count(plain, "effective_from", "", default=0),
        fees=tuple(_fee(fee, path) for path, fee in _parts(plain, "fees", "")),
        items=tuple(_item(item, path) for path, item in _parts(plain, "items", "")),
        discounts=tuple(_discount(item, path) for path, item in _parts(plain, "discounts", "")),
        minimum_pico=_amount_or_none(plain, "minimum", ""),
    )
    _check(card)
    return card


def _check(card: Card) -> None:
    """What no field says alone: ids are told apart, discounts leave something."""
    for field, ids in (
        ("fees", [fee.id for fee in card.fees]),
        ("items", [item.id for item in card.items]),
        ("discounts", [discount.id for discount in card.discounts]),
    ):
        if len(ids) != len(set(ids)):
            raise ValueError(f"{field}: an id stands there twice")
    known = {item.id for item in card.items}
    for number, discount in enumerate(card.discounts):
        missing = sorted(set(discount.items) - known)
        if missing:
            raise ValueError(f"discounts.{number}.items: no item is called {missing[0]!r}")
    for item in card.items:
        off = sum(
            discount.percent_pico
            for discount in card.discounts
            if not discount.items or item.id in discount.items
        )
        if off > 100 * PICO:
            raise ValueError(f"discounts: more than 100 percent is off {item.id!r}")


def _fee(plain: Mapping[str, Any], path: str) -> Fee:
    return Fee(
        _text(plain, "id", path),
        _text(plain, "title", path, default=""),
        _amount(plain, "amount", path),
    )


def _item(plain: Mapping[str, Any], path: str) -> Item:
    metric = _choice(plain, "metric", path, METRICS)
    tiers, markup = plain.get("tiers"), _amount_or_none(plain, "markup_percent", path)
    item = Item(
        id=_text(plain, "id", path),
        title=_text(plain, "title", path, default=""),
        metric=metric,
        provider=_text_or_none(plain, "provider", path),
        model=_text_or_none(plain, "model", path),
        agent=_text_or_none(plain, "agent", path),
        signal=_text_or_none(plain, "signal", path),
        group_by=_choice(plain, "group_by", path, GROUPINGS, default=""),
        price_pico=_amount_or_none(plain, "price", path),
        per=_count(plain, "per", path, default=1),
        included=_count(plain, "included", path, default=0),
        tiers=None if tiers is None else _tiers(tiers, f"{path}.tiers"),
        markup_pico=markup or 0,
    )
    if item.per < 1:
        raise ValueError(f"{path}.per: at least 1")
    if metric == "cost":
        if item.price_pico is not None or item.tiers or item.included:
            raise ValueError(f"{path}: cost has a markup, no price, tiers or allowance")
    elif markup is not None:
        raise ValueError(f"{path}.markup_percent: only cost has a markup")
    elif (item.price_pico is None) == (item.tiers is None):
        raise ValueError(f"{path}: either a price or tiers")
    if metric == "signals":
        if item.provider is not None or item.model is not None or item.group_by == "model":
            raise ValueError(f"{path}: signals have no provider and no model")
    elif item.signal is not None or item.group_by == "signal":
        raise ValueError(f"{path}.signal: only the metric signals has one")
    return item


def _tiers(plain: Any, path: str) -> Tiers:
    if not isinstance(plain, Mapping):
        raise ValueError(f"{path}: not an object")
    mode = _choice(plain, "mode", path, ("graduated", "volume"))
    steps = tuple(
        Tier(
            None if step.get("up_to") is None else _count(step, "up_to", where),
            _amount(step, "price", where),
            _amount_or_none(step, "flat", where) or 0,
        )
        for where, step in _parts(plain, "steps", path)
    )
    ends = [step.up_to for step in steps]
    if not ends or ends[-1] is not None:
        raise ValueError(f"{path}.steps: the last step has no up_to")
    bounds = [0, *(end for end in ends if end is not None)]
    if len(bounds) != len(ends) or any(a >= b for a, b in pairwise(bounds)):
        raise ValueError(f"{path}.steps: up_to ascends, and only the last step has none")
    return Tiers(mode, steps)


def _discount(plain: Mapping[str, Any], path: str) -> Discount:
    percent = _amount(plain, "percent", path)
    if not 0 < percent <= 100 * PICO:
        raise ValueError(f"{path}.percent: more than 0, 100 at most")
    items = plain.get("items") or []
    if not isinstance(items, Sequence) or not all(isinstance(name, str) for name in items):
        raise ValueError(f"{path}.items: not a list of names")
    return Discount(
        _text(plain, "id", path), _text(plain, "title", path, default=""), percent, tuple(items)
    )


def _parts(plain: Mapping[str, Any], name: str, path: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The objects of a list, each with the path to it."""
    where = _where(path, name)
    found = plain.get(name)
    if found is None:
        return []
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise ValueError(f"{where}: not a list")
    for number, part in enumerate(found):
        if not isinstance(part, Mapping):
            raise ValueError(f"{where}.{number}: not an object")
    return [(f"{where}.{number}", part) for number, part in enumerate(found)]


def _where(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _text(plain: Mapping[str, Any], name: str, path: str, default: str | None = None) -> str:
    found = plain.get(name, default)
    if not isinstance(found, str) or (default is None and not found):
        raise ValueError(f"{_where(path, name)}: not a text")
    return found


def _text_or_none(plain: Mapping[str, Any], name: str, path: str) -> str | None:
    return None if plain.get(name) is None else _text(plain, name, path)


def _choice(
    plain: Mapping[str, Any],
    name: str,
    path: str,
    choices: Sequence[str],
    default: str | None = None,
) -> str:
    found = _text(plain, name, path, default)
    if found not in choices:
        raise ValueError(f"{_where(path, name)}: not one of {', '.join(filter(None, choices))}")
    return found


def _count(plain: Mapping[str, Any], name: str, path: str, default: int | None = None) -> int:
    found = plain.get(name)
    if found is None:
        found = default
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ValueError(f"{_where(path, name)}: not a whole number from 0 on")
    return found


def _amount(plain: Mapping[str, Any], name: str, path: str) -> int:
    found = plain.get(name)
    if not isinstance(found, str):
        raise ValueError(f"{_where(path, name)}: not an amount")
    try:
        return parse_amount(found)
    except ValueError as error:
        raise ValueError(f"{_where(path, name)}: {error}") from None


def _amount_or_none(plain: Mapping[str, Any], name: str, path: str) -> int | None:
    return None if plain.get(name) is None else _amount(plain, name, path)
