"""A key that is bound to customers: what it may do with tasks, the same in both protocols
(docs/keys.md)."""

from typing import Any

import pytest

import schemas.rpc as rpc
from streams.gateway import agentbill
from streams.gateway.native import ROUTES
from streams.gateway.ports import Caller, Scope
from tests.gateway_fakes import FRESH, World, account, approved

PREFLIGHT = {"customer_id": "acme", "idempotency_key": "k1", "estimate": "5"}
RECORD = {"schema_version": 1, "event_id": "e1", "source": "bot", "customer_id": "acme", "units": 1}
ASK = {"customer_id": "acme", "agent_id": "a", "estimated_units": 5, "idempotency_key": "k1"}
EVENT = {"customer_id": "acme", "event_type": "a", "idempotency_key": "k", "units": 2}
OF_TASK = {"task_ref": "job"}
OPENING = {"task_ref": "job", "task_ceiling": "50"}

CALLS_OF_ITS_OWN = [
    pytest.param("/v1/preflights", PREFLIGHT | OPENING, id="native preflight that opens a task"),
    pytest.param("/v1/preflights", PREFLIGHT | OF_TASK, id="native preflight"),
    pytest.param("/v1/records", RECORD | OF_TASK, id="native record"),
    pytest.param("/v1/events", RECORD | OF_TASK, id="native event"),
    pytest.param("/preflight", ASK | OF_TASK | {"task_ceiling": 50}, id="agentbill opens a job"),
    pytest.param("/preflight", ASK | OF_TASK, id="agentbill preflight"),
    pytest.param("/events", EVENT | OF_TASK, id="agentbill event"),
]

TASKS_THEMSELVES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/tasks/job", None),
    ("PUT", "/v1/tasks/job/ceiling", {"denomination": "unit", "amount": "5"}),
    ("GET", "/tasks/job", None),
    ("PUT", "/tasks/job/ceiling", {"ceiling_units": 5}),
]


def answer(_partition: int, ask: rpc.Ask) -> rpc.Answer:
    """As owners would."""
    if isinstance(ask, rpc.PreflightAsk):
        return approved(ceiling="50", used="7") if ask.account_kind == "task" else approved()
    of_task = ask.account_kind == "task"
    task = rpc.TaskTold("unit", "50", "7", "5") if of_task else None
    stands = account(account_kind=ask.account_kind, account_id=ask.account_id, events=1, task=task)
    if isinstance(ask, rpc.AwaitAsk):
        entry = rpc.EntryTold("1-usage-3-0-0", "usage", units=2)
        return rpc.RecordAnswer("accepted", FRESH, entry, account=stands)
    return stands


@pytest.fixture
def world() -> World:
    """Both protocols, and a key with every scope that is bound to acme."""
    made = World((*ROUTES, *agentbill.ROUTES))
    made.keys.caller = Caller("k2", frozenset(Scope), frozenset({"acme"}))
    made.owners.otherwise = answer
    return made


@pytest.mark.parametrize(("path", "body"), CALLS_OF_ITS_OWN)
async def test_a_call_of_its_own_customer_may_belong_to_a_task(
    world: World, path: str, body: dict[str, Any]
) -> None:
    told = await world.call("POST", path, body)
    assert told.status in (200, 202), told.body


@pytest.mark.parametrize(("path", "body"), CALLS_OF_ITS_OWN)
async def test_a_task_opens_no_way_to_another_customer(
    world: World, path: str, body: dict[str, Any]
) -> None:
    told = await world.call("POST", path, body | {"customer_id": "bolt"})
    assert told.status == 403
    assert b"customer_not_allowed" in told.body
    assert not world.inbound.records
    assert not world.owners.asked


@pytest.mark.parametrize(("method", "path", "body"), TASKS_THEMSELVES)
async def test_a_task_is_neither_looked_up_nor_bounded_by_it(
    world: World, method: str, path: str, body: Any
) -> None:
    told = await world.call(method, path, body)
    assert told.status == 403
    assert b"customer_not_allowed" in told.body
    assert not world.inbound.records
    assert not world.owners.asked


@pytest.mark.parametrize(("method", "path", "body"), TASKS_THEMSELVES)
async def test_a_key_without_customers_may(world: World, method: str, path: str, body: Any) -> None:
    world.keys.caller = Caller("k1", frozenset(Scope))
    assert (await world.call(method, path, body)).status == 200


async def test_it_learns_of_the_task_what_the_decision_of_its_own_call_says(world: World) -> None:
    told = (await world.call("POST", "/v1/preflights", PREFLIGHT | OF_TASK)).json["task"]
    assert (told["ceiling"], told["used"]) == ("50", "7")
    told = (await world.call("POST", "/preflight", ASK | OF_TASK)).json
    assert told["task_ceiling"] == 50
