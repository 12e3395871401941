"""Paid's catalogue on the real broker: what one gateway answered, every gateway reads, now and
after a restart."""

import asyncio
import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import PAID_CATALOGUE
from streams.app.gateway import GatewayHost
from streams.embedded.endpoints import Endpoints
from tests.installation import Installation

LOOPBACK = "127.0.0.1:0"
CUSTOMERS = 30


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Any:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as made:
        yield made


async def call(url: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """One request on a connection of its own, off the loop that serves it."""

    def send() -> tuple[int, Any]:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        try:
            raw = None if body is None else json.dumps(body).encode()
            headers = {"content-type": "application/json"}
            connection.request(method, f"/api/v2/{path}", raw, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    return await asyncio.to_thread(send)


def test_what_one_gateway_answered_all_of_them_read(installation: Installation) -> None:
    async def run() -> None:
        hosts = [GatewayHost(installation.settings, LOOPBACK) for _ in range(2)]
        one, other = [await host.start() for host in hosts]
        try:
            for number in range(CUSTOMERS):
                sent = {"name": f"Customer {number}", "externalId": f"c{number}"}
                status, told = await call(one, "POST", "customers/", sent)
                assert status == 200, told
                # No wait in between: a gateway that has not heard of it looks again.
                assert await call(other, "GET", f"customers/{told['id']}") == (200, told)
                change = {"phone": str(number)}
                status, changed = await call(other, "PUT", f"customers/external/c{number}", change)
                assert (status, changed["phone"]) == (200, str(number))
                # Nor does a change at the first undo that of the second.
                status, both = await call(one, "PUT", f"customers/{told['id']}", {"email": "a@b"})
                assert (both["phone"], both["email"]) == (str(number), "a@b")
            assert (await call(one, "DELETE", "customers/external/c0")) == (200, {})
            status, missing = await call(one, "GET", "customers/external/never")
            assert (status, missing["code"]) == (404, "NOT_FOUND")
        finally:
            for host in hosts:
                await host.stop()
        # A stray record keeps nobody away.
        await asyncio.to_thread(installation.produce, PAID_CATALOGUE.name, [b"stray"], "x", 0)
        again = GatewayHost(installation.settings, LOOPBACK)
        url = await again.start()
        try:
            status, listed = await call(url, "GET", "customers/?limit=100")
            assert (status, listed["pagination"]["total"]) == (200, CUSTOMERS - 1)
            assert {row["phone"] for row in listed["data"]} == {
                str(number) for number in range(1, CUSTOMERS)
            }
        finally:
            await again.stop()

    asyncio.run(run())
