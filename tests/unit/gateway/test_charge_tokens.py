"""chargeTokens over ports that answer what a test says: billing that is down."""

import json
from typing import Any

import pytest

import schemas.rpc as rpc
from schemas import codec
from streams.gateway.charge_tokens import ROUTES
from tests.gateway_fakes import FRESH, Answer, World, account, error

OPERATION = {"flowId": "f", "userId": "u", "inputTokens": 12, "outputTokens": 3}


@pytest.fixture
def world() -> World:
    made = World(ROUTES)
    entry = rpc.EntryTold("1-usage-3-0-0", "usage", units=0)
    made.owners.otherwise = lambda *_: rpc.RecordAnswer(
        "accepted", FRESH, entry=entry, account=account()
    )
    return made


async def charge(world: World, **more: Any) -> Answer:
    return await world.call("POST", "/worker/charge-tokens", OPERATION | more)


def event_ids(world: World) -> list[str]:
    return [codec.decode_usage(value).event_id for _, _, value in world.inbound.records]


async def test_a_log_that_is_down_is_no_success(world: World) -> None:
    world.inbound.down = True
    answer = await charge(world)
    assert (answer.status, answer.json["success"]) == (503, False)
    assert answer.json["code"] == "log_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    assert event_ids(world) == []


async def test_a_charge_that_was_not_acknowledged_is_the_same_one_when_it_comes_again(
    world: World,
) -> None:
    world.inbound.losing = {0}
    assert not (await charge(world)).json["success"]
    assert (await charge(world)).json == {"success": True}
    first, again = event_ids(world)
    assert first == again
    # An answer has ended that: what comes now is an operation of its own.
    assert (await charge(world)).json == {"success": True}
    assert event_ids(world)[2] != first


async def test_another_body_is_another_charge(world: World) -> None:
    world.inbound.losing = {0}
    await charge(world)
    await charge(world, inputTokens=13)
    assert len(set(event_ids(world))) == 2
    assert json.loads(world.inbound.records[1][2])["tokens"]["input"] == 13


async def test_tokens_that_no_owner_has_decided_in_time_are_in_the_log(world: World) -> None:
    world.owners.otherwise = lambda *_: error("not_ready")
    assert (await charge(world)).json == {"success": True}
    assert len(event_ids(world)) == 1
