"""Preflight facts, version 1: what the owner of a partition decided. Topic `preflights`, written by
it alone.

Every record carries the lease (offset and nonce) under which it was written; it counts only if no
other lease record stands between that lease and itself.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.budget import Denomination
from schemas.envelope import Amount, Id, Name, Record, TimeUs

Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Offset = Annotated[int, Field(ge=0)]


class Lease(Record):
    """An owner took the partition; its offset on the topic is the lease."""

    kind: Literal["lease"] = "lease"
    nonce: Nonce
    owner: Name
    cycle: Annotated[int, Field(ge=0)]


class UnderLease(Record):
    """Base of what an owner appends: the lease it holds and the time it decided at."""

    lease: Offset
    nonce: Nonce
    decided_at: TimeUs


class Preflight(UnderLease):
    """The answer to "may I spend this?", approved or refused, decided once."""

    kind: Literal["preflight"] = "preflight"
    customer_id: Id
    source: Id
    idempotency_key: Id
    agent_id: Id | None = None
    task_ref: Id | None = None
    denomination: Denomination
    estimate: Amount
    approved: bool
    reason: Name | None = None
    expires_at: TimeUs
    cycle: Annotated[int, Field(ge=0)]
    preflights_offset: Offset
    catalog_offset: Offset


class Release(UnderLease):
    """A hold given back before it was used."""

    kind: Literal["release"] = "release"
    customer_id: Id
    reservation_id: Id


class Expiry(UnderLease):
    """A hold whose time is over."""

    kind: Literal["expiry"] = "expiry"
    customer_id: Id
    reservation_id: Id


class Tick(UnderLease):
    """Time that passed while no record came; acts once the end offsets it carries are folded."""

    kind: Literal["tick"] = "tick"
    end_offsets: dict[str, Offset]
