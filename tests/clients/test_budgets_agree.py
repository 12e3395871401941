"""`tollgate budget` and `tollgate tasks` tell what the owners tell over HTTP, on the whole stack,
once the sink has delivered it."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import requests

from schemas.times import format_time
from tests.builders import DAY_US
from tests.clients.whole import Target, Whole, fresh, get
from tests.embedded_waiting import until

SECONDS_MAX = 60.0


def tollgate(whole: Whole, *words: str) -> tuple[int, str]:
    """A command's exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "streams", *words],
        env=os.environ | whole.installation.settings.environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    return done.returncode, done.stdout or done.stderr


def send(target: Target, method: str, path: str, body: dict[str, Any]) -> Any:
    """What a gateway answers; it has to be 200."""
    headers = {"Authorization": f"Bearer {target.key}"}
    answer = requests.request(
        method, target.url + path, json=body, headers=headers, timeout=SECONDS_MAX
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def ago(days: int) -> str:
    """A time so many days before now."""
    now_us = time.time_ns() // 1_000  # noqa: TID251 - the installation runs by the real clock
    return format_time(now_us - days * DAY_US)


def grants(customer: str) -> list[dict[str, Any]]:
    """One with two periods behind it of which some rolls over, one by an anchor, one expired."""
    usual = {"denomination": "unit", "amount": "100", "effective_at": ago(3)}
    return [
        usual | {"event_id": f"{customer}-1", "resets": "day", "rollover_max": "150"},
        usual
        | {"event_id": f"{customer}-2", "resets": "month", "anchor": f"{ago(20)[:10]}T00:00:00Z"},
        usual | {"event_id": f"{customer}-3", "expires_at": ago(1)},
        usual | {"event_id": f"{customer}-4", "denomination": "usd", "amount": "2.5"},
    ]


def account_of(target: Target, customer: str) -> str:
    """Gives a customer grants, limits, usage, a hold and a task; returns the task."""
    job, path = fresh("job"), f"/v1/customers/{customer}"
    for body in grants(customer):
        send(target, "POST", f"{path}/grants", body)
    for agent in (None, "a1"):
        limit = {"denomination": "unit", "amount": "2000", "resets": "week", "agent_id": agent}
        send(target, "PUT", f"{path}/limits", limit)
    ask = {"customer_id": customer, "agent_id": "a1", "task_ref": job, "task_ceiling": "500"}
    held = [
        send(target, "POST", "/v1/preflights", ask | {"idempotency_key": key, "estimate": "30"})
        for key in ("k1", "k2")
    ]
    record = {"schema_version": 1, "event_id": "u1", "source": "test", "customer_id": customer}
    record |= {"units": 12, "cost": "0.25", "agent_id": "a1", "task_ref": job}
    record |= {"reservation_id": held[0]["reservation_id"]}
    send(target, "POST", "/v1/records", record)
    return job


BALANCE = ("available", "held")
LIMIT = ("agent_id", "denomination", "amount", "used", "held", "resets")
TASK = ("ceiling", "used", "held", "remaining", "exceeded", "used_by_agent", "holds")


def parts(rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Some fields of each."""
    return [{name: one[name] for name in names} for one in rows]


def told_over_http(target: Target, customer: str, job: str) -> dict[str, Any]:
    """The account and the task as their owners have them."""
    path = f"/v1/customers/{customer}"
    budget = get(target, f"{path}/budget").json()
    return {
        "balances": {one["denomination"]: parts([one], BALANCE) for one in budget["balances"]},
        "limits": parts(budget["limits"], LIMIT),
        "holds": get(target, f"{path}/holds").json()["holds"],
        "task": parts([get(target, f"/v1/tasks/{job}").json()], TASK),
    }


def told_by_commands(whole: Whole, customer: str, job: str) -> dict[str, Any]:
    """The same from ClickHouse; what is not there yet is missing."""
    code, budget_text = tollgate(whole, "budget", customer, "--json")
    task_code, task_text = tollgate(whole, "tasks", "show", job, "--json")
    if code or task_code:
        return {"budget": budget_text, "task": task_text}
    budget = json.loads(budget_text)
    return {
        "balances": {name: parts([one], BALANCE) for name, one in budget["balances"].items()},
        "limits": parts(budget["limits"], LIMIT),
        "holds": budget["holds"],
        "task": parts([json.loads(task_text)], TASK),
    }


def test_the_commands_tell_what_the_owners_tell(delivered: Whole, target: Target) -> None:
    customer = fresh("agreed")
    job = account_of(target, customer)

    def equal() -> bool:
        return told_by_commands(delivered, customer, job) == told_over_http(target, customer, job)

    try:
        until(equal, "the commands and the owners agree", SECONDS_MAX)
    except AssertionError:
        # Which of the figures it is that differ for good.
        assert told_by_commands(delivered, customer, job) == told_over_http(target, customer, job)
        raise
    told = told_over_http(target, customer, job)
    # The plan's 1,000, 100 and what rolled over, 100 by the anchor; 12 used, 30 held.
    assert told["balances"]["unit"] == [{"available": "1308", "held": "30"}]
    assert told["balances"]["usd"] == [{"available": "2.25", "held": "0"}]
    assert [limit["used"] for limit in told["limits"]] == ["12", "12"]
    assert (told["task"][0]["used"], told["task"][0]["held"]) == ("12", "30")


def test_a_ceiling_set_by_the_command_counts(whole: Whole, target: Target) -> None:
    job = fresh("job")
    words = ("tasks", "ceiling", job, "--denomination", "unit", "--amount", "40", "--id", job)
    code, printed = tollgate(whole, *words, "--json")
    assert (code, json.loads(printed)) == (0, {"event_id": job, "task_ref": job})
    until(lambda: get(target, f"/v1/tasks/{job}").status_code == 200, "the ceiling", SECONDS_MAX)
    assert get(target, f"/v1/tasks/{job}").json()["ceiling"] == "40"
    code, printed = tollgate(whole, "tasks", "ceiling", job, "--denomination", "unit", "--amount=x")
    assert code == 2
    assert "amount" in printed
