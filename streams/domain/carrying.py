"""What an account of one installation says to another that takes its place: facts under ids that
name where each figure comes from, and the comparison of what became of them (decision 039).

Owns no reading and no writing. A function of rows and one moment, the domain time of the
installation that is left: the same facts come of it however often it is asked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from schemas.times import format_time
from streams.domain.budget import Account, available, balance_text
from streams.domain.grants import OpenGrant, left_at, open_at, unexpired
from streams.domain.limits import OpenLimit, used_at
from streams.domain.tasks import Task, used

LEAST: Final = {"usd": "0.000000000001"}
"""The least that can be granted, where it is not 1."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A fact for `budgets`: the fields that are not common to all facts. Of a ceiling
    `customer_id` is the task."""

    kind: str
    customer_id: str
    event_id: str
    fields: Mapping[str, Any]


def event_id(origin: str, what: str) -> str:
    """The id of a fact that comes from the installation under a topic prefix. `what` names the
    thing there: an entry of its ledger, or a part of an account."""
    return f"carry-over:{origin}:{what}"


def carried_account(account: Account, origin: str, as_of_us: int) -> list[Carried]:
    """What is said of a customer: its open grants with what is left of them, its limits with what
    was used of them. Never nothing: who is known gets no default plan again.

    A denomination in which nothing is left stays one in which no more can be spent than there is.
    """
    grants = unexpired(account.grants, as_of_us)
    said = [
        Carried(
            "grant",
            account.customer_id,
            event_id(origin, grant.grant_id),
            _grant_fields(grant, origin, as_of_us),
        )
        for grant in grants
    ]
    bare = [one for one in account.budgeted if one not in {g.denomination for g in grants}]
    said += [_spent(account.customer_id, one, origin, as_of_us) for one in bare]
    for limit in account.limits:
        name = event_id(origin, f"limit-{_short(limit.denomination, limit.agent_id)}")
        said.append(Carried("limit", account.customer_id, name, _limit_fields(limit, as_of_us)))
    if not said:
        # A limit that is lifted where there is none changes nothing but that the customer is known.
        known = {"denomination": "unit", "occurred_at": format_time(as_of_us)}
        said.append(Carried("limit", account.customer_id, event_id(origin, "known"), known))
    return said


def _grant_fields(grant: OpenGrant, origin: str, as_of_us: int) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "occurred_at": format_time(as_of_us),
        "denomination": grant.denomination,
        "amount": balance_text(grant.denomination, grant.remaining),
        "priority": grant.priority,
        "effective_at": format_time(grant.effective_at_us),
        "expires_at": _time(grant.expires_at_us),
        "reason": f"from {origin}: what was left of {grant.grant_id}",
    }
    renewal = grant.renewal
    if renewal is not None:
        fields |= {
            "amount": balance_text(grant.denomination, renewal.amount),
            "resets": renewal.interval,
            "anchor": _time(renewal.anchor_us),
        }
        if renewal.rollover_max:
            fields["rollover_max"] = balance_text(grant.denomination, renewal.rollover_max)
        if open_at(grant, as_of_us):
            gone = renewal.amount - left_at(grant, as_of_us)
            fields["used"] = balance_text(grant.denomination, gone)
    return fields


def _spent(customer_id: str, denomination: str, origin: str, as_of_us: int) -> Carried:
    """A grant that is over before it is there: the denomination is one that was granted."""
    fields = {
        "occurred_at": format_time(as_of_us),
        "denomination": denomination,
        "amount": LEAST.get(denomination, "1"),
        "effective_at": format_time(as_of_us - 1),
        "expires_at": format_time(as_of_us),
        "reason": f"from {origin}: nothing is left of what was granted",
    }
    return Carried("grant", customer_id, event_id(origin, f"spent-{denomination}"), fields)


def _limit_fields(limit: OpenLimit, as_of_us: int) -> dict[str, Any]:
    return {
        "occurred_at": format_time(as_of_us),
        "agent_id": limit.agent_id or None,
        "denomination": limit.denomination,
        "amount": balance_text(limit.denomination, limit.amount),
        "resets": limit.resets or None,
        "anchor": _time(limit.anchor_us),
        "used": balance_text(limit.denomination, used_at(limit, as_of_us)),
    }


def carried_task(task: Task, origin: str, as_of_us: int) -> list[Carried]:
    """What is said of a task: a ceiling of what is left under its own; nothing without one."""
    if not task.denomination:
        return []
    left = max(0, task.ceiling - used(task, task.denomination))
    fields = {
        "occurred_at": format_time(as_of_us),
        "denomination": task.denomination,
        "amount": balance_text(task.denomination, left),
    }
    return [Carried("ceiling", task.task_ref, event_id(origin, "ceiling"), fields)]


def account_differences(before: Account, now: Account | None, now_us: int) -> list[str]:
    """How what a customer can spend differs between two installations at a time; the ids of its
    grants do. Empty where nothing does."""
    if now is None:
        return ["is not known in the new one"]
    return list(_differences(before, now, now_us))


def _differences(before: Account, now: Account, now_us: int) -> Iterator[str]:
    for denomination in sorted({*before.budgeted, *now.budgeted}):
        one, other = (available(account, denomination, now_us) for account in (before, now))
        bound = [denomination in account.budgeted for account in (before, now)]
        if one != other or not all(bound):
            old, new = balance_text(denomination, one), balance_text(denomination, other)
            yield f"{denomination}: {old} were left, {new} are"
    if _grants(before, now_us) != _grants(now, now_us):
        yield "its grants differ in when they count, or in what their next periods give"
    if _limits(before, now_us) != _limits(now, now_us):
        yield "its limits differ"


def _grants(account: Account, now_us: int) -> list[tuple[Any, ...]]:
    found = []
    for grant in unexpired(account.grants, now_us):
        renewal, left = grant.renewal, grant.remaining
        terms: tuple[Any, ...] = ()
        if renewal is not None:
            left = left_at(grant, now_us) if open_at(grant, now_us) else renewal.amount
            terms = (renewal.interval, renewal.amount, renewal.anchor_us, renewal.rollover_max)
        times = (grant.effective_at_us, grant.expires_at_us)
        found.append((grant.denomination, grant.priority, times, left, terms))
    return sorted(found, key=repr)


def _limits(account: Account, now_us: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for one in account.limits:
        amounts = (one.amount, used_at(one, now_us))
        found.append((one.agent_id, one.denomination, amounts, one.resets, one.anchor_us))
    return sorted(found, key=repr)


def _short(*names: str) -> str:
    """Names of any length as 16 characters; two meet with a chance below 10**-9 in an account."""
    return blake2b("\0".join(names).encode(), digest_size=8).hexdigest()


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else format_time(time_us)
