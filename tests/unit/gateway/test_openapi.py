"""The description is that of the routes: complete, resolvable, one name each."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from streams.app.gateway import all_routes
from streams.gateway.native import ROUTES
from streams.gateway.problems import CODES
from streams.gateway.routes import Route, Router
from tests.gateway_fakes import World


def refs(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*(refs(part) for part in node.values()))
    if isinstance(node, list):
        return set().union(*(refs(part) for part in node))
    return set()


async def test_every_route_is_described_with_its_problems(world: World) -> None:
    answer = await world.call("GET", "/openapi.json")
    document = json.loads(answer.body)
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == {(route.method, route.path) for route in world.app.routes}
    assert ("POST", "/v1/preflights") in described
    for route in world.app.routes:
        responses = document["paths"][route.path][route.method.lower()]["responses"]
        assert {str(CODES[code].status) for code in route.problems} <= set(responses)
        assert {str(status) for status in route.answers} <= set(responses)


@pytest.mark.parametrize("routes", [ROUTES, all_routes()], ids=["native", "all"])
async def test_every_reference_resolves(routes: Sequence[Route]) -> None:
    world = World(routes)
    document = json.loads((await world.call("GET", "/openapi.json")).body)
    schemas = document["components"]["schemas"]
    names = {ref.removeprefix("#/components/schemas/") for ref in refs(document)}
    assert {"Usage", "PreflightBody", "ProblemTold", "GrantBody"} <= names
    assert names <= set(schemas)
    assert not [name for name in schemas if "__" in name]
    for route in world.app.routes:
        path = re.sub(r"\*", "", route.path)
        described = document["paths"][path][route.method.lower()]
        assert bool(route.accepts) == ("requestBody" in described)


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_stable_text_and_says_whether_to_come_back(code: str) -> None:
    assert re.fullmatch(r"[a-z_]{3,40}", code)
    kind = CODES[code]
    assert 400 <= kind.status < 600
    # Nobody is sent back to a request that cannot get better, or left alone with one that can.
    assert (kind.retry_after_seconds > 0) == (kind.status in (408, 429, 503))


async def test_every_code_is_in_the_guide() -> None:
    from tests.guard.repository import ROOT

    guide = (ROOT / "docs/http.md").read_text(encoding="utf-8")
    assert not [code for code in CODES if f"`{code}`" not in guide]


def test_two_routes_for_the_same_thing_are_a_fault(world: World) -> None:
    route = world.app.routes[0]
    with pytest.raises(ValueError, match="two routes"):
        Router([route, route])


def test_a_place_may_take_several_segments(world: World) -> None:
    first = world.app.routes[0]
    routes = [
        Route("GET", "/tasks/{ref*}", first.endpoint, None, name="a", summary="A"),
        Route("PUT", "/tasks/{ref*}/ceiling", first.endpoint, None, name="b", summary="B"),
    ]
    router = Router([routes[1], routes[0]])
    found = router.find(b"/tasks/a/b%20c")
    assert found is not None
    assert found[1] == {"ref": "a/b c"}
    found = router.find(b"/tasks/a/b/ceiling")
    assert found is not None
    assert (found[1], list(found[0])) == ({"ref": "a/b"}, ["PUT"])
    assert router.find(b"/tasks/") is None
