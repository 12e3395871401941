"""Topics that are deleted and made anew (K5): nobody goes on by himself, and balances survive."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from click.testing import CliRunner

from schemas.structs import CycleEntry, UsageEntry
from schemas.topics import LEDGER, USAGE
from streams.app.generations import begin_generation
from streams.app.installation import create_topics
from streams.cli.topics import generation
from streams.embedded.endpoints import Endpoints
from streams.errors import SetupError
from tests.builders import json_of
from tests.embedded_waiting import until_async
from tests.installation import WAIT_SECONDS, Installation

CUSTOMER = "acme"


def event(event_id: str) -> bytes:
    return json_of(CUSTOMER, event_id, {"units": 1})


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Any:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as made:
        yield made


async def delete(installation: Installation, topic: str) -> None:
    """Returns when the broker knows of the topic no more; it answers sooner."""
    name = installation.settings.topic_prefix + topic
    admin = AIOKafkaAdminClient(bootstrap_servers=installation.settings.kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([name])

        async def gone() -> bool:
            return name not in await admin.list_topics()

        await until_async(gone, f"a broker without {name}", WAIT_SECONDS)
    finally:
        await admin.close()


def test_a_topic_made_anew_stops_workers_until_a_generation_begins_and_balances_go_on(
    installation: Installation,
) -> None:
    settings = installation.settings
    installation.produce(USAGE.name, [event(f"e{n}") for n in range(5)], key=CUSTOMER)
    worker = installation.start_worker()
    installation.wait_consumed()
    installation.stop(worker)

    asyncio.run(delete(installation, USAGE.name))
    with pytest.raises(SetupError, match="usage: deleted and made anew"):
        asyncio.run(create_topics(settings))  # Creates it, and says that this is not enough.
    stopped = installation.start_worker()
    assert stopped.wait(WAIT_SECONDS) == 2, "a setup that is wrong, not a fault"
    assert "usage: deleted and made anew" in installation.log_text()
    shown = CliRunner().invoke(generation, env=settings.environment())
    assert shown.exit_code == 1
    assert "differs   usage" in shown.output

    record = asyncio.run(begin_generation(settings, "a test deleted usage"))
    assert record.generation == 2
    assert CliRunner().invoke(generation, env=settings.environment()).exit_code == 0
    installation.produce(USAGE.name, [event("e4"), event("e5")], key=CUSTOMER)
    installation.start_worker()
    installation.wait_generation(2, accepted=1)

    ledger = [entry for part in installation.entries() for entry in part]
    second = [entry for entry in ledger if entry.generation == 2]
    for part in installation.entries():
        sequences = [entry.sequence for entry in part if entry.generation == 2]
        assert sequences == list(range(len(sequences)))
    second = [e for e in second if not (isinstance(e, CycleEntry) and e.leases)]
    assert [type(entry) for entry in second] == [CycleEntry, UsageEntry]
    (own,) = (entry for entry in second if isinstance(entry, CycleEntry))
    assert own.duplicates == 1, "what generation 1 accepted does not count again"
    (usage,) = (entry for entry in second if isinstance(entry, UsageEntry))
    assert usage.covered_units == 1
    assert usage.burns[0].grant_id.startswith("1-"), "the grant of generation 1 goes on burning"


def test_a_generation_begins_only_where_topics_changed_and_nobody_works(
    installation: Installation,
) -> None:
    settings = installation.settings
    with pytest.raises(SetupError, match="the topics are those of generation 1"):
        asyncio.run(begin_generation(settings, "for nothing"))
    installation.produce(USAGE.name, [event("e1")], key=CUSTOMER)
    installation.start_worker()
    installation.wait_consumed()
    with pytest.raises(SetupError, match="has 1 members"):
        asyncio.run(begin_generation(settings, "too early"))


def test_a_lost_catalog_under_a_ledger_with_entries_is_not_replaced_by_a_new_one(
    installation: Installation,
) -> None:
    installation.produce(LEDGER.name, [b"{}"], key=CUSTOMER)
    asyncio.run(delete(installation, "catalog"))
    with pytest.raises(SetupError, match="the catalog was lost"):
        asyncio.run(create_topics(installation.settings))
