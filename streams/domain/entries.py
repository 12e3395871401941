"""Entries as they follow from facts: what each says about where it comes from, what it cost, what
it burnt."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas.budget import Denomination
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import (
    GrantEntry,
    Preflight,
    ResolutionEntry,
    SignalEntry,
    VoidEntry,
)
from streams.domain.budget import balance_text
from streams.domain.context import Context
from streams.domain.facts import (
    ClaimingFact,
    DiscardFact,
    EventFact,
    GrantFact,
    Origin,
    PreflightFact,
    ReplayFact,
    SignalFact,
    SourceRecord,
    VoidFact,
)
from streams.domain.ledger import entry_id

DENOMINATIONS: Final = {one.value: one for one in Denomination}
"""Looked up in a dictionary: Python 3.11 takes longer to make a member of an enumeration than to
add up all grants of a customer."""


@dataclass(frozen=True, slots=True)
class Position:
    """What all entries of a cycle carry. `origin` is where the record of a replayed fact lay, None
    for what the cycle itself took."""

    generation: int
    partition: int
    cycle: int
    decided_at_us: int
    origin: Origin | None = None


def first_sight_grants(
    fact: EventFact | PreflightFact, context: Context, position: Position, sequence: int
) -> list[GrantEntry]:
    """The default plan's grants, for the first accepted fact of a customer. `sequence` is the
    first's."""
    return [
        GrantEntry(
            **sourced(fact, position, sequence + index, index + 1),
            denomination=grant.denomination,
            amount=balance_text(grant.denomination, grant.amount),
            priority=grant.priority,
            effective_at=position.decided_at_us,
            reason=grant.reason,
            resets="" if grant.resets is None else grant.resets.value,
        )
        for index, grant in enumerate(context.plan)
    ]


def signal_entry(fact: SignalFact, position: Position, sequence: int) -> SignalEntry:
    """The entry of an accepted signal."""
    body = fact.body
    return SignalEntry(
        **sourced(fact, position, sequence),
        agent_id=body.agent_id or "",
        trace_id=body.trace_id or "",
        scope_id=body.scope_id or "",
        signal_name=body.name,
        quantity=body.quantity,
        cost_tracing=body.cost_tracing,
        weight=body.weight,
        span_id=body.span_id or "",
        parent_span_id=body.parent_span_id or "",
    )


def void_entry(fact: VoidFact, position: Position, sequence: int) -> VoidEntry:
    """The entry of a signal taken back, in the period of the signal."""
    body = fact.body
    common = sourced(fact, position, sequence)
    if body.signal_occurred_at is not None:
        common["occurred_at"] = body.signal_occurred_at
    return VoidEntry(
        **common,
        agent_id=body.agent_id or "",
        trace_id=body.trace_id or "",
        scope_id=body.scope_id or "",
        signal_name=body.signal_name,
        quantity=body.quantity,
        signal_entry=body.signal_entry,
        signal_cost=body.cost,
        note=body.reason,
    )


def grant_entry(fact: GrantFact, position: Position, sequence: int) -> GrantEntry:
    """The entry of an accepted grant; without a beginning of its own it counts from the cycle
    on."""
    body = fact.body
    effective = fact.effective_at_us
    return GrantEntry(
        **sourced(fact, position, sequence),
        denomination=body.denomination,
        amount=balance_text(body.denomination, fact.amount),
        priority=body.priority,
        effective_at=position.decided_at_us if effective is None else effective,
        expires_at=fact.expires_at_us,
        reason=body.reason or "",
        resets="" if body.resets is None else body.resets.value,
        anchor=fact.anchor_us,
        rollover_max=balance_text(body.denomination, fact.rollover_max),
        used=None if fact.used is None else balance_text(body.denomination, fact.used),
    )


def resolution_entry(
    fact: ReplayFact | DiscardFact,
    resolution: Literal["replayed", "duplicate", "discarded"],
    position: Position,
    sequence: int,
) -> ResolutionEntry:
    """What became of a dead letter."""
    return ResolutionEntry(
        **sourced(fact, position, sequence),
        letter_id=fact.body.letter_id,
        resolution=resolution,
        note=fact.body.reason if isinstance(fact, DiscardFact) else "",
    )


def sourced(
    fact: ClaimingFact | PreflightFact, position: Position, sequence: int, index: int = 0
) -> dict[str, Any]:
    """What every entry of a fact says about where it comes from.

    The fact's own entry has index 0 whether or not others stand before it, so that its id does not
    depend on which fact of a customer was folded first.
    """
    body, record = fact.body, fact.record
    if isinstance(body, Preflight):
        customer_id, event_id = body.account_id, body.idempotency_key
    else:
        customer_id, event_id = body.customer_id, body.event_id
    return recorded(record, position, sequence, index, fact.occurred_at_us) | {
        "customer_id": customer_id,
        "source": body.source,
        "event_id": event_id,
    }


def recorded(
    record: SourceRecord, position: Position, sequence: int, index: int, occurred_at_us: int
) -> dict[str, Any]:
    """What every entry says about the record that it follows from, and when it was decided."""
    return {
        "schema_version": SCHEMA_VERSION,
        "entry_id": position_id(record, position, index),
        "generation": position.generation,
        "partition": position.partition,
        "sequence": sequence,
        "cycle": position.cycle,
        "decided_at": position.decided_at_us,
        "topic": record.topic,
        "source_offset": record.offset,
        "entry_index": index,
        "appended_at": record.appended_at_us,
        "occurred_at": occurred_at_us,
    }


def position_id(record: SourceRecord, position: Position, index: int) -> str:
    """The id of the index-th entry that follows from a record, decided at a position."""
    origin = position.origin or position
    return entry_id(origin.generation, record.topic, origin.partition, record.offset, index)
