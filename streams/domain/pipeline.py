"""The main path: decide what a fact means, evolve the state by what was decided, fold a cycle of
facts.

    records ─▶ facts ─▶ decide(state, fact, context) ─▶ entries ─▶ evolve(state, entry) ─▶ state

`decide` is a function of its arguments and changes nothing; `evolve` applies one entry. The worker,
the audit and the property tests all go through `fold_cycle`, which numbers entries, makes claims
and puts the cycle's own entry in front (D1). Order inside a cycle: budgets, preflights, transfers,
signals, usage, each by offset.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectCode
from schemas.structs import (
    Consumed,
    CycleEntry,
    GrantEntry,
    LedgerEntry,
    LimitEntry,
    ResolutionEntry,
    UsageEntry,
)
from schemas.topics import INBOUND
from streams.domain.budget import Account, add_grant, apply_limit, open_grant, spend
from streams.domain.claiming import claim
from streams.domain.context import RULES_VERSION, Context
from streams.domain.entries import (
    Position,
    first_sight_grants,
    grant_entry,
    resolution_entry,
    signal_entry,
    usage_entry,
)
from streams.domain.facts import (
    CeilingFact,
    DiscardFact,
    EventFact,
    Fact,
    HoldFact,
    LeaseFact,
    LimitFact,
    PreflightFact,
    Rejected,
    ReplayFact,
    SignalFact,
    TransferFact,
    UsageFact,
    claim_keys,
    internal,
)
from streams.domain.grants import burn_order
from streams.domain.hold_entries import limit_entry, settled_entries
from streams.domain.holding import (
    HoldEntry,
    decide_ceiling,
    decide_owner_fact,
    decide_transfer,
    evolve_hold,
    take_lease,
    touch_account,
)
from streams.domain.identity import Verdict
from streams.domain.judging import FRESH, beyond_claims, judge_fact
from streams.domain.ledger import cycle_id, segment_key
from streams.domain.refusal import Refusal
from streams.domain.state import PartitionState, Progress

INTERNAL: Final = (PreflightFact, HoldFact, LeaseFact, TransferFact)
"""What Tollgate itself wrote: no producer's identity, no lateness."""

FOLD_ORDER: Final = tuple(topic.name for topic in INBOUND)
"""The order of the inbound topics inside a cycle: money comes before what spends it, and a hold
before the usage that settles it (P4)."""


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
    if type(fact) is not UsageFact and isinstance(fact, INTERNAL):
        if isinstance(fact, TransferFact):
            return decide_transfer(state, fact, position)
        return decide_owner_fact(state, fact, context, position)
    judged = judge_fact(state, fact, context, fact.record.appended_at_us)
    if judged is not FRESH:
        return judged
    sequence = state.progress.next_sequence
    if isinstance(fact, ReplayFact):
        return _decide_replay(state, fact, context, position, sequence)
    if isinstance(fact, DiscardFact):
        return [resolution_entry(fact, "discarded", position, sequence)]
    return _accept(state, fact, context, position, sequence)


def _accept(
    state: PartitionState, fact: EventFact, context: Context, position: Position, sequence: int
) -> list[LedgerEntry] | Refusal:
    """The entries of a fact that may count, numbered from `sequence` on."""
    if isinstance(fact, CeilingFact):
        return decide_ceiling(state, fact, position, sequence)
    account = state.accounts.get(fact.body.customer_id)
    if account is not None and isinstance(fact, UsageFact):
        return _accept_usage(state, fact, account, context, position, sequence)
    plan = first_sight_grants(fact, context, position, sequence) if account is None else []
    sequence += len(plan)
    if isinstance(fact, UsageFact):
        grants = sorted(map(open_grant, plan), key=burn_order)
        return [*plan, usage_entry(fact, grants, context, position, sequence)[0]]
    if isinstance(fact, SignalFact):
        return [*plan, signal_entry(fact, position, sequence)]
    if isinstance(fact, LimitFact):
        if account is not None and len(account.limits) >= context.limits_max:
            return Refusal(
                RejectCode.TOO_MANY_LIMITS,
                f"the customer has {len(account.limits)} limits, the most that the rules allow",
                "customer_id",
            )
        return [*plan, limit_entry(fact, position, sequence)]
    granted = 0 if account is None else account.granted
    if granted >= context.grants_max:
        return Refusal(
            RejectCode.TOO_MANY_GRANTS,
            f"the customer has been given {granted} grants, the limit of the rules",
            "customer_id",
        )
    return [*plan, grant_entry(fact, position, sequence)]


def _accept_usage(
    state: PartitionState,
    fact: UsageFact,
    account: Account,
    context: Context,
    position: Position,
    sequence: int,
) -> list[LedgerEntry]:
    named = fact.body.reservation_id
    if named is None and not fact.body.settles_oldest:
        return [usage_entry(fact, account.grants, context, position, sequence)[0]]
    closed = named is not None and claim_keys(fact)[1] in state.claims
    entry, settlement = usage_entry(
        fact,
        account.grants,
        context,
        position,
        sequence,
        account.holds,
        named_closed=closed,
    )
    assert settlement is not None, "an event that means holds settles something or says why not"
    return [entry, *settled_entries(fact, settlement, position, sequence + 1)]


def _decide_replay(
    state: PartitionState, fact: ReplayFact, context: Context, position: Position, sequence: int
) -> Decision:
    """A dead letter as the record that it was: by its own position and append time (decision 012).

    Claims are asked as of the decision: older ones than the horizon may be gone. So an event from
    before them is refused, because nobody could tell whether it counted then.
    """
    inner = fact.inner
    if isinstance(inner, Rejected):
        return Refusal(inner.code, inner.reason, inner.field)
    judged = judge_fact(state, inner, context, position.decided_at_us)
    if isinstance(judged, Refusal):
        return judged
    if judged is not Verdict.FRESH:
        return [resolution_entry(fact, "duplicate", position, sequence)]
    forgotten = beyond_claims(inner, context, position.decided_at_us)
    if forgotten is not None:
        return forgotten
    entries = _accept(state, inner, context, replace(position, origin=fact.origin), sequence + 1)
    if isinstance(entries, Refusal):
        return entries
    return [resolution_entry(fact, "replayed", position, sequence), *entries]


def evolve(state: PartitionState, entry: LedgerEntry) -> None:
    """Applies one entry to the state, in place. Entries come in the order of their sequence."""
    if isinstance(entry, CycleEntry):
        _evolve_cycle(state.progress, entry)
        return
    state.progress.next_sequence = entry.sequence + 1
    if isinstance(entry, UsageEntry):
        account = touch_account(state, entry.customer_id)
        spend(account, entry)
    elif isinstance(entry, ResolutionEntry):
        return
    elif isinstance(entry, HoldEntry):
        evolve_hold(state, entry)
        return
    else:
        account = touch_account(state, entry.customer_id)
        if isinstance(entry, GrantEntry):
            add_grant(account, entry)
        elif isinstance(entry, LimitEntry):
            apply_limit(account, entry)
        else:
            account.signals += 1
    account.last_sequence = entry.sequence


def _evolve_cycle(progress: Progress, entry: CycleEntry) -> None:
    if entry.generation > progress.generation:
        begin_generation(progress, entry.generation)
    progress.cycle = entry.cycle
    progress.domain_time_us = entry.decided_at
    progress.catalog_offset = entry.catalog_offset
    progress.next_sequence = max(progress.next_sequence, entry.sequence + 1)
    progress.next_dead_letter = entry.dead_letter_sequence
    if entry.accepted:
        progress.claims_segment = segment_key(entry.generation, entry.cycle)
    if entry.lease is not None:
        progress.lease, progress.nonce = entry.lease, entry.nonce
    for piece in entry.consumed:
        progress.consumed[piece.topic] = piece.to_offset


def begin_generation(progress: Progress, generation: int) -> None:
    """The topics were made anew (K5): positions, sequences and cycles count from zero again, while
    accounts, claims and domain time stay what they are."""
    progress.generation = generation
    progress.cycle = progress.next_sequence = progress.next_dead_letter = 0
    progress.consumed = {}
    progress.lease, progress.nonce = -1, ""


@dataclass(slots=True)
class _Counts:
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    leases: int = 0
    void: int = 0


def fold_cycle(
    state: PartitionState,
    partition: int,
    consumed: list[Consumed],
    facts: Sequence[Fact | Rejected],
    context: Context,
    domain_time_us: int,
) -> CycleResult:
    """One cycle: every fact in the given order is decided and folded; the state is changed in
    place.

    `facts` stand in FOLD_ORDER, each topic by offset; `consumed` are the ranges they came from;
    `domain_time_us` is at least that of the state and of every append time in the cycle. The result
    is a function of the arguments.
    """
    steps = fold_in_steps(state, partition, consumed, facts, context, domain_time_us, len(facts))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: CycleResult = end.value
            return result


def fold_in_steps(
    state: PartitionState,
    partition: int,
    consumed: list[Consumed],
    facts: Sequence[Fact | Rejected],
    context: Context,
    domain_time_us: int,
    facts_at_once: int,
) -> Generator[None, None, CycleResult]:
    """`fold_cycle` in steps of so many facts, after each of which the caller may do something
    else: what that is makes no difference, as long as it leaves state and facts alone."""
    progress = state.progress
    _check_order(progress, context, domain_time_us)
    if context.generation > progress.generation:
        begin_generation(progress, context.generation)
    first_sequence = progress.next_sequence
    position = Position(context.generation, partition, progress.cycle + 1, domain_time_us)
    progress.next_sequence += 1  # the cycle's own entry stands first; its counts are known last
    counts = _Counts()
    entries: list[LedgerEntry] = []
    rejected: list[Rejected] = []
    for begin in range(0, len(facts), max(1, facts_at_once)):
        if begin:
            yield
        _fold(
            state,
            facts[begin : begin + facts_at_once],
            context,
            position,
            counts,
            entries,
            rejected,
        )
    own = _own_entry(progress, position, first_sequence, consumed, context, counts, len(rejected))
    evolve(state, own)
    return CycleResult([own, *entries], rejected)


def _fold(
    state: PartitionState,
    facts: Sequence[Fact | Rejected],
    context: Context,
    position: Position,
    counts: _Counts,
    entries: list[LedgerEntry],
    rejected: list[Rejected],
) -> None:
    for fact in facts:
        if isinstance(fact, Rejected):
            rejected.append(fact)
            continue
        try:
            decision = decide(state, fact, context, position)
        except MemoryError:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever our code stumbles over
            # A fault of our own is a refusal of this one fact (K2): deciding has changed nothing,
            # so its neighbours go on. How many of them stop a worker is for the agent to say.
            rejected.append(internal(fact.record, fault))
            continue
        if isinstance(decision, list):
            counts.accepted += 1
            for entry in decision:
                evolve(state, entry)
            entries += decision
            claim(state, fact, decision)
        elif isinstance(decision, Refusal):
            counts.conflicts += decision.code is RejectCode.CONFLICT
            rejected.append(Rejected(fact.record, decision.code, decision.reason, decision.field))
        elif decision is Verdict.VOID:
            counts.void += 1
        elif decision is Verdict.CONTROL:
            assert isinstance(fact, LeaseFact), "only leases and ticks are about a partition"
            counts.leases += 1
            take_lease(state, fact)
        else:
            counts.duplicates += 1


def _own_entry(
    progress: Progress,
    position: Position,
    sequence: int,
    consumed: list[Consumed],
    context: Context,
    counts: _Counts,
    dead_letters: int,
) -> CycleEntry:
    return CycleEntry(
        schema_version=SCHEMA_VERSION,
        entry_id=cycle_id(context.generation, position.partition, position.cycle),
        generation=context.generation,
        partition=position.partition,
        sequence=sequence,
        cycle=position.cycle,
        decided_at=position.decided_at_us,
        catalog_offset=context.catalog_offset,
        rules_version=RULES_VERSION,
        consumed=consumed,
        accepted=counts.accepted,
        duplicates=counts.duplicates,
        conflicts=counts.conflicts,
        dead_letters=dead_letters,
        dead_letter_sequence=progress.next_dead_letter + dead_letters,
        leases=counts.leases,
        void=counts.void,
        lease=progress.lease if counts.leases else None,
        nonce=progress.nonce if counts.leases else "",
    )


def _check_order(progress: Progress, context: Context, domain_time_us: int) -> None:
    if domain_time_us < progress.domain_time_us:
        raise AssertionError("domain time ran backwards")
    if context.generation < progress.generation:
        raise AssertionError("a partition's state belongs to a later generation than the catalog")
