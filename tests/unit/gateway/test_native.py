"""The native API: what each route asks or appends, and that what it tells is as described."""

from collections import deque
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel

import schemas.rpc as rpc
from schemas import codec
from schemas.structs import Ceiling, Grant, Limit
from streams.errors import TransientError
from streams.gateway import messages
from tests.gateway_fakes import FRESH, World, account, approved, error, refusal, released

USAGE = {
    "schema_version": 1,
    "event_id": "e1",
    "source": "bot",
    "customer_id": "acme",
    "units": 2,
    "reservation_id": "1-3-9",
}
ENTRY = rpc.EntryTold(
    entry_id="1-usage-3-0",
    kind="usage",
    units=2,
    reservation_id="1-3-9",
    settlement="settled",
    released="3",
    denomination="unit",
)


def as_told(model: type[BaseModel], told: Any) -> Any:
    """What was answered, when it has the fields of its description and no others."""
    assert set(told) <= set(model.model_fields)
    model.model_validate(told)
    return told


# --- preflights -----------------------------------------------------------------------------------


async def test_a_preflight_asks_for_what_was_sent(world: World) -> None:
    body = {
        "customer_id": "acme",
        "idempotency_key": "k1",
        "source": "bot",
        "denomination": "usd",
        "estimate": "0.25",
        "agent_id": "a1",
        "ceiling": "1",
        "ttl_seconds": 90,
    }
    answer = await world.call("POST", "/v1/preflights", body)
    assert answer.status == 200
    told = as_told(messages.PreflightTold, answer.json)
    assert told["approved"] is True
    assert told["reason"] is None
    assert told["task"] is None
    assert told["expires_at"] == "2027-01-15T09:00:00.000000Z"
    assert told["as_of"]["usage_offset"] == FRESH.usage_offset
    assert world.owners.asks == [
        rpc.PreflightAsk(
            account_kind="customer",
            account_id="acme",
            source="bot",
            idempotency_key="k1",
            denomination="usd",
            estimate="0.25",
            agent_id="a1",
            ceiling="1",
            ttl_ms=90_000,
        )
    ]


@pytest.mark.parametrize(
    "reason",
    [
        "ceiling_exceeded",
        "budget_exhausted",
        "free_tier_exceeded",
        "plan_limit_exceeded",
    ],
)
async def test_a_refusal_is_an_answer_and_no_error(world: World, reason: str) -> None:
    world.owners.queued.append(refusal(reason))
    answer = await world.call(
        "POST", "/v1/preflights", {"customer_id": "acme", "idempotency_key": "k1"}
    )
    assert answer.status == 200
    assert (answer.json["approved"], answer.json["reason"]) == (False, reason)


async def test_a_decision_with_a_task_tells_both(world: World) -> None:
    world.owners.queued = deque(
        [approved(reservation_id="1-2-4", ceiling="100", used="5", remaining="94"), approved()]
    )
    body = {"customer_id": "acme", "idempotency_key": "k", "task_ref": "t", "task_ceiling": "100"}
    answer = await world.call("POST", "/v1/preflights", body)
    told = as_told(messages.PreflightTold, answer.json)
    assert told["reservation_id"] == "1-3-9"
    assert told["task"]["reservation_id"] == "1-2-4"
    assert (told["task"]["task_ref"], told["task"]["remaining"]) == ("t", "94")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("conflict", 409),
        ("too_many_holds", 409),
        ("task_ceiling_required", 422),
        ("task_unit_mismatch", 422),
        ("invalid", 422),
        ("lagging", 503),
        ("not_ready", 503),
        ("unknown_outcome", 503),
        ("overloaded", 503),
    ],
)
async def test_no_decision_is_a_problem_with_the_owners_code(
    world: World, code: str, status: int
) -> None:
    world.owners.otherwise = lambda _p, _a: error(code)
    body = {"customer_id": "acme", "idempotency_key": "k1"}
    answer = await world.call("POST", "/v1/preflights", body)
    assert answer.status == status
    assert answer.json["code"] == ("invalid_field" if code == "invalid" else code)
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_release_tells_what_became_of_the_hold(world: World) -> None:
    world.owners.queued.append(released())
    answer = await world.call("POST", "/v1/preflights/1-3-9/release", {"customer_id": "acme"})
    told = as_told(messages.HoldChange, answer.json)
    assert (told["decided"], told["state"], told["released"]) == (True, "released", "1")
    assert world.owners.asks == [rpc.ReleaseAsk("customer", "acme", "1-3-9")]


async def test_a_release_past_its_deadline_promises_nothing(world: World) -> None:
    world.owners.queued.append(released(committed=False))
    answer = await world.call("POST", "/v1/preflights/1-3-9/release", {"customer_id": "acme"})
    assert answer.status == 202
    told = as_told(messages.HoldChange, answer.json)
    assert (told["decided"], told["state"], told["released"]) == (False, None, None)


async def test_a_hold_that_never_was_is_not_found(world: World) -> None:
    world.owners.queued.append(released("not_found", changed=False))
    answer = await world.call("POST", "/v1/preflights/1-3-1/release", {"customer_id": "acme"})
    assert (answer.status, answer.json["code"]) == (404, "not_found")


async def test_an_extension_is_asked_for_in_milliseconds(world: World) -> None:
    world.owners.queued.append(released("open", expires_at=1_800_003_600_000_000))
    body = {"customer_id": "acme", "ttl_seconds": 60}
    answer = await world.call("POST", "/v1/preflights/1-3-9/extend", body)
    assert as_told(messages.HoldChange, answer.json)["expires_at"].startswith("2027-01-15T09")
    assert world.owners.asks == [rpc.ExtendAsk("customer", "acme", "1-3-9", 60_000)]


# --- records --------------------------------------------------------------------------------------


async def test_a_record_is_answered_from_its_entry_with_what_is_left(world: World) -> None:
    world.owners.queued.append(rpc.RecordAnswer("accepted", FRESH, entry=ENTRY, account=account()))
    answer = await world.call("POST", "/v1/records", USAGE)
    assert answer.status == 200
    told = as_told(messages.RecordTold, answer.json)
    assert told["status"] == "accepted"
    assert told["balances"] == [
        {"denomination": "unit", "available": "999", "held": "1", "used": "0"}
    ]
    assert told["settlement"]["status"] == "settled"
    assert told["entry"]["entry_id"] == ENTRY.entry_id


@pytest.mark.parametrize(
    "answered", [rpc.RecordAnswer("undecided", FRESH), error("lagging")], ids=["late", "nobody"]
)
async def test_a_record_past_its_deadline_has_no_balances(
    world: World, answered: rpc.Answer
) -> None:
    world.owners.otherwise = lambda _p, _a: answered
    answer = await world.call("POST", "/v1/records", USAGE)
    assert answer.status == 202
    told = as_told(messages.RecordTold, answer.json)
    assert told["status"] == "undecided"
    assert (told["entry"], told["balances"], told["limits"]) == (None, None, None)
    assert told["offset"] == 0


async def test_a_client_may_wait_for_less(world: World) -> None:
    world.owners.otherwise = lambda _p, _a: rpc.RecordAnswer("undecided", FRESH)
    await world.call("POST", "/v1/records", USAGE, headers={"prefer": "respond-async, wait=1"})
    [ask] = world.owners.asks
    assert isinstance(ask, rpc.AwaitAsk)
    assert ask.timeout_ms < 1000


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [
        ("conflict", 409, "conflict"),
        ("too_old", 422, "refused"),
        ("in_future", 422, "refused"),
        ("unit_mismatch", 422, "task_unit_mismatch"),
    ],
)
async def test_a_record_that_its_cycle_refused_says_why(
    world: World, code: str, status: int, problem: str
) -> None:
    world.owners.queued.append(
        rpc.RecordAnswer("refused", FRESH, code=code, reason="because", field="occurred_at")
    )
    answer = await world.call("POST", "/v1/records", USAGE)
    assert (answer.status, answer.json["code"]) == (status, problem)
    assert answer.json["detail"] == "because"
    if problem == "refused":
        assert answer.json["code_of_refusal"] == code


# --- accounts -------------------------------------------------------------------------------------


async def test_a_budget_is_told_as_of_its_offsets(world: World) -> None:
    limit = rpc.LimitTold("unit", "50", "3", "1", resets="day", agent_id="a1", period_from=86_400)
    world.owners.queued.append(account(limits=[limit], blocked=True, events=4))
    answer = await world.call("GET", "/v1/customers/acme/budget")
    told = as_told(messages.BudgetTold, answer.json)
    assert told["blocked"] is True
    assert told["limits"][0]["agent_id"] == "a1"
    assert told["as_of"]["cycle"] == FRESH.cycle
    assert world.owners.asks == [rpc.LookupAsk("customer", "acme")]


async def test_open_holds_are_listed(world: World) -> None:
    hold = rpc.HoldTold("1-3-9", "unit", "5", "4", 1_800_000_000_000_000, 1_800_003_600_000_000)
    world.owners.queued.append(account(holds=[hold]))
    answer = await world.call("GET", "/v1/customers/acme/holds")
    told = as_told(messages.HoldsTold, answer.json)
    assert told["holds"][0]["open"] == "4"
    assert world.owners.asks == [rpc.LookupAsk("customer", "acme", holds=True)]


async def test_pages_of_entries_follow_on_each_other(world: World) -> None:
    world.entries.count = 5
    places, target = [], "/v1/customers/acme/entries?limit=2"
    while True:
        answer = await world.call("GET", target)
        told = as_told(messages.EntriesTold, answer.json)
        places += [entry["place"] for entry in told["entries"]]
        if told["next"] is None:
            break
        target = f"/v1/customers/acme/entries?limit=2&before={told['next']}"
    assert places == ["1-4", "1-3", "1-2", "1-1", "1-0"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=²", "before=1"])
async def test_a_page_that_cannot_be_is_refused(world: World, query: str) -> None:
    answer = await world.call("GET", f"/v1/customers/acme/entries?{quote(query, safe='=')}")
    assert (answer.status, answer.json["code"]) == (400, "bad_query")


async def test_entries_that_cannot_be_read_are_a_problem_without_its_inside(world: World) -> None:
    world.entries.fault = TransientError("clickhouse.internal:8123 is gone", action="Wait.")
    answer = await world.call("GET", "/v1/customers/acme/entries")
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert b"clickhouse" not in answer.body


async def test_a_task_tells_what_is_left_below_its_ceiling(world: World) -> None:
    task = rpc.TaskTold("usd", "1.5", "0.25", "0.3", agent_id="a1", breakdown={"a1": "0.25"})
    world.owners.queued.append(account(account_kind="task", account_id="t/1", task=task))
    answer = await world.call("GET", "/v1/tasks/t%2F1")
    told = as_told(messages.TaskTold, answer.json)
    assert (told["remaining"], told["exceeded"]) == ("0.95", False)
    assert world.owners.asks == [rpc.LookupAsk("task", "t/1", holds=True)]
    world.owners.queued.append(
        account(account_kind="task", task=rpc.TaskTold("unit", "5", "6", "0"))
    )
    told = (await world.call("GET", "/v1/tasks/t%2F1")).json
    assert (told["remaining"], told["exceeded"]) == ("0", True)


async def test_a_task_that_nobody_named_is_not_found(world: World) -> None:
    world.owners.queued.append(account(account_kind="task", known=False))
    assert (await world.call("GET", "/v1/tasks/t1")).status == 404


async def test_a_grant_becomes_a_fact_on_budgets(world: World) -> None:
    world.owners.queued.append(rpc.RecordAnswer("accepted", FRESH, entry=ENTRY, account=account()))
    body = {"event_id": "g1", "denomination": "unit", "amount": "500", "resets": "month"}
    answer = await world.call("POST", "/v1/customers/acme/grants", body)
    assert answer.status == 200
    assert as_told(messages.AdministeredTold, answer.json)["event_id"] == "g1"
    [(topic, key, value)] = world.inbound.records
    grant = codec.decode_budget(value)
    assert isinstance(grant, Grant)
    assert (topic, key, grant.customer_id, grant.source) == ("budgets", b"acme", "acme", "http")
    assert (grant.amount, grant.resets) == ("500", "month")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"denomination": "unit", "amount": "5"}, "event_id"),
        ({"event_id": "g", "denomination": "unit", "amount": 5}, "amount"),
        (
            {"event_id": "g", "denomination": "unit", "amount": "5", "customer_id": "b"},
            "customer_id",
        ),
        ({"event_id": "g", "denomination": "unit", "amount": "5", "kind": "limit"}, "kind"),
        ({"event_id": "g", "denomination": "unit", "amount": "5", "more": 1}, "more"),
        ({"event_id": "g", "denomination": "bitcoin", "amount": "5"}, "denomination"),
        ({"event_id": "g", "denomination": "unit", "amount": "5", "priority": 10**30}, "priority"),
    ],
)
async def test_a_grant_that_is_none_is_not_appended(
    world: World, body: dict[str, Any], field: str
) -> None:
    answer = await world.call("POST", "/v1/customers/acme/grants", body)
    assert answer.status in (400, 422)
    assert answer.json.get("field", "") == field
    assert not world.inbound.records


async def test_what_is_no_number_in_json_is_no_number_here(world: World) -> None:
    body = b'{"event_id": "g", "denomination": "unit", "amount": "5", "expires_at": NaN}'
    answer = await world.call("POST", "/v1/customers/acme/grants", body)
    assert (answer.status, answer.json["code"]) == (400, "malformed")


async def test_a_limit_needs_no_id_and_a_lifted_one_no_amount(world: World) -> None:
    world.owners.otherwise = lambda _p, _a: rpc.RecordAnswer("accepted", FRESH)
    body = {"agent_id": "a1", "denomination": "token", "amount": "100", "resets": "day"}
    assert (await world.call("PUT", "/v1/customers/acme/limits", body)).status == 200
    body = {"denomination": "token"}
    assert (await world.call("PUT", "/v1/customers/acme/limits", body)).status == 200
    first, second = (codec.decode_budget(value) for _, _, value in world.inbound.records)
    assert isinstance(first, Limit)
    assert isinstance(second, Limit)
    assert (first.amount, second.amount) == ("100", None)
    assert first.event_id != second.event_id


async def test_a_ceiling_lies_under_its_task_and_is_awaited_there(world: World) -> None:
    world.owners.otherwise = lambda _p, _a: rpc.RecordAnswer("accepted", FRESH)
    body = {"denomination": "usd", "amount": "2.5"}
    answer = await world.call("PUT", "/v1/tasks/job-1/ceiling", body)
    assert answer.status == 200
    [(topic, key, value)] = world.inbound.records
    ceiling = codec.decode_budget(value)
    assert isinstance(ceiling, Ceiling)
    assert (topic, key, ceiling.customer_id) == ("budgets", b"job-1", "job-1")
    [ask] = world.owners.asks
    assert isinstance(ask, rpc.AwaitAsk)
    assert (ask.account_kind, ask.account_id) == ("task", "job-1")


async def test_an_administrative_fact_past_its_deadline_is_undecided(world: World) -> None:
    world.owners.otherwise = lambda _p, _a: error("not_ready")
    body = {"event_id": "g1", "denomination": "unit", "amount": "5"}
    answer = await world.call("POST", "/v1/customers/acme/grants", body)
    assert answer.status == 202
    told = as_told(messages.AdministeredTold, answer.json)
    assert (told["status"], told["balances"]) == ("undecided", None)
