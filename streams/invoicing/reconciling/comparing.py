"""Export and ledger side by side: the days and models that differ, the totals, the guesses."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from schemas.money import PICO, fraction_of, round_half_even
from streams.invoicing.reconciling.booked import Booked
from streams.invoicing.reconciling.exports import Export, Key, Provided
from streams.invoicing.reconciling.reasons import Case, Guess, guesses


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a day and model may differ by: `each`, and `per_row` for every row of the export, half
    of what its amounts are rounded to."""

    each: Fraction
    per_row: Fraction = Fraction(0)

    @classmethod
    def of(cls, each: str, rounded_to: str) -> "Tolerance":
        """From amounts as texts. Raises ValueError."""
        return cls(fraction_of(each), fraction_of(rounded_to) / 2)

    def allows(self, gap: Fraction, rows: int) -> bool:
        """Whether a difference may be rounding."""
        return abs(gap) <= self.each + self.per_row * rows


@dataclass(frozen=True, slots=True)
class Difference:
    """A day and model of which both sides say something else; amounts in pico, the export's sums
    rounded once."""

    key: Key
    provided_pico: int
    booked_pico: int
    calls: int
    rows: int
    guesses: tuple[Guess, ...]

    @property
    def gap_pico(self) -> int:
        """Export less ledger."""
        return self.provided_pico - self.booked_pico


@dataclass(frozen=True, slots=True)
class Total:
    """All days and models of a currency, equal ones among them."""

    provided_pico: int
    booked_pico: int

    @property
    def gap_pico(self) -> int:
        """Export less ledger."""
        return self.provided_pico - self.booked_pico


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A comparison over the days [first, end) of a zone, None where neither side has a day."""

    first: date | None
    end: date | None
    zone: str
    tolerance: Tolerance
    export: Export
    compared: int
    differences: list[Difference]
    totals: dict[str, Total]

    @property
    def is_whole(self) -> bool:
        """Whether every row of the export could be read."""
        return not self.export.bad_count


def compare(
    export: Mapping[Key, Provided], ledger: Mapping[Key, Booked], tolerance: Tolerance
) -> list[Difference]:
    """What differs beyond the tolerance, by day and model."""
    gaps = {
        key: _provided(export.get(key)) - _booked(ledger.get(key)) for key in export.keys() | ledger
    }
    exported, booked_models = {key.model for key in export}, {key.model for key in ledger}
    currencies_exported, currencies_booked = _currencies(export), _currencies(ledger)
    found = []
    for key in sorted(gaps):
        provided, booked = export.get(key), ledger.get(key)
        rows = provided.rows if provided else 0
        if tolerance.allows(gaps[key], rows):
            continue
        others = currencies_exported if provided is None else currencies_booked
        case = Case(
            key,
            provided,
            booked,
            gaps,
            exported,
            booked_models,
            others.get((key.day, key.model), set()) - {key.currency},
        )
        found.append(
            Difference(
                key,
                pico_of(_provided(provided)),
                booked.cost_pico if booked else 0,
                booked.calls if booked else 0,
                rows,
                tuple(guesses(case)),
            )
        )
    return found


def totals(export: Mapping[Key, Provided], ledger: Mapping[Key, Booked]) -> dict[str, Total]:
    """Both sides by currency, in its order. Currencies are never added up."""
    exact: dict[str, Fraction] = {}
    booked: dict[str, int] = {}
    for key, provided in export.items():
        exact[key.currency] = exact.get(key.currency, Fraction(0)) + provided.cost
    for key, cell in ledger.items():
        booked[key.currency] = booked.get(key.currency, 0) + cell.cost_pico
    return {
        currency: Total(pico_of(exact.get(currency, Fraction(0))), booked.get(currency, 0))
        for currency in sorted(exact.keys() | booked)
    }


def pico_of(amount: Fraction) -> int:
    """An exact amount in pico, rounded once."""
    return round_half_even(amount.numerator * PICO, amount.denominator)


def _provided(cell: Provided | None) -> Fraction:
    return cell.cost if cell else Fraction(0)


def _booked(cell: Booked | None) -> Fraction:
    return Fraction(cell.cost_pico, PICO) if cell else Fraction(0)


def _currencies(keys: Iterable[Key]) -> dict[tuple[date, str], set[str]]:
    found: dict[tuple[date, str], set[str]] = {}
    for key in keys:
        found.setdefault((key.day, key.model), set()).add(key.currency)
    return found
