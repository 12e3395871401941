"""AgentBill's routes over ports that answer what a test says: what an installation cannot
be brought to answer."""

from typing import Any

import pytest

import schemas.rpc as rpc
from schemas import codec
from streams.gateway.agentbill import ROUTES
from streams.gateway.agentbill_events import TASK_COUNTED_SECONDS
from tests.gateway_fakes import FRESH, World, account, approved, error

EVENT = {"customer_id": "acme", "event_type": "a", "idempotency_key": "k", "units": 2}


@pytest.fixture
def agentbill() -> World:
    return World(ROUTES)


def recorded(status: Any = "accepted", **changes: Any) -> rpc.RecordAnswer:
    entry = rpc.EntryTold("1-usage-3-0-0", "usage", units=2)
    fields: dict[str, Any] = {"entry": entry, "account": account()}
    return rpc.RecordAnswer(status, FRESH, **(fields | changes))


def job(events: int, used: str = "0", denomination: str = "unit") -> rpc.AccountAnswer:
    task = rpc.TaskTold(denomination, "50", used, "0")
    return account(
        account_kind="task", account_id="job", events=events, task=task if denomination else None
    )


def usages(world: World) -> list[Any]:
    return [codec.decode_usage(value) for topic, _, value in world.inbound.records]


async def test_an_event_past_its_deadline_is_recorded_with_unknown_figures(
    agentbill: World,
) -> None:
    agentbill.owners.queued.append(recorded("undecided", entry=None, account=None))
    answer = await agentbill.call("POST", "/events", EVENT)
    assert answer.status == 200
    assert answer.json == {
        "event_id": None,
        "status": "recorded",
        "customer_created": False,
        "customer_remaining_units": None,
        "decided": False,
    }


async def test_an_event_whose_owner_cannot_be_asked_is_recorded_all_the_same(
    agentbill: World,
) -> None:
    agentbill.owners.otherwise = lambda _partition, _ask: error("not_mine")
    answer = await agentbill.call("POST", "/events", EVENT)
    assert (answer.status, answer.json["decided"]) == (200, False)
    assert [usage.event_id for usage in usages(agentbill)] == ["k"]


async def test_an_event_that_the_log_does_not_take_is_503(agentbill: World) -> None:
    agentbill.inbound.down = True
    answer = await agentbill.call("POST", "/events", EVENT)
    assert (answer.status, answer.json["error"]) == (503, "log_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_refused_event_says_why(agentbill: World) -> None:
    refused = recorded("refused", entry=None, code="too_old", reason="years ago")
    agentbill.owners.queued.append(refused)
    answer = await agentbill.call("POST", "/events", EVENT)
    assert (answer.status, answer.json["message"]) == (422, "too_old: years ago")


async def test_a_conflict_is_a_duplicate_to_agentbill(agentbill: World) -> None:
    agentbill.owners.queued.append(recorded("refused", entry=None, code="conflict"))
    answer = await agentbill.call("POST", "/events", EVENT)
    assert (answer.status, answer.json["status"]) == (200, "duplicate_ignored")


async def test_what_is_left_is_never_shown_below_zero(agentbill: World) -> None:
    overdrawn = account(balances=[rpc.BalanceTold("unit", "-5", "0", "1005")])
    agentbill.owners.queued.append(recorded(account=overdrawn))
    answer = await agentbill.call("POST", "/events", EVENT)
    assert answer.json["customer_remaining_units"] == 0


async def test_402_is_for_what_comes_after_the_budget_was_spent(agentbill: World) -> None:
    agentbill.owners.queued.append(recorded(was_exhausted=True))
    answer = await agentbill.call("POST", "/events", EVENT)
    assert (answer.status, answer.json["error"]) == (402, "budget_exhausted")
    assert answer.json["customer_id"] == "acme"
    assert len(usages(agentbill)) == 1


async def test_what_settles_a_hold_is_never_402(agentbill: World) -> None:
    entry = rpc.EntryTold("e", "usage", units=2, reservation_id="r", settlement="settled")
    agentbill.owners.queued.append(recorded(was_exhausted=True, entry=entry))
    answer = await agentbill.call("POST", "/events", EVENT | {"reservation_id": "r"})
    assert (answer.status, answer.json["reservation_status"]) == (200, "settled")


async def test_the_figures_of_a_job_are_those_after_it_counted_the_event(agentbill: World) -> None:
    states: list[rpc.Answer] = [job(3, "10"), recorded(), job(3, "10"), job(3, "10"), job(4, "12")]
    agentbill.owners.queued.extend(states)
    answer = await agentbill.call("POST", "/events", EVENT | {"task_ref": "job"})
    assert answer.json["task_used_units"] == 12
    assert answer.json["task_remaining_units"] == 38


async def test_a_job_that_counts_late_has_unknown_figures(
    agentbill: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.gateway.agentbill_events.TASK_COUNTED_SECONDS", 0.05)
    assert TASK_COUNTED_SECONDS < 1
    agentbill.owners.queued.extend([job(3, "10"), recorded()])
    agentbill.owners.otherwise = lambda _partition, _ask: job(3, "10")
    answer = await agentbill.call("POST", "/events", EVENT | {"task_ref": "job"})
    assert answer.status == 200
    assert answer.json["task_used_units"] is None


async def test_an_event_that_needs_its_job_waits_for_it_and_is_not_guessed(
    agentbill: World,
) -> None:
    agentbill.owners.otherwise = lambda _partition, _ask: error("not_mine")
    answer = await agentbill.call("POST", "/events", EVENT | {"task_ref": "job"})
    assert (answer.status, answer.json["error"]) == (503, "unavailable")
    assert not usages(agentbill)
    tokens = {"tokens": {"input": 1, "output": 1}}
    told = await agentbill.call("POST", "/events", EVENT | {"task_ref": "job", "metadata": tokens})
    assert told.status == 200


async def test_a_ceiling_that_is_not_decided_yet_is_503(agentbill: World) -> None:
    agentbill.owners.queued.append(recorded("undecided", entry=None, account=None))
    answer = await agentbill.call("PUT", "/tasks/job/ceiling", {"ceiling_units": 5, "unit": "unit"})
    assert answer.status == 503


async def test_refs_may_hold_slashes_and_escapes(agentbill: World) -> None:
    agentbill.owners.otherwise = lambda _partition, _ask: job(1)
    for path in ("/tasks/a/b", "/tasks/a%2Fb"):
        answer = await agentbill.call("GET", path)
        assert answer.json["task_ref"] == "a/b"


async def test_too_many_holds_is_not_taken_for_still_being_decided(agentbill: World) -> None:
    agentbill.owners.queued.append(error("too_many_holds"))
    answer = await agentbill.call("POST", "/preflight", {"agent_id": "a"})
    assert (answer.status, answer.json["error"]) == (422, "too_many_holds")


async def test_a_rounded_estimate_is_flagged(agentbill: World) -> None:
    agentbill.owners.queued.append(approved(denomination="usd", estimate="0.01545"))
    body = b'{"agent_id": "a", "unit": "usd", "estimated_usd": 0.015450000000000002}'
    answer = await agentbill.call("POST", "/preflight", body)
    assert answer.json["estimate_rounded"] is True
    [ask] = agentbill.owners.asks
    assert isinstance(ask, rpc.PreflightAsk)
    assert ask.estimate == "0.01545"


async def test_a_figure_in_dollars_on_another_unit_is_refused(agentbill: World) -> None:
    body = {"agent_id": "a", "unit": "token", "estimated_usd": 1}
    answer = await agentbill.call("POST", "/preflight", body)
    assert (answer.status, answer.json["error"]) == (422, "invalid_field")


async def test_a_default_estimate_follows_from_the_body_where_the_key_is_the_callers(
    agentbill: World,
) -> None:
    agentbill.owners.otherwise = lambda _partition, _ask: approved(
        denomination="usd", estimate="0.1"
    )
    body = {"agent_id": "a", "unit": "usd", "task_ref": "job", "idempotency_key": "k"}
    answer = await agentbill.call("POST", "/preflight", body)
    assert answer.json["estimate_source"] == "default"
    assert all(isinstance(ask, rpc.PreflightAsk) for ask in agentbill.owners.asks)


@pytest.mark.parametrize("code", ["not_mine", "not_ready", "lagging", "overloaded"])
async def test_who_cannot_decide_says_when_to_ask_again(agentbill: World, code: str) -> None:
    agentbill.owners.otherwise = lambda _partition, _ask: error(code)
    answer = await agentbill.call("POST", "/preflight", {"agent_id": "a", "idempotency_key": "k"})
    assert (answer.status, answer.json["error"]) == (503, code)
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_budget_shows_the_tighter_of_grants_and_limit(agentbill: World) -> None:
    limit = rpc.LimitTold("unit", "10", "4", "1")
    agentbill.owners.queued.append(
        account(balances=[rpc.BalanceTold("unit", "5", "1", "99")], limits=[limit])
    )
    answer = await agentbill.call("GET", "/budget?customer_id=acme")
    assert answer.json == {
        "customer_id": "acme",
        "customer_created": False,
        "limit": 10,
        "used": 4,
        "remaining": 5,
        "is_blocked": False,
    }
    agentbill.owners.queued.append(account(balances=[rpc.BalanceTold("unit", "900", "1", "99")]))
    whole = await agentbill.call("GET", "/budget?customer_id=acme")
    assert (whole.json["limit"], whole.json["used"], whole.json["remaining"]) == (1_000, 99, 900)
