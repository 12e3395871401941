"""Entries as they follow from facts: what each says about where it comes from, what it cost, what
it burnt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas.budget import Denomination
from schemas.envelope import SCHEMA_VERSION
from schemas.money import format_amount
from schemas.structs import (
    Burn,
    GrantEntry,
    HoldPart,
    Preflight,
    ResolutionEntry,
    SignalEntry,
    Usage,
    UsageEntry,
    Value,
)
from streams.domain.budget import balance_text
from streams.domain.context import Context
from streams.domain.facts import (
    NO_TOKENS,
    ClaimingFact,
    DiscardFact,
    EventFact,
    GrantFact,
    Origin,
    PreflightFact,
    ReplayFact,
    SignalFact,
    SourceRecord,
    UsageFact,
)
from streams.domain.grants import OpenGrant, plan_burns
from streams.domain.holds import Hold
from streams.domain.ledger import entry_id
from streams.domain.rating import UNPRICED, Rating, rate, total_tokens
from streams.domain.settling import Settlement, settle

DENOMINATIONS: Final = {one.value: one for one in Denomination}
"""Looked up in a dictionary: Python 3.11 takes longer to make a member of an enumeration than to
add up all grants of a customer."""

_ORDER: Final = {one.value: place for place, one in enumerate(Denomination)}

NO_FLAGS: Final[list[str]] = []

FOREIGN_CURRENCY: Final = "currency_without_balance"
"""Flag of a cost in a currency that no balance is kept in (M3)."""


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


class Cover(Value, frozen=True):
    """How much of a usage event the open grants cover, and what that takes from which."""

    units: int
    tokens: int
    pico_usd: int
    burns: list[Burn]


NO_COVER: Final = Cover(0, 0, 0, [])

NO_HOLDS: Final[Mapping[str, Hold]] = {}


def usage_entry(
    fact: UsageFact,
    grants: list[OpenGrant],
    context: Context,
    position: Position,
    sequence: int,
    holds: Mapping[str, Hold] = NO_HOLDS,
    *,
    named_closed: bool = False,
) -> tuple[UsageEntry, Settlement | None]:
    """The entry of an accepted usage event, rated and covered by these grants, which stand in burn
    order; and what it settles of these holds, None where it means none.

    `named_closed` says whether the hold that it names has ended before.
    """
    body, tokens = fact.body, fact.body.tokens
    rating = rate(
        body,
        fact.cost_pico,
        fact.occurred_at_us,
        context.prices,
        context.provisional_pico_per_million,
    )
    units, settlement = body.units, None
    if body.reservation_id is not None or body.settles_oldest:
        settlement = settle(holds, body, rating, closed=named_closed)
        units, rating = settlement.units, settlement.rating
    cover = NO_COVER
    if grants:
        used_tokens = total_tokens(tokens) if settlement is None else settlement.tokens
        cover = _cover(grants, units, used_tokens, rating, position.decided_at_us)
    entry = _stated(fact, position, sequence, units, rating, cover, settlement)
    return entry, settlement


def _stated(
    fact: UsageFact,
    position: Position,
    sequence: int,
    units: int,
    rating: Rating,
    cover: Cover,
    settlement: Settlement | None,
) -> UsageEntry:
    body, record = fact.body, fact.record
    tokens = body.tokens or NO_TOKENS
    return _usage_entry(
        SCHEMA_VERSION,
        position_id(record, position, 0),
        position.generation,
        position.partition,
        sequence,
        position.cycle,
        position.decided_at_us,
        record.topic,
        record.offset,
        0,  # entry_index
        record.appended_at_us,
        fact.occurred_at_us,
        body.customer_id,
        body.source,
        body.event_id,
        body.agent_id or "",
        body.task_ref or "",
        body.trace_id or "",
        body.provider or "",
        body.model or "",
        units,
        tokens.input,
        tokens.cache_read,
        tokens.cache_write,
        tokens.output,
        tokens.reasoning,
        tokens.input_audio,
        tokens.output_audio,
        format_amount(rating.cost_pico),
        rating.currency,
        rating.basis,
        rating.price_version,
        rating.priced_as,
        format_amount(rating.provisional_pico) if rating.provisional_pico else "0",
        cover.units,
        cover.tokens,
        format_amount(cover.pico_usd) if cover.pico_usd else "0",
        cover.burns,
        body.success,
        _flags(rating),
        *(() if settlement is None else _settled(body, settlement)),
    )


def _settled(body: Usage, settlement: Settlement) -> tuple[Any, ...]:
    """The last fields of a usage entry that means holds."""
    parts = [
        HoldPart(
            reservation_id=taken.hold.reservation_id,
            amount=balance_text(taken.hold.denomination, taken.amount),
            task_reservation_id=taken.hold.task_reservation_id,
        )
        for taken in settlement.taken
        if taken.amount
    ]
    return (
        body.reservation_id or "",
        settlement.said,
        parts,
        settlement.missing_tokens,
        body.usage_missing,
    )


_usage_entry: Final[Callable[..., UsageEntry]] = UsageEntry
"""By position: forty keywords cost more than rating the event. A test of the core compares every
field with the record that it comes from."""


def _cover(grants: list[OpenGrant], units: int, tokens: int, rating: Rating, now_us: int) -> Cover:
    dollars = rating.cost_pico + rating.provisional_pico if rating.currency == "USD" else 0
    due = {"unit": units, "token": tokens, "usd": dollars}
    planned = plan_burns(grants, due, now_us)
    if not planned:
        return NO_COVER
    burns = [
        Burn(
            grant_id=grant.grant_id,
            denomination=DENOMINATIONS[grant.denomination],
            amount=format_amount(part) if grant.denomination == "usd" else str(part),
        )
        for grant, part in planned
    ]
    if len(burns) > 1:
        burns.sort(key=_denomination_order)
    return Cover(units - due["unit"], tokens - due["token"], dollars - due["usd"], burns)


def _denomination_order(burn: Burn) -> int:
    return _ORDER[burn.denomination]


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
        "occurred_at": fact.occurred_at_us,
        "customer_id": customer_id,
        "source": body.source,
        "event_id": event_id,
    }


def position_id(record: SourceRecord, position: Position, index: int) -> str:
    """The id of the index-th entry that follows from a record, decided at a position."""
    origin = position.origin or position
    return entry_id(origin.generation, record.topic, origin.partition, record.offset, index)


def _flags(rating: Rating) -> list[str]:
    if rating.basis != "unpriced" and rating.currency == "USD":
        return NO_FLAGS
    flags = []
    if rating.basis == "unpriced":
        flags.append(UNPRICED)
    if rating.currency != "USD" and rating.cost_pico:
        flags.append(FOREIGN_CURRENCY)
    return flags
