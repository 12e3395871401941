"""Why a day and model may differ: guesses, the likeliest first, each from what both sides say.

None of them is proof, and a difference may have several. Each says what it rests on.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Final

from streams.invoicing.reconciling.booked import Booked
from streams.invoicing.reconciling.exports import Key, Provided

HALF: Final = (Fraction(45, 100), Fraction(55, 100))
"""A cost between these parts of the other is near one half: what batches cost at providers that
give the discount (docs/reconciliation.md names the sources)."""

SHIFT_REST: Final = Fraction(1, 10)
"""Neighbour days that cancel each other but for this part of the larger one look like shifted
days."""

PLAIN_INPUT: Final = ("input", "cache_read", "cache_write")

_PARENT: Final = {
    "cache_read": "input",
    "cache_write": "input",
    "input_audio": "input",
    "output_audio": "output",
    "reasoning": "output",
}


class Reason(StrEnum):
    """Codes of reasons, as `--json` and `--csv` print them."""

    CURRENCY = "currency"
    MODEL_NOT_IN_LEDGER = "model_not_in_ledger"
    MODEL_NOT_IN_EXPORT = "model_not_in_export"
    UNPRICED = "unpriced"
    TIME_ZONE = "time_zone"
    BATCH = "batch"
    CACHED_TOKENS = "cached_tokens"
    PRICE_VERSION = "price_version"
    DAY_NOT_IN_LEDGER = "day_not_in_ledger"
    DAY_NOT_IN_EXPORT = "day_not_in_export"
    CALLS = "calls"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Guess:
    """A reason and what it rests on, for a person."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    """A difference with what surrounds it. `gaps` are all differences by key: export less ledger.
    `exported` and `booked_models` are all models of either side, `currencies` those of the other
    side for this day and model."""

    key: Key
    provided: Provided | None
    booked: Booked | None
    gaps: Mapping[Key, Fraction]
    exported: Set[str]
    booked_models: Set[str]
    currencies: Set[str]

    @property
    def tokens(self) -> dict[str, int]:
        """The ledger's tokens in the classes of the export: a class that the export does not count
        is part of the one that it belongs to (reasoning is output)."""
        told = self.provided.tokens if self.provided else {}
        found = dict.fromkeys(told, 0)
        for name, count in (self.booked.tokens if self.booked else {}).items():
            into = name if name in told else _PARENT.get(name, "")
            if into in found:
                found[into] += count
        return found

    @property
    def ratio(self) -> Fraction | None:
        """Export by ledger, None where either is nothing."""
        if self.provided is None or self.booked is None or self.booked.cost_pico <= 0:
            return None
        return self.provided.cost / Fraction(self.booked.cost_pico, 10**12)


def guesses(case: Case) -> list[Guess]:
    """The reasons that fit, the likeliest first; `unknown` alone where none does."""
    found = [
        Guess(reason, text) for reason, rule in _RULES.items() if (text := rule(case)) is not None
    ]
    return found or [Guess(Reason.UNKNOWN, "nothing in either side says why")]


def _currency(case: Case) -> str | None:
    if not case.currencies or (case.provided and case.booked):
        return None
    side = "ledger" if case.booked is None else "export"
    return f"the {side} has it in {', '.join(sorted(case.currencies))}"


def _model_not_in_ledger(case: Case) -> str | None:
    if case.booked is not None or case.key.model in case.booked_models:
        return None
    return "no usage of this model is in the ledger on any of the days"


def _model_not_in_export(case: Case) -> str | None:
    if case.provided is not None or case.key.model in case.exported:
        return None
    return "the export does not name this model on any of the days"


def _unpriced(case: Case) -> str | None:
    if case.booked is None or case.booked.unpriced <= 0:
        return None
    gap = case.gaps.get(case.key, Fraction(0))
    if gap < 0:
        return None  # A missing price makes the ledger too small, never too large.
    return f"calls in the ledger without a price yet: {case.booked.unpriced:,}"


def _time_zone(case: Case) -> str | None:
    gap = case.gaps.get(case.key, Fraction(0))
    for step, name in ((1, "next"), (-1, "previous")):
        day = case.key.day + timedelta(days=step)
        other = case.gaps.get(Key(day, case.key.model, case.key.currency), Fraction(0))
        if gap * other < 0 and abs(gap + other) <= SHIFT_REST * max(abs(gap), abs(other)):
            return f"the {name} day differs by the opposite: days of another time zone"
    return None


def _batch(case: Case) -> str | None:
    ratio = case.ratio
    if not ratio:
        return None
    if HALF[0] <= ratio <= HALF[1]:
        return "the provider asks for about half: a batch discount that the ledger does not know"
    if HALF[0] <= 1 / ratio <= HALF[1] and case.booked is not None and case.booked.batch:
        return "the ledger has batch prices, the provider asks for about twice as much"
    return None


def _cached(case: Case) -> str | None:
    if case.provided is None or case.booked is None:
        return None
    told, known = case.provided.tokens, case.tokens
    if "cache_read" in told:
        more = told["cache_read"] - known.get("cache_read", 0)
        same = sum(told.get(name, 0) for name in PLAIN_INPUT) == sum(
            known.get(name, 0) for name in PLAIN_INPUT
        )
        if more and same:
            side = "provider" if more > 0 else "ledger"
            return f"more of the input tokens counted as cached by the {side}: {abs(more):,}"
        return None
    charged = sum(case.provided.classes.get(name, 0) for name in ("cache_read", "cache_write"))
    tokens = case.booked.tokens
    cached = tokens.get("cache_read", 0) + tokens.get("cache_write", 0)
    if charged and not cached:
        return "the provider charges for cached tokens, the ledger has none"
    if case.provided.classes and not charged and cached:
        return "the ledger has cached tokens, the provider charges for none"
    return None


def _price_version(case: Case) -> str | None:
    if case.provided is None or case.booked is None:
        return None
    versions = sorted(case.booked.versions)
    told = case.provided.tokens
    if any(told.values()) and told == case.tokens:
        return f"the same tokens at other prices; the ledger's: {_listed(versions)}"
    if not told and len(versions) > 1:
        return f"the ledger used several price versions: {_listed(versions)}"
    return None


def _day_not_in_ledger(case: Case) -> str | None:
    if case.booked is not None or case.key.model not in case.booked_models:
        return None
    return "no usage of this model is in the ledger on this day"


def _day_not_in_export(case: Case) -> str | None:
    if case.provided is not None or case.key.model not in case.exported:
        return None
    return "the export does not name this model on this day"


def _calls(case: Case) -> str | None:
    if case.provided is None or case.booked is None:
        return None
    if case.provided.calls is not None:
        more, what = case.provided.calls - case.booked.calls, "calls"
    else:
        more, what = sum(case.provided.tokens.values()) - sum(case.tokens.values()), "tokens"
    if not more:
        return None
    side = "provider" if more > 0 else "ledger"
    return f"more {what} counted by the {side}: {abs(more):,}"


def _listed(versions: list[str]) -> str:
    return ", ".join(versions) or "none, the cost was reported"


_RULES: Final[dict[Reason, Callable[[Case], str | None]]] = {
    Reason.CURRENCY: _currency,
    Reason.MODEL_NOT_IN_LEDGER: _model_not_in_ledger,
    Reason.MODEL_NOT_IN_EXPORT: _model_not_in_export,
    Reason.UNPRICED: _unpriced,
    Reason.TIME_ZONE: _time_zone,
    Reason.BATCH: _batch,
    Reason.CACHED_TOKENS: _cached,
    Reason.PRICE_VERSION: _price_version,
    Reason.DAY_NOT_IN_LEDGER: _day_not_in_ledger,
    Reason.DAY_NOT_IN_EXPORT: _day_not_in_export,
    Reason.CALLS: _calls,
}
