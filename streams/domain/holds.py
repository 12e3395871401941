"""Holds: money set aside by an approved preflight, until it is settled, used up, released or
expires. Each ends once (P9).

A hold has an amount and an open part of it. Usage that names it closes it whole, whatever was used;
usage that settles the oldest reduces holds in the order in which they were placed; the last part of
one closes it.

Whoever has holds keeps them by id, in the order in which they were placed, and beside them what
they set aside in all by denomination: a decision asks for the sum, and an end for the one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from schemas.structs import Row, Value
from streams.domain.identity import Claim

HOLDS: Final = "holds"
"""The claims' name of closed holds, and of nothing on any topic."""

PREFLIGHTS: Final = "preflights"

CLOSED_AS: Final = ("settled", "used_up", "released", "expired")
"""How a hold ends, in the order of the codes that a claim of it begins with."""

HASH_BYTES: Final = 16


class Hold(Row):
    """An open hold. Amounts count units, tokens or pico-dollars; `open` is at least 1 except where
    nothing was held (`amount` 0)."""

    reservation_id: str
    denomination: str
    amount: int
    open: int
    placed_at_us: int
    expires_at_us: int
    agent_id: str = ""
    task_ref: str = ""
    task_reservation_id: str = ""


class Taken(Value, frozen=True):
    """What a settlement takes from one hold; `closes` says that it ends it."""

    hold: Hold
    amount: int
    closes: bool


class Holder(Protocol):
    """Who has open holds: an account, a task, or an owner's decisions that are not folded yet."""

    holds: dict[str, Hold]
    """By id, in the order in which they were placed."""
    held: dict[str, int]
    """What they set aside, by denomination; 0 is left out. Always the sum of their open parts."""


@dataclass(slots=True)
class OpenHolds:
    """Holds that stand in no row."""

    holds: dict[str, Hold] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)


def place(holder: Holder, hold: Hold) -> None:
    """Adds a hold, in place, behind all that were placed before it."""
    holder.holds[hold.reservation_id] = hold
    _count(holder, hold.denomination, hold.open)


def held_of_agent(holds: Iterable[Hold], denomination: str, agent_id: str) -> int:
    """What the open holds of one agent set aside in a denomination."""
    return sum(
        hold.open
        for hold in holds
        if hold.agent_id == agent_id and hold.denomination == denomination
    )


def settle_oldest(holds: Iterable[Hold], task_ref: str, used: dict[str, int]) -> list[Taken]:
    """What an event takes from the oldest holds of its task (of no task, where it names none),
    by denomination as far as each was used. Nothing is changed.

    An event that used nothing of a denomination closes nothing of it.
    """
    left = dict(used)
    taken = []
    for hold in holds:
        amount = left.get(hold.denomination, 0)
        if hold.task_ref == task_ref and amount > 0:
            part = min(amount, hold.open)
            left[hold.denomination] = amount - part
            taken.append(Taken(hold, part, part == hold.open))
    return taken


def due(holds: Iterable[Hold], now_us: int) -> list[str]:
    """The ids of the holds whose time is over at a domain time."""
    return [hold.reservation_id for hold in holds if hold.expires_at_us <= now_us]


def close(holder: Holder, reservation_id: str) -> Hold:
    """Takes an open hold out, in place. It must be there."""
    hold = holder.holds.pop(reservation_id, None)
    if hold is None:
        raise AssertionError(f"hold {reservation_id!r} ends and is not open")
    _count(holder, hold.denomination, -hold.open)
    return hold


def reduce(holder: Holder, reservation_id: str, amount: int) -> None:
    """Takes a part from an open hold, in place; the hold stays, even where nothing is left."""
    hold = holder.holds.get(reservation_id)
    if hold is None or hold.open < amount:
        raise AssertionError(f"hold {reservation_id!r} has no {amount} left")
    hold.open -= amount
    _count(holder, hold.denomination, -amount)


def _count(holder: Holder, denomination: str, amount: int) -> None:
    total = holder.held.get(denomination, 0) + amount
    if total:
        holder.held[denomination] = total
    else:
        holder.held.pop(denomination, None)


def closed_claim(closed_as: str, decided_at_us: int, offset: int) -> Claim:
    """How a hold ended, as the claims remember it for their horizon."""
    return Claim(
        bytes([CLOSED_AS.index(closed_as)]).ljust(HASH_BYTES, b"\0"), decided_at_us, offset
    )


def closed_as(claim: Claim) -> str:
    """How the hold of a claim ended."""
    return CLOSED_AS[claim.body_hash[0]]


def hold_id(generation: int, partition: int, offset: int) -> str:
    """The id of the hold that the record at an offset of `preflights` places (P10)."""
    return f"{generation}-{partition}-{offset}"


def parse_hold_id(text: str) -> tuple[int, int, int] | None:
    """Generation, partition and offset of a hold's id, None where it can be none of ours."""
    parts = text.split("-")
    if len(parts) != 3 or not all(
        part.isascii() and part.isdigit() and len(part) < 20 for part in parts
    ):
        return None
    generation, partition, offset = map(int, parts)
    return generation, partition, offset
