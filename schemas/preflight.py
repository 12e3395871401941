"""Preflight facts, version 1: what the owner of a partition decided. Topic `preflights`, written by
it alone, keyed by the id of the account.

Every record but a lease carries the lease (offset and nonce) under which it was written; it counts
only if the last lease record before it is exactly that one (decision 016).
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.budget import Denomination
from schemas.envelope import Amount, Id, Name, Offset, Record, TimeUs

Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
AccountKind = Literal["customer", "task"]


class Lease(Record):
    """An owner took the partition; its offset on the topic is the lease."""

    kind: Literal["lease"] = "lease"
    nonce: Nonce
    owner: Name
    """The address under which it answers."""
    cycle: Annotated[int, Field(ge=0)]
    """The last cycle that its tables held."""
    decided_at: TimeUs


class UnderLease(Record):
    """Base of what an owner appends: the lease it holds, the account that it concerns, and the time
    it decided at."""

    lease: Offset
    nonce: Nonce
    decided_at: TimeUs
    account_kind: AccountKind
    account_id: Id


class Preflight(UnderLease):
    """The answer to "may I spend this?", approved or refused, decided once.

    An approval places a hold of `estimate` in `denomination`, called by this record's position.
    `seen_*` say which state it was decided on (P5): the last cycle folded, and the records of the
    topic before `seen_offset` beside it. With it, what is asked for and the time, anybody can
    decide it again.
    """

    kind: Literal["preflight"] = "preflight"
    source: Id
    idempotency_key: Id
    body_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    """Of what was asked: the same key with another hash is a conflict."""
    agent_id: Id | None = None
    task_ref: Id | None = None
    denomination: Denomination
    estimate: Amount
    asked_estimate: Amount | None = None
    """The estimate as it was asked, where that was written otherwise."""
    ceiling: Amount | None = None
    """The most that was to be paid for this one request, as it was asked."""
    approved: bool
    reason: Name | None = None
    """Why it was refused."""
    remaining: Amount | None = None
    """Of the account in this denomination after this hold; missing where nothing bounds it."""
    expires_at: TimeUs
    task_reservation_id: Name | None = None
    """The hold of the task that goes with this one."""
    task_ceiling: Amount | None = None
    """Opens the task account with this ceiling, in `denomination`."""
    seen_cycle: Annotated[int, Field(ge=0)]
    seen_offset: Offset
    seen_catalog_offset: Offset


class Release(UnderLease):
    """A hold given back before it was used."""

    kind: Literal["release"] = "release"
    reservation_id: Name


class Extension(UnderLease):
    """A hold that lasts longer."""

    kind: Literal["extension"] = "extension"
    reservation_id: Name
    expires_at: TimeUs


class Expiry(UnderLease):
    """A hold whose time is over, and all usage appended before that has been folded (P3)."""

    kind: Literal["expiry"] = "expiry"
    reservation_id: Name


class Tick(Record):
    """Time that passed while no record came; acts once the end offsets it carries are folded."""

    kind: Literal["tick"] = "tick"
    lease: Offset
    nonce: Nonce
    decided_at: TimeUs
    end_offsets: dict[str, Offset]
