"""How an account stands, in the words of the interface: balances, limits, holds, tasks."""

from schemas.budget import Denomination
from schemas.rpc import (
    AccountAnswer,
    AccountKind,
    BalanceTold,
    Freshness,
    HoldTold,
    LimitTold,
    TaskTold,
)
from streams.domain.budget import Account, balance_text, held, spendable
from streams.domain.context import Context
from streams.domain.decisions import View, planned
from streams.domain.holds import Holder, OpenHolds
from streams.domain.limits import used_at
from streams.domain.periods import period_start
from streams.domain.tasks import Task, used


def account_answer(
    account_kind: AccountKind,
    account_id: str,
    view: View,
    context: Context,
    now_us: int,
    fresh: Freshness,
    *,
    with_holds: bool,
) -> AccountAnswer:
    """An account as its owner sees it at a domain time. One that nothing has named yet stands as
    it would with the default plan."""
    if account_kind == "task":
        return _task_answer(account_id, view, fresh, with_holds=with_holds)
    known = isinstance(view.account, Account)
    account = view.account if isinstance(view.account, Account) else planned(context, now_us)
    free = spendable(account, view.pending, Denomination.UNIT.value, None, now_us)
    return AccountAnswer(
        account_kind=account_kind,
        account_id=account_id,
        known=known,
        balances=_balances(account, view.pending, now_us),
        limits=_limits(account, view.pending, now_us),
        fresh=fresh,
        events=account.events,
        blocked=free is not None and free < 1,
        holds=_holds(account, view.pending) if with_holds else [],
    )


def _task_answer(task_ref: str, view: View, fresh: Freshness, *, with_holds: bool) -> AccountAnswer:
    task = view.account if isinstance(view.account, Task) else Task(task_ref)
    known = isinstance(view.account, Task) or view.opened is not None
    denomination, ceiling = task.denomination, task.ceiling
    if not denomination and view.opened is not None:
        denomination, ceiling = view.opened
    spent = used(task, denomination)
    reserved = held(task, view.pending, denomination)
    told = None
    if denomination:
        told = TaskTold(
            denomination=denomination,
            ceiling=balance_text(denomination, ceiling),
            used=balance_text(denomination, spent),
            held=balance_text(denomination, reserved),
            agent_id=task.agent_id,
            usage_missing_calls=task.usage_missing_calls,
            unpriced_calls=task.unpriced_calls,
            breakdown={
                agent: balance_text(denomination, amount)
                for agent, amount in sorted(task.breakdown.items())
            },
        )
    return AccountAnswer(
        account_kind="task",
        account_id=task_ref,
        known=known,
        balances=[
            BalanceTold("unit", None, "0", str(task.used_units)),
            BalanceTold("token", None, "0", str(task.used_tokens)),
            BalanceTold("usd", None, "0", balance_text("usd", task.used_pico_usd)),
        ],
        limits=[],
        fresh=fresh,
        events=task.calls,
        blocked=bool(denomination) and ceiling <= spent + reserved,
        holds=_holds(task, view.pending) if with_holds else [],
        task=told,
    )


def _balances(account: Account, pending: OpenHolds, now_us: int) -> list[BalanceTold]:
    spent = {
        "unit": account.used_units,
        "token": account.used_tokens,
        "usd": account.used_pico_usd,
    }
    told = []
    for denomination, amount in spent.items():
        free = spendable(account, pending, denomination, None, now_us)
        reserved = held(account, pending, denomination)
        told.append(
            BalanceTold(
                denomination,
                None if free is None else balance_text(denomination, free),
                balance_text(denomination, reserved),
                balance_text(denomination, amount),
            )
        )
    return told


def _limits(account: Account, pending: OpenHolds, now_us: int) -> list[LimitTold]:
    return [
        LimitTold(
            denomination=limit.denomination,
            amount=balance_text(limit.denomination, limit.amount),
            used=balance_text(limit.denomination, used_at(limit, now_us)),
            held=balance_text(
                limit.denomination,
                held(account, pending, limit.denomination, limit.agent_id),
            ),
            resets=limit.resets,
            agent_id=limit.agent_id,
            period_from=(
                period_start(limit.resets, now_us, limit.anchor_us) if limit.resets else 0
            ),
        )
        for limit in account.limits
    ]


def _holds(*holders: Holder) -> list[HoldTold]:
    return [
        HoldTold(
            reservation_id=hold.reservation_id,
            denomination=hold.denomination,
            amount=balance_text(hold.denomination, hold.amount),
            open=balance_text(hold.denomination, hold.open),
            placed_at=hold.placed_at_us,
            expires_at=hold.expires_at_us,
            agent_id=hold.agent_id,
            task_ref=hold.task_ref,
        )
        for holder in holders
        for hold in holder.holds.values()
    ]
