"""Signals over OTLP: the flag, the cost that they bring along, and what is wrong with it."""

import json
from typing import Any, Final

import pytest

from streams.gateway import otlp
from tests.gateway_fakes import World
from tests.otlp_requests import JSON, SPAN, TRACE, as_json, span

ALONE: Final = f"signal:{TRACE}:{SPAN}"
ASKING: Final = {"paid": {"enable_cost_tracing": True}}


@pytest.fixture
def world() -> World:
    return World(otlp.ROUTES)


async def signalled(
    world: World, content: Any = None, **attributes: Any
) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    """The signal of an export, the usage that came along, and what the exporter was told."""
    told = {} if content is None else {"data": json.dumps(content)}
    held = {"event_name": "done", **told, **attributes}
    body = as_json([span(held, name="paid.trace.signal")])
    answer = await world.call("POST", "/v1/traces", body, JSON)
    assert answer.status == 200
    by_topic = {topic: json.loads(value) for topic, _, value in world.inbound.records}
    partial = answer.json.get("partialSuccess", {"rejectedSpans": "0", "errorMessage": ""})
    assert partial["rejectedSpans"] == "0"
    return by_topic["signals"], by_topic.get("usage"), partial["errorMessage"]


@pytest.mark.parametrize(
    ("content", "attributes", "asks"),
    [
        (None, {}, False),
        (ASKING, {}, True),
        ({"paid": {"enable_cost_tracing": False}}, {}, False),
        ({"paid": {"enable_cost_tracing": "true"}}, {}, False),
        ({"paid": True}, {}, False),
        ({"enable_cost_tracing": True}, {}, False),
        (None, {"enable_cost_tracing": True}, True),
        (None, {"enable_cost_tracing": "true"}, False),
    ],
)
async def test_the_flag_stands_in_the_content_or_beside_it(
    world: World, content: Any, attributes: dict[str, Any], asks: bool
) -> None:
    signal, cost, message = await signalled(world, content, **attributes)
    assert (signal.get("cost_tracing", False), cost, message) == (asks, None, "")
    assert signal["trace_id"] == TRACE


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (
            {"vendor": "OpenAI", "cost": {"amount": 0.002, "currency": "usd"}},
            {"provider": "openai", "cost": "0.002", "currency": "USD"},
        ),
        ({"cost": {"amount": 3}}, {"cost": "3"}),
        ({"cost": {"amount": "0.10"}}, {"cost": "0.1"}),
        ({"cost": {"amount": 1e-7, "currency": "EUR"}}, {"cost": "0.0000001", "currency": "EUR"}),
        (
            {"cost": {"amount": 0.0154500000000001}},
            {"cost": "0.01545", "metadata": {"cost_rounded": True}},
        ),
        (
            {"vendor": "v", "cost": {"amount": 0}, "gen_ai.response.model": "m"},
            {"provider": "v", "model": "m", "cost": "0"},
        ),
        (
            {
                "vendor": "openai",
                "attributes": {
                    "gen_ai.request.model": "gpt-4o-mini",
                    "gen_ai.usage.input_tokens": 1200,
                    "gen_ai.usage.cached_input_tokens": 1024,
                    "gen_ai.usage.output_tokens": 9.0,
                },
            },
            {
                "provider": "openai",
                "model": "gpt-4o-mini",
                "tokens": {"input": 176, "cache_read": 1024, "output": 9},
            },
        ),
        (
            {"gen_ai.system": "anthropic", "gen_ai.usage.input_tokens": 5},
            {"provider": "anthropic", "tokens": {"input": 5}},
        ),
    ],
)
async def test_a_cost_that_a_signal_brings_along_is_its_alone(
    world: World, cost: dict[str, Any], expected: dict[str, Any]
) -> None:
    signal, usage, message = await signalled(world, {"costData": cost, "k": 1})
    assert message == ""
    assert usage is not None
    told = {key: usage[key] for key in usage if key in {*expected, "provider", "model", "tokens"}}
    assert told == expected
    assert (usage["event_id"], usage["trace_id"]) == (f"{TRACE}:{SPAN}:cost", ALONE)
    assert (signal["trace_id"], signal["cost_tracing"]) == (ALONE, True)
    assert signal["metadata"] == {"k": 1}


async def test_a_cost_joins_the_trace_where_its_signal_asks_for_that(world: World) -> None:
    signal, usage, _ = await signalled(world, {"costData": {"cost": {"amount": 1}}, **ASKING})
    assert usage is not None
    assert signal["trace_id"] == usage["trace_id"] == TRACE
    assert signal["cost_tracing"] is True


@pytest.mark.parametrize(
    ("cost", "reason"),
    [
        (7, "an object is expected"),
        ({}, "neither a cost nor what was used"),
        ({"vendor": "v"}, "neither a cost nor what was used"),
        ({"cost": 3}, "an object with amount"),
        ({"cost": {"currency": "USD"}}, "cost.amount: a number is expected"),
        ({"cost": {"amount": True}}, "cost.amount: a number is expected"),
        ({"cost": {"amount": -1}}, "not a non-negative amount"),
        ({"cost": {"amount": "free"}}, "not a non-negative amount"),
        ({"cost": {"amount": 1, "currency": "dollar"}}, "cost.currency"),
        ({"gen_ai.usage.input_tokens": -1}, "is not between"),
        (
            {"gen_ai.usage.output_tokens": 1, "gen_ai.usage.reasoning_output_tokens": 2},
            "of which it is a part",
        ),
        ({"gen_ai.usage.input_tokens": 1e300}, "is not between"),
    ],
)
async def test_a_cost_that_cannot_be_is_told_and_the_signal_counts(
    world: World, cost: Any, reason: str
) -> None:
    signal, usage, message = await signalled(world, {"costData": cost})
    assert usage is None
    assert reason in message
    assert (signal["name"], signal["trace_id"]) == ("done", TRACE)
    assert "cost_tracing" not in signal


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"a": NaN}', "{" * 100_000, "x" * 40_000])
async def test_a_content_that_is_no_object_is_told_and_the_signal_counts(
    world: World, text: str
) -> None:
    signal, usage, message = await signalled(world, data=text)
    assert usage is None
    assert message.startswith("data: ")
    assert signal["metadata"] == {"data_unreadable": True}


async def test_of_the_content_short_values_are_kept(world: World) -> None:
    content = {"to": "bob", "n": 1, "part": 0.5, "deep": {"a": 1}, "list": [1], "auth_token": "x"}
    signal, _, _ = await signalled(world, content, **{"metadata.campaign": "c1"})
    assert signal["metadata"] == {"to": "bob", "n": 1, "part": "0.5", "campaign": "c1"}


async def test_a_signal_may_weigh_more_than_others(world: World) -> None:
    signal, _, _ = await signalled(world, ASKING, **{"tollgate.weight": 3})
    assert signal["weight"] == 3


@pytest.mark.parametrize(
    ("held", "named"),
    [
        ({}, "event_name"),
        ({"event_name": ""}, "event_name"),
        ({"event_name": 5}, "event_name"),
        ({"event_name": "e" * 129}, "name"),
        ({"event_name": "e", "tollgate.weight": 0}, "weight"),
        ({"event_name": "e", "tollgate.weight": "two"}, "weight"),
        ({"event_name": "e", "external_agent_id": "a" * 129}, "agent_id"),
    ],
)
async def test_a_signal_that_cannot_be_is_refused(
    world: World, held: dict[str, Any], named: str
) -> None:
    body = as_json([span(held, name="paid.trace.signal")])
    answer = await world.call("POST", "/v1/traces", body, JSON)
    partial = answer.json["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert named in partial["errorMessage"]
    assert "signals" not in {topic for topic, _, _ in world.inbound.records}


async def test_a_span_with_an_event_name_is_no_signal_by_that(world: World) -> None:
    held = {"event_name": "llm", "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 1}
    await world.call("POST", "/v1/traces", as_json([span(held)]), JSON)
    assert [topic for topic, _, _ in world.inbound.records] == ["usage", "unassigned"]
