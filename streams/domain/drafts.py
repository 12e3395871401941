"""Entries to what they cost a customer in a month: the reference against which the SQL is compared.

Owns what a line of cost is and how lines add up. Owns no price (an entry carries its cost), no
rounding and no query; what a customer is charged by a rate card is `streams.domain.invoices`.

A draft holds the usage of one customer whose event time lies in the month (UTC), with its exact
cost as the ledger has it now. Amounts are pico of their currency; currencies are never added up
(M3)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from schemas.money import parse_signed_amount
from schemas.structs import AdjustmentEntry, LedgerEntry, UsageEntry
from streams.domain.invoices.tallies import TOKEN_CLASSES
from streams.domain.months import Period


@dataclass(frozen=True, slots=True, order=True)
class LineKey:
    """What a line of a draft is about."""

    provider: str
    model: str
    cost_basis: str
    currency: str


@dataclass(slots=True)
class Figures:
    """Sums over usage entries. Amounts are pico of the line's currency; `covered_pico_usd` is
    what dollar grants covered."""

    calls: int = 0
    units: int = 0
    covered_units: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    covered_tokens: int = 0
    cost_pico: int = 0
    provisional_pico: int = 0
    covered_pico_usd: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of all classes."""
        return sum(int(getattr(self, name)) for name in TOKEN_CLASSES)

    @property
    def units_beyond(self) -> int:
        """Units that no grant covered."""
        return self.units - self.covered_units

    def add(self, other: "Figures") -> None:
        """Adds the sums of others to these, in place."""
        for item in fields(Figures):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


@dataclass(slots=True)
class Draft:
    """A draft invoice: its lines by key, in no order."""

    customer_id: str
    period: Period
    lines: dict[LineKey, Figures] = field(default_factory=dict)

    def totals(self) -> Figures:
        """All lines together, for what has no currency: calls, units, tokens, covered amounts.

        `cost_pico` and `provisional_pico` mean something only where there is one currency.
        """
        total = Figures()
        for figures in self.lines.values():
            total.add(figures)
        return total

    def cost_by_currency(self) -> dict[str, int]:
        """The exact cost per currency, in pico."""
        return self._by_currency("cost_pico")

    def provisional_by_currency(self) -> dict[str, int]:
        """What unpriced usage is charged provisionally, per currency, in pico; only where there
        is any."""
        return {code: pico for code, pico in self._by_currency("provisional_pico").items() if pico}

    def _by_currency(self, name: str) -> dict[str, int]:
        sums: dict[str, int] = {}
        for key, figures in sorted(self.lines.items(), key=lambda line: line[0]):
            sums[key.currency] = sums.get(key.currency, 0) + getattr(figures, name)
        return sums


def draft(entries: Iterable[LedgerEntry], customer_id: str, period: Period) -> Draft:
    """The draft invoice of a customer and month over these entries: a function of their set."""
    result = Draft(customer_id, period)
    for entry in entries:
        if (
            isinstance(entry, UsageEntry | AdjustmentEntry)
            and entry.customer_id == customer_id
            and period.from_us <= entry.occurred_at < period.to_us
        ):
            key = LineKey(entry.provider, entry.model, entry.cost_basis, entry.currency)
            result.lines.setdefault(key, Figures()).add(_figures(entry))
    return result


def _figures(entry: UsageEntry | AdjustmentEntry) -> Figures:
    if isinstance(entry, AdjustmentEntry):
        return Figures(
            cost_pico=parse_signed_amount(entry.cost),
            provisional_pico=parse_signed_amount(entry.provisional),
            covered_pico_usd=parse_signed_amount(entry.covered_usd),
        )
    return Figures(
        calls=1,
        units=entry.units,
        covered_units=entry.covered_units,
        covered_tokens=entry.covered_tokens,
        cost_pico=parse_signed_amount(entry.cost),
        provisional_pico=parse_signed_amount(entry.provisional),
        covered_pico_usd=parse_signed_amount(entry.covered_usd),
        **{name: getattr(entry, name) for name in TOKEN_CLASSES},
    )
