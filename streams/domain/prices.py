"""The price in force: which model of the book a name means, and its rates at an event's time.

A rate is an integer: pico-dollars per million tokens, which holds every list price of up to twelve
decimals exactly. How names match (clauses, fallbacks, the compact date) and how variants replace
prices follows the published rules of the `genai-prices` data set, the source of the book.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from schemas.money import parse_amount
from schemas.structs import (
    ModelPrices,
    PriceBook,
    PriceSpan,
    PriceVariant,
    QuantityPrice,
    Rate,
)
from schemas.times import MICROSECONDS, parse_time_us
from schemas.usage import TOKEN_PARTS

DAY_SECONDS: Final = 86_400

LOOKUPS_MAX: Final = 10_000
"""Remembered (provider, model) pairs. Names come from producers, so the memory must be bounded;
when it is full it is emptied, which costs one matching run per name in use."""

_PARENT: Final = {
    "cache_read": "input",
    "cache_write": "input",
    "input_audio": "input",
    "output_audio": "output",
    "reasoning": "output",
}
CLASSES: Final = (
    "input",
    "cache_read",
    "cache_write",
    "output",
    "reasoning",
    "input_audio",
    "output_audio",
)
"""The classes of `usage.Tokens`, in its order."""

REQUESTS: Final = "requests"
"""The quantity of which an event that names none has one."""

_compact_date: Final = re.compile(
    r"(-)(20[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])(?=-|:|$)"
)


@dataclass(frozen=True, slots=True)
class TieredRate:
    """Pico-dollars per million tokens: `base`, or the price of the highest tier whose threshold the
    event's input tokens exceed. `tiers` are (threshold, rate), ascending."""

    base: int
    tiers: tuple[tuple[int, int], ...] = ()

    def at(self, input_tokens: int) -> int:
        """The rate for an event with so many input tokens, cached and audio ones among them."""
        rate = self.base
        for threshold, price in self.tiers:
            if input_tokens > threshold:
                rate = price
        return rate


@dataclass(frozen=True, slots=True)
class QuantityRate:
    """Pico-dollars for `per` of something; `least` are charged at least where there is any."""

    price: int
    per: int
    least: int = 0


@dataclass(frozen=True, slots=True)
class When:
    """From a time on, or between two seconds of each day, or ever."""

    from_us: int | None = None
    daily: tuple[int, int] | None = None

    def active(self, at_us: int) -> bool:
        """Whether a time is covered; daily windows may pass midnight."""
        if self.from_us is not None and at_us < self.from_us:
            return False
        if self.daily is None:
            return True
        start, end = self.daily
        second = at_us // MICROSECONDS % DAY_SECONDS
        return start <= second < end if start <= end else second >= start or second < end


@dataclass(frozen=True, slots=True)
class Span:
    """Rates by token class, in the order of `usage.Tokens`; None where nothing is known."""

    when: When
    named: "NamedRates"
    rates: tuple[TieredRate | None, ...]
    flat: tuple[int, ...] | None = None
    """The base rates, where every class has one, none of them has tiers, and requests cost
    nothing."""


@dataclass(frozen=True, slots=True)
class NamedRates:
    """Rates as they are named, nothing inherited: `tokens` by class or part of one, `quantities`
    by what is counted."""

    tokens: Mapping[str, TieredRate]
    quantities: Mapping[str, QuantityRate]

    def under(self, other: "NamedRates") -> "NamedRates":
        """These rates, each replaced where the other names one."""
        return NamedRates({**self.tokens, **other.tokens}, {**self.quantities, **other.quantities})

    def classes(self) -> tuple[TieredRate | None, ...]:
        """By token class, in the order of `usage.Tokens`; a class without a rate has that of the
        class it is part of."""
        rates = self.tokens
        return tuple(rates.get(name) or rates.get(_PARENT.get(name, "")) for name in CLASSES)


@dataclass(frozen=True, slots=True)
class Variant:
    """Rates for calls made under all of these conditions."""

    conditions: Mapping[str, str]
    when: When
    named: NamedRates

    def applies(self, conditions: Mapping[str, str], at_us: int) -> bool:
        """Whether a call was made under its conditions while it held."""
        return self.when.active(at_us) and meets(conditions, self.conditions)


def meets(conditions: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a call was made under all conditions that are wanted."""
    return all(conditions.get(name) == value for name, value in wanted.items())


@dataclass(frozen=True, slots=True)
class ModelRates:
    """A model of the book: its reference `provider/model` and its spans, the last active one
    wins."""

    reference: str
    spans: tuple[Span, ...]
    variants: tuple[Variant, ...] = ()

    def at(self, at_us: int) -> tuple[TieredRate | None, ...]:
        """The rates in force."""
        return self.span_at(at_us).rates

    def span_at(self, at_us: int) -> Span:
        """The span in force; the first one where none is active."""
        if len(self.spans) > 1:
            for span in reversed(self.spans):
                if span.when.active(at_us):
                    return span
        return self.spans[0]

    def named_at(self, at_us: int, conditions: Mapping[str, str]) -> NamedRates:
        """The rates in force for a call made under these conditions. Each rate is that of the first
        variant that names it, else the span's."""
        named = self.span_at(at_us).named
        for variant in reversed(self.variants):
            if variant.applies(conditions, at_us):
                named = named.under(variant.named)
        return named


@dataclass(slots=True)
class _Provider:
    id: str
    match: Mapping[str, Any] | None
    model_match: Mapping[str, Any] | None
    fallback: tuple[str, ...]
    models: list[tuple[Mapping[str, Any], ModelRates]]


def matches(clause: Mapping[str, Any], text: str) -> bool:
    """Whether a clause recognises a name; all but `regex` compare without regard to case.

    Raises ValueError for a clause that is not known.
    """
    if len(clause) != 1:
        raise ValueError(f"a clause has one key, not {sorted(clause)}")
    ((kind, operand),) = clause.items()
    if kind in ("or", "and"):
        if not isinstance(operand, list) or not all(isinstance(part, dict) for part in operand):
            raise ValueError(f"a clause {kind!r} holds a list of clauses, not {operand!r}")
        # A list, so that every part is looked at and a bad one is found when the book is taken.
        parts = [matches(part, text) for part in operand]
        return any(parts) if kind == "or" else all(parts)
    pattern, name = str(operand), text.lower()
    match kind:
        case "equals":
            return name == pattern.lower()
        case "starts_with":
            return name.startswith(pattern.lower())
        case "ends_with":
            return name.endswith(pattern.lower())
        case "contains":
            return pattern.lower() in name
        case "regex":
            return _regex(pattern).search(text) is not None
    raise ValueError(f"unknown clause {kind!r} in the price book")


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as fault:
        raise ValueError(f"a regex of the price book is none: {pattern!r}: {fault}") from fault


@dataclass(slots=True)
class PriceIndex:
    """A price book made ready for look-ups. `version` is what entries pin."""

    version: str
    providers: list[_Provider]
    _found: dict[tuple[str | None, str], ModelRates | None] = field(default_factory=dict)

    def find(self, provider: str | None, model: str | None) -> ModelRates | None:
        """The rates of a model as a producer named it, or None where the book does not know it."""
        if model is None:
            return None
        key = (provider, model)
        try:
            return self._found[key]
        except KeyError:
            if len(self._found) >= LOOKUPS_MAX:
                self._found.clear()
            found = self._found[key] = self._search(provider, model)
            return found

    def _search(self, provider: str | None, model: str) -> ModelRates | None:
        name = model.lower()
        home = self._provider(provider, name)
        if home is None:
            return None
        dashed = _compact_date.sub(r"-\2-\3-\4", name)
        return self._model(home, name) or (self._model(home, dashed) if dashed != name else None)

    def _provider(self, provider: str | None, model: str) -> _Provider | None:
        if provider is not None:
            name = provider.lower()
            by_id = next((p for p in self.providers if p.id == name), None)
            return by_id or next(
                (p for p in self.providers if p.match and matches(p.match, name)), None
            )
        return next(
            (p for p in self.providers if p.model_match and matches(p.model_match, model)), None
        )

    def _model(self, home: _Provider, name: str) -> ModelRates | None:
        for provider in (home.id, *home.fallback):
            for candidate in self.providers:
                if candidate.id == provider:
                    for clause, rates in candidate.models:
                        if matches(clause, name):
                            # Variants are what the provider itself offers: whoever else sells its
                            # models offers batches of its own, or none.
                            return rates if provider == home.id else replace(rates, variants=())
        return None

    def home_of(self, provider: str | None, model: str) -> str | None:
        """The id of the provider that these names mean, None where the book knows none."""
        home = self._provider(provider, model.lower())
        return None if home is None else home.id


EMPTY_BOOK: Final = PriceIndex("", [])
"""No price known: every usage without a reported cost is `unpriced`."""


def index_prices(book: PriceBook) -> PriceIndex:
    """The index of a price book.

    Raises ValueError for a book that could not be used as it stands: an amount or day that is none,
    a clause that cannot be evaluated, an unknown token class, a model without prices.
    """
    for provider in book.providers:
        for clause in (provider.match, provider.model_match, *(m.match for m in provider.models)):
            if clause is not None:
                matches(clause, "")
    return PriceIndex(
        f"{book.id}@{book.version}",
        [
            _Provider(
                p.id,
                p.match,
                p.model_match,
                tuple(p.fallback),
                [(m.match, _model_rates(p.id, m)) for m in p.models],
            )
            for p in book.providers
        ],
    )


def _model_rates(provider: str, model: ModelPrices) -> ModelRates:
    if not model.spans:
        raise ValueError(f"model {model.id!r} of the price book has no span")
    return ModelRates(
        f"{provider}/{model.id}",
        tuple(_span(span) for span in model.spans),
        tuple(
            Variant(variant.when, _when(variant), named_rates(variant.rates, variant.quantities))
            for variant in model.variants
        ),
    )


def _span(span: PriceSpan) -> Span:
    named = named_rates(span.rates, span.quantities)
    by_class = named.classes()
    flat = tuple(rate.base for rate in by_class if rate is not None and not rate.tiers)
    is_flat = len(flat) == len(by_class) and REQUESTS not in named.quantities
    return Span(_when(span), named, by_class, flat if is_flat else None)


def named_rates(rates: Mapping[str, Rate], quantities: Mapping[str, QuantityPrice]) -> NamedRates:
    """Rates as a catalog record states them. Raises ValueError for an amount that is none and for
    an unknown token class."""
    unknown = rates.keys() - set(CLASSES) - TOKEN_PARTS.keys()
    if unknown:
        raise ValueError(f"unknown token classes among prices: {sorted(unknown)}")
    if quantities.keys() & TOKEN_PARTS.keys():
        raise ValueError(f"tokens are priced by the million: {sorted(quantities)}")
    return NamedRates(
        {
            name: TieredRate(
                parse_amount(rate.base),
                tuple(sorted((threshold, parse_amount(price)) for threshold, price in rate.tiers)),
            )
            for name, rate in rates.items()
        },
        {
            name: QuantityRate(parse_amount(found.price), found.per, found.least)
            for name, found in quantities.items()
        },
    )


def _when(span: PriceSpan | PriceVariant) -> When:
    if (span.daily_from_second is None) != (span.daily_to_second is None):
        raise ValueError("a daily window of the price book needs both of its ends")
    daily = None
    if span.daily_from_second is not None and span.daily_to_second is not None:
        daily = (span.daily_from_second, span.daily_to_second)
    day = span.from_day
    return When(None if day is None else parse_time_us(f"{day}T00:00:00Z"), daily)
