"""Which spans are billed, which repeat others, and whose they are."""

import json
from typing import Any, Final

import pytest

from streams.gateway import otlp
from streams.gateway.otlp.memory import Remembered
from streams.gateway.ports import Caller, Scope
from tests.gateway_fakes import World
from tests.otlp_requests import JSON, PROTOBUF, SPAN, TRACE, as_json, as_protobuf, span

OPENAI: Final = {
    "gen_ai.provider.name": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.response.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 3,
}
NO_COUNTS: Final = {"gen_ai.provider.name": "openai", "gen_ai.operation.name": "chat"}
OUTSIDE: Final = "aaaaaaaaaaaaaaaa"
BETWEEN: Final = "bbbbbbbbbbbbbbbb"
OTHER_TRACE: Final = "c" * 32


@pytest.fixture
def world() -> World:
    return World(otlp.ROUTES)


async def sent(world: World, *spans: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """The records of an export in which nothing is refused."""
    answer = await world.call("POST", "/v1/traces", as_protobuf(spans), PROTOBUF)
    assert (answer.status, answer.body) == (200, b"")
    return [(topic, key.decode(), json.loads(value)) for topic, key, value in world.inbound.records]


async def refused(world: World, *spans: dict[str, Any]) -> tuple[int, str]:
    """How many spans of an export are refused, and why."""
    answer = await world.call("POST", "/v1/traces", as_json(spans), JSON)
    assert answer.status == 200
    partial = answer.json["partialSuccess"]
    return int(partial["rejectedSpans"]), partial["errorMessage"]


def usage(found: list[tuple[str, str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The usage records by span."""
    return {
        record["event_id"].partition(":")[2]: record
        for topic, _, record in found
        if topic == "usage"
    }


# --- spans that repeat others ---------------------------------------------------------------------


async def test_a_call_that_holds_a_call_through_other_spans_is_an_outer_one(world: World) -> None:
    found = usage(
        await sent(
            world,
            # The order in the request decides nothing.
            span(OPENAI, span_id=OUTSIDE),
            span(OPENAI, span_id=SPAN, parent=BETWEEN),
            span({}, span_id=BETWEEN, parent=OUTSIDE, name="http"),
        )
    )
    assert set(found) == {OUTSIDE, SPAN}
    assert found[OUTSIDE]["outer"] is True
    assert "tokens" not in found[OUTSIDE]
    assert found[SPAN]["tokens"] == {"input": 12, "output": 3}


async def test_calls_beside_each_other_are_both_counted(world: World) -> None:
    found = usage(
        await sent(
            world,
            span(OPENAI, span_id=SPAN, parent=OUTSIDE),
            span(OPENAI, span_id=BETWEEN, parent=OUTSIDE),
        )
    )
    assert [record.get("outer", False) for record in found.values()] == [False, False]


async def test_the_same_span_id_in_another_trace_holds_nothing(world: World) -> None:
    found = await sent(
        world,
        span(OPENAI, span_id=OUTSIDE, trace_id=OTHER_TRACE),
        span(OPENAI, span_id=SPAN, parent=OUTSIDE),
    )
    assert not any(record.get("outer") for _, _, record in found)


async def test_spans_that_are_each_others_parents_end_the_reading(world: World) -> None:
    found = usage(
        await sent(
            world,
            span(OPENAI, span_id=SPAN, parent=OUTSIDE),
            span(OPENAI, span_id=OUTSIDE, parent=SPAN),
            span(OPENAI, span_id=BETWEEN, parent=BETWEEN),
        )
    )
    assert len(found) == 3
    # Its own parent is as good as none.
    assert found[BETWEEN]["tokens"] == {"input": 12, "output": 3}


@pytest.mark.parametrize(
    ("attributes", "scope", "name"),
    [
        ({"gen_ai.operation.name": "invoke_agent"}, "", "invoke_agent writer"),
        ({"gen_ai.operation.name": "invoke_workflow"}, "", "invoke_workflow"),
        ({"openinference.span.kind": "AGENT"}, "", "Agent workflow"),
        ({"openinference.span.kind": "CHAIN"}, "", "turn"),
        ({"traceloop.span.kind": "workflow"}, "", "joke.workflow"),
        ({"ai.operationId": "ai.generateText"}, "ai", "ai.generateText"),
        ({"ai.operationId": "ai.streamObject"}, "ai", "ai.streamObject"),
        ({"ai.operationId": "ai.embedMany"}, "ai", "ai.embedMany"),
        (
            {"openinference.span.kind": "LLM"},
            "openinference.instrumentation.openai_agents",
            "paid.trace.generation",
        ),
        (
            {"openinference.span.kind": "LLM"},
            "openinference.instrumentation.openai_agents",
            "response",
        ),
        ({}, "pydantic-ai", "agent run"),
    ],
)
async def test_what_always_holds_calls_is_an_outer_span_by_itself(
    world: World, attributes: dict[str, Any], scope: str, name: str
) -> None:
    counts = {"gen_ai.usage.input_tokens": 12, "llm.token_count.prompt": 12}
    held = {**counts, **attributes}
    [record] = usage(await sent(world, span(held, scope=(scope, ""), name=name))).values()
    assert record["outer"] is True
    assert not {"tokens", "quantities", "cost", "units"} & set(record)


async def test_an_outer_span_without_counts_is_no_record(world: World) -> None:
    held = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "writer"}
    assert not usage(await sent(world, span(held)))


async def test_an_outer_span_is_counted_where_its_producer_says_so(world: World) -> None:
    held = {"openinference.span.kind": "AGENT", "llm.token_count.prompt": 12}
    alone = span(held, resource={"tollgate.count_outer": True})
    [record] = usage(await sent(world, alone)).values()
    assert record["tokens"] == {"input": 12}
    assert "outer" not in record


async def test_a_refused_call_inside_does_not_silence_the_one_around_it(world: World) -> None:
    wrong = {**OPENAI, "gen_ai.usage.input_tokens": -1}
    count, _ = await refused(
        world, span(OPENAI, span_id=OUTSIDE), span(wrong, span_id=SPAN, parent=OUTSIDE)
    )
    assert count == 1
    [value] = [value for topic, _, value in world.inbound.records if topic == "usage"]
    assert json.loads(value)["tokens"] == {"input": 12, "output": 3}


async def test_what_came_before_the_span_around_it_is_not_counted_again(world: World) -> None:
    # One span in each request, as they end: what Paid's SDK for Node sends.
    await sent(world, span(OPENAI, span_id=SPAN, parent=BETWEEN))
    await sent(world, span({}, span_id=BETWEEN, parent=OUTSIDE))
    found = usage(await sent(world, span(OPENAI, span_id=OUTSIDE)))
    assert found[OUTSIDE]["outer"] is True
    assert found[SPAN]["tokens"] == {"input": 12, "output": 3}


async def test_another_gateway_does_not_know_what_came_before(world: World) -> None:
    await sent(world, span(OPENAI, span_id=SPAN, parent=OUTSIDE))
    found = usage(await sent(World(otlp.ROUTES), span(OPENAI, span_id=OUTSIDE)))
    assert "outer" not in found[OUTSIDE]


async def test_spans_of_another_key_say_nothing_about_it(world: World) -> None:
    await sent(world, span(OPENAI, span_id=SPAN, parent=OUTSIDE))
    world.keys.caller = Caller("k2", frozenset(Scope))
    found = usage(await sent(world, span(OPENAI, span_id=OUTSIDE)))
    assert "outer" not in found[OUTSIDE]


async def test_an_export_that_is_repeated_says_the_same(world: World) -> None:
    spans = (span(OPENAI, span_id=OUTSIDE), span(OPENAI, span_id=SPAN, parent=OUTSIDE))
    first = await sent(world, *spans)
    again = await sent(world, *spans)
    assert again[len(first) :] == [each for each in first if each[0] == "usage"]


def test_of_too_many_places_the_oldest_are_forgotten() -> None:
    remembered = Remembered(2)
    remembered.remember([("t", "1"), ("t", "2"), ("t", "1"), ("t", "3")])
    assert len(remembered) == 2
    assert ("t", "2") not in remembered
    assert ("t", "1") in remembered


# --- calls without counts, failures, tools --------------------------------------------------------


async def test_a_call_that_does_not_say_what_it_used_is_recorded_as_missing(world: World) -> None:
    [record] = usage(await sent(world, span(NO_COUNTS))).values()
    assert record["usage_missing"] is True
    assert "tokens" not in record


async def test_a_failed_call_keeps_what_it_used(world: World) -> None:
    found = usage(
        await sent(
            world,
            span(OPENAI, failed=True),
            span(NO_COUNTS, span_id=OUTSIDE, failed=True),
        )
    )
    assert found[SPAN]["success"] is False
    assert found[SPAN]["tokens"] == {"input": 12, "output": 3}
    assert found[OUTSIDE]["success"] is False
    assert not {"tokens", "usage_missing"} & set(found[OUTSIDE])


async def test_a_call_without_counts_that_holds_a_call_is_no_record(world: World) -> None:
    found = usage(
        await sent(
            world, span(NO_COUNTS, span_id=OUTSIDE), span(OPENAI, span_id=SPAN, parent=OUTSIDE)
        )
    )
    assert set(found) == {SPAN}


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"},
        {"openinference.span.kind": "TOOL", "tool.name": "search"},
        {"ai.operationId": "ai.toolCall", "ai.toolCall.name": "search"},
        {"langchain.operation": "tool", "langchain.tool.name": "search"},
    ],
)
async def test_runs_of_tools_are_counted_where_that_is_asked_for(
    world: World, attributes: dict[str, Any]
) -> None:
    assert not usage(await sent(world, span(attributes)))
    asked = span({**attributes, "tollgate.count_tools": True})
    [record] = usage(await sent(world, asked)).values()
    assert (record["quantities"], record["model"]) == ({"tool_calls": 1}, "search")


async def test_a_span_may_say_itself_what_is_to_be_counted(world: World) -> None:
    held = {"tollgate.units": 3, "tollgate.quantity.pages": 2, "tollgate.cost": "0.0125"}
    [record] = usage(await sent(world, span({**held, "tollgate.currency": "EUR"}))).values()
    assert (record["units"], record["quantities"]) == (3, {"pages": 2})
    assert (record["cost"], record["currency"]) == ("0.0125", "EUR")


async def test_what_a_span_says_itself_counts_although_it_holds_calls(world: World) -> None:
    found = usage(
        await sent(
            world,
            span({"tollgate.units": 1, "gen_ai.usage.input_tokens": 12}, span_id=OUTSIDE),
            span(OPENAI, span_id=SPAN, parent=OUTSIDE),
        )
    )
    assert found[OUTSIDE]["units"] == 1
    assert not {"tokens", "outer"} & set(found[OUTSIDE])
    # Nor would the worker take one for a repetition of the other.
    assert not {"span_id", "parent_span_id"} & set(found[OUTSIDE])
    assert found[SPAN]["parent_span_id"] == OUTSIDE


async def test_what_is_counted_inside_a_call_leaves_its_tokens(world: World) -> None:
    found = usage(
        await sent(
            world,
            span(OPENAI, span_id=OUTSIDE),
            span({"tollgate.units": 1}, span_id=SPAN, parent=OUTSIDE),
        )
    )
    assert found[OUTSIDE]["tokens"] == {"input": 12, "output": 3}


async def test_other_spans_are_taken_and_leave_no_record(world: World) -> None:
    found = await sent(world, span({"http.method": "GET"}), span({}, span_id=OUTSIDE))
    assert not usage(found)


# --- whose it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "resource", "customer"),
    [
        ({"external_customer_id": "acme"}, {"external_customer_id": "house"}, "acme"),
        ({"tollgate.customer_id": "acme"}, {"external_customer_id": "house"}, "acme"),
        ({}, {"external_customer_id": "house"}, "house"),
        ({}, {"tollgate.customer_id": "house"}, "house"),
        ({"external_customer_id": ""}, {"external_customer_id": "house"}, "house"),
        ({"external_customer_id": 17}, {}, "17"),
    ],
)
async def test_the_customer_is_the_spans_then_the_resources(
    world: World, attributes: dict[str, Any], resource: dict[str, Any], customer: str
) -> None:
    made = span({**OPENAI, **attributes}, resource=resource, customer=None)
    [(topic, key, record), *_] = await sent(world, made)
    assert (topic, key, record["customer_id"]) == ("usage", customer, customer)


async def test_a_span_has_the_customer_that_another_of_its_trace_names(world: World) -> None:
    found = await sent(
        world,
        span(OPENAI, parent=OUTSIDE, customer=None),
        span({}, span_id=OUTSIDE, customer="acme"),
        span(OPENAI, trace_id=OTHER_TRACE, customer="other"),
    )
    assert [(topic, key) for topic, key, _ in found if topic == "usage"] == [
        ("usage", "acme"),
        ("usage", "other"),
    ]


async def test_a_span_that_nobody_claims_waits_under_its_trace(world: World) -> None:
    found = await sent(world, span(OPENAI, customer=None, name="chat"))
    [(topic, key, record)] = found
    assert (topic, key) == ("unassigned", TRACE)
    assert (record["trace_id"], record["source"]) == (TRACE, "otlp")
    assert record["event_id"] == record["usage"]["event_id"] == f"{TRACE}:{SPAN}"
    assert "customer_id" not in record["usage"]
    assert record["usage"]["tokens"] == {"input": 12, "output": 3}


async def test_a_signal_that_nobody_claims_waits_with_its_cost(world: World) -> None:
    held = {"event_name": "done", "data": '{"costData": {"cost": {"amount": 2}}}'}
    found = await sent(world, span(held, customer=None, name="paid.trace.signal"))
    waiting = [record for topic, _, record in found if topic == "unassigned"]
    assert [{"usage", "signal"} & set(record) for record in waiting] == [{"usage"}, {"signal"}]
    assert waiting[0]["event_id"] == waiting[0]["usage"]["event_id"] == f"{TRACE}:{SPAN}:cost"
    assert {record["trace_id"] for record in waiting} == {TRACE}


async def test_a_trace_is_bound_once_by_a_gateway(world: World) -> None:
    first = await sent(world, span({}), span({}, span_id=OUTSIDE))
    assert [(topic, key) for topic, key, _ in first] == [("unassigned", TRACE)]
    assert first[0][2] == {
        "schema_version": 1,
        "trace_id": TRACE,
        "source": "otlp",
        "event_id": f"{TRACE}:{SPAN}",
        "customer_id": "acme",
    }
    assert await sent(world, span({}, span_id=BETWEEN)) == first


async def test_a_second_customer_of_a_trace_is_told_too(world: World) -> None:
    found = await sent(world, span({}), span({}, span_id=OUTSIDE, customer="other"))
    assert [record["customer_id"] for _, _, record in found] == ["acme", "other"]


async def test_a_binding_that_was_not_acknowledged_is_told_again(world: World) -> None:
    world.inbound.losing = {0}
    body = as_protobuf([span({})])
    assert (await world.call("POST", "/v1/traces", body, PROTOBUF)).status == 503
    assert (await world.call("POST", "/v1/traces", body, PROTOBUF)).status == 200
    assert len(world.inbound.records) == 2


async def test_a_key_of_one_customer_says_whose_its_spans_are(world: World) -> None:
    world.keys.caller = Caller("k1", frozenset(Scope), frozenset({"acme"}))
    [(topic, key, _)] = await sent(world, span(OPENAI, customer=None))
    assert (topic, key) == ("usage", "acme")


async def test_a_bound_key_bills_nobody_else(world: World) -> None:
    world.keys.caller = Caller("k1", frozenset(Scope), frozenset({"acme", "other"}))
    count, message = await refused(
        world,
        span(OPENAI),
        span(OPENAI, span_id=OUTSIDE, customer="somebody"),
        span(OPENAI, span_id=BETWEEN, trace_id=OTHER_TRACE, customer=None),
        span({}, span_id=BETWEEN, trace_id="d" * 32, customer=None),
    )
    assert count == 2
    assert message.count("customer_not_allowed") == 2
    assert {key for _, key, _ in world.inbound.records} == {b"acme", TRACE.encode()}
    assert b"somebody" not in b"".join(value for _, _, value in world.inbound.records)


@pytest.mark.parametrize("customer", ["c" * 129, "\0progress", "é" * 65])
async def test_a_customer_that_cannot_be_one_is_refused(world: World, customer: str) -> None:
    count, message = await refused(world, span(OPENAI, customer=customer))
    assert count == 1
    assert "external_customer_id" in message
    assert not world.inbound.records
