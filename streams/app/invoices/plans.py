"""What is to be closed: a customer's next period, and by which rate card which stretch of it is
charged.

Looks time zones, terms and plans up once and for all: what comes of it is pinned in the close.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streams.domain.invoices.calendar import CivilPeriod, following, period_containing
from streams.domain.invoices.timeline import Segment, TermsAt, segments, terms_at
from streams.domain.rate_cards import RateShelf
from streams.errors import SetupError
from streams.invoicing.billing import Billing, Place, Plain


@dataclass(frozen=True, slots=True)
class Period:
    """A period of a customer in a time zone."""

    zone: str
    civil: CivilPeriod

    @property
    def label(self) -> str:
        """What it is called."""
        return self.civil.label

    @property
    def close_id(self) -> str:
        """The id of the fact that closes it: a period is closed once."""
        return f"close:{self.civil.from_us}:{self.civil.to_us}"


class PlanError(SetupError):
    """What is known of one customer does not make a period. Others are not concerned."""


@contextmanager
def _planning(billing: Billing) -> Iterator[None]:
    try:
        yield
    except ValueError as fault:
        raise PlanError(
            f"customer {billing.customer_id!r} cannot be invoiced: {fault}",
            action="Correct its terms with `tollgate rates assign`, or put fewer versions of its "
            "rate card in force within one period.",
        ) from fault


def terms_of(billing: Billing) -> list[TermsAt]:
    """A customer's terms in the order in which they were said."""
    return [
        TermsAt(
            int(one["terms_from"]),
            str(one["plan"]),
            str(one["card"]),
            str(one["zone"]),
            int(one["anchor_day"]),
        )
        for one in billing.terms
    ]


def begins_at(billing: Billing, first_us: int | None) -> int | None:
    """When a customer begins to be billed: with the first usage, or with the first terms where
    those come earlier; None for one who has neither."""
    times = [int(one["terms_from"] or one["occurred_at"]) for one in billing.terms]
    times += [] if first_us is None else [first_us]
    return min(times, default=None)


def next_period(billing: Billing, first_us: int | None) -> Period | None:
    """What is to be closed next: the period that follows on the last one, or the first one. None
    for a customer of whom there is nothing. Raises PlanError."""
    if billing.billed_to:
        return _following(billing, billing.billed_to)
    begins_us = begins_at(billing, first_us)
    if begins_us is None:
        return None
    terms = terms_at(terms_of(billing), begins_us)
    with _planning(billing):
        return Period(terms.zone, period_containing(begins_us, terms.zone, terms.anchor_day))


def period_after(billing: Billing, period: Period) -> Period:
    """The period that follows on another. Raises PlanError."""
    return _following(billing, period.civil.to_us)


def _following(billing: Billing, to_us: int) -> Period:
    terms = terms_at(terms_of(billing), to_us)
    with _planning(billing):
        return Period(terms.zone, following(to_us, terms.zone, terms.anchor_day))


def recorded_period(close: Plain) -> Period:
    """The period of a close."""
    civil = CivilPeriod(str(close["label"]), int(close["period_from"]), int(close["period_to"]))
    return Period(str(close["zone"]), civil)


def pinned(billing: Billing, from_us: int, to_us: int, shelf: RateShelf) -> list[Segment]:
    """A stretch of time by the terms, plans and cards as they are known now.

    Raises PlanError where they change more often than a close can say.
    """
    with _planning(billing):
        return segments(from_us, to_us, terms_of(billing), shelf.plan_versions, shelf.card_versions)


def charges(pieces: Sequence[Segment]) -> bool:
    """Whether anything is under a rate card."""
    return any(piece.card for piece in pieces)


def close_fields(period: Period, pieces: Sequence[Segment], reissues: str = "") -> dict[str, Any]:
    """Of the fact that closes a period."""
    return {
        "label": period.label,
        "zone": period.zone,
        "period_from": period.civil.from_us,
        "period_to": period.civil.to_us,
        "segments": [
            {"card": one.card, "version": one.version, "from_us": one.from_us, "to_us": one.to_us}
            for one in pieces
        ],
        "reissues": reissues,
    }


def draft_close(
    billing: Billing,
    period: Period,
    pieces: Sequence[Segment],
    cut: Place,
    after: Place | None = None,
) -> Plain:
    """What the close of a period would say if it stood at `cut`: an entry that nobody has written,
    without a place of its own.

    What came after the last close corrects earlier periods, unless `after` says from where on.
    """
    last = billing.last_close
    if after is None:
        after = (0, 0) if last is None else (int(last["cut_generation"]), int(last["cut_sequence"]))
    return close_fields(period, pieces) | {
        "kind": "invoice_close",
        "customer_id": billing.customer_id,
        "number": "",
        "cut_generation": cut[0],
        "cut_sequence": cut[1],
        "after_generation": after[0],
        "after_sequence": after[1],
        "after_end": billing.billed_to,
    }
