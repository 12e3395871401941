"""A cycle: every fact decided and folded in its order, claims made, windows attributed, and the
cycle's own entry in front (D1).

Order inside a cycle: budgets, preflights, transfers, signals, usage, unassigned, each by offset,
then what time makes due.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectCode
from schemas.structs import Attribution, Consumed, CycleEntry, Lease, LedgerEntry, Tick
from schemas.topics import INBOUND, UNASSIGNED
from streams.domain.assigning import Assigning
from streams.domain.attributing import Attributing
from streams.domain.claiming import claim
from streams.domain.context import RULES_VERSION, Context
from streams.domain.entries import Position
from streams.domain.facts import (
    Fact,
    LeaseFact,
    Rejected,
    SignalFact,
    UnassignedFact,
    UsageFact,
    internal,
)
from streams.domain.holding import take_lease
from streams.domain.identity import Verdict
from streams.domain.ledger import cycle_id
from streams.domain.nameless import Forward
from streams.domain.pipeline import begin_generation, decide, evolve
from streams.domain.refusal import Refusal
from streams.domain.state import PartitionState, Progress

FOLD_ORDER: Final = tuple(topic.name for topic in INBOUND)
"""The order of the inbound topics inside a cycle: money comes before what spends it, and a hold
before the usage that settles it (P4)."""


@dataclass(slots=True)
class CycleResult:
    """What a cycle appends. `entries` begin with the cycle's own."""

    entries: list[LedgerEntry]
    rejected: list[Rejected] = field(default_factory=list)
    attributions: list[Attribution] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    waited: int = 0
    """How many events waited for a customer before the cycle."""


@dataclass(slots=True)
class _Counts:
    accepted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    leases: int = 0
    void: int = 0
    timed_out: int = 0


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
    first_attribution = progress.next_attribution
    progress.event_time_us = event_time_us(progress, facts, consumed, context)
    progress.unassigned_us = unassigned_time_us(progress, facts, consumed)
    progress.domain_time_us = domain_time_us
    attributing = Attributing(state, context, position)
    assigning = Assigning(state, context)
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
            attributing,
            assigning,
        )
    attributing.finish()
    ended = assigning.finish()
    counts.timed_out = len(ended)
    rejected += ended
    own = _own_entry(
        progress,
        position,
        first_sequence,
        consumed,
        context,
        counts,
        len(rejected),
        first_attribution,
        assigning,
    )
    evolve(state, own)
    return CycleResult(
        [own, *entries], rejected, attributing.rows, assigning.forwards, assigning.waited
    )


def fold_recorded(
    state: PartitionState,
    entries: Sequence[LedgerEntry],
    context: Context,
    nameless: Sequence[Fact | Rejected] = (),
) -> list[Attribution]:
    """Folds a cycle that was decided before: `entries` are its records in the ledger, its own
    first; `nameless` what it consumed of `unassigned`, which the ledger does not tell. Returns the
    attributions that follow."""
    own = entries[0]
    assert isinstance(own, CycleEntry), "a cycle begins with its own entry"
    if own.generation > state.progress.generation:
        begin_generation(state.progress, own.generation)
    state.progress.event_time_us, state.progress.domain_time_us = own.watermark, own.decided_at
    position = Position(own.generation, own.partition, own.cycle, own.decided_at)
    state.progress.unassigned_us = own.unassigned_time
    attributing, assigning = Attributing(state, context, position), Assigning(state, context)
    for entry in entries[1:]:
        evolve(state, entry)
        attributing.take(entry)
    for fact in nameless:
        if isinstance(fact, UnassignedFact):
            assigning.take(fact)
    attributing.finish()
    assigning.finish()
    evolve(state, own)
    return attributing.rows


def event_time_us(
    progress: Progress,
    facts: Sequence[Fact | Rejected],
    consumed: Sequence[Consumed],
    context: Context,
) -> int:
    """The latest event time after a cycle of these facts: never beyond an append by more than the
    future limit. A tick counts once everything that it saw appended is folded (D6)."""
    latest, lease = progress.event_time_us, (progress.lease, progress.nonce)
    for fact in facts:
        kind = type(fact)
        if kind is UsageFact or kind is SignalFact:
            assert isinstance(fact, UsageFact | SignalFact)
            occurred = fact.occurred_at_us
            if occurred > latest:
                latest = max(latest, min(occurred, fact.record.appended_at_us + context.future_us))
        elif isinstance(fact, LeaseFact):
            body = fact.body
            if isinstance(body, Lease):
                lease = (fact.record.offset, body.nonce)
            elif (body.lease, body.nonce) == lease and _has_folded(progress, consumed, body):
                latest = max(latest, body.decided_at)
    return latest


def unassigned_time_us(
    progress: Progress, facts: Sequence[Fact | Rejected], consumed: Sequence[Consumed]
) -> int:
    """How far the time of `unassigned` is after a cycle of these facts: the latest append there, or
    a tick that saw no more of it than is folded. So whatever else lies in the log, and however
    cycles are cut, no event has waited its time before every binding from within it counts."""
    latest, lease = progress.unassigned_us, (progress.lease, progress.nonce)
    for fact in facts:
        if isinstance(fact, LeaseFact):
            body = fact.body
            if isinstance(body, Lease):
                lease = (fact.record.offset, body.nonce)
            elif (
                (body.lease, body.nonce) == lease
                and UNASSIGNED.name in body.end_offsets
                and _has_folded(progress, consumed, body)
            ):
                latest = max(latest, body.decided_at)
        elif fact.record.topic == UNASSIGNED.name:
            latest = max(latest, fact.record.appended_at_us)
    return latest


def _has_folded(progress: Progress, consumed: Sequence[Consumed], tick: Tick) -> bool:
    ends = dict(progress.consumed)
    ends.update({piece.topic: piece.to_offset for piece in consumed})
    return all(ends.get(topic, 0) >= end for topic, end in tick.end_offsets.items())


def _fold(
    state: PartitionState,
    facts: Sequence[Fact | Rejected],
    context: Context,
    position: Position,
    counts: _Counts,
    entries: list[LedgerEntry],
    rejected: list[Rejected],
    attributing: Attributing,
    assigning: Assigning,
) -> None:
    for fact in facts:
        if isinstance(fact, Rejected):
            rejected.append(fact)
            continue
        try:
            if isinstance(fact, UnassignedFact):
                refused = assigning.take(fact)
                rejected += [] if refused is None else [refused]
                continue
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
                attributing.take(entry)
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
    first_attribution: int,
    assigning: Assigning,
) -> CycleEntry:
    progress.rules_version = RULES_VERSION
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
        watermark=progress.event_time_us,
        attributions=progress.next_attribution - first_attribution,
        attribution_sequence=progress.next_attribution,
        bindings=assigning.bindings,
        forwarded=len(assigning.forwards),
        waiting=progress.waiting,
        timed_out=counts.timed_out,
        unassigned_time=progress.unassigned_us,
        lease=progress.lease if counts.leases else None,
        nonce=progress.nonce if counts.leases else "",
    )


def _check_order(progress: Progress, context: Context, domain_time_us: int) -> None:
    if domain_time_us < progress.domain_time_us:
        raise AssertionError("domain time ran backwards")
    if context.generation < progress.generation:
        raise AssertionError("a partition's state belongs to a later generation than the catalog")
