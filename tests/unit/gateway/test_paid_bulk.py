"""Paid's signals and costs over a log in memory: what is appended, and what is answered."""

import json
from typing import Any

import pytest

import schemas.rpc as rpc
from schemas import codec
from schemas.structs import Signal, Tokens, Usage
from schemas.topics import SIGNALS, USAGE
from streams.gateway.paid import ROUTES
from streams.gateway.paid_bulk import TOLD_MAX
from streams.gateway.ports import Caller, Scope
from tests.gateway_fakes import FRESH, Answer, World, error

SIGNAL = {
    "eventName": "meeting_booked",
    "customer": {"externalCustomerId": "acme"},
    "attribution": {"externalProductId": "sdr"},
}
COST = {
    "type": "cost",
    "customer": {"externalCustomerId": "acme"},
    "product": {"externalProductId": "sdr"},
    "amount": 1.25,
    "currency": "USD",
    "vendor": "openai",
    "model": "gpt-4o",
}
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def outcome(status: Any, code: str = "") -> rpc.RecordAnswer:
    return rpc.RecordAnswer(status, FRESH, code=code)


@pytest.fixture
def world() -> World:
    made = World(ROUTES)
    made.owners.otherwise = lambda *_: outcome("accepted")
    return made


async def send(world: World, *signals: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return await world.call("POST", "/api/v2/signals/bulk", {"signals": signals}, named)


async def cost(world: World, *costs: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return await world.call("POST", "/api/v2/costs/bulk", {"costs": costs}, named)


def signals_of(world: World) -> list[Signal]:
    return [
        codec.decode_signal(value)
        for topic, _, value in world.inbound.records
        if topic == SIGNALS.name
    ]


def usage_of(world: World) -> list[Usage]:
    return [
        codec.decode_usage(value)
        for topic, _, value in world.inbound.records
        if topic == USAGE.name
    ]


def counts(ingested: int = 0, duplicates: int = 0, failed: int = 0) -> dict[str, int]:
    return {"ingested": ingested, "duplicates": duplicates, "failed": failed}


async def test_a_signal_is_one_of_its_customer_agent_and_key(world: World) -> None:
    answer = await send(
        world,
        SIGNAL
        | {
            "timestamp": "2026-01-31T23:00:00.123456789Z",
            "idempotencyKey": "sig-1",
            "data": {"n": 1, "nested": {"a": 1.5}},
            "customerUnit": {"externalCustomerUnitId": "team-7"},
        },
    )
    assert (answer.status, answer.json) == (200, counts(1))
    [signal] = signals_of(world)
    assert (signal.source, signal.event_id, signal.customer_id) == ("paid", "sig-1", "acme")
    assert (signal.name, signal.agent_id) == ("meeting_booked", "sdr")
    assert signal.occurred_at == "2026-01-31T23:00:00.123456Z"
    assert signal.metadata == {"n": 1, "nested": '{"a": "1.5"}', "customerUnit": "team-7"}
    assert (signal.cost_tracing, signal.trace_id, signal.scope_id) == (False, None, None)


async def test_a_scope_is_claimed_and_the_flag_asks_for_costs(world: World) -> None:
    await send(
        world,
        SIGNAL | {"data": {"paid": {"paid_scope_id": 1816464350}}},
        SIGNAL | {"data": {"paid": {"enable_cost_tracing": True}}},
    )
    scoped, flagged = signals_of(world)
    assert (scoped.scope_id, scoped.cost_tracing, scoped.metadata) == ("1816464350", True, None)
    assert (flagged.scope_id, flagged.cost_tracing) == (None, True)


async def test_a_cost_by_hand_lands_on_its_signal_alone(world: World) -> None:
    given = {"vendor": "any", "cost": {"amount": 0.1, "currency": "usd"}}
    given |= {"gen_ai.response.model": "m", "start_time": "2024-01-01T11:45:00.000Z"}
    await send(world, SIGNAL | {"idempotencyKey": "sig-1", "data": {"costData": given}})
    [signal], [usage] = signals_of(world), usage_of(world)
    assert signal.trace_id == usage.trace_id == "signal:sig-1"
    assert signal.cost_tracing
    assert (usage.cost, usage.currency, usage.provider, usage.model) == ("0.1", "USD", "any", "m")
    assert (usage.source, usage.event_id) == ("paid-cost", "sig-1")
    assert (usage.agent_id, usage.occurred_at, usage.tokens) == ("sdr", None, None)


async def test_tokens_by_hand_that_cannot_include_what_was_cached_exclude_it(
    world: World,
) -> None:
    used = {
        "gen_ai.response.model": "gpt-4.1-mini",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 300,
        "gen_ai.usage.cached_input_tokens": 600,
        "gen_ai.usage.cache_creation_input_tokens": 200.0,
        "gen_ai.usage.reasoning_output_tokens": 40,
    }
    given = {"costData": {"vendor": "openai", "attributes": used}}
    await send(world, SIGNAL | {"data": given})
    [usage] = usage_of(world)
    assert usage.tokens == Tokens(
        input=100, cache_read=600, cache_write=200, output=260, reasoning=40
    )
    assert (usage.provider, usage.model, usage.cost) == ("openai", "gpt-4.1-mini", None)


@pytest.mark.parametrize(
    "given",
    [
        {"vendor": "v"},
        {"vendor": "v", "cost": {"amount": -1, "currency": "USD"}},
        {"vendor": "v", "cost": {"amount": True, "currency": "USD"}},
        {"vendor": "v", "cost": {"amount": 1, "currency": "dollars"}},
        {"vendor": "v", "attributes": {"gen_ai.usage.input_tokens": 1.5}},
        "much",
    ],
)
async def test_a_cost_that_is_none_fails_its_signal_and_no_other(world: World, given: Any) -> None:
    answer = await send(world, SIGNAL | {"data": {"costData": given}}, SIGNAL)
    assert answer.json == counts(1, failed=1)
    assert len(world.inbound.records) == 1


async def test_paid_ids_are_looked_up_and_unknown_customers_fail(world: World) -> None:
    made = await world.call("POST", "/api/v2/customers/", {"name": "A", "externalId": "acme"})
    nameless = await world.call("POST", "/api/v2/customers/", {"name": "B"})
    product = await world.call("POST", "/api/v2/products/", {"name": "P", "externalId": "sdr"})
    mine = {"customer": {"customerId": made.json["id"]}}
    answer = await send(
        world,
        SIGNAL | mine | {"attribution": {"productId": product.json["id"]}},
        SIGNAL | mine | {"attribution": {"productId": "prod_elsewhere"}},
        SIGNAL | {"customer": {"customerId": nameless.json["id"]}},
        SIGNAL | {"customer": {"customerId": "cus_unknown"}},
        SIGNAL | {"customer": {}},
    )
    assert answer.json == counts(3, failed=2)
    assert [(signal.customer_id, signal.agent_id) for signal in signals_of(world)] == [
        ("acme", "sdr"),
        ("acme", "prod_elsewhere"),
        (nameless.json["id"], "sdr"),
    ]


async def test_a_customer_that_was_erased_still_pays_what_it_used(world: World) -> None:
    made = await world.call("POST", "/api/v2/customers/", {"name": "A", "externalId": "acme"})
    await world.call("DELETE", f"/api/v2/customers/{made.json['id']}")
    answer = await cost(world, COST | {"customer": {"customerId": made.json["id"]}})
    assert answer.json == counts(1)
    assert usage_of(world)[0].customer_id == "acme"


@pytest.mark.parametrize(
    ("item", "event_id"),
    [
        ({"idempotencyKey": "a", "id": "b"}, "a"),
        ({"id": "b", "data": {"idempotencyKey": "c"}}, "b"),
        ({"eventId": 7}, "7"),
        ({"data": {"idempotency_key": "c"}}, "c"),
    ],
)
async def test_an_id_of_the_item_is_its_identity(
    world: World, item: dict[str, Any], event_id: str
) -> None:
    await send(world, SIGNAL | item, idempotency_key="of the request")
    assert [(one.source, one.event_id) for one in signals_of(world)] == [("paid", event_id)]


async def test_an_id_of_the_content_that_may_be_of_anything_is_none(world: World) -> None:
    same = SIGNAL | {"data": {"id": "calendar-1", "event_id": "calendar-1"}}
    await send(world, same, same)
    assert len({one.event_id for one in signals_of(world)}) == 2


async def test_a_long_key_is_a_key(world: World) -> None:
    await send(world, *(SIGNAL | {"idempotencyKey": "k" * 500 + end} for end in ("1", "2", "1")))
    first, second, again = (one.event_id for one in signals_of(world))
    assert first == again != second


@pytest.mark.parametrize("header", ["idempotency_key", "traceparent"])
async def test_a_request_with_a_name_is_the_same_in_every_try(world: World, header: str) -> None:
    for _ in range(2):
        await send(world, SIGNAL, SIGNAL, **{header: TRACE})
    first, second, again, last = (one.event_id for one in signals_of(world))
    assert first != second
    assert (first, second) == (again, last)
    assert {one.source for one in signals_of(world)} == {"paid-request"}


async def test_two_requests_of_one_span_are_two(world: World) -> None:
    await send(world, SIGNAL, traceparent=TRACE)
    await send(world, SIGNAL | {"eventName": "meeting_held"}, traceparent=TRACE)
    assert len({one.event_id for one in signals_of(world)}) == 2


async def test_equal_content_is_never_taken_for_a_repeat(world: World) -> None:
    await cost(world, COST, COST)
    await cost(world, COST, COST)
    assert len({one.event_id for one in usage_of(world)}) == 4


async def test_a_request_that_was_answered_with_an_error_is_the_same_when_it_comes_again(
    world: World,
) -> None:
    world.inbound.losing = {1}
    answer = await cost(world, COST, COST)
    assert (answer.status, answer.json["code"]) == (503, "LOG_UNAVAILABLE")
    assert (await cost(world, COST, COST)).json == counts(2)
    first, second, again, last = (one.event_id for one in usage_of(world))
    assert (first, second) == (again, last)
    # An answer has ended that.
    await cost(world, COST, COST)
    assert len({one.event_id for one in usage_of(world)}) == 4


async def test_the_answer_says_what_the_cycles_said(world: World) -> None:
    told: list[rpc.Answer] = [
        outcome("accepted"),
        outcome("duplicate"),
        outcome("refused", "conflict"),
        outcome("refused", "too_old"),
        outcome("undecided"),
        error("overloaded"),
    ]
    world.owners.queued.extend(told)
    answer = await send(world, *(SIGNAL for _ in told))
    assert answer.json == counts(3, duplicates=2, failed=1)


async def test_a_large_request_is_answered_from_the_log_alone(world: World) -> None:
    answer = await send(world, *(SIGNAL for _ in range(TOLD_MAX + 1)))
    assert answer.json == counts(TOLD_MAX + 1)
    assert world.owners.asks == []


@pytest.mark.parametrize(
    ("path", "item", "customer", "agent"),
    [
        ("v2/", {"external_customer_id": "acme", "external_product_id": "sdr"}, "acme", "sdr"),
        ("v2/", {"customer_id": "PAID", "product_id": "p"}, "made", "p"),
        ("", {"customer_id": "acme", "agent_id": "a"}, "acme", "a"),
        ("", {"external_customer_id": "acme", "external_agent_id": "sdr"}, "acme", "sdr"),
        ("", {"internal_customer_id": "PAID", "external_agent_id": "sdr"}, "made", "sdr"),
    ],
)
async def test_signals_of_earlier_clients_are_the_same(
    world: World, path: str, item: dict[str, Any], customer: str, agent: str
) -> None:
    made = await world.call("POST", "/api/v2/customers/", {"name": "A", "externalId": "made"})
    named = {key: made.json["id"] if text == "PAID" else text for key, text in item.items()}
    sent = named | {"event_name": "e", "idempotency_key": "k", "data": {"n": 1}}
    answer = await world.call("POST", f"/api/v1/usage/{path}signals/bulk", {"signals": [sent, 7]})
    assert (answer.status, answer.json) == (200, counts(1, failed=1))
    [signal] = signals_of(world)
    assert (signal.customer_id, signal.agent_id, signal.event_id) == (customer, agent, "k")
    assert (signal.name, signal.source, signal.metadata) == ("e", "paid", {"n": 1})


async def test_costs_are_read_digit_by_digit_and_their_tokens_kept(world: World) -> None:
    body = json.dumps({"costs": [COST | {"amount": 0.5, "metadata": {"run": "r1"}}]})
    exact = body.replace('"amount": 0.5', '"amount": 0.1234567890125')
    used = {"inputTokens": 410, "outputTokens": 222, "cacheReadInputTokens": 3000}
    used |= {"cacheCreationInputTokens": 1500, "reasoningOutputTokens": 0}
    usage = {"type": "usage", "customer": {"externalCustomerId": "acme"}, "vendor": "anthropic"}
    usage |= {"model": "claude-sonnet-4-5-20250929", "usage": used}
    override = usage | {"costOverride": {"amount": 1e-7, "currency": "EUR"}}
    assert (await world.call("POST", "/api/v2/costs/bulk", exact.encode())).json == counts(1)
    assert (await cost(world, usage, override)).json == counts(2)
    rounded, counted, overridden = usage_of(world)
    assert (rounded.cost, rounded.agent_id) == ("0.123456789012", "sdr")
    assert rounded.metadata == {"run": "r1", "cost_rounded": True}
    tokens = Tokens(input=410, output=222, cache_read=3000, cache_write=1500)
    assert (counted.tokens, counted.cost, counted.metadata) == (tokens, None, None)
    assert (overridden.tokens, overridden.cost, overridden.currency) == (tokens, "0.0000001", "EUR")


@pytest.mark.parametrize(
    "wrong",
    [
        {"customer": {"customerId": "cus_unknown"}},
        {"amount": "1"},
        {"amount": -1},
        {"currency": "dollars"},
        {"type": "guess"},
        {"timestamp": "2026-01-31"},
    ],
)
async def test_one_wrong_cost_refuses_them_all(world: World, wrong: dict[str, Any]) -> None:
    answer = await cost(world, COST, COST | wrong)
    assert answer.status == 400, answer.json
    assert answer.json["code"] == "INVALID_FIELD"
    assert answer.json["details"].startswith("costs.1")
    assert world.inbound.records == []


async def test_a_bound_key_records_for_its_customer_alone(world: World) -> None:
    world.keys.caller = Caller("k2", frozenset(Scope), frozenset({"acme"}))
    answer = await send(world, SIGNAL, SIGNAL | {"customer": {"externalCustomerId": "other"}})
    assert answer.json == counts(1, failed=1)
    assert [one.customer_id for one in signals_of(world)] == ["acme"]


@pytest.mark.parametrize("body", [{}, {"signals": []}, {"signals": {}}, {"signals": [1] * 1_001}])
async def test_a_request_without_signals_is_400(world: World, body: Any) -> None:
    answer = await world.call("POST", "/api/v2/signals/bulk", body)
    assert answer.status == (413 if body.get("signals") == [1] * 1_001 else 400)
