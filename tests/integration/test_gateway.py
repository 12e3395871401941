"""The gateway on the real broker: what it accepts is in the log, and what it cannot decide it says
so."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from schemas.structs import Generation
from schemas.topics import SIGNALS, USAGE
from streams.adapters.catalog import append_catalog, read_catalog
from streams.app.gateway import GatewayHost, run_gateway
from streams.app.keys import KeyWish, create_key
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError, SetupError
from streams.settings import Settings
from tests.embedded_waiting import until_async
from tests.installation import Installation

LOOPBACK = "127.0.0.1:0"
DEADLINE_SECONDS = 60.0


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Any:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as made:
        yield made


def usage(event_id: str, customer: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "event_id": event_id,
        "source": "test",
        "customer_id": customer,
        "units": 1,
    }


async def call(
    url: str, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """One request on a connection of its own, off the loop that serves it."""

    def send() -> tuple[int, Any]:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        try:
            sent = {"content-type": "application/json", **(headers or {})}
            raw = None if body is None else json.dumps(body).encode()
            connection.request(method, path, raw, sent)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    return await asyncio.to_thread(send)


def test_what_is_accepted_is_in_the_log_where_the_answer_says(installation: Installation) -> None:
    async def run() -> list[dict[str, Any]]:
        host = GatewayHost(installation.settings, LOOPBACK)
        url = await host.start()
        try:
            assert (await call(url, "GET", "/readyz"))[0] == 200
            batch = [usage(f"e{n}", f"customer-{n % 5}") for n in range(100)]
            status, told = await call(url, "POST", "/v1/events", batch)
            assert (status, told["accepted"]) == (202, 100)
            signal = usage("s1", "customer-1") | {"name": "ticket_closed"}
            del signal["units"]
            status, one = await call(url, "POST", "/v1/events?type=signal", signal)
            assert status == 202
            return [*told["items"], *one["items"]]
        finally:
            await host.stop()

    items = asyncio.run(run())
    stands = {
        (topic, record.partition, record.offset): json.loads(record.value)["event_id"]
        for topic in (USAGE.name, SIGNALS.name)
        for part in installation.read(topic)
        for record in part
    }
    assert len(items) == len(stands) == 101
    for item in items:
        assert stands[item["topic"], item["partition"], item["offset"]] == item["event_id"]
    assert {partition for topic, partition, _ in stands if topic == USAGE.name} == {0, 1}


def test_without_an_owner_a_record_is_accepted_and_a_preflight_is_not_decided(
    installation: Installation,
) -> None:
    settings = installation.settings.model_copy(
        update={"gateway_decision_ms": 300, "gateway_record_ms": 300}
    )

    async def run() -> None:
        host = GatewayHost(settings, LOOPBACK)
        url = await host.start()
        try:
            status, told = await call(url, "POST", "/v1/records", usage("r1", "acme"))
            assert (status, told["status"], told["balances"]) == (202, "undecided", None)
            body = {"customer_id": "acme", "idempotency_key": "k1"}
            status, told = await call(url, "POST", "/v1/preflights", body)
            assert (status, told["code"]) == (503, "not_ready")
        finally:
            await host.stop()

    asyncio.run(run())
    assert sum(len(part) for part in installation.read(USAGE.name)) == 1


def test_once_there_is_a_key_nobody_is_let_in_without(installation: Installation) -> None:
    async def run() -> None:
        host = GatewayHost(installation.settings, LOOPBACK)
        url = await host.start()
        try:
            assert (await call(url, "POST", "/v1/events", usage("e1", "acme")))[0] == 202
            made = await create_key(installation.settings, KeyWish("test", ["ingest"]))

            async def refused() -> bool:
                return (await call(url, "POST", "/v1/events", usage("e1", "acme")))[0] == 401

            await until_async(refused, "a refusal of who has no key", DEADLINE_SECONDS)
            key = {"authorization": f"Bearer {made.text}"}
            assert (await call(url, "POST", "/v1/events", usage("e2", "acme"), key))[0] == 202
            status, told = await call(url, "GET", "/v1/customers/acme/budget", headers=key)
            assert (status, told["code"]) == (403, "scope_missing")
        finally:
            await host.stop()

    asyncio.run(run())


def test_beyond_loopback_it_refuses_to_listen_without_keys(installation: Installation) -> None:
    async def run() -> None:
        with pytest.raises(SetupError, match="no active API key"):
            await GatewayHost(installation.settings, "0.0.0.0:0").start()
        await create_key(installation.settings, KeyWish("test", ["ingest"]))
        host = GatewayHost(installation.settings, "0.0.0.0:0")
        url = await host.start()
        try:
            local = url.replace("0.0.0.0", "127.0.0.1")
            assert (await call(local, "POST", "/v1/events", usage("e1", "acme")))[0] == 401
        finally:
            await host.stop()

    asyncio.run(run())


def test_it_ends_when_another_generation_of_the_topics_begins(installation: Installation) -> None:
    settings = installation.settings

    async def run() -> None:
        host = GatewayHost(settings, LOOPBACK)
        await host.start()
        try:
            assert settings.kafka_bootstrap is not None
            view = await read_catalog(settings.kafka_bootstrap, settings.topic_prefix)
            first = view.generation
            assert first is not None
            second = Generation(
                schema_version=1,
                id="topics",
                version="2",
                generation=2,
                partitions=first.partitions,
                topic_ids=first.topic_ids,
                reason="test",
            )
            bootstrap = settings.kafka_bootstrap
            await append_catalog(bootstrap, settings.topic_prefix, view, [second])
            with pytest.raises(FaultError, match="generation"):
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await host.watch()
        finally:
            await host.stop()

    asyncio.run(run())


def test_a_wrong_start_says_what_is_wrong(installation: Installation, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SetupError, match="cannot listen"):
            run_gateway(installation.settings.model_copy(update={"gateway_listen": used}), print)
    unprepared = Settings(
        home=tmp_path,
        kafka_bootstrap=installation.settings.kafka_bootstrap,
        topic_prefix="nothing.there.",
    )
    with pytest.raises(SetupError, match="there is no topic"):
        run_gateway(unprepared.model_copy(update={"gateway_listen": LOOPBACK}), print)


def test_the_command_says_where_it_listens_and_stops_when_told(installation: Installation) -> None:
    settings = installation.settings.model_copy(update={"gateway_listen": LOOPBACK})
    command = "from streams.cli.gateway import gateway; gateway()"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        env=os.environ | settings.environment(),
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            url = line.removeprefix("gateway: listening on ").strip()
            assert url.startswith("http://127.0.0.1:"), line
            status, told = asyncio.run(call(url, "POST", "/v1/events", usage("e1", "acme")))
            assert (status, told["accepted"]) == (202, 1)
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
            assert process.wait(DEADLINE_SECONDS) == 0
            assert rest == "gateway: stopped\n"
        finally:
            process.kill()
