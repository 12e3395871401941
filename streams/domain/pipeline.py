"""The main path: decide what a fact means, evolve the state by what was decided, fold a cycle of
facts.

    records ─▶ facts ─▶ decide(state, fact, context) ─▶ entries ─▶ evolve(state, entry) ─▶ state

`decide` is a function of its arguments and changes nothing; `evolve` applies one entry. The worker,
the audit and the property tests all go through `fold_cycle`, which numbers entries, makes claims
and puts the cycle's own entry in front (D1). Order inside a cycle: budgets, signals, usage, each by
offset.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectCode
from schemas.structs import (
    Consumed,
    CycleEntry,
    GrantEntry,
    LedgerEntry,
    ResolutionEntry,
    UsageEntry,
)
from schemas.topics import BUDGETS, SIGNALS, USAGE
from streams.domain.budget import Account, add_grant, open_grant, spend
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
    DiscardFact,
    EventFact,
    Fact,
    Rejected,
    ReplayFact,
    SignalFact,
    UsageFact,
    internal,
)
from streams.domain.grants import burn_order
from streams.domain.identity import Claim, Verdict, judge
from streams.domain.ledger import cycle_id, segment_key
from streams.domain.state import PartitionState, Progress

FRESH: Final = Verdict.FRESH

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
    judged = _judge(state, fact, context, fact.record.appended_at_us)
    if judged is not FRESH:
        return judged
    sequence = state.progress.next_sequence
    if isinstance(fact, ReplayFact):
        return _decide_replay(state, fact, context, position, sequence)
    if isinstance(fact, DiscardFact):
        return [resolution_entry(fact, "discarded", position, sequence)]
    return _accept(state, fact, context, position, sequence)


def _judge(
    state: PartitionState, fact: Fact, context: Context, asked_at_us: int
) -> Verdict | Refusal:
    """Whether a fact may count: FRESH, or what it is instead, as claims stand `asked_at_us`."""
    claim = state.claims.get(fact.claim_key)
    if claim is not None:
        verdict = judge(claim, fact.body_hash, asked_at_us, fact.record.offset, context.horizon_us)
        if verdict is Verdict.CONFLICT:
            return Refusal(
                RejectCode.CONFLICT,
                f"event_id {fact.body.event_id!r} was accepted before with other billing content; "
                "send a correction under an id of its own",
                "event_id",
            )
        if verdict is not Verdict.FRESH:
            return verdict
    ahead_us = fact.occurred_at_us - fact.record.appended_at_us
    if -context.lateness_us <= ahead_us <= context.future_us:
        return FRESH
    return untimely(fact, context) or FRESH


def _accept(
    state: PartitionState, fact: EventFact, context: Context, position: Position, sequence: int
) -> list[LedgerEntry] | Refusal:
    """The entries of a fact that may count, numbered from `sequence` on."""
    account = state.accounts.get(fact.body.customer_id)
    if account is not None and isinstance(fact, UsageFact):
        return [usage_entry(fact, account.grants, context, position, sequence)]
    plan = first_sight_grants(fact, context, position, sequence) if account is None else []
    sequence += len(plan)
    if isinstance(fact, UsageFact):
        grants = sorted(map(open_grant, plan), key=burn_order)
        return [*plan, usage_entry(fact, grants, context, position, sequence)]
    if isinstance(fact, SignalFact):
        return [*plan, signal_entry(fact, position, sequence)]
    granted = 0 if account is None else account.granted
    if granted >= context.grants_max:
        return Refusal(
            RejectCode.TOO_MANY_GRANTS,
            f"the customer has been given {granted} grants, the limit of the rules",
            "customer_id",
        )
    return [*plan, grant_entry(fact, position, sequence)]


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
    judged = _judge(state, inner, context, position.decided_at_us)
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
    if isinstance(entry, ResolutionEntry):
        return
    customer = entry.customer_id
    account = state.accounts.get(customer)
    if account is None:
        account = state.accounts[customer] = Account(customer)
    state.touched.add(customer)
    account.last_sequence = entry.sequence
    if isinstance(entry, UsageEntry):
        spend(account, entry)
    elif isinstance(entry, GrantEntry):
        add_grant(account, entry)
    else:
        account.signals += 1


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
    for piece in entry.consumed:
        progress.consumed[piece.topic] = piece.to_offset


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
    _check_order(progress, context, domain_time_us)
    if context.generation > progress.generation:
        begin_generation(progress, context.generation)
    first_sequence = progress.next_sequence
    position = Position(context.generation, partition, progress.cycle + 1, domain_time_us)
    progress.next_sequence += 1  # the cycle's own entry stands first; its counts are known last
    counts = _Counts()
    entries: list[LedgerEntry] = []
    rejected: list[Rejected] = []
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
            _claim(state, fact, decision)
        elif isinstance(decision, Refusal):
            counts.conflicts += decision.code is RejectCode.CONFLICT
            rejected.append(Rejected(fact.record, decision.code, decision.reason, decision.field))
        else:
            counts.duplicates += 1
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
        accepted=counts.accepted,
        duplicates=counts.duplicates,
        conflicts=counts.conflicts,
        dead_letters=len(rejected),
        dead_letter_sequence=progress.next_dead_letter + len(rejected),
    )
    evolve(state, own)
    return CycleResult([own, *entries], rejected)


def _check_order(progress: Progress, context: Context, domain_time_us: int) -> None:
    if domain_time_us < progress.domain_time_us:
        raise AssertionError("domain time ran backwards")
    if context.generation < progress.generation:
        raise AssertionError("a partition's state belongs to a later generation than the catalog")


@dataclass(slots=True)
class _Counts:
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0


def _claim(state: PartitionState, fact: Fact, decision: list[LedgerEntry]) -> None:
    """Claims the ids of an accepted fact."""
    for one in _claimants(fact, decision) if isinstance(fact, ReplayFact) else (fact,):
        claim = Claim(one.body_hash, one.record.appended_at_us, one.record.offset)
        state.claims[one.claim_key] = state.new_claims[one.claim_key] = claim


def _claimants(fact: ReplayFact, decision: list[LedgerEntry]) -> list[Fact]:
    """The facts whose ids are claimed by a replay: it claims for its original too, unless that had
    been accepted before."""
    first = decision[0]
    if (
        isinstance(first, ResolutionEntry)
        and first.resolution == "replayed"
        and not isinstance(fact.inner, Rejected)
    ):
        return [fact, fact.inner]
    return [fact]


def beyond_claims(inner: EventFact, context: Context, decided_at_us: int) -> Refusal | None:
    """Why an event is too old to be replayed at a domain time, None where it is not: an accepted
    record of it may stand before the horizon, where claims end, only if the event does."""
    if inner.occurred_at_us >= decided_at_us - context.horizon_us + context.future_us:
        return None
    return Refusal(
        RejectCode.TOO_OLD,
        "the event lies before the claims' horizon: whether another record of it was accepted can "
        "no longer be told; send it anew as an event of today, or discard it",
        "occurred_at",
    )


def untimely(fact: Fact, context: Context) -> Refusal | None:
    """Why a fact lies too far from its append time, None where it does not."""
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
