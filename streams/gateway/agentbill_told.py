"""Answers of owners in AgentBill's words. Pure translation.

Counts are units, tokens, or micro-dollars on a job in dollars; what is left is never shown below
zero, since their clients put it into sentences.
"""

from typing import Any, Final

from schemas import rpc
from schemas.times import format_time
from streams.gateway.asking import Decision
from streams.gateway.decimals import encode_with_dollars, pico_of, told_count
from streams.gateway.replies import Response

LIST_PRICE: Final = "estimated at public list prices; what is invoiced may differ"

OF_SELLERS_PLAN: Final = ("free_tier_exceeded", "plan_limit_exceeded")


def told_preflight(
    decision: Decision,
    *,
    task_ref: str | None,
    ceiling: int | None,
    estimate_source: str,
    rounded: bool,
    upgrade_url: str,
) -> Response:
    """A decision, with the fields that the recordings show for its kind."""
    answer, task = decision.answer, decision.task
    count = told_count(answer.denomination, answer.estimate)
    fields: dict[str, Any] = {
        "approved": answer.approved,
        "reason": None if answer.approved else answer.reason,
        "estimated_units": count,
    }
    dollars: dict[str, int | None] = {}
    if not decision.refused_by_task:
        fields["remaining_units"] = _left(answer.denomination, answer.remaining)
    if answer.approved:
        fields["reservation_expires_at"] = format_time(answer.expires_at)
        fields["reservation_id"] = answer.reservation_id
    elif answer.reason == "ceiling_exceeded":
        fields["ceiling"] = ceiling
    elif answer.reason in OF_SELLERS_PLAN:
        fields["upgrade_url"] = upgrade_url or None
    if task_ref is not None:
        fields["task_ref"] = task_ref
    if task is not None:
        _add_task(fields, dollars, task)
    if answer.denomination == "usd":
        fields["task_unit"] = "usd"
        fields["estimate_source"] = estimate_source
        dollars["estimated_usd"] = pico_of(answer.estimate)
    if rounded:
        fields["estimate_rounded"] = True
    return Response(200, encode_with_dollars(fields, dollars))


def _add_task(
    fields: dict[str, Any], dollars: dict[str, int | None], task: rpc.PreflightAnswer
) -> None:
    kind = task.denomination
    if task.ceiling is not None:
        fields["task_ceiling"] = told_count(kind, task.ceiling)
    if not task.approved and task.used is not None:
        fields["task_used_units"] = told_count(kind, task.used)
    fields["task_remaining_units"] = _left(kind, task.remaining)
    if kind == "usd":
        dollars["task_ceiling_usd"] = None if task.ceiling is None else pico_of(task.ceiling)
        dollars["task_used_usd"] = None if task.used is None else pico_of(task.used)
        dollars["task_remaining_usd"] = (
            None if task.remaining is None else max(0, pico_of(task.remaining))
        )


def _left(denomination: str, text: str | None) -> int | None:
    return None if text is None else max(0, told_count(denomination, text))


def remaining(account: rpc.AccountAnswer | None, denomination: str) -> int | None:
    """What a customer has left in a denomination, by its grants; None where nothing bounds it."""
    if account is None:
        return None
    for balance in account.balances:
        if balance.denomination == denomination:
            return _left(denomination, balance.available)
    return None


def customer_remaining(
    account: rpc.AccountAnswer | None, denomination: str, agent_id: str = ""
) -> int | None:
    """The least that grants and limits leave a customer, or one of its agents."""
    found = [] if account is None else [remaining(account, denomination)]
    for limit in () if account is None else account.limits:
        if limit.denomination == denomination and limit.agent_id in ("", agent_id):
            left = told_count(denomination, limit.amount)
            left -= told_count(denomination, limit.used) + told_count(denomination, limit.held)
            found.append(max(0, left))
    bounds = [left for left in found if left is not None]
    return min(bounds) if bounds else None


def told_task(task_ref: str, task: rpc.TaskTold) -> Response:
    """How a job stands."""
    kind = task.denomination
    ceiling, used, held = (told_count(kind, text) for text in (task.ceiling, task.used, task.held))
    fields: dict[str, Any] = {
        "task_ref": task_ref,
        "agent_id": task.agent_id,
        "ceiling_units": ceiling,
        "used_units": used,
        "reserved_units": held,
        "remaining_units": max(0, ceiling - used - held),
        "exceeded": exceeded(task),
        "unit": kind,
        "usage_missing_calls": task.usage_missing_calls,
        "breakdown": {
            "agents": {agent: told_count(kind, text) for agent, text in task.breakdown.items()}
        },
    }
    dollars: dict[str, int | None] = {}
    if kind == "usd":
        fields |= {"unpriced_calls": task.unpriced_calls, "list_price_label": LIST_PRICE}
        pico = [pico_of(text) for text in (task.ceiling, task.used, task.held)]
        dollars = {
            "ceiling_usd": pico[0],
            "used_usd": pico[1],
            "reserved_usd": pico[2],
            "remaining_usd": max(0, pico[0] - pico[1] - pico[2]),
        }
    return Response(200, encode_with_dollars(fields, dollars))


def exceeded(task: rpc.TaskTold) -> bool:
    """Whether a job has used more than its ceiling."""
    return pico_of(task.used) > pico_of(task.ceiling)


def task_figures(task: rpc.TaskTold | None) -> dict[str, Any]:
    """What an event's answer says about its job; nulls where the job has not counted it yet."""
    if task is None:
        return {"task_used_units": None, "task_remaining_units": None, "task_exceeded": None}
    kind = task.denomination
    ceiling, used, held = (told_count(kind, text) for text in (task.ceiling, task.used, task.held))
    return {
        "task_used_units": used,
        "task_remaining_units": max(0, ceiling - used - held),
        "task_exceeded": exceeded(task),
    }


def told_budget(customer_id: str, account: rpc.AccountAnswer) -> dict[str, Any]:
    """What a customer has left in units: by its own limit where that is tighter than its grants."""
    balance = next((one for one in account.balances if one.denomination == "unit"), None)
    used = 0 if balance is None else int(balance.used)
    left = remaining(account, "unit")
    bound = None
    if balance is not None and balance.available is not None:
        bound = int(balance.available) + int(balance.held) + used
    for limit in account.limits:
        if limit.denomination == "unit" and not limit.agent_id:
            under = int(limit.amount) - int(limit.used) - int(limit.held)
            if left is None or under <= left:
                left, bound, used = max(0, under), int(limit.amount), int(limit.used)
    return {
        "customer_id": customer_id,
        "customer_created": False,
        "limit": bound,
        "used": used,
        "remaining": left,
        "is_blocked": account.blocked,
    }
