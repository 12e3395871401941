"""What an owner's own facts, transfers and ceilings mean, and how their entries change accounts.

The fold never decides a preflight again: what stands under a valid lease counts as it stands (P5),
and what another lease came before counts as nothing. The audit decides again, at the point that the
decision names.
"""

from schemas.errors import RejectCode
from schemas.structs import (
    CeilingEntry,
    ClosingEntry,
    DecisionEntry,
    Expiry,
    Extension,
    ExtensionEntry,
    Lease,
    LedgerEntry,
    Release,
    SettlementEntry,
)
from streams.domain.budget import Account, parse_balance_text
from streams.domain.context import Context
from streams.domain.entries import Position, first_sight_grants
from streams.domain.facts import (
    CeilingFact,
    HoldFact,
    LeaseFact,
    OwnerFact,
    PreflightFact,
    TransferFact,
)
from streams.domain.hold_entries import (
    ceiling_entry,
    closing_entry,
    decision_entry,
    extension_entry,
    transfer_entries,
)
from streams.domain.holds import Hold, Holder, close, place
from streams.domain.identity import Verdict, judge
from streams.domain.refusal import Refusal
from streams.domain.state import PartitionState
from streams.domain.tasks import Task, apply_ceiling, apply_settlement, open_task

HoldEntry = CeilingEntry | DecisionEntry | ExtensionEntry | ClosingEntry | SettlementEntry


def decide_owner_fact(
    state: PartitionState, fact: OwnerFact, context: Context, position: Position
) -> list[LedgerEntry] | Verdict:
    """What a record of `preflights` means: entries, or VOID, CONTROL or DUPLICATE."""
    progress, body = state.progress, fact.body
    if isinstance(body, Lease):
        return Verdict.CONTROL
    if (body.lease, body.nonce) != (progress.lease, progress.nonce):
        return Verdict.VOID
    if isinstance(fact, LeaseFact):
        return Verdict.CONTROL
    if isinstance(fact, PreflightFact):
        return _decide_preflight(state, fact, context, position)
    return _decide_hold(state, fact, position)


def take_lease(state: PartitionState, fact: LeaseFact) -> None:
    """Folds a lease: from here on only what carries it counts."""
    if isinstance(fact.body, Lease):
        state.progress.lease, state.progress.nonce = fact.record.offset, fact.body.nonce


def _decide_preflight(
    state: PartitionState, fact: PreflightFact, context: Context, position: Position
) -> list[LedgerEntry] | Verdict:
    claim = state.claims.get(fact.claim_key)
    if claim is not None:
        asked_at_us, offset = fact.record.appended_at_us, fact.record.offset
        verdict = judge(claim, fact.body_hash, asked_at_us, offset, context.horizon_us)
        if verdict is not Verdict.FRESH:
            return Verdict.DUPLICATE
    sequence = state.progress.next_sequence
    plan: list[LedgerEntry] = []
    opens = False
    if fact.body.account_kind == "task":
        task = state.tasks.get(fact.body.account_id)
        opens = fact.task_ceiling is not None and (task is None or not task.denomination)
    elif fact.body.account_id not in state.accounts:
        plan += first_sight_grants(fact, context, position, sequence)
    return [*plan, decision_entry(fact, position, sequence + len(plan), opens=opens)]


def _decide_hold(
    state: PartitionState, fact: HoldFact, position: Position
) -> list[LedgerEntry] | Verdict:
    body, account = fact.body, _account(state, fact.body.account_kind, fact.body.account_id)
    hold = None if account is None else account.holds.get(body.reservation_id)
    if hold is None:
        return Verdict.DUPLICATE
    sequence = state.progress.next_sequence
    if isinstance(body, Extension):
        if body.expires_at <= hold.expires_at_us:
            return Verdict.DUPLICATE
        return [extension_entry(fact, hold, position, sequence)]
    if isinstance(body, Expiry) and hold.expires_at_us > body.decided_at:
        return Verdict.DUPLICATE
    assert isinstance(body, Release | Expiry)
    return [closing_entry(fact, hold, position, sequence)]


def decide_transfer(
    state: PartitionState, fact: TransferFact, position: Position
) -> list[LedgerEntry] | Verdict:
    """What a transfer means for its task."""
    task = state.tasks.get(fact.body.task_ref)
    holds = {} if task is None else task.holds
    return [*transfer_entries(fact, holds, position, state.progress.next_sequence)] or (
        Verdict.DUPLICATE
    )


def decide_ceiling(
    state: PartitionState, fact: CeilingFact, position: Position, sequence: int
) -> list[LedgerEntry] | Refusal:
    """What a ceiling means for its task: one that counts in something else is not counted anew."""
    task = state.tasks.get(fact.body.customer_id)
    if task is not None and task.denomination not in ("", fact.body.denomination.value):
        return Refusal(
            RejectCode.UNIT_MISMATCH,
            f"the task counts in {task.denomination}s; open another one to count in "
            f"{fact.body.denomination.value}s",
            "denomination",
        )
    return [ceiling_entry(fact, position, sequence)]


def evolve_hold(state: PartitionState, entry: HoldEntry) -> None:
    """Applies an entry about a hold or a task, in place."""
    if isinstance(entry, CeilingEntry):
        task = _touch_task(state, entry.task_ref)
        apply_ceiling(task, entry)
    elif isinstance(entry, SettlementEntry):
        task = _touch_task(state, entry.task_ref)
        apply_settlement(task, entry)
    else:
        of_task = entry.account_kind == "task"
        account: Account | Task
        if of_task:
            account = task = _touch_task(state, entry.task_ref)
            if isinstance(entry, DecisionEntry) and entry.ceiling:
                open_task(task, entry)
        else:
            account = touch_account(state, entry.customer_id)
        _evolve_holds(account, entry)
        account.last_sequence = entry.sequence
        return
    task.last_sequence = entry.sequence


def _evolve_holds(account: Holder, entry: DecisionEntry | ExtensionEntry | ClosingEntry) -> None:
    if isinstance(entry, ClosingEntry):
        close(account, entry.reservation_id)
    elif isinstance(entry, ExtensionEntry):
        account.holds[entry.reservation_id].expires_at_us = entry.expires_at
    elif entry.approved:
        denomination = entry.denomination.value
        amount = parse_balance_text(denomination, entry.amount)
        place(
            account,
            Hold(
                entry.reservation_id,
                denomination,
                amount,
                amount,
                entry.occurred_at,
                entry.expires_at,
                entry.agent_id,
                "" if entry.account_kind == "task" else entry.task_ref,
                entry.task_reservation_id,
            ),
        )


def touch_account(state: PartitionState, customer_id: str) -> Account:
    """The account of a customer, made where there is none, and marked as changed."""
    account = state.accounts.get(customer_id)
    if account is None:
        account = state.accounts[customer_id] = Account(customer_id)
    state.touched.add(customer_id)
    return account


def _touch_task(state: PartitionState, task_ref: str) -> Task:
    task = state.tasks.get(task_ref)
    if task is None:
        task = state.tasks[task_ref] = Task(task_ref)
    state.touched_tasks.add(task_ref)
    return task


def _account(state: PartitionState, kind: str, account_id: str) -> Account | Task | None:
    return state.tasks.get(account_id) if kind == "task" else state.accounts.get(account_id)
