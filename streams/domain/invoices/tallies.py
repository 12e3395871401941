"""Sums of entries: the only thing that pricing knows of them. The reference of the SQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.money import parse_signed_amount

TOKEN_CLASSES: Final = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
)
"""The disjoint token classes of a usage entry; tokens in all are their sum."""

OUTER_SPAN: Final = "outer_span"
"""Flag of a span whose usage calls inside it, or around it, have told: it counts nothing."""

Place = tuple[int, int]
"""(generation, sequence) of an entry in its customer's partition; places compare as pairs."""

Entry = Mapping[str, Any]
"""An entry of the ledger as its JSON says it."""


@dataclass(frozen=True, slots=True, order=True)
class TallyKey:
    """What entries are summed by. Of signals provider, model and currency are empty; of usage the
    signal is."""

    provider: str = ""
    model: str = ""
    agent_id: str = ""
    signal_name: str = ""
    currency: str = ""


@dataclass(slots=True)
class Figures:
    """Sums over entries. `cost_pico` is in the key's currency."""

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
    missing_tokens: int = 0
    covered_tokens: int = 0
    cost_pico: int = 0
    unpriced_calls: int = 0
    """Calls whose cost nobody knows yet."""
    signals: int = 0
    price_versions: frozenset[str] = frozenset()
    """The price books that priced them; never empty texts."""

    @property
    def tokens(self) -> int:
        """Tokens of all classes, and those charged without a class."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.output_tokens
            + self.reasoning_tokens
            + self.input_audio_tokens
            + self.output_audio_tokens
            + self.missing_tokens
        )


Tally = dict[TallyKey, Figures]


@dataclass(frozen=True, slots=True)
class Span:
    """Entries with an event time in [from_us, to_us) whose place is not after the cut."""

    from_us: int
    to_us: int
    cut: Place


def place_of(entry: Entry) -> Place:
    """Where an entry stands."""
    return entry["generation"], entry["sequence"]


def tally(entries: Iterable[Entry], spans: Sequence[Span]) -> list[Tally]:
    """The sums of each span, in the order of the spans; spans may overlap.

    All entries are one customer's. A key stands in the tally as soon as one entry has it, even
    where its sums are 0. Entries of other kinds than usage, adjustment, signal and void say
    nothing here.
    """
    tallies: list[Tally] = [{} for _ in spans]
    for entry in entries:
        if entry["kind"] not in _ADD:
            continue
        time_us, place = entry["occurred_at"], place_of(entry)
        for span, sums in zip(spans, tallies, strict=True):
            if span.from_us <= time_us < span.to_us and place <= span.cut:
                _ADD[entry["kind"]](sums, entry)
    return tallies


def _add_usage(sums: Tally, entry: Entry) -> None:
    figures = sums.setdefault(_cost_key(entry), Figures())
    figures.calls += OUTER_SPAN not in entry.get("flags", ())
    figures.units += entry.get("units", 0)
    figures.covered_units += entry.get("covered_units", 0)
    for name in TOKEN_CLASSES:
        setattr(figures, name, getattr(figures, name) + entry.get(name, 0))
    figures.missing_tokens += entry.get("missing_tokens", 0)
    figures.covered_tokens += entry.get("covered_tokens", 0)
    figures.unpriced_calls += entry.get("cost_basis") == "unpriced"
    _add_cost(figures, entry)


def _add_adjustment(sums: Tally, entry: Entry) -> None:
    figures = sums.setdefault(_cost_key(entry), Figures())
    figures.unpriced_calls -= bool(entry.get("was_unpriced"))
    _add_cost(figures, entry)


def _add_cost(figures: Figures, entry: Entry) -> None:
    figures.cost_pico += parse_signed_amount(entry.get("cost", "0"))
    version = entry.get("price_version", "")
    if version:
        figures.price_versions |= {version}


def _add_signal(sums: Tally, entry: Entry) -> None:
    sums.setdefault(_signal_key(entry), Figures()).signals += entry.get("quantity", 1)


def _add_void(sums: Tally, entry: Entry) -> None:
    sums.setdefault(_signal_key(entry), Figures()).signals -= entry.get("quantity", 1)


def _cost_key(entry: Entry) -> TallyKey:
    return TallyKey(
        provider=entry.get("provider", ""),
        model=entry.get("model", ""),
        agent_id=entry.get("agent_id", ""),
        currency=entry.get("currency", "USD"),
    )


def _signal_key(entry: Entry) -> TallyKey:
    return TallyKey(agent_id=entry.get("agent_id", ""), signal_name=entry["signal_name"])


_ADD: Final = {
    "usage": _add_usage,
    "adjustment": _add_adjustment,
    "signal": _add_signal,
    "void": _add_void,
}
