"""Preflight, record, release, budget and task over HTTP on the whole stack: the gateway inside a
worker, and one of its own that asks over the hop. What one was told, the other tells again."""

import asyncio
import itertools
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streams.embedded.endpoints import Endpoints
from tests.embedded_waiting import until_async
from tests.installation import Installation
from tests.integration.test_gateway import call, usage

START_SECONDS = 60.0
LOOK_SECONDS = 0.2
"""A worker's start, its fences and leases included, on a busy machine."""


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


class Stack:
    """A worker with a gateway inside, and a gateway beside it."""

    def __init__(self, installation: Installation) -> None:
        inside, beside = free_port(), free_port()
        self.installation = installation
        installation.start_worker(gateway_listen=f"127.0.0.1:{inside}")
        installation.start(["streams", "gateway"], "gateway", gateway_listen=f"127.0.0.1:{beside}")
        self.urls = [f"http://127.0.0.1:{inside}", f"http://127.0.0.1:{beside}"]

    async def ready(self) -> None:
        """Returns when both answer for every partition."""
        for url, customer in itertools.product(self.urls, ("acme", "b", "c", "d", "e", "f")):
            path = f"/v1/customers/{customer}/budget"
            await until_async(
                partial(self._answers, url, path),
                f"an answer to {path} at {url}",
                START_SECONDS,
                LOOK_SECONDS,
            )

    async def _answers(self, url: str, path: str) -> bool:
        try:
            return (await call(url, "GET", path))[0] == 200
        except OSError:
            return False


@pytest.fixture
def stack_of_ours(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Iterator[Stack]:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as made:
        yield Stack(made)


def test_what_is_approved_is_held_settled_and_counted_once(stack_of_ours: Stack) -> None:
    asyncio.run(_run(stack_of_ours))


async def _run(stack: Stack) -> None:
    await stack.ready()
    for number, (first, second) in enumerate((stack.urls, stack.urls[::-1])):
        customer = f"acme-{number}"
        await _approve_and_settle(first, second, customer)
        await _release(first, second, customer)
        await _task(first, second, f"job/{number}", customer)
        await _administer(first, second, customer)


async def _post(url: str, path: str, body: object) -> Any:
    status, told = await call(url, "POST", path, body)
    assert status == 200, told
    return told


async def _available(url: str, customer: str) -> tuple[str, str]:
    _, told = await call(url, "GET", f"/v1/customers/{customer}/budget")
    [unit] = [item for item in told["balances"] if item["denomination"] == "unit"]
    return unit["available"], unit["held"]


async def _approve_and_settle(first: str, second: str, customer: str) -> None:
    ask = {"customer_id": customer, "idempotency_key": "k1", "estimate": "10"}
    told = await _post(first, "/v1/preflights", ask)
    assert (told["approved"], told["remaining"]) == (True, "990")
    assert await _available(second, customer) == ("990", "10")
    again = await _post(second, "/v1/preflights", ask)
    assert again["replayed"] is True
    assert again["reservation_id"] == told["reservation_id"]
    status, other = await call(second, "POST", "/v1/preflights", ask | {"estimate": "11"})
    assert (status, other["code"]) == (409, "conflict")
    record = usage("r1", customer) | {"units": 4, "reservation_id": told["reservation_id"]}
    recorded = await _post(second, "/v1/records", record)
    assert recorded["status"] == "accepted"
    assert recorded["settlement"]["status"] == "settled"
    assert await _available(first, customer) == ("996", "0")
    repeated = await _post(first, "/v1/records", record)
    assert repeated["status"] == "duplicate"
    assert await _available(first, customer) == ("996", "0")
    refused = await _post(
        first, "/v1/preflights", {**ask, "idempotency_key": "k2", "estimate": "997"}
    )
    assert (refused["approved"], refused["reason"]) == (False, "budget_exhausted")


async def _release(first: str, second: str, customer: str) -> None:
    ask = {"customer_id": customer, "idempotency_key": "k3", "estimate": "5"}
    name = (await _post(first, "/v1/preflights", ask))["reservation_id"]
    _, open_holds = await call(second, "GET", f"/v1/customers/{customer}/holds")
    assert [hold["reservation_id"] for hold in open_holds["holds"]] == [name]
    body = {"customer_id": customer}
    released = await _post(second, f"/v1/preflights/{name}/release", body)
    assert (released["state"], released["changed"]) == ("released", True)
    released = await _post(first, f"/v1/preflights/{name}/release", body)
    assert (released["state"], released["changed"]) == ("released", False)
    status, _ = await call(first, "POST", "/v1/preflights/1-0-999/release", body)
    assert status == 404
    assert await _available(second, customer) == ("996", "0")


async def _task(first: str, second: str, ref: str, customer: str) -> None:
    path = f"/v1/tasks/{ref.replace('/', '%2F')}"
    ask = {"customer_id": customer, "idempotency_key": "t1", "estimate": "6", "task_ref": ref}
    status, told = await call(first, "POST", "/v1/preflights", ask)
    assert (status, told["code"]) == (422, "task_ceiling_required")
    told = await _post(
        first, "/v1/preflights", ask | {"idempotency_key": "t2", "task_ceiling": "8"}
    )
    assert (told["approved"], told["task"]["remaining"]) == (True, "2")
    refused = await _post(second, "/v1/preflights", ask | {"idempotency_key": "t3"})
    assert (refused["approved"], refused["reason"]) == (False, "task_ceiling_exceeded")
    # The customer refuses: the task holds no more than before.
    much = ask | {"idempotency_key": "t4", "estimate": "2", "denomination": "unit"}
    await call(first, "PUT", f"/v1/customers/{customer}/limits", _limit("6"))
    refused = await _post(second, "/v1/preflights", much)
    assert (refused["approved"], refused["reason"]) == (False, "budget_exhausted")
    status, task = await call(first, "GET", path)
    assert (status, task["held"], task["ceiling"]) == (200, "6", "8")
    status, raised = await call(
        second, "PUT", f"{path}/ceiling", {"denomination": "unit", "amount": "20"}
    )
    assert (status, raised["status"]) == (200, "accepted")
    status, task = await call(first, "GET", path)
    assert (status, task["ceiling"]) == (200, "20")


def _limit(amount: str) -> dict[str, str]:
    return {"denomination": "unit", "amount": amount}


async def _administer(first: str, second: str, customer: str) -> None:
    grant = {"event_id": "g1", "denomination": "usd", "amount": "2.5"}
    told = await _post(first, f"/v1/customers/{customer}/grants", grant)
    assert told["status"] == "accepted"
    told = await _post(second, f"/v1/customers/{customer}/grants", grant)
    assert told["status"] == "duplicate"
    _, budget = await call(second, "GET", f"/v1/customers/{customer}/budget")
    [usd] = [item for item in budget["balances"] if item["denomination"] == "usd"]
    assert usd["available"] == "2.5"
