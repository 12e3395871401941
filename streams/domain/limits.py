"""Limits: the most that a customer, or one of its agents, may use in a period or in all.

A limit refuses preflights and never a record: what was used beyond it is counted all the same. It
counts from the entry that sets it on; a new amount for the same agent and denomination keeps what
its period has used.
"""

from collections.abc import Iterable

from schemas.structs import Row
from streams.domain.periods import period_index, period_start


class OpenLimit(Row):
    """A limit in force. `used` belongs to the period that begins at `from_us`; `agent_id` is empty
    where it bounds the whole customer."""

    agent_id: str
    denomination: str
    amount: int
    used: int = 0
    resets: str = ""
    anchor_us: int | None = None
    from_us: int = 0
    since_generation: int = 0
    since_sequence: int = -1
    """The place in the ledger of the entry that it counts from."""


def used_at(limit: OpenLimit, now_us: int) -> int:
    """What has been used of a limit in the period of a domain time."""
    if limit.resets and period_index(limit.resets, now_us, limit.anchor_us) > period_index(
        limit.resets, limit.from_us, limit.anchor_us
    ):
        return 0
    return limit.used


def count_use(limit: OpenLimit, amount: int, now_us: int) -> None:
    """Counts a use at a domain time, in place."""
    limit.used = used_at(limit, now_us) + amount
    if limit.resets:
        start = period_start(limit.resets, now_us, limit.anchor_us)
        limit.from_us = max(limit.from_us, start)


def set_limit(limits: list[OpenLimit], fresh: OpenLimit) -> None:
    """Puts a limit in force in place of the one of the same agent and denomination, whose use it
    goes on counting where both have the same periods."""
    for place, old in enumerate(limits):
        if (old.agent_id, old.denomination) == (fresh.agent_id, fresh.denomination):
            if (old.resets, old.anchor_us) == (fresh.resets, fresh.anchor_us):
                fresh.used, fresh.from_us = old.used, old.from_us
                fresh.since_generation = old.since_generation
                fresh.since_sequence = old.since_sequence
            limits[place] = fresh
            return
    limits.append(fresh)


def lift_limit(limits: list[OpenLimit], agent_id: str, denomination: str) -> None:
    """Takes a limit out of force, in place; nothing where there is none."""
    limits[:] = [
        one for one in limits if (one.agent_id, one.denomination) != (agent_id, denomination)
    ]


def binding(
    limits: Iterable[OpenLimit], denomination: str, agent_id: str | None
) -> list[OpenLimit]:
    """The limits that a use by an agent (or by none) meets."""
    return [
        limit
        for limit in limits
        if limit.denomination == denomination and limit.agent_id in ("", agent_id or "")
    ]
