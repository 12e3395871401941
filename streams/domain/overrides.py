"""The seller's own prices: which override applies to an event.

A customer's own come before those for all; among these the one appended last wins, and it alone
applies. What was looked up is remembered within a bound.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.money import parse_amount
from schemas.structs import PriceOverride
from streams.domain.prices import EMPTY_BOOK, NamedRates, PriceIndex, matches, meets, named_rates

OVERRIDES_MAX: Final = 10_000
"""Overrides in force. Each is looked at once for every name of a model that comes along: 10,000 are
some 5 ms, and a seller with more of them has a price book of its own."""

REMEMBERED_MAX: Final = 100_000
"""Overrides in remembered answers, an answer of none counting as one. Names come from producers, so
the memory must be bounded; when it is full it is emptied."""


@dataclass(frozen=True, slots=True)
class Override:
    """An override made ready. `reference` is what entries pin."""

    reference: str
    record: PriceOverride
    named: NamedRates
    multiplier: int | None
    """In pico: 10**12 is one."""

    def applies(self, conditions: Mapping[str, str], at_us: int) -> bool:
        """Whether it is in force for a call made then under these conditions."""
        record = self.record
        return (
            (record.effective_from is None or record.effective_from <= at_us)
            and (record.effective_to is None or at_us < record.effective_to)
            and meets(conditions, record.when)
        )


def make_ready(record: PriceOverride) -> Override:
    """An override as it is looked up. Raises ValueError for one that could not be used, or that
    says nothing."""
    name = f"{record.id}@{record.version}"
    matches(record.match, "")
    named = named_rates(record.rates, record.quantities)
    has_rates = bool(named.tokens or named.quantities)
    if not record.withdrawn and has_rates == (record.multiplier is not None):
        raise ValueError(f"price override {name} needs prices or a multiplier, not both or neither")
    begins, ends = record.effective_from, record.effective_to
    if begins is not None and ends is not None and ends <= begins:
        raise ValueError(f"price override {name} ends before it begins")
    multiplier = None if record.multiplier is None else parse_amount(record.multiplier)
    return Override(name, record, named, multiplier)


@dataclass(slots=True, eq=False)
class Overrides:
    """The overrides in force beside one price book, in the order in which they were appended."""

    prices: PriceIndex
    all: tuple[Override, ...] = ()
    _by_customer: dict[str | None, list[Override]] = field(default_factory=dict)
    _found: dict[tuple[str | None, str | None, str], tuple[Override, ...]] = field(
        default_factory=dict
    )
    _remembered: int = 0

    def __post_init__(self) -> None:
        for override in reversed(self.all):
            self._by_customer.setdefault(override.record.customer_id, []).append(override)

    def find(
        self,
        customer_id: str,
        provider: str | None,
        model: str | None,
        conditions: Mapping[str, str],
        at_us: int,
    ) -> Override | None:
        """The override that prices an event, None for the book's own price."""
        if model is None:
            return None
        for customer in (customer_id, None):
            if customer in self._by_customer:
                for override in self._matching(customer, provider, model):
                    if override.applies(conditions, at_us):
                        return override
        return None

    def by_id(self, override_id: str) -> Override | None:
        """The override in force under an id."""
        return next((one for one in self.all if one.record.id == override_id), None)

    def _matching(
        self, customer: str | None, provider: str | None, model: str
    ) -> tuple[Override, ...]:
        key = (customer, provider, model)
        found = self._found.get(key)
        if found is None:
            found = self._search(self._by_customer[customer], provider, model)
            if self._remembered >= REMEMBERED_MAX:
                self._found.clear()
                self._remembered = 0
            self._found[key] = found
            self._remembered += max(1, len(found))
        return found

    def _search(
        self, among: Iterable[Override], provider: str | None, model: str
    ) -> tuple[Override, ...]:
        home = self.prices.home_of(provider, model)
        known = self.prices.find(provider, model)
        names = [model.lower()]
        if known is not None:
            names.append(known.reference.split("/", 1)[1])
        providers = {name.lower() for name in (provider, home) if name is not None}
        return tuple(
            override
            for override in among
            if (override.record.provider is None or override.record.provider.lower() in providers)
            and any(matches(override.record.match, name) for name in names)
        )


NO_OVERRIDES: Final = Overrides(EMPTY_BOOK)
"""Nothing but the book."""
