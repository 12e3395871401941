"""From the counts that a span reports to disjoint token classes, quantities and conditions.

Follows the table of `emitters`; knows nothing of customers, traces or records. What cannot be (a
part larger than its whole, a negative count) is an error of that span alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Final

from schemas.limits import (
    CONDITION_CHARS_MAX,
    CONDITIONS_MAX,
    QUANTITIES_MAX,
    QUANTITY_NAME_CHARS_MAX,
    UNITS_MAX,
)
from schemas.structs import Tokens
from streams.gateway.otlp.emitters import EMITTERS, PARTS, Emitter
from streams.gateway.otlp.spans import CONDITION, COST, QUANTITY, UNITS, Span, Value

MILLISECONDS: Final = 1_000

QUANTITIES: Final = {
    "gen_ai.image.count": "images",
    "gen_ai.audio.input_duration_seconds": "input_audio_milliseconds",
    "gen_ai.ocr.pages_processed": "input_document_pages",
}
"""Attributes that count something beside tokens, and what the price book calls it."""

ANNOTATED: Final = "gen_ai.ocr.annotated"
ANNOTATED_PAGES: Final = "input_annotated_document_pages"
"""What pages are where the span says so: they have a price of their own."""

CONDITIONS: Final = {
    "gen_ai.image.size": "size",
    "gen_ai.image.quality": "quality",
    "openai.response.service_tier": "service_tier",
    "gen_ai.openai.response.service_tier": "service_tier",
}
"""Attributes that say how a call was made, and the names of the conditions."""

_NAME_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz")


class CountError(Exception):
    """What a span reports cannot be. The text names attributes and numbers and quotes no other
    content."""


@dataclass(slots=True)
class Counted:
    """What a span reports to have used. `tokens` None: it reports no tokens at all."""

    emitter: Emitter
    tokens: Tokens | None
    quantities: dict[str, int]
    conditions: dict[str, str]
    units: int = 0
    explicit: bool = False
    """The span says of itself (`tollgate.*`) what is to be counted."""
    beside: bool = False
    """Its emitter counts something beside tokens."""

    @property
    def something(self) -> bool:
        """Whether anything was used."""
        tokens = self.tokens
        return bool(self.quantities or self.units) or (tokens is not None and tokens != NO_TOKENS)

    @property
    def is_of_provider(self) -> bool:
        """Whether a provider charges for it: what spans around a call like to repeat."""
        return self.beside or (self.tokens is not None and self.tokens != NO_TOKENS)

    @property
    def reported(self) -> bool:
        """Whether the span has counts, be they zero."""
        return self.tokens is not None or bool(self.quantities or self.units)


NO_TOKENS: Final = Tokens()


def emitter_of(span: Span, provider: str | None) -> Emitter:
    """The row of the table that fits a span."""
    held = span.attributes
    for emitter in _candidates(span.scope, provider):
        if not emitter.markers or any(name in held for name in emitter.markers):
            return emitter
    return EMITTERS[-1]


@lru_cache(maxsize=512)
def _candidates(scope: tuple[str, str], provider: str | None) -> tuple[Emitter, ...]:
    """The rows that may fit spans of an instrumentation, whatever their attributes are."""
    return tuple(
        emitter
        for emitter in EMITTERS
        if emitter.fits(scope, provider, dict.fromkeys(emitter.markers))
    )


def count(span: Span, provider: str | None) -> Counted:
    """What the span reports. Raises CountError where that cannot be."""
    emitter = emitter_of(span, provider)
    held = span.attributes
    quantities, conditions = _beside_tokens(held)
    units = _whole(held, UNITS) or 0
    explicit = any(name in (UNITS, COST) or name.startswith(QUANTITY) for name in held)
    tokens = tokens_of(emitter, held)
    beside = any(name in QUANTITIES for name in held)
    return Counted(emitter, tokens, quantities, conditions, units, explicit, beside)


def tokens_of(emitter: Emitter, held: Mapping[str, Value]) -> Tokens | None:
    """The counts in disjoint classes, None where there are none. Raises CountError."""
    attributes = emitter.attributes
    found: dict[str, tuple[str, int]] = {}
    for part in PARTS:
        for name in getattr(attributes, part):
            if name in held:
                found[part] = (name, _whole(held, name) or 0)
                break
    if not found:
        return None
    counts = {part: amount for part, (_, amount) in found.items()}
    _check_total(emitter, found)
    _take_out("input", emitter.input_includes, ("cache_read", "cache_write"), found, counts)
    _take_out("output", emitter.output_includes, ("reasoning",), found, counts)
    # Audio read from a cache is both: it stays a cache read, which is what it is priced as.
    _take_out_rest("input", "input_audio", emitter.input_includes, found, counts)
    _take_out_rest("output", "output_audio", emitter.output_includes, found, counts)
    counts.pop("total", None)
    return Tokens(**counts)


def _take_out(
    whole: str,
    includes: frozenset[str],
    parts: tuple[str, ...],
    found: Mapping[str, tuple[str, int]],
    counts: dict[str, int],
) -> None:
    """Leaves in `whole` what is in none of these parts that it includes."""
    inside = [part for part in parts if part in includes and counts.get(part)]
    taken = sum(counts[part] for part in inside)
    if not taken:
        return
    reported = counts.get(whole, 0)
    if taken > reported:
        named = " + ".join(f"{found[part][0]} ({counts[part]})" for part in inside)
        of = found[whole][0] if whole in found else f"{whole}, which is missing,"
        raise CountError(f"{named} exceeds {of} ({reported}), of which it is a part")
    counts[whole] = reported - taken


def _take_out_rest(
    whole: str,
    part: str,
    includes: frozenset[str],
    found: Mapping[str, tuple[str, int]],
    counts: dict[str, int],
) -> None:
    """Leaves in `whole` what is not in a part that may overlap with those taken out before."""
    amount = counts.get(part, 0)
    if not amount or part not in includes:
        return
    reported = found[whole][1] if whole in found else 0
    if amount > reported:
        of = found[whole][0] if whole in found else f"{whole}, which is missing,"
        raise CountError(f"{found[part][0]} ({amount}) exceeds {of} ({reported})")
    counts[part] = min(amount, counts.get(whole, 0))
    counts[whole] = counts.get(whole, 0) - counts[part]


def _check_total(emitter: Emitter, found: Mapping[str, tuple[str, int]]) -> None:
    """A total, where the emitter reports one beside both, is not less than its parts."""
    if not {"total", "input", "output"} <= found.keys():
        return
    (name, total), both = found["total"], found["input"][1] + found["output"][1]
    if both > total:
        raise CountError(f"input and output ({both}) exceed {name} ({total}) of {emitter.id}")


def _beside_tokens(held: Mapping[str, Value]) -> tuple[dict[str, int], dict[str, str]]:
    quantities: dict[str, int] = {}
    conditions: dict[str, str] = {}
    for name, value in held.items():
        if name in QUANTITIES:
            _add_quantity(quantities, held, name)
        elif name in CONDITIONS:
            _add_condition(conditions, CONDITIONS[name], value)
        elif name.startswith(QUANTITY):
            chosen = name[len(QUANTITY) :]
            _check_quantity_name(name, chosen)
            quantities[chosen] = _whole(held, name) or 0
        elif name.startswith(CONDITION):
            _add_condition(conditions, name[len(CONDITION) :], value)
    if len(quantities) > QUANTITIES_MAX:
        raise CountError(f"{len(quantities)} quantities; a span may have {QUANTITIES_MAX}")
    return {name: amount for name, amount in quantities.items() if amount}, conditions


def _add_quantity(quantities: dict[str, int], held: Mapping[str, Value], name: str) -> None:
    if name == "gen_ai.audio.input_duration_seconds":
        amount = _milliseconds(name, held[name])
    else:
        amount = _whole(held, name) or 0
    quantity = QUANTITIES[name]
    if quantity == "input_document_pages" and str(held.get(ANNOTATED, "")).lower() == "true":
        quantity = ANNOTATED_PAGES
    quantities[quantity] = amount


def _check_quantity_name(name: str, chosen: str) -> None:
    if (
        not 1 <= len(chosen) <= QUANTITY_NAME_CHARS_MAX
        or chosen[0] not in _LETTERS
        or not _NAME_CHARS.issuperset(chosen)
    ):
        raise CountError(f"{QUANTITY}…: {len(name)} characters that are no name of a quantity")


def _add_condition(conditions: dict[str, str], name: str, value: Value) -> None:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # What is longer is no word of a provider's API, and no price depends on it.
    if (
        1 <= len(name) <= CONDITION_CHARS_MAX
        and 1 <= len(text) <= CONDITION_CHARS_MAX
        and len(conditions) < CONDITIONS_MAX
    ):
        conditions.setdefault(name, text)


def _whole(held: Mapping[str, Value], name: str) -> int | None:
    """A count, None where there is none. Some emitters write every number as a double."""
    value = held.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise CountError(f"{name}: not a whole number")
    if not 0 <= value <= UNITS_MAX:
        raise CountError(f"{name}: {value} is not between 0 and {UNITS_MAX}")
    return value


def _milliseconds(name: str, seconds: Value) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise CountError(f"{name}: not a number")
    exact = Decimal(repr(seconds)) * MILLISECONDS
    if not exact.is_finite() or not 0 <= exact <= UNITS_MAX:
        raise CountError(f"{name}: no time that a recording can last")
    return int(exact.to_integral_value(ROUND_HALF_EVEN))
