"""What an owner begins with: the tables, the group's offsets, and a catalog that has moved on."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.budget import Denomination
from schemas.partitioner import partition_of
from schemas.structs import CycleEntry, GrantEntry, PlanGrant, Rules, UsageEntry
from schemas.topics import ATTRIBUTIONS, CLAIMS_CHANGELOG, DEAD_LETTERS, INBOUND, LEDGER, USAGE
from streams.adapters import catalog
from streams.adapters.catalog import CatalogFollower, append_catalog, read_catalog
from streams.app.worker import EXIT_FAULT
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError
from tests.builders import json_of
from tests.installation import WAIT_SECONDS, Installation

CUSTOMER = "acme"
PARTITION = partition_of(CUSTOMER.encode(), 2)


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Any:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as made:
        yield made


def produce(installation: Installation, *event_ids: str, customer: str = CUSTOMER) -> None:
    events = [json_of(customer, event_id, {"units": 1}) for event_id in event_ids]
    installation.produce(USAGE.name, events, key=customer)


def cycles(installation: Installation) -> list[CycleEntry]:
    return [e for e in installation.entries()[PARTITION] if isinstance(e, CycleEntry)]


def accepted_ids(installation: Installation) -> list[str]:
    found = installation.entries()[PARTITION]
    return [entry.event_id for entry in found if isinstance(entry, UsageEntry)]


def work(installation: Installation, **settings: Any) -> None:
    """A worker that is stopped when it has consumed everything."""
    worker = installation.start_worker(**settings)
    installation.wait_consumed()
    assert installation.stop(worker) == 0


def test_a_group_whose_offsets_the_broker_forgot_goes_on_where_the_tables_are(
    installation: Installation,
) -> None:
    produce(installation, "e1", "e2")
    work(installation)
    produce(installation, "e3")
    # Another group has no offsets, and the changelogs are the installation's.
    work(installation, app_id=installation.settings.app_id + "-renamed")

    assert accepted_ids(installation) == ["e1", "e2", "e3"]
    assert not any(cycle.duplicates for cycle in cycles(installation)), "nothing is read twice"
    assert "offset of usage" in installation.log_text()


def test_every_owner_says_where_it_begins(installation: Installation) -> None:
    produce(installation, "e1")
    work(installation)
    produce(installation, "e2")
    work(installation)

    first, second = (cycle for cycle in cycles(installation) if cycle.leases)
    assert {piece.topic for piece in first.consumed} == {topic.name for topic in INBOUND}
    assert {p.topic: (p.from_offset, p.to_offset) for p in second.consumed} == {
        "budgets": (0, 0),
        "preflights": (1, 2),
        "transfers": (0, 0),
        "signals": (0, 0),
        "usage": (1, 1),
        "unassigned": (0, 0),
    }


def test_a_group_whose_offsets_were_reset_by_hand_stops_the_worker(
    installation: Installation,
) -> None:
    produce(installation, "e1", "e2")
    work(installation)
    asyncio.run(commit(installation, 1))
    worker = installation.start_worker()
    assert worker.wait(WAIT_SECONDS) == EXIT_FAULT
    assert "the group has committed 1, the tables are at 2" in installation.log_text()
    assert accepted_ids(installation) == ["e1", "e2"]


@pytest.mark.parametrize(
    "topic", [LEDGER.name, ATTRIBUTIONS.name, DEAD_LETTERS.name, CLAIMS_CHANGELOG.name]
)
def test_a_topic_that_ends_with_more_than_the_tables_know_stops_the_worker(
    installation: Installation, topic: str
) -> None:
    produce(installation, "e1")
    work(installation)
    before = installation.entries()
    installation.produce(topic, [b"a stranger's"], key=CUSTOMER)
    worker = installation.start_worker()
    assert worker.wait(WAIT_SECONDS) == EXIT_FAULT
    assert f"partition {PARTITION}: {topic}" in installation.log_text()
    if topic != LEDGER.name:
        assert installation.entries() == before


async def commit(installation: Installation, offset: int) -> None:
    settings = installation.settings
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap,
        group_id=settings.app_id,
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        place = TopicPartition(settings.topic_prefix + USAGE.name, PARTITION)
        consumer.assign([place])
        await consumer.commit({place: offset})
    finally:
        await consumer.stop()


async def new_plan(installation: Installation, version: str, units: str) -> None:
    settings = installation.settings
    assert settings.kafka_bootstrap is not None
    view = await read_catalog(settings.kafka_bootstrap, settings.topic_prefix)
    rules = Rules(
        schema_version=1,
        id="default",
        version=version,
        default_plan=[PlanGrant(denomination=Denomination.UNIT, amount=units)],
    )
    await append_catalog(settings.kafka_bootstrap, settings.topic_prefix, view, [rules])


def test_new_rules_are_adopted_between_two_cycles_and_recorded_in_the_later_one(
    installation: Installation,
) -> None:
    produce(installation, "e1")
    installation.start_worker()
    installation.wait_consumed()
    before = cycles(installation)[-1].catalog_offset
    asyncio.run(new_plan(installation, "2", "7"))
    # When the worker has read them is its affair; a new customer comes until one shows it.
    newcomers = (
        name for name in map(str, itertools.count()) if partition_of(name.encode(), 2) == PARTITION
    )
    while cycles(installation)[-1].catalog_offset == before:
        produce(installation, "first", customer=next(newcomers))
        installation.wait_consumed()

    plans = [e for e in installation.entries()[PARTITION] if isinstance(e, GrantEntry)]
    by_cycle = {cycle.cycle: cycle.catalog_offset for cycle in cycles(installation)}
    assert {(plan.amount, by_cycle[plan.cycle] > before) for plan in plans} == {
        ("1000", False),
        ("7", True),
    }


async def test_an_owner_waits_for_the_catalog_that_its_partition_was_decided_with(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = installation.settings
    assert settings.kafka_bootstrap is not None
    follower = CatalogFollower(settings.kafka_bootstrap, settings.topic_prefix)
    await follower.start()
    try:
        ahead = follower.view.next_offset + 1
        waiting = asyncio.ensure_future(follower.context(ahead))
        await new_plan(installation, "2", "7")
        assert (await waiting).plan[0].amount == 7

        monkeypatch.setattr(catalog, "CATCH_UP_SECONDS_MAX", 0.2)
        with pytest.raises(FaultError, match="lost records"):
            await follower.context(ahead + 10)
    finally:
        await follower.stop()
