"""Entries as they follow from facts: what each says about where it comes from, what it cost, what
it burnt."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas.budget import Denomination
from schemas.envelope import SCHEMA_VERSION
from schemas.money import format_amount
from schemas.structs import Burn, GrantEntry, ResolutionEntry, SignalEntry, UsageEntry
from streams.domain.budget import Account, balance_text, open_grant
from streams.domain.context import Context
from streams.domain.facts import (
    DiscardFact,
    EventFact,
    Fact,
    GrantFact,
    Origin,
    ReplayFact,
    SignalFact,
    UsageFact,
)
from streams.domain.grants import OpenGrant, burn_order, plan_burn
from streams.domain.ledger import entry_id
from streams.domain.rating import UNPRICED, Rating, rate, total_tokens

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
    fact: EventFact, context: Context, position: Position, sequence: int
) -> list[GrantEntry]:
    """The default plan's grants, for the first accepted fact of a customer. `sequence` is the
    first's."""
    return [
        GrantEntry(
            **_sourced(fact, position, sequence + index, index + 1),
            denomination=grant.denomination,
            amount=balance_text(grant.denomination, grant.amount),
            priority=grant.priority,
            effective_at=position.decided_at_us,
            reason=grant.reason,
            resets="" if grant.resets is None else grant.resets.value,
        )
        for index, grant in enumerate(context.plan)
    ]


def usage_entry(
    fact: UsageFact,
    account: Account | None,
    plan: list[GrantEntry],
    context: Context,
    position: Position,
    sequence: int,
) -> UsageEntry:
    """The entry of an accepted usage event: rated, and covered by the account's open grants, or by
    the plan's where this is the first fact of the customer (`account` is None then)."""
    body, tokens = fact.body, fact.body.tokens
    rating = rate(
        body,
        fact.cost_pico,
        fact.occurred_at_us,
        context.prices,
        context.provisional_pico_per_million,
    )
    grants = sorted(map(open_grant, plan), key=burn_order) if account is None else account.grants
    now_us = position.decided_at_us
    dollars = rating.cost_pico + rating.provisional_pico if rating.currency == "USD" else 0
    units = plan_burn(grants, Denomination.UNIT, body.units, now_us)
    token_burns = plan_burn(grants, Denomination.TOKEN, total_tokens(tokens), now_us)
    usd = plan_burn(grants, Denomination.USD, dollars, now_us)
    counts: dict[str, Any] = {}
    if tokens is not None:
        counts = {
            "input_tokens": tokens.input,
            "cache_read_tokens": tokens.cache_read,
            "cache_write_tokens": tokens.cache_write,
            "output_tokens": tokens.output,
            "reasoning_tokens": tokens.reasoning,
            "input_audio_tokens": tokens.input_audio,
            "output_audio_tokens": tokens.output_audio,
        }
    return UsageEntry(
        **_sourced(fact, position, sequence),
        agent_id=body.agent_id or "",
        task_ref=body.task_ref or "",
        trace_id=body.trace_id or "",
        provider=body.provider or "",
        model=body.model or "",
        units=body.units,
        **counts,
        cost=format_amount(rating.cost_pico),
        currency=rating.currency,
        cost_basis=rating.basis,
        price_version=rating.price_version,
        priced_as=rating.priced_as,
        provisional=format_amount(rating.provisional_pico),
        covered_units=sum(part for _, part in units),
        covered_tokens=sum(part for _, part in token_burns),
        covered_usd=format_amount(sum(part for _, part in usd)),
        burns=[_burn(grant, part) for grant, part in (*units, *token_burns, *usd)],
        success=body.success,
        flags=_flags(rating),
    )


def signal_entry(fact: SignalFact, position: Position, sequence: int) -> SignalEntry:
    """The entry of an accepted signal."""
    body = fact.body
    return SignalEntry(
        **_sourced(fact, position, sequence),
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
        **_sourced(fact, position, sequence),
        denomination=body.denomination,
        amount=balance_text(body.denomination, fact.amount),
        priority=body.priority,
        effective_at=position.decided_at_us if effective is None else effective,
        expires_at=fact.expires_at_us,
        reason=body.reason or "",
        resets="" if body.resets is None else body.resets.value,
    )


def resolution_entry(
    fact: ReplayFact | DiscardFact,
    resolution: Literal["replayed", "duplicate", "discarded"],
    position: Position,
    sequence: int,
) -> ResolutionEntry:
    """What became of a dead letter."""
    return ResolutionEntry(
        **_sourced(fact, position, sequence),
        letter_id=fact.body.letter_id,
        resolution=resolution,
        note=fact.body.reason if isinstance(fact, DiscardFact) else "",
    )


def _sourced(fact: Fact, position: Position, sequence: int, index: int = 0) -> dict[str, Any]:
    """What every entry of a fact says about where it comes from.

    The fact's own entry has index 0 whether or not others stand before it, so that its id does not
    depend on which fact of a customer was folded first.
    """
    body, record = fact.body, fact.record
    origin = position.origin or Origin(position.generation, position.partition)
    return {
        "schema_version": SCHEMA_VERSION,
        "entry_id": entry_id(
            origin.generation, record.topic, origin.partition, record.offset, index
        ),
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
        "customer_id": body.customer_id,
        "source": body.source,
        "event_id": body.event_id,
    }


def _flags(rating: Rating) -> list[str]:
    flags = []
    if rating.basis == "unpriced":
        flags.append(UNPRICED)
    if rating.currency != "USD" and rating.cost_pico:
        flags.append(FOREIGN_CURRENCY)
    return flags


def _burn(grant: OpenGrant, part: int) -> Burn:
    return Burn(
        grant_id=grant.grant_id,
        denomination=Denomination(grant.denomination),
        amount=balance_text(grant.denomination, part),
    )
