"""`POST /v1/autohive/results`: one result, many, each in the log or told why not."""

import json
from typing import Any

import pytest

from schemas import codec
from streams.gateway import autohive
from streams.gateway.ports import Caller, Scope
from tests.gateway_fakes import World

PATH = "/v1/autohive/results"


@pytest.fixture
def world() -> World:
    return World(autohive.ROUTES)


def result(cost: Any = 0.015, kind: str = "action", **changes: Any) -> dict[str, Any]:
    inner = {"data": {"hits": ["private"]}} if kind == "action" else {"message": "private"}
    return {
        "customer_id": "acme",
        "integration": "exa",
        "action": "search",
        "run_id": "run-77",
        "result": {"version": "2.0.1", "type": kind, "result": {**inner, "cost_usd": cost}},
        **changes,
    }


async def test_a_result_becomes_a_usage_record(world: World) -> None:
    answer = await world.call("POST", PATH, result())
    assert answer.status == 202
    autohive.ResultsTold.model_validate(answer.json)
    [item] = answer.json["items"]
    assert (item["status"], item["rounded"], item["warnings"]) == ("accepted", False, [])
    [(topic, key, value)] = world.inbound.records
    usage = codec.decode_usage(value)
    assert (topic, key) == ("usage", b"acme")
    assert (usage.source, usage.event_id) == ("autohive:exa", item["event_id"])
    assert (usage.cost, usage.units, usage.success) == ("0.015", 1, True)
    assert b"private" not in value


@pytest.mark.parametrize(
    ("text", "cost", "rounded"),
    [
        ("0.015450000000000002", "0.01545", True),
        ("1E-5", "0.00001", False),
        ("0.0", "0", False),
        ("0", "0", False),
        ("12.50", "12.5", False),
        ("1e-9999999999", "0", True),
        # A float could not say this one.
        ("99999999999999999.000000000001", "99999999999999999.000000000001", False),
        ("null", None, False),
    ],
)
async def test_a_cost_is_read_from_its_own_text(
    world: World, text: str, cost: str | None, rounded: bool
) -> None:
    body = json.dumps(result("COST")).replace('"COST"', text).encode()
    answer = await world.call("POST", PATH, body)
    assert answer.json["items"][0]["rounded"] == rounded
    assert codec.decode_usage(world.inbound.records[0][2]).cost == cost


async def test_a_batch_is_told_item_by_item(world: World) -> None:
    world.inbound.losing = {1}
    batch = [
        result(),
        result(None, run_id="b", supports_billing=True),
        result(0.5, "action_error", run_id="c", supports_billing=False),
        result(-1.0),
        result(customer_id=""),
        result(kind="connected_account"),
        {"customer_id": "acme"},
        result(color="red"),
        7,
    ]
    answer = await world.call("POST", PATH, batch)
    assert answer.status == 207
    told = answer.json
    autohive.ResultsTold.model_validate(told)
    assert [item["status"] for item in told["items"]] == [
        *("accepted", "unavailable", "accepted"),
        *("refused",) * 6,
    ]
    assert [item.get("field") for item in told["items"][3:]] == [
        *("cost_usd", "customer_id", "result.type", "result", "color", None),
    ]
    assert [item["code"] for item in told["items"][3:]] == [
        *("invalid_field", "invalid_field", "invalid_field", "invalid_field"),
        *("unknown_field", "malformed"),
    ]
    assert [one["code"] for one in told["items"][1]["warnings"]] == ["cost_missing"]
    assert [one["code"] for one in told["items"][2]["warnings"]] == ["billing_not_declared"]
    failed = codec.decode_usage(world.inbound.records[2][2])
    assert (failed.success, failed.cost, failed.units) == (False, "0.5", 0)


async def test_the_same_result_again_is_the_same_record(world: World) -> None:
    for _ in range(2):
        await world.call("POST", PATH, [result()])
    first, second = world.inbound.records
    assert first == second


async def test_a_batch_of_which_nothing_counts_is_a_problem(world: World) -> None:
    answer = await world.call("POST", PATH, [result(-1), {}])
    assert (answer.status, answer.json["code"]) == (422, "refused")
    assert len(answer.json["items"]) == 2
    world.inbound.losing = {0}
    answer = await world.call("POST", PATH, result())
    assert (answer.status, answer.json["code"]) == (503, "log_unavailable")


@pytest.mark.parametrize("text", ["1e99999999999999999999", "-0.5", '"0.5"', "true", "[]"])
async def test_a_cost_that_is_none_is_the_clients_fault(world: World, text: str) -> None:
    body = json.dumps(result("COST")).replace('"COST"', text).encode()
    answer = await world.call("POST", PATH, body)
    assert (answer.status, answer.json["code"]) == (422, "invalid_field")
    assert answer.json["field"] == "cost_usd"
    assert world.inbound.records == []


async def test_a_key_bound_to_others_is_refused(world: World) -> None:
    world.keys.caller = Caller("k", frozenset({Scope.INGEST}), frozenset({"other"}))
    answer = await world.call("POST", PATH, result())
    assert (answer.status, answer.json["code"]) == (403, "customer_not_allowed")
    world.keys.caller = Caller("k", frozenset({Scope.READ}))
    assert (await world.call("POST", PATH, result())).status == 403


async def test_more_than_a_request_may_have_is_refused_whole(world: World) -> None:
    answer = await world.call("POST", PATH, [result()] * (autohive.RESULTS_MAX + 1))
    assert (answer.status, answer.json["code"]) == (413, "too_many_items")
    assert world.inbound.records == []


async def test_the_described_example_is_accepted(world: World) -> None:
    [example] = autohive.ResultBody.model_json_schema()["examples"]
    assert (await world.call("POST", PATH, example)).status == 202
