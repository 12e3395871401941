"""The client against the real thing: a gateway, a broker, a worker. What was sent by both ways, and
again, counts once; the examples of the guides do what they say."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.client import HttpSender, NotDeliveredError, Producer, Spool
from schemas.client.autohive import usage_of
from schemas.client.events import ready, validated
from schemas.client.kafka_sender import KafkaSender
from schemas.client.sending import Sender
from schemas.partitioner import partition_of
from schemas.signal import Signal
from schemas.structs import SignalEntry, UsageEntry
from schemas.topics import SIGNALS, USAGE
from schemas.usage import Usage
from streams.app.gateway import GatewayHost
from streams.embedded.endpoints import Endpoints
from streams.settings import Settings
from tests.installation import Installation

ROOT = Path(__file__).parents[2]
LOOPBACK = "127.0.0.1:0"
FLUSH_SECONDS = 60.0

EVENTS: list[Usage | Signal] = [
    *(
        validated(
            Usage,
            {
                "event_id": f"u{n}",
                "source": "client",
                "customer_id": f"customer-{n % 7}",
                "units": 1,
                "cost": "0.25",
            },
        )
        for n in range(60)
    ),
    *(
        validated(
            Signal,
            {"event_id": f"s{n}", "source": "client", "customer_id": f"c{n}", "name": "booked"},
        )
        for n in range(5)
    ),
    usage_of(
        {"version": "2.0.1", "type": "action", "result": {"data": {}, "cost_usd": 0.1 + 0.2}},
        customer_id="acme",
        integration="exa",
        action="search",
        run_id="r1",
    ).usage,
]


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Any:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as made:
        yield made


async def send_all(directory: Path, sender: Sender) -> None:
    async with Producer(Spool(directory), sender, source="client") as producer:
        producer.add(EVENTS)
        await producer.flush(FLUSH_SECONDS)
        assert producer.status.sent == len(EVENTS)
        assert producer.status.refused == 0


def test_over_http_and_over_kafka_the_same_records_count_once(
    installation: Installation, tmp_path: Path
) -> None:
    settings = installation.settings

    async def run() -> None:
        host = GatewayHost(settings, LOOPBACK)
        url = await host.start()
        try:
            await send_all(tmp_path / "http", HttpSender(url))
        finally:
            await host.stop()
        assert settings.kafka_bootstrap is not None
        sender = KafkaSender(settings.kafka_bootstrap, settings.topic_prefix)
        await send_all(tmp_path / "kafka", sender)

    asyncio.run(run())
    for topic, model in ((USAGE, Usage), (SIGNALS, Signal)):
        expected = {ready(event).value for event in EVENTS if isinstance(event, model)}
        found = installation.read(topic.name)
        values = [record.value for part in found for record in part]
        # Both ways append the very same bytes, on the partition of their key.
        assert len(values) == 2 * len(expected)
        assert set(values) == expected
        for partition, records in enumerate(found):
            for record in records:
                assert partition_of(record.key, settings.partitions) == partition

    worker = installation.start_worker()
    installation.wait_consumed()
    assert installation.stop(worker) == 0
    entries = [entry for part in installation.entries() for entry in part]
    counted = [entry for entry in entries if isinstance(entry, UsageEntry | SignalEntry)]
    assert sorted(entry.event_id for entry in counted) == sorted(one.event_id for one in EVENTS)
    [autohive] = [entry for entry in counted if entry.source == "autohive:exa"]
    assert isinstance(autohive, UsageEntry)
    assert (autohive.cost, autohive.cost_basis) == ("0.3", "reported")
    assert installation.dead_letters() == []


def test_a_gateway_that_comes_back_gets_what_was_spooled_meanwhile(
    installation: Installation, tmp_path: Path
) -> None:
    async def run() -> None:
        host = GatewayHost(installation.settings, LOOPBACK)
        url = await host.start()
        await host.stop()
        port = url.rpartition(":")[2]
        async with Producer(Spool(tmp_path / "spool"), HttpSender(url), source="c") as producer:
            producer.add(EVENTS)
            with pytest.raises(NotDeliveredError):
                await producer.flush(0.5)
            assert producer.status.waiting == len(EVENTS)
            again = GatewayHost(installation.settings, f"127.0.0.1:{port}")
            await again.start()
            try:
                await producer.flush(FLUSH_SECONDS)
            finally:
                await again.stop()

    asyncio.run(run())
    values = [record.value for part in installation.read(USAGE.name) for record in part]
    assert len(set(values)) == sum(isinstance(event, Usage) for event in EVENTS)


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / "docs" / name).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


EXAMPLES = [
    pytest.param(block, id=f"{name}-{number}")
    for name in ("producing.md", "autohive.md")
    for number, block in enumerate(blocks(name, "python client"))
]


def test_both_guides_have_examples() -> None:
    assert {str(parameter.id).split("-")[0] for parameter in EXAMPLES} == {
        "producing.md",
        "autohive.md",
    }


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_of_the_guides_puts_its_events_into_the_log(
    block: str, installation: Installation, tmp_path: Path
) -> None:
    settings = installation.settings

    async def run() -> None:
        host = GatewayHost(settings, LOOPBACK)
        url = await host.start()
        try:
            await asyncio.to_thread(_run_example, block, url, settings, tmp_path)
        finally:
            await host.stop()

    asyncio.run(run())
    records = [
        *installation.read(USAGE.name),
        *installation.read(SIGNALS.name),
    ]
    assert sum(len(part) for part in records) >= 1
    worker = installation.start_worker()
    installation.wait_consumed()
    assert installation.stop(worker) == 0
    assert installation.dead_letters() == []


def _run_example(block: str, url: str, settings: Settings, folder: Path) -> None:
    program = block.replace("http://127.0.0.1:8480", url)
    program = program.replace("127.0.0.1:19092", settings.kafka_bootstrap or "")
    program = program.replace('"tollgate."', f'"{settings.topic_prefix}"')
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
