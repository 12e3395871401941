"""May this be spent? The decision of an owner: a function of the account as it stands, of what the
owner has decided since, of what is asked and of the rules.

A request is refused by the first of these that it exceeds: its own ceiling, the ceiling of its
task, the customer's budget (what is granted and every limit), the seller's plan. A denomination
that nothing bounds is tracked and never refused (P12).
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from schemas.budget import Denomination
from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectError
from schemas.rpc import PreflightAsk
from schemas.structs import Preflight
from streams.domain.budget import Account, balance_text, held, open_grant_of_plan, spendable
from streams.domain.canonical import parse_balance
from streams.domain.context import Context
from streams.domain.facts import HASH_BYTES
from streams.domain.grants import burn_order
from streams.domain.holds import Hold, Holder, OpenHolds
from streams.domain.tasks import Task, left, used

CEILING: Final = "ceiling_exceeded"
TASK_CEILING: Final = "task_ceiling_exceeded"
BUDGET: Final = "budget_exhausted"
FREE_TIER: Final = "free_tier_exceeded"
PLAN_LIMIT: Final = "plan_limit_exceeded"

REFUSALS: Final = (CEILING, TASK_CEILING, BUDGET, FREE_TIER, PLAN_LIMIT)
"""Why a preflight is refused, in the order in which the reasons are looked for."""

TOO_MANY_HOLDS: Final = "too_many_holds"
CEILING_REQUIRED: Final = "task_ceiling_required"
UNIT_MISMATCH: Final = "task_unit_mismatch"
INVALID: Final = "invalid"


@dataclass(slots=True)
class View:
    """An account as its owner sees it: the committed row, None for one that nothing has named yet,
    and what the owner has decided since (P1). The row is never changed here."""

    account: Account | Task | None
    pending: OpenHolds = field(default_factory=OpenHolds)
    """Holds of decisions that no committed cycle has folded yet."""
    opened: tuple[str, int] | None = None
    """Denomination and ceiling of a task that such a decision opens."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision. `remaining` is what is left after it, None where nothing bounds the account;
    `ceiling` and `used` are the task's, where it is one; `opens` says that the decision gives the
    task its ceiling."""

    approved: bool
    reason: str
    denomination: str
    estimate: int
    remaining: int | None
    expires_at_us: int
    ceiling: int | None = None
    used: int | None = None
    opens: bool = False

    @property
    def opened(self) -> tuple[str, int] | None:
        """Denomination and ceiling of the task that the decision opens."""
        if not self.opens or self.ceiling is None:
            return None
        return self.denomination, self.ceiling


@dataclass(frozen=True, slots=True)
class _Asked:
    """An ask with its amounts read."""

    ask: PreflightAsk
    estimate: int
    ceiling: int | None
    task_ceiling: int | None
    expires_at_us: int


class InvalidAskError(ValueError):
    """An ask that no decision can be made of. `code` is one of this module's."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def body_hash(ask: PreflightAsk) -> str:
    """What a decision was asked for, as 32 hex digits: the same key with another one is a
    conflict. A task's ceiling is not in it: it counts in the first call alone."""
    content = [ask.denomination, ask.estimate, ask.agent_id, ask.task_ref, ask.ceiling, ask.ttl_ms]
    return blake2b(ascii(content).encode(), digest_size=HASH_BYTES).hexdigest()


def decide_preflight(view: View, ask: PreflightAsk, context: Context, now_us: int) -> Decided:
    """The decision about an ask. Raises InvalidAskError."""
    asked = _read(ask, context, now_us)
    if ask.account_kind == "task":
        return _decide_task(view, asked, context)
    return _decide_customer(view, asked, context, now_us)


def _read(ask: PreflightAsk, context: Context, now_us: int) -> _Asked:
    try:
        denomination = Denomination(ask.denomination)
    except ValueError:
        raise InvalidAskError(INVALID, "denomination: unit, token or usd") from None

    def amount(name: str, text: str | None) -> int | None:
        return None if text is None else parse_balance(name, text, denomination)

    try:
        estimate = amount("estimate", ask.estimate)
        ceiling = amount("ceiling", ask.ceiling)
        task_ceiling = amount("task_ceiling", ask.task_ceiling)
    except RejectError as fault:
        raise InvalidAskError(INVALID, fault.reason) from None
    if estimate is None:
        estimate = 1 if denomination is Denomination.UNIT else 0
    ttl_us = context.hold_ttl_us if ask.ttl_ms is None else ask.ttl_ms * 1_000
    if not 0 < ttl_us <= context.hold_ttl_us_max:
        most = context.hold_ttl_us_max // 1_000
        raise InvalidAskError(INVALID, f"ttl_ms: between 1 and {most}, not {ask.ttl_ms}")
    return _Asked(ask, estimate, ceiling, task_ceiling, now_us + ttl_us)


def _decide_customer(view: View, asked: _Asked, context: Context, now_us: int) -> Decided:
    ask, estimate = asked.ask, asked.estimate
    account = view.account if isinstance(view.account, Account) else planned(context, now_us)
    free = spendable(account, view.pending, ask.denomination, ask.agent_id, now_us)
    if asked.ceiling is not None and estimate > asked.ceiling:
        reason = CEILING
    elif free is not None and estimate > free:
        reason = BUDGET
    else:
        reason = _seller_refusal(view, account, asked, context)
    if not reason:
        _check_holds(view, account, context)
        free = None if free is None else free - estimate
    return Decided(not reason, reason, ask.denomination, estimate, free, asked.expires_at_us)


def _decide_task(view: View, asked: _Asked, context: Context) -> Decided:
    ask, estimate = asked.ask, asked.estimate
    task = view.account if isinstance(view.account, Task) else Task(ask.account_id)
    opens = False
    if not task.denomination:
        opened = view.opened
        if opened is None:
            if asked.task_ceiling is None:
                raise InvalidAskError(
                    CEILING_REQUIRED, "the first call of a task must name its ceiling"
                )
            opened, opens = (ask.denomination, asked.task_ceiling), True
        task = _with_ceiling(task, *opened)
    if task.denomination != ask.denomination:
        raise InvalidAskError(
            UNIT_MISMATCH, f"the task counts in {task.denomination}s, not {ask.denomination}s"
        )
    free = left(task, view.pending)
    assert free is not None, "a task with a ceiling"
    reason = ""
    if asked.ceiling is not None and estimate > asked.ceiling:
        reason = CEILING
    elif estimate > free:
        reason = TASK_CEILING
    else:
        _check_holds(view, task, context)
        free -= estimate
    return Decided(
        not reason,
        reason,
        ask.denomination,
        estimate,
        max(0, free),
        asked.expires_at_us,
        task.ceiling,
        used(task, task.denomination),
        opens,
    )


def _with_ceiling(task: Task, denomination: str, ceiling: int) -> Task:
    """The task as it is once the decision that opens it is folded."""
    return Task(
        task.task_ref,
        denomination,
        ceiling,
        used_units=task.used_units,
        used_tokens=task.used_tokens,
        used_pico_usd=task.used_pico_usd,
        holds=task.holds,
        held=task.held,
    )


def _check_holds(view: View, account: Holder, context: Context) -> None:
    if len(account.holds) + len(view.pending.holds) >= context.holds_max:
        raise InvalidAskError(
            TOO_MANY_HOLDS,
            f"the account has {context.holds_max} open holds, the most that the rules allow: "
            "settle or release some",
        )


def planned(context: Context, now_us: int) -> Account:
    """The account of a customer whom nothing has named yet: with what the default plan grants at
    first sight."""
    account = Account("")
    for place, grant in enumerate(context.plan):
        account.grants.append(open_grant_of_plan(grant, place, now_us))
        if grant.denomination.value not in account.budgeted:
            account.budgeted.append(grant.denomination.value)
    account.grants.sort(key=burn_order)
    return account


def _seller_refusal(view: View, account: Account, asked: _Asked, context: Context) -> str:
    plan, denomination = context.seller_plan, asked.ask.denomination
    if plan is None or plan.denomination != denomination:
        return ""
    spent = {
        "unit": account.used_units,
        "token": account.used_tokens,
        "usd": account.used_pico_usd,
    }[denomination]
    reserved = held(account, view.pending, denomination)
    return plan.code if spent + reserved + asked.estimate > plan.amount else ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Under what an owner decides: its lease, its time, and what it has seen (P5)."""

    lease: int
    nonce: str
    now_us: int
    seen_cycle: int
    seen_offset: int
    seen_catalog_offset: int


def preflight_record(ask: PreflightAsk, decided: Decided, standing: Standing) -> Preflight:
    """The record that states a decision."""
    denomination = decided.denomination
    estimate = balance_text(denomination, decided.estimate)
    remaining = decided.remaining
    return Preflight(
        schema_version=SCHEMA_VERSION,
        lease=standing.lease,
        nonce=standing.nonce,
        decided_at=standing.now_us,
        account_kind=ask.account_kind,
        account_id=ask.account_id,
        source=ask.source,
        idempotency_key=ask.idempotency_key,
        body_hash=body_hash(ask),
        agent_id=ask.agent_id,
        task_ref=ask.task_ref,
        denomination=Denomination(denomination),
        estimate=estimate,
        asked_estimate=None if ask.estimate == estimate else ask.estimate,
        ceiling=ask.ceiling,
        approved=decided.approved,
        reason=decided.reason or None,
        remaining=None if remaining is None else balance_text(denomination, remaining),
        expires_at=decided.expires_at_us,
        task_reservation_id=ask.task_reservation_id,
        task_ceiling=ask.task_ceiling if decided.opens else None,
        seen_cycle=standing.seen_cycle,
        seen_offset=standing.seen_offset,
        seen_catalog_offset=standing.seen_catalog_offset,
    )


def hold_of(record: Preflight, estimate: int, reservation_id: str) -> Hold | None:
    """The hold that a decision's record places, None for a refusal. `estimate` is the record's, in
    units, tokens or pico-dollars."""
    if not record.approved:
        return None
    return Hold(
        reservation_id,
        record.denomination.value,
        estimate,
        estimate,
        record.decided_at,
        record.expires_at,
        record.agent_id or "",
        "" if record.account_kind == "task" else record.task_ref or "",
        record.task_reservation_id or "",
    )


def find_hold(view: View, reservation_id: str) -> Hold | None:
    """The open hold with an id, committed or not yet."""
    account = view.account
    hold = None if account is None else account.holds.get(reservation_id)
    return hold or view.pending.holds.get(reservation_id)
