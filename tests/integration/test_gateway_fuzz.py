"""The whole HTTP surface, fuzzed from its own description: nothing that is sent makes the gateway
fail, and every answer is one that the description promises."""

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup

import schemas.rpc as rpc
from streams.app.gateway import all_routes
from streams.gateway import native
from streams.gateway.routes import Route
from tests.gateway_fakes import FRESH, KEY, World, account, approved, refusal, released

EXAMPLES_MAX = 25
"""Requests of each operation and phase: some 1,000 in all, in half a minute."""

ENTRY = rpc.EntryTold(entry_id="1-usage-3-0", kind="usage", units=1)


def answer(_partition: int, ask: rpc.Ask) -> rpc.Answer:
    """What an owner might say; the ask itself decides, so that a failure can be repeated."""
    match ask:
        case rpc.PreflightAsk(account_kind="task"):
            return approved(ceiling="100", used="0", reservation_id="1-2-4")
        case rpc.PreflightAsk():
            return refusal("budget_exhausted") if ask.agent_id else approved()
        case rpc.ReleaseAsk() | rpc.ExtendAsk():
            return released()
        case rpc.AwaitAsk():
            told = account(account_kind=ask.account_kind, account_id=ask.account_id)
            return rpc.RecordAnswer("accepted", FRESH, entry=ENTRY, account=told)
        case rpc.LookupAsk(account_kind="task"):
            task = rpc.TaskTold("unit", "100", "5", "1")
            return account(account_kind="task", account_id=ask.account_id, task=task)
    return account(account_id=ask.account_id)


@schemathesis.serializer("application/x-protobuf")
def as_bytes(_context: Any, value: Any) -> bytes:
    """What is no text is sent as it is: garbage to whoever expects a message."""
    return value if isinstance(value, bytes) else str(value).encode()


world = World(all_routes())
world.owners.otherwise = answer
schema = schemathesis.openapi.from_asgi("/openapi.json", world.app)
NOT_OURS = {
    # AgentBill's clients send fields of later versions, which are passed over.
    "negative_data_rejection",
    # What a schema cannot say is refused all the same: half a unit, an end before its beginning.
    "positive_data_acceptance",
    # `Prefer` is a hint; without it the answer is the same.
    "missing_required_header",
    # Their own requests go without the key, or to methods that are not described; unit tests cover
    # both.
    "ignored_auth",
    "unsupported_method",
}


@schema.parametrize()
@settings(
    max_examples=EXAMPLES_MAX,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_nothing_that_is_sent_makes_it_fail(case: Any) -> None:
    world.owners.asked.clear()
    world.inbound.records.clear()
    case.headers["Authorization"] = f"Bearer {KEY}"
    case.call_and_validate(excluded_checks=[CHECKS.get_one(name) for name in NOT_OURS])


USAGE = {"schema_version": 1, "event_id": "call-1", "source": "bot", "customer_id": "acme"}
SERVED: dict[str, tuple[str, Any]] = {
    "postPreflight": (
        "/v1/preflights",
        {"customer_id": "acme", "idempotency_key": "call-1", "estimate": "5"},
    ),
    "releasePreflight": ("/v1/preflights/1-3-9/release", {"customer_id": "acme"}),
    "extendPreflight": (
        "/v1/preflights/1-3-9/extend",
        {"customer_id": "acme", "ttl_seconds": 60},
    ),
    "postEvents": ("/v1/events", [USAGE]),
    "postRecord": ("/v1/records", USAGE),
    "getBudget": ("/v1/customers/acme/budget", None),
    "getHolds": ("/v1/customers/acme/holds", None),
    "postGrant": (
        "/v1/customers/acme/grants",
        {"event_id": "grant-1", "denomination": "unit", "amount": "5"},
    ),
    "putLimit": (
        "/v1/customers/acme/limits",
        {"event_id": "limit-1", "denomination": "unit", "amount": "5"},
    ),
    "getTask": ("/v1/tasks/job-1", None),
    "putCeiling": (
        "/v1/tasks/job-1/ceiling",
        {"event_id": "ceiling-1", "denomination": "unit", "amount": "5"},
    ),
    "getEntries": ("/v1/customers/acme/entries", None),
}
"""A request of each native route that is served: whether chance finds one depends on its seed."""


@pytest.mark.parametrize("route", native.ROUTES, ids=lambda route: route.name)
async def test_what_a_route_wants_is_served(route: Route) -> None:
    target, body = SERVED[route.name]
    served = await world.call(route.method, target, body, {"Authorization": f"Bearer {KEY}"})
    assert served.status < 300


@pytest.mark.parametrize(
    "route", [route for route in native.ROUTES if route.accepts], ids=lambda route: route.name
)
async def test_a_body_that_is_none_is_refused(route: Route) -> None:
    # Whether chance sends a wrong body to each route depends on the seed too.
    path = re.sub(r"\{[^}]*\}", "1-3-9", route.path)
    headers = {"Authorization": f"Bearer {KEY}"}
    refused = await world.call(route.method, path, b"none", headers)
    assert 400 <= refused.status < 500


def test_the_fuzz_knows_every_route() -> None:
    # All but the description itself, which the fuzz has read already.
    assert len(list(schema.get_all_operations())) == len(world.app.routes) - 1
    assert len(world.app.routes) >= 15


def test_the_checks_that_count_are_made() -> None:
    made = set(CHECKS.get_all_names()) - NOT_OURS
    assert {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    } <= made


def test_a_fault_would_be_found() -> None:
    def fail(_partition: int, _ask: rpc.Ask) -> rpc.Answer:
        raise ZeroDivisionError

    world.owners.otherwise = fail
    try:
        case = schema["/v1/customers/{customer_id}/budget"]["GET"].Case(
            path_parameters={"customer_id": "acme"}, headers={"authorization": f"Bearer {KEY}"}
        )
        with pytest.raises(FailureGroup, match="Server error"):
            case.call_and_validate()
    finally:
        world.owners.otherwise = answer
