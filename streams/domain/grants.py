"""Grants and the order in which usage burns them."""

from bisect import insort
from collections.abc import Iterable
from typing import Final

from schemas.budget import Denomination
from schemas.structs import Row
from streams.domain.periods import period_index, period_start

NEVER_US: Final = 2**62
"""Later than every time on the wire: what has no expiry sorts last."""


class Renewal(Row):
    """How a grant resets. `from_us` is where the period begins that its `remaining` belongs to;
    `rollover_max` is what a new period takes over from the one before it at the most."""

    interval: str
    amount: int
    from_us: int
    anchor_us: int | None = None
    rollover_max: int = 0


class OpenGrant(Row):
    """What is left of a grant. `remaining` counts units, tokens or pico-dollars; it is positive,
    or 0 until the next period of a grant that resets."""

    grant_id: str
    denomination: str
    remaining: int
    priority: int
    effective_at_us: int
    expires_at_us: int | None = None
    renewal: Renewal | None = None


def burn_order(grant: OpenGrant) -> tuple[int, int, int, str]:
    """Sorts grants into the order in which they burn: priority, then the earliest expiry, then the
    earliest beginning, then the id, so that the order never depends on arrival."""
    expires = NEVER_US if grant.expires_at_us is None else grant.expires_at_us
    return (grant.priority, expires, grant.effective_at_us, grant.grant_id)


def insert_grant(grants: list[OpenGrant], grant: OpenGrant) -> None:
    """Puts a grant into a list that is and stays in burn order."""
    insort(grants, grant, key=burn_order)


def open_at(grant: OpenGrant, now_us: int) -> bool:
    """Whether a grant can be burnt at a domain time (M4)."""
    return grant.effective_at_us <= now_us and (
        grant.expires_at_us is None or now_us < grant.expires_at_us
    )


def left_at(grant: OpenGrant, now_us: int) -> int:
    """What is left of a grant at a domain time: its whole amount, and what rolls over, where a
    period has begun since it was last burnt. Nothing is changed, and no clock is asked."""
    renewal = grant.renewal
    if renewal is None:
        return grant.remaining
    interval, anchor = renewal.interval, renewal.anchor_us
    passed = period_index(interval, now_us, anchor) - period_index(
        interval, renewal.from_us, anchor
    )
    if passed <= 0:
        return grant.remaining
    # Of n periods the last n - 1 went by unused: each left its amount to the next, up to the most.
    unused = grant.remaining + (passed - 1) * renewal.amount
    return renewal.amount + min(renewal.rollover_max, unused)


def renew(grant: OpenGrant, now_us: int) -> None:
    """Begins the period of a domain time, at which the grant is open, in one that resets, in
    place."""
    if grant.renewal is not None:
        grant.remaining = left_at(grant, now_us)
        renewal = grant.renewal
        renewal.from_us = period_start(renewal.interval, now_us, renewal.anchor_us)


def unexpired(grants: Iterable[OpenGrant], now_us: int) -> list[OpenGrant]:
    """The grants that are not over at a domain time, in their order."""
    return [g for g in grants if g.expires_at_us is None or now_us < g.expires_at_us]


def plan_burn(
    grants: Iterable[OpenGrant], denomination: Denomination, amount: int, now_us: int
) -> list[tuple[OpenGrant, int]]:
    """What an amount takes from which grants, in burn order; nothing is changed.

    The parts sum to the amount or, where the grants do not reach, to all that is open.
    """
    return plan_burns(grants, {denomination.value: amount}, now_us)


def plan_burns(
    grants: Iterable[OpenGrant], due: dict[str, int], now_us: int
) -> list[tuple[OpenGrant, int]]:
    """What amounts, by denomination, take from which grants, in burn order; no grant is changed.

    `due` is: afterwards it holds what no grant covers.
    """
    burns: list[tuple[OpenGrant, int]] = []
    for grant in grants:
        amount = due.get(grant.denomination, 0)
        if amount > 0 and open_at(grant, now_us):
            left = grant.remaining if grant.renewal is None else left_at(grant, now_us)
            part = left if left < amount else amount
            if part:
                burns.append((grant, part))
                due[grant.denomination] = amount - part
    return burns
