"""`POST /v1/events`: one event, many, and CloudEvents; each in the log or told why not."""

import json
from typing import Any

import pytest

from schemas import codec
from streams.gateway import messages
from streams.gateway.cloudevents import BATCHED, STRUCTURED
from streams.gateway.events import EVENTS_MAX
from streams.gateway.ports import Caller, Scope
from tests.gateway_fakes import World


def usage(event_id: str = "e1", **changes: Any) -> dict[str, Any]:
    event = {"schema_version": 1, "event_id": event_id, "source": "bot", "customer_id": "acme"}
    return {**event, "units": 1, **changes}


def event(**changes: Any) -> dict[str, Any]:
    """A CloudEvent about usage."""
    return {
        "specversion": "1.0",
        "type": "tollgate.usage",
        "id": "c1",
        "source": "/bots/7",
        "subject": "acme",
        "time": "2026-01-15T09:30:00.123456789Z",
        "data": {"units": 3},
        **changes,
    }


async def test_one_event_is_appended_as_the_bytes_that_were_sent(world: World) -> None:
    raw = json.dumps(usage(), indent=1).encode()
    answer = await world.call("POST", "/v1/events", raw)
    assert answer.status == 202
    told = answer.json
    messages.EventsTold.model_validate(told)
    assert told["items"][0]["offset"] == 0
    assert told["items"][0]["event_id"] == "e1"
    assert world.inbound.records == [("usage", b"acme", raw)]


async def test_a_batch_is_answered_item_by_item_in_its_order(world: World) -> None:
    world.inbound.losing = {1}
    batch = [usage("a"), usage("b", units=-1), usage("c"), {}, usage("d", customer_id="\0x"), 7]
    answer = await world.call("POST", "/v1/events", batch)
    assert answer.status == 207
    told = answer.json
    messages.EventsTold.model_validate(told)
    assert [item["status"] for item in told["items"]] == [
        "accepted",
        "refused",
        "unavailable",
        "refused",
        "refused",
        "refused",
    ]
    assert [item.get("code") for item in told["items"]] == [
        None,
        "invalid_field",
        "log_unavailable",
        "unknown_version",
        "invalid_field",
        "malformed",
    ]
    assert told["items"][1]["field"] == "units"
    assert (told["accepted"], told["refused"], told["unavailable"]) == (1, 4, 1)
    assert world.metrics.text().count('topic="usage"} 1\n') == 1


async def test_a_batch_of_which_nothing_counts_is_a_problem_with_its_items(world: World) -> None:
    answer = await world.call("POST", "/v1/events", [{}, usage(units="1")])
    assert (answer.status, answer.json["code"]) == (422, "refused")
    assert len(answer.json["items"]) == 2
    world.inbound.losing = {0}
    answer = await world.call("POST", "/v1/events", [usage()])
    assert (answer.status, answer.json["code"]) == (503, "log_unavailable")
    assert answer.json["unavailable"] == 1
    assert "retry-after" in answer.headers


async def test_a_single_event_that_is_none_is_a_problem_itself(world: World) -> None:
    answer = await world.call("POST", "/v1/events", usage(colour="red"))
    assert (answer.status, answer.json["code"]) == (422, "unknown_field")
    assert answer.json["field"] == "colour"


async def test_as_many_events_as_allowed_and_no_more(world: World) -> None:
    batch = [usage(f"e{n}") for n in range(EVENTS_MAX)]
    answer = await world.call("POST", "/v1/events", batch)
    assert (answer.status, answer.json["accepted"]) == (202, EVENTS_MAX)
    answer = await world.call("POST", "/v1/events", [*batch, usage("one more")])
    assert (answer.status, answer.json["code"]) == (413, "too_many_items")
    assert len(world.inbound.records) == EVENTS_MAX


async def test_a_log_that_takes_nothing_is_said_at_once(world: World) -> None:
    world.inbound.down = True
    answer = await world.call("POST", "/v1/events", [usage()])
    assert (answer.status, answer.json["code"]) == (503, "log_unavailable")


async def test_a_key_bound_to_customers_appends_theirs_alone(world: World) -> None:
    world.keys.caller = Caller("k", frozenset({Scope.INGEST}), frozenset({"acme"}))
    batch = [usage("a"), usage("b", customer_id="other")]
    answer = await world.call("POST", "/v1/events", batch)
    assert answer.status == 207
    assert answer.json["items"][1]["code"] == "customer_not_allowed"
    assert [key for _, key, _ in world.inbound.records] == [b"acme"]


async def test_signals_are_told_apart_by_the_query(world: World) -> None:
    body = {**usage(), "name": "meeting_booked"}
    del body["units"]
    assert (await world.call("POST", "/v1/events", body)).status == 422
    assert (await world.call("POST", "/v1/events?type=signal", body)).status == 202
    assert world.inbound.records[0][0] == "signals"
    answer = await world.call("POST", "/v1/events?type=other", body)
    assert (answer.status, answer.json["code"]) == (400, "bad_query")


# --- CloudEvents ----------------------------------------------------------------------------------


async def test_a_structured_event_becomes_a_record(world: World) -> None:
    answer = await world.call("POST", "/v1/events", event(), {"content-type": STRUCTURED})
    assert answer.status == 202
    [(topic, key, value)] = world.inbound.records
    record = codec.decode_usage(value)
    assert (topic, key) == ("usage", b"acme")
    assert (record.event_id, record.source, record.units) == ("c1", "/bots/7", 3)
    assert record.occurred_at == "2026-01-15T09:30:00.123456Z"


async def test_a_batch_of_cloud_events_may_hold_both_kinds(world: World) -> None:
    signal = event(type="tollgate.signal", id="c2", data={"name": "ticket_closed"})
    batch = [event(), signal, event(type="com.example"), event(specversion="0.3"), 5]
    answer = await world.call("POST", "/v1/events", batch, {"content-type": BATCHED})
    assert answer.status == 207
    statuses = [item["status"] for item in answer.json["items"]]
    assert statuses == ["accepted", "accepted", "refused", "refused", "refused"]
    assert {topic for topic, _, _ in world.inbound.records} == {"usage", "signals"}


async def test_binary_mode_has_its_attributes_in_headers(world: World) -> None:
    headers = {
        "ce-specversion": "1.0",
        "ce-type": "tollgate.usage",
        "ce-id": "b1",
        "ce-source": "bot%20%C3%A9",
        "ce-subject": "acme",
        "ce-traceparent": "passed over",
    }
    answer = await world.call("POST", "/v1/events", {"units": 2}, headers)
    assert answer.status == 202
    record = codec.decode_usage(world.inbound.records[0][2])
    assert (record.event_id, record.source, record.customer_id) == ("b1", "bot é", "acme")


@pytest.mark.parametrize(
    "wrong",
    [
        {"specversion": 1},
        {"type": "usage"},
        {"type": ["tollgate.usage"]},
        {"id": None},
        {"id": ""},
        {"source": 5},
        {"data": "text"},
        {"data": {"units": 0.5}},
        {"data": {"event_id": "another"}},
        {"data": {"units": 10**30}},
        {"data_base64": "e30="},
        {"subject": None},
        {"time": "yesterday"},
    ],
)
async def test_an_event_that_says_too_little_or_two_things_is_refused(
    world: World, wrong: dict[str, Any]
) -> None:
    answer = await world.call("POST", "/v1/events", event(**wrong), {"content-type": STRUCTURED})
    assert answer.status in (400, 422)
    assert not world.inbound.records
