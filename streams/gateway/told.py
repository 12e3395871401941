"""Answers of owners as the native API tells them: plain values that `schemas.codec` writes.

The shapes are those of `streams.gateway.messages`. Structs whose fields are told as they are
(balances, freshness) are passed through.
"""

from collections.abc import Mapping
from typing import Any

import schemas.rpc as rpc
from schemas.times import format_time
from streams.gateway.asking import Decision, Recorded

Plain = dict[str, Any]


def time_text(time_us: int) -> str | None:
    """A time, null for none."""
    return format_time(time_us) if time_us else None


def decision(made: Decision, task_ref: str | None) -> Plain:
    """A `PreflightTold`."""
    answer, task = made.answer, made.task
    return {
        "approved": answer.approved,
        "reason": answer.reason or None,
        "reservation_id": answer.reservation_id,
        "denomination": answer.denomination,
        "estimate": answer.estimate,
        "remaining": answer.remaining,
        "decided_at": format_time(answer.decided_at),
        "expires_at": format_time(answer.expires_at),
        "replayed": answer.replayed,
        "hold_state": answer.hold_state,
        "task": None
        if task is None
        else {
            "task_ref": task_ref,
            "reservation_id": task.reservation_id,
            "approved": task.approved,
            "reason": task.reason or None,
            "ceiling": task.ceiling,
            "used": task.used,
            "remaining": task.remaining,
        },
        "as_of": answer.fresh,
    }


def hold_change(answer: rpc.ReleaseAnswer) -> Plain:
    """A `HoldChange`."""
    decided = answer.committed
    return {
        "reservation_id": answer.reservation_id,
        "decided": decided,
        "state": answer.state if decided else None,
        "changed": answer.changed if decided else None,
        "released": answer.released if decided else None,
        "expires_at": time_text(answer.expires_at) if decided else None,
        "as_of": answer.fresh,
    }


def limits(account: rpc.AccountAnswer) -> list[Plain]:
    """The `LimitState`s of an account."""
    return [
        {
            "agent_id": limit.agent_id or None,
            "denomination": limit.denomination,
            "amount": limit.amount,
            "used": limit.used,
            "held": limit.held,
            "resets": limit.resets or None,
            "period_from": time_text(limit.period_from),
        }
        for limit in account.limits
    ]


def holds(account: rpc.AccountAnswer) -> list[Plain]:
    """The `HoldTold`s of an account."""
    return [
        {
            "reservation_id": hold.reservation_id,
            "denomination": hold.denomination,
            "amount": hold.amount,
            "open": hold.open,
            "placed_at": format_time(hold.placed_at),
            "expires_at": format_time(hold.expires_at),
            "agent_id": hold.agent_id or None,
            "task_ref": hold.task_ref or None,
        }
        for hold in account.holds
    ]


def budget(account: rpc.AccountAnswer) -> Plain:
    """A `BudgetTold`."""
    return {
        "customer_id": account.account_id,
        "known": account.known,
        "blocked": account.blocked,
        "events": account.events,
        "balances": account.balances,
        "limits": limits(account),
        "as_of": account.fresh,
    }


def task(account: rpc.AccountAnswer, told: rpc.TaskTold, remaining: str, exceeded: bool) -> Plain:
    """A `TaskTold`."""
    return {
        "task_ref": account.account_id,
        "denomination": told.denomination,
        "ceiling": told.ceiling,
        "used": told.used,
        "held": told.held,
        "remaining": remaining,
        "exceeded": exceeded,
        "agent_id": told.agent_id or None,
        "calls_without_usage": told.usage_missing_calls,
        "calls_without_price": told.unpriced_calls,
        "used_by_agent": told.breakdown,
        "holds": holds(account),
        "as_of": account.fresh,
    }


def _account_part(recorded: Recorded) -> Mapping[str, Any]:
    answer = recorded.decided
    account = answer.account if answer is not None else None
    return {
        "balances": None if account is None else account.balances,
        "limits": None if account is None else limits(account),
        "as_of": None if recorded.answer is None else recorded.answer.fresh,
    }


def record(recorded: Recorded) -> Plain:
    """A `RecordTold`."""
    answer, appended = recorded.decided, recorded.appended
    entry = answer.entry if answer is not None else None
    return {
        "status": "undecided" if answer is None else answer.status,
        "topic": appended.topic,
        "partition": appended.partition,
        "offset": appended.offset,
        "entry": None
        if entry is None
        else {
            "entry_id": entry.entry_id,
            "kind": entry.kind,
            "units": entry.units,
            "cost": entry.cost,
            "currency": entry.currency,
            "cost_basis": entry.cost_basis,
        },
        "settlement": None
        if entry is None or not entry.settlement
        else {
            "reservation_id": entry.reservation_id,
            "status": entry.settlement,
            "released": entry.released,
            "denomination": entry.denomination,
        },
        "customer_created": None if entry is None else entry.customer_created,
        **_account_part(recorded),
    }


def administered(recorded: Recorded, event_id: str) -> Plain:
    """An `AdministeredTold`."""
    answer = recorded.decided
    entry = answer.entry if answer is not None else None
    return {
        "status": "undecided" if answer is None else answer.status,
        "event_id": event_id,
        "entry_id": None if entry is None else entry.entry_id,
        **_account_part(recorded),
    }
