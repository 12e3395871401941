"""The main path: decide what a fact means, evolve the state by what was decided, fold a cycle of
facts.

    records ─▶ facts ─▶ decide(state, fact, context) ─▶ entries ─▶ evolve(state, entry) ─▶ state

`decide` is a function of its arguments and changes nothing; `evolve` applies one entry. The worker,
the audit and the property tests all go through `fold_cycle`, which numbers entries, makes claims
and puts the cycle's own entry in front (D1). Order inside a cycle: budgets, signals, usage, each by
offset.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectCode
from schemas.structs import Consumed, CycleEntry, GrantEntry, LedgerEntry, UsageEntry
from schemas.topics import BUDGETS, SIGNALS, USAGE
from streams.domain.budget import Account, add_grant, spend
from streams.domain.context import RULES_VERSION, Context
from streams.domain.entries import (
    Position,
    first_sight_grants,
    grant_entry,
    signal_entry,
    usage_entry,
)
from streams.domain.facts import Fact, GrantFact, Rejected, SignalFact, UsageFact
from streams.domain.identity import Claim, Verdict, judge
from streams.domain.ledger import cycle_id
from streams.domain.state import PartitionState, Progress

FOLD_ORDER: Final = (BUDGETS.name, SIGNALS.name, USAGE.name)
"""The order of the inbound topics inside a cycle: money comes before what spends it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a fact is not accepted."""

    code: RejectCode
    reason: str
    field: str = ""


Decision = list[LedgerEntry] | Verdict | Refusal
"""Entries of an accepted fact, a verdict (duplicate or replay: counted, nothing else), or a
refusal."""


@dataclass(slots=True)
class CycleResult:
    """What a cycle appends. `entries` begin with the cycle's own."""

    entries: list[LedgerEntry]
    rejected: list[Rejected] = field(default_factory=list)


def decide(state: PartitionState, fact: Fact, context: Context, position: Position) -> Decision:
    """What a fact means in this state: the identity first, then the time, then its kind."""
    record = fact.record
    verdict = judge(
        state.claims.get(fact.claim_key),
        fact.body_hash,
        record.appended_at_us,
        record.offset,
        context.horizon_us,
    )
    if verdict is Verdict.CONFLICT:
        return Refusal(
            RejectCode.CONFLICT,
            f"event_id {fact.body.event_id!r} was accepted before with other billing content; "
            "send a correction under an id of its own",
            "event_id",
        )
    if verdict is not Verdict.FRESH:
        return verdict
    untimely = _untimely(fact, context)
    if untimely is not None:
        return untimely
    account = state.accounts.get(fact.body.customer_id)
    sequence = state.progress.next_sequence
    plan = first_sight_grants(fact, context, position, sequence) if account is None else []
    sequence += len(plan)
    match fact:
        case UsageFact():
            return [*plan, usage_entry(fact, account, plan, context, position, sequence)]
        case SignalFact():
            return [*plan, signal_entry(fact, position, sequence)]
        case GrantFact():
            granted = 0 if account is None else account.granted
            if granted >= context.grants_max:
                return Refusal(
                    RejectCode.TOO_MANY_GRANTS,
                    f"the customer has been given {granted} grants, the limit of the rules",
                    "customer_id",
                )
            return [*plan, grant_entry(fact, position, sequence)]


def evolve(state: PartitionState, entry: LedgerEntry) -> None:
    """Applies one entry to the state, in place. Entries come in the order of their sequence."""
    progress = state.progress
    if isinstance(entry, CycleEntry):
        if entry.generation > progress.generation:
            begin_generation(progress, entry.generation)
        progress.cycle = entry.cycle
        progress.domain_time_us = entry.decided_at
        progress.catalog_offset = entry.catalog_offset
        progress.next_sequence = max(progress.next_sequence, entry.sequence + 1)
        progress.next_dead_letter = entry.dead_letter_sequence
        for piece in entry.consumed:
            progress.consumed[piece.topic] = piece.to_offset
        return
    progress.next_sequence = entry.sequence + 1
    account = state.accounts.get(entry.customer_id)
    if account is None:
        account = state.accounts[entry.customer_id] = Account(entry.customer_id)
    state.touched.add(entry.customer_id)
    account.last_sequence = entry.sequence
    if isinstance(entry, UsageEntry):
        spend(account, entry)
    elif isinstance(entry, GrantEntry):
        add_grant(account, entry)
    else:
        account.signals += 1


def begin_generation(progress: Progress, generation: int) -> None:
    """The topics were made anew (K5): positions, sequences and cycles count from zero again, while
    accounts, claims and domain time stay what they are."""
    progress.generation = generation
    progress.cycle = progress.next_sequence = progress.next_dead_letter = 0
    progress.consumed = {}


def fold_cycle(
    state: PartitionState,
    partition: int,
    consumed: list[Consumed],
    facts: Iterable[Fact | Rejected],
    context: Context,
    domain_time_us: int,
) -> CycleResult:
    """One cycle: every fact in the given order is decided and folded; the state is changed in
    place.

    `facts` stand in FOLD_ORDER, each topic by offset; `consumed` are the ranges they came from;
    `domain_time_us` is at least that of the state and of every append time in the cycle. The result
    is a function of the arguments.
    """
    progress = state.progress
    if domain_time_us < progress.domain_time_us:
        raise AssertionError("domain time ran backwards")
    if context.generation < progress.generation:
        raise AssertionError("a partition's state belongs to a later generation than the catalog")
    if context.generation > progress.generation:
        begin_generation(progress, context.generation)
    first_sequence = progress.next_sequence
    position = Position(context.generation, partition, progress.cycle + 1, domain_time_us)
    progress.next_sequence += 1  # the cycle's own entry stands first; its counts are known last
    entries: list[LedgerEntry] = []
    rejected: list[Rejected] = []
    accepted = duplicates = conflicts = 0
    for fact in facts:
        if isinstance(fact, Rejected):
            rejected.append(fact)
            continue
        decision = decide(state, fact, context, position)
        if isinstance(decision, list):
            accepted += 1
            for entry in decision:
                evolve(state, entry)
            entries += decision
            claim = Claim(fact.body_hash, fact.record.appended_at_us, fact.record.offset)
            state.claims[fact.claim_key] = state.new_claims[fact.claim_key] = claim
        elif isinstance(decision, Refusal):
            conflicts += decision.code is RejectCode.CONFLICT
            rejected.append(Rejected(fact.record, decision.code, decision.reason, decision.field))
        else:
            duplicates += 1
    own = CycleEntry(
        schema_version=SCHEMA_VERSION,
        entry_id=cycle_id(context.generation, partition, position.cycle),
        generation=context.generation,
        partition=partition,
        sequence=first_sequence,
        cycle=position.cycle,
        decided_at=domain_time_us,
        catalog_offset=context.catalog_offset,
        rules_version=RULES_VERSION,
        consumed=consumed,
        accepted=accepted,
        duplicates=duplicates,
        conflicts=conflicts,
        dead_letters=len(rejected),
        dead_letter_sequence=progress.next_dead_letter + len(rejected),
    )
    evolve(state, own)
    return CycleResult([own, *entries], rejected)


def _untimely(fact: Fact, context: Context) -> Refusal | None:
    appended = fact.record.appended_at_us
    if fact.occurred_at_us < appended - context.lateness_us:
        return Refusal(
            RejectCode.TOO_OLD,
            "occurred_at lies before the lateness limit of the rules; a repeat of so old an event "
            "could no longer be told from a new one",
            "occurred_at",
        )
    if fact.occurred_at_us > appended + context.future_us:
        return Refusal(
            RejectCode.IN_FUTURE,
            "occurred_at lies after the append by more than the future limit: check the clock",
            "occurred_at",
        )
    return None
