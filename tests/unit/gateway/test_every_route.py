"""Every route of the gateway, whatever it is for: who is let in, and whose rows are reached.

A table over all routes, so that one that is added is asked the same questions."""

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

import pytest

from schemas import codec, rpc
from streams.app.gateway import all_routes
from streams.gateway import charge_tokens
from streams.gateway.ambiguity import ONCE
from streams.gateway.keys import KeyRing, key_text
from streams.gateway.ports import Scope
from streams.gateway.rates import Rates
from streams.gateway.routes import Route
from tests.gateway_fakes import Answer, World, account
from tests.key_making import KEY_ID, NOW_US, SECRET, TEXT, MemoryKeys, StandingClock, key_record

ROUTES: Final = all_routes()
OPEN: Final = {"getHealth", "getReadiness", "getDescription"}
"""What anybody may ask: whether it lives, and what there is to ask."""

USAGE = {"schema_version": 1, "event_id": "e1", "source": "bot", "customer_id": "globex"}
OTHERS: Final[Mapping[str, tuple[str, Any]]] = {
    "postPreflight": ("/v1/preflights", {"customer_id": "globex", "idempotency_key": "k"}),
    "releasePreflight": ("/v1/preflights/1-3-9/release", {"customer_id": "globex"}),
    "extendPreflight": (
        "/v1/preflights/1-3-9/extend",
        {"customer_id": "globex", "ttl_seconds": 60},
    ),
    "postEvents": ("/v1/events", [USAGE]),
    "postRecord": ("/v1/records", USAGE),
    "getBudget": ("/v1/customers/globex/budget", None),
    "getHolds": ("/v1/customers/globex/holds", None),
    "getEntries": ("/v1/customers/globex/entries", None),
    "postGrant": (
        "/v1/customers/globex/grants",
        {"event_id": "g", "denomination": "unit", "amount": "5"},
    ),
    "putLimit": (
        "/v1/customers/globex/limits",
        {"event_id": "l", "denomination": "unit", "amount": "5"},
    ),
    "getTask": ("/v1/tasks/job", None),
    "putCeiling": (
        "/v1/tasks/job/ceiling",
        {"event_id": "c", "denomination": "unit", "amount": "5"},
    ),
    "chargeTokens": (
        "/worker/charge-tokens",
        {"flowId": "f", "userId": "globex", "inputTokens": 1, "outputTokens": 1},
    ),
}
"""Requests that name a customer whom the key has not: the native protocol and chargeTokens. Those
of the other protocols stand in the tests of each."""


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def source() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def world(source: MemoryKeys, clock: StandingClock) -> World:
    """All routes behind the real ring of keys."""
    made = World(ROUTES)
    made.app._keys = KeyRing(source, clock, Rates(clock.seconds))
    made.owners.otherwise = lambda _partition, ask: (
        rpc.ErrorAnswer("not_mine", "") if isinstance(ask, rpc.AwaitAsk) else account()
    )
    return made


def path_of(route: Route) -> str:
    """Some path of a route."""
    return re.sub(r"\{[^}]*\}", "1-3-9", route.path)


async def ask(world: World, route: Route, key: str | None) -> Answer:
    """A request with a body that is none: who is refused is refused before it is read."""
    headers = {"authorization": "" if key is None else f"Bearer {key}"}
    if route.accepts:
        headers["content-type"] = next(iter(route.accepts))
    # Where a key may stand in the body, nothing is an export without one.
    body = b"" if route.key_in_body is not None else b"{}"
    return await world.call(route.method, path_of(route), body, headers)


def text_of(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace")


def untouched(world: World) -> bool:
    return not (world.owners.asked or world.inbound.records or world.catalogue_log.records)


def test_what_anybody_may_ask_is_named() -> None:
    world = World(ROUTES)
    assert {route.name for route in world.app.routes if route.scope is None} == OPEN
    assert len(world.app.routes) > 40


WRONG: Final[Mapping[str, tuple[str | None, dict[str, Any], str]]] = {
    "none": (None, {}, "unauthorized"),
    "unknown": (key_text("00000000000000b2", SECRET), {}, "unauthorized"),
    "a wrong secret": (key_text(KEY_ID, SECRET[::-1]), {}, "unauthorized"),
    "revoked": (TEXT, {"scopes": ["admin"], "revoked_at": NOW_US - 1}, "key_revoked"),
    "expired": (TEXT, {"scopes": ["admin"], "expires_at": NOW_US}, "key_expired"),
}


@pytest.mark.parametrize("key", WRONG)
async def test_no_route_lets_in_a_key_that_is_none(
    world: World, source: MemoryKeys, key: str
) -> None:
    presented, fields, code = WRONG[key]
    source.put(key_record(**fields))
    asked = 0
    for route in world.app.routes:
        if route.scope is not None:
            answer = await ask(world, route, presented)
            assert (route.name, answer.status) == (route.name, 401)
            told = code if not route.group.startswith(("agentbill", "paid")) else ""
            assert told in text_of(answer), route.name
            assert "agb_" not in text_of(answer).replace("agb_…", ""), route.name
            asked += 1
    assert asked == len(world.app.routes) - len(OPEN)
    assert untouched(world)


async def test_no_route_lets_in_a_key_without_its_scope(world: World, source: MemoryKeys) -> None:
    for given in Scope:
        if given is Scope.ADMIN:
            continue
        source.put(key_record(scopes=[given.value]))
        for route in world.app.routes:
            if route.scope not in (None, given):
                answer = await ask(world, route, TEXT)
                assert (route.name, given, answer.status) == (route.name, given, 403)
    assert untouched(world)


@pytest.mark.parametrize("name", OTHERS)
async def test_a_key_of_another_customer_reaches_no_owner_and_no_log(
    world: World, source: MemoryKeys, name: str
) -> None:
    source.put(key_record(scopes=["admin"], customers=["acme"]))
    target, body = OTHERS[name]
    [route] = [route for route in ROUTES if route.name == name]
    bearer = {"authorization": f"Bearer {TEXT}"}
    answer = await world.call(route.method, target, body, bearer)
    assert "customer_not_allowed" in text_of(answer)
    assert answer.status == 403 or name == "postEvents"
    assert untouched(world)
    # The same request of its own customer is let through: it was the customer that was refused.
    source.put(key_record(scopes=["admin"], customers=["globex"]))
    if "task" not in target:
        answer = await world.call(route.method, target, body, bearer)
        assert "customer_not_allowed" not in text_of(answer)


def test_every_route_that_names_a_customer_in_its_path_is_asked() -> None:
    named = {route.name for route in ROUTES if "{customer_id}" in route.path}
    assert named <= OTHERS.keys() | {route.name for route in ROUTES if route.group != "native"}
    assert {route.name for route in ROUTES if route.group == "native"} <= OTHERS.keys()


@pytest.mark.parametrize("first", ["acme", "globex"])
async def test_a_customer_named_twice_is_the_one_that_the_key_was_checked_against(
    world: World, source: MemoryKeys, first: str
) -> None:
    source.put(key_record(scopes=["admin"], customers=["acme"]))
    second = "globex" if first == "acme" else "acme"
    body = (
        f'{{"schema_version": 1, "event_id": "e", "source": "s", "customer_id": "{first}", '
        f'"customer\\u005fid": "{second}"}}'
    ).encode()
    await world.call("POST", "/v1/events", body, {"authorization": f"Bearer {TEXT}"})
    for _, key, value in world.inbound.records:
        assert key == b"acme"
        assert codec.decode_usage(value).customer_id == "acme"
    assert len(world.inbound.records) == (second == "acme")


# --- keys in places where they do not belong -----------------------------------------------------


async def test_the_secret_of_a_key_inside_an_event_never_reaches_the_log(
    world: World, source: MemoryKeys, caplog: pytest.LogCaptureFixture
) -> None:
    source.put(key_record(scopes=["ingest"]))
    other = key_text("00000000000000b2", SECRET[::-1])
    event = USAGE | {"metadata": {"headers": f"Bearer {other}", "note": f"{TEXT}{TEXT}"}}
    with caplog.at_level(logging.DEBUG):
        answer = await world.call(
            "POST", "/v1/events", [event], {"authorization": f"Bearer {TEXT}"}
        )
    assert answer.status < 300, answer.body
    [(_, _, value)] = world.inbound.records
    assert b"agb_00000000000000b2_" + b"0" * 48 in value
    for secret in (SECRET.hex(), SECRET[::-1].hex()):
        assert secret.encode() not in value
        assert secret not in caplog.text
        assert secret not in text_of(answer)
    assert "agb_" not in caplog.text
    assert "00000000000000b2" in caplog.text


async def test_the_same_event_with_a_key_inside_is_the_same_bytes_again(
    world: World, source: MemoryKeys
) -> None:
    source.put(key_record(scopes=["ingest"]))
    for _ in range(2):
        event = USAGE | {"metadata": {"note": TEXT}}
        await world.call("POST", "/v1/events", [event], {"authorization": f"Bearer {TEXT}"})
    first, second = world.inbound.records
    assert first == second


async def test_no_refusal_and_no_fault_says_the_key(
    world: World, source: MemoryKeys, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_partition: int, _ask: rpc.Ask) -> rpc.Answer:
        raise RuntimeError(TEXT)

    source.put(key_record(scopes=["admin"]))
    world.owners.otherwise = fail
    secret = SECRET.hex()
    with caplog.at_level(logging.DEBUG):
        for route in world.app.routes:
            for body in (b"{}", b"{", f'{{"{TEXT}": "{TEXT}"}}'.encode(), TEXT.encode()):
                headers = {"authorization": f"Bearer {TEXT}", "x-api-key": TEXT}
                if route.accepts:
                    headers["content-type"] = next(iter(route.accepts))
                answer = await world.call(route.method, path_of(route), body, headers)
                assert secret not in text_of(answer), route.name
                assert secret not in str(answer.headers), route.name
    assert secret not in caplog.text
    assert secret not in world.metrics.text()


def test_the_headers_that_carry_keys_may_stand_there_once() -> None:
    assert {"authorization", *charge_tokens.KEY_HEADERS} <= ONCE
