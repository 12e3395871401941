"""Settling: what a usage event does to holds, and what it charges because of them.

An event names a hold, or means the oldest ones of its task, or none. What it charges depends on
them where its own figures are missing: a caller that does not know what was used is charged at
least what was held, and so is a dollar balance for an event without a price (M1).
"""

from collections.abc import Mapping
from typing import Literal

from schemas.structs import Usage, Value
from streams.domain.holds import Hold, Taken, settle_oldest
from streams.domain.rating import Rating, total_tokens

Said = Literal["", "settled", "already_closed", "not_found"]


class Settlement(Value, frozen=True):
    """An event's charge, and what it takes from which holds. `tokens` are all that it charges,
    `missing_tokens` those among them that it does not tell."""

    said: Said
    units: int
    tokens: int
    missing_tokens: int
    rating: Rating
    taken: list[Taken]


def settle(holds: Mapping[str, Hold], body: Usage, rating: Rating, *, closed: bool) -> Settlement:
    """What an event that means holds settles. Nothing is changed.

    `holds` are the open ones of its customer by id, oldest first; `closed` says whether the one
    that it names had ended before.
    """
    told = total_tokens(body.tokens)
    if body.reservation_id is not None:
        hold = holds.get(body.reservation_id)
        said: Said = "settled" if hold else "already_closed" if closed else "not_found"
    else:
        hold = _oldest(holds, body)
        said = "settled" if hold else "not_found"
        if hold is not None and body.success and not body.usage_missing:
            used = {"unit": body.units, "token": told, "usd": charged_usd(rating)}
            taken = settle_oldest(holds.values(), body.task_ref or "", used)
            return Settlement(said, body.units, told, 0, rating, taken)
    if hold is None:
        return Settlement(said, body.units, told, 0, rating, [])
    units, tokens = body.units, told
    if hold.denomination == "usd" and (body.usage_missing or rating.basis == "unpriced"):
        rating = _at_least(rating, hold.open)
    elif body.usage_missing and hold.denomination == "unit":
        units = max(units, hold.open)
    elif body.usage_missing and hold.denomination == "token":
        tokens = max(tokens, hold.open)
    used_of = {"unit": units, "token": tokens, "usd": charged_usd(rating)}
    part = min(used_of[hold.denomination], hold.open)
    return Settlement(said, units, tokens, tokens - told, rating, [Taken(hold, part, True)])


def charged_usd(rating: Rating) -> int:
    """What an event charges in dollars, provisionally or not, in pico."""
    return rating.cost_pico + rating.provisional_pico if rating.currency == "USD" else 0


def closes_as(body: Usage, taken: Taken) -> Literal["settled", "used_up", "released"]:
    """How a hold ends that an event takes from and closes."""
    if not body.success and not taken.amount:
        return "released"
    if body.reservation_id is None and taken.amount == taken.hold.open:
        return "used_up"
    return "settled"


def _oldest(holds: Mapping[str, Hold], body: Usage) -> Hold | None:
    task_ref = body.task_ref or ""
    return next((hold for hold in holds.values() if hold.task_ref == task_ref), None)


def _at_least(rating: Rating, pico_usd: int) -> Rating:
    """The rating with at least so much charged, the difference provisionally."""
    lacks = max(0, pico_usd - charged_usd(rating))
    if not lacks or rating.currency != "USD":
        return rating
    return Rating(
        rating.cost_pico,
        rating.currency,
        rating.basis,
        rating.price_version,
        rating.priced_as,
        rating.provisional_pico + lacks,
        rating.override,
        rating.partial,
    )
