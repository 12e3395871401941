"""Which version of which card is in force when: a period as segments under one version each.

Asked when a period is drafted or closed; a close pins the segments. In force at a time is what is
effective from the latest time before it; of two from the same time, what was appended last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from schemas.limits import INVOICE_SEGMENTS_MAX

DEFAULT_PLAN: Final = "default"
"""The plan of customers without terms."""


@dataclass(frozen=True, slots=True)
class TermsAt:
    """Terms of a customer from a time on: a plan or a card, and the billing calendar."""

    from_us: int
    plan: str = ""
    card: str = ""
    zone: str = "UTC"
    anchor_day: int = 1


@dataclass(frozen=True, slots=True)
class PlanAt:
    """A version of a plan: the card that it points to from a time on."""

    plan: str
    from_us: int
    card: str


@dataclass(frozen=True, slots=True)
class CardAt:
    """A version of a card, in force from a time on."""

    card: str
    version: str
    from_us: int


@dataclass(frozen=True, slots=True)
class Segment:
    """[from_us, to_us) of a period under one version of a card. Card "": nothing is charged."""

    card: str
    version: str
    from_us: int
    to_us: int

    @property
    def name(self) -> str:
        """Card and version as lines name them, "" without a card."""
        return f"{self.card}@{self.version}" if self.card else ""


class _Effective(Protocol):
    @property
    def from_us(self) -> int: ...


_At = TypeVar("_At", bound=_Effective)


def terms_at(terms: Sequence[TermsAt], time_us: int) -> TermsAt:
    """The terms in force; those of plan `default` where there are none yet."""
    return _in_force(terms, time_us) or TermsAt(0, plan=DEFAULT_PLAN)


def segments(
    period_from: int,
    period_to: int,
    terms: Sequence[TermsAt],
    plans: Sequence[PlanAt],
    cards: Sequence[CardAt],
) -> list[Segment]:
    """A period as segments: contiguous, neighbours differ. All sequences stand in the order of
    their appends; what the customer does not have is passed over.

    Raises ValueError for an empty period and for more than INVOICE_SEGMENTS_MAX segments.
    """
    if period_from >= period_to:
        raise ValueError("a period ends after it begins")
    changes = sorted(
        {at.from_us for at in _all(terms, plans, cards) if period_from < at.from_us < period_to}
    )
    found: list[Segment] = []
    for from_us, to_us in zip([period_from, *changes], [*changes, period_to], strict=True):
        card, version = _card_at(from_us, terms, plans, cards)
        if found and (found[-1].card, found[-1].version) == (card, version):
            found[-1] = replace(found[-1], to_us=to_us)
        else:
            found.append(Segment(card, version, from_us, to_us))
    if len(found) > INVOICE_SEGMENTS_MAX:
        raise ValueError(
            f"the cards change {len(found) - 1} times in one period, and a close holds "
            f"{INVOICE_SEGMENTS_MAX} segments: give some of the changes the same date"
        )
    return found


def _card_at(
    time_us: int, terms: Sequence[TermsAt], plans: Sequence[PlanAt], cards: Sequence[CardAt]
) -> tuple[str, str]:
    """Card and version in force, two empty texts where there is none."""
    own = terms_at(terms, time_us)
    card = own.card
    if not card:
        plan = _in_force([at for at in plans if at.plan == own.plan], time_us)
        card = plan.card if plan else ""
    found = _in_force([at for at in cards if at.card == card], time_us)
    return (found.card, found.version) if found else ("", "")


def _in_force(found: Iterable[_At], time_us: int) -> _At | None:
    latest: _At | None = None
    for at in found:
        if at.from_us <= time_us and (latest is None or at.from_us >= latest.from_us):
            latest = at
    return latest


def _all(
    terms: Sequence[TermsAt], plans: Sequence[PlanAt], cards: Sequence[CardAt]
) -> list[TermsAt | PlanAt | CardAt]:
    return [*terms, *plans, *cards]
