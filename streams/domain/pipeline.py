"""The main path: decide what a fact means, evolve the state by what was decided.

    records ─▶ facts ─▶ decide(state, fact, context) ─▶ entries ─▶ evolve(state, entry) ─▶ state

`decide` is a function of its arguments and changes nothing; `evolve` applies one entry. The worker,
the audit and the property tests go through `folding`, which does both for all facts of a cycle.
"""

from dataclasses import replace
from typing import Final

from schemas.errors import RejectCode
from schemas.structs import (
    AdjustmentEntry,
    CycleEntry,
    ExtensionEntry,
    GrantEntry,
    LedgerEntry,
    LimitEntry,
    ResolutionEntry,
    SettlementEntry,
    SignalEntry,
    Usage,
    UsageEntry,
)
from streams.domain.adjusting import adjust, decide_adjustment
from streams.domain.billing_rules import BillingEntry, decide_billing, evolve_billing
from streams.domain.budget import Account, add_grant, apply_limit, open_grant, spend
from streams.domain.context import Context
from streams.domain.entries import (
    Position,
    first_sight_grants,
    grant_entry,
    resolution_entry,
    signal_entry,
    void_entry,
)
from streams.domain.facts import (
    AdjustmentFact,
    BillingFact,
    CeilingFact,
    DecidedFact,
    DiscardFact,
    EventFact,
    HoldFact,
    LeaseFact,
    LimitFact,
    PreflightFact,
    Rejected,
    ReplayFact,
    SignalFact,
    TransferFact,
    UsageFact,
    VoidFact,
    claim_keys,
)
from streams.domain.grants import burn_order
from streams.domain.hold_entries import limit_entry, settled_entries
from streams.domain.holding import (
    HoldEntry,
    decide_ceiling,
    decide_owner_fact,
    decide_transfer,
    evolve_hold,
    touch_account,
)
from streams.domain.identity import Verdict
from streams.domain.judging import FRESH, beyond_claims, judge_fact
from streams.domain.ledger import segment_key
from streams.domain.refusal import Refusal
from streams.domain.state import PartitionState, Progress
from streams.domain.usage_entries import as_outer, usage_entry
from streams.domain.windows import TRACE, repeats, window_key

INTERNAL: Final = (PreflightFact, HoldFact, LeaseFact, TransferFact)
"""What Tollgate itself wrote: no producer's identity, no lateness."""

CLAIMLESS: Final = (ExtensionEntry, SettlementEntry)
"""Entries that claim no id. A cycle that has no others writes no segment of claims, so its
partition's progress goes on naming the last one that was written."""

Decision = list[LedgerEntry] | Verdict | Refusal
"""Entries of an accepted fact, a verdict (duplicate or replay: counted, nothing else), or a
refusal."""


def decide(
    state: PartitionState, fact: DecidedFact, context: Context, position: Position
) -> Decision:
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
    if isinstance(fact, VoidFact):
        return decide_void(state, fact, context, position, sequence)
    if type(fact) is UsageFact and (
        fact.body.outer or (fact.body.span_id and _is_repeated(state, fact.body))
    ):
        fact = as_outer(fact)
    account = state.accounts.get(fact.body.customer_id)
    if account is not None and isinstance(fact, UsageFact):
        return _accept_usage(state, fact, account, context, position, sequence)
    if isinstance(fact, BillingFact):
        return decide_billing(state, fact, context, position, sequence)
    if isinstance(fact, AdjustmentFact):
        return decide_adjustment(fact, account, position, sequence)
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


def _is_repeated(state: PartitionState, body: Usage) -> bool:
    """Whether a span around this one, or inside it, has told the same usage."""
    if body.span_id is None or body.trace_id is None:
        return False
    window = state.windows.rows.get(window_key(body.customer_id, TRACE, body.trace_id))
    return repeats(window, body.span_id, body.parent_span_id or "")


def decide_void(
    state: PartitionState, fact: VoidFact, context: Context, position: Position, sequence: int
) -> list[LedgerEntry] | Refusal:
    """What taking a signal back means: nothing where there is no such signal. One so old that its
    claim may be gone is believed, since administration alone writes here."""
    oldest_us = position.decided_at_us - context.horizon_us
    if fact.signal_key not in state.claims and fact.body.signal_decided_at >= oldest_us:
        return Refusal(
            RejectCode.INVALID_FIELD,
            "signal_event_id: no such signal of this customer was accepted",
            "signal_event_id",
        )
    return [void_entry(fact, position, sequence)]


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
    if not isinstance(entry, CLAIMLESS):
        state.progress.claims_segment = segment_key(entry.generation, entry.cycle)
    if isinstance(entry, UsageEntry):
        account = touch_account(state, entry.customer_id)
        spend(account, entry)
    elif isinstance(entry, ResolutionEntry):
        return
    elif isinstance(entry, HoldEntry):
        evolve_hold(state, entry)
        return
    elif isinstance(entry, BillingEntry):
        evolve_billing(state, entry)
        return
    else:
        account = touch_account(state, entry.customer_id)
        if isinstance(entry, GrantEntry):
            add_grant(account, entry)
        elif isinstance(entry, LimitEntry):
            apply_limit(account, entry)
        elif isinstance(entry, AdjustmentEntry):
            adjust(account, entry)
        elif isinstance(entry, SignalEntry):
            account.signals += 1
        else:
            account.signals -= 1
    account.last_sequence = entry.sequence


def _evolve_cycle(progress: Progress, entry: CycleEntry) -> None:
    if entry.generation > progress.generation:
        begin_generation(progress, entry.generation)
    progress.cycle = entry.cycle
    progress.domain_time_us = entry.decided_at
    progress.catalog_offset = entry.catalog_offset
    progress.next_sequence = max(progress.next_sequence, entry.sequence + 1)
    progress.next_dead_letter = entry.dead_letter_sequence
    progress.next_attribution = entry.attribution_sequence
    progress.event_time_us = entry.watermark
    progress.unassigned_us = entry.unassigned_time
    if entry.lease is not None:
        progress.lease, progress.nonce = entry.lease, entry.nonce
    for piece in entry.consumed:
        progress.consumed[piece.topic] = piece.to_offset


def begin_generation(progress: Progress, generation: int) -> None:
    """The topics were made anew (K5): positions, sequences and cycles count from zero again, while
    accounts, claims and domain time stay what they are."""
    progress.generation = generation
    progress.cycle = progress.next_sequence = progress.next_dead_letter = 0
    progress.next_attribution = 0
    progress.consumed = {}
    progress.lease, progress.nonce = -1, ""
