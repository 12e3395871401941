"""Topics on the real broker: made once, compared ever after; the catalog's first records."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.topics import TOPICS, USAGE
from streams.adapters.catalog import read_catalog
from streams.adapters.topic_admin import ensure_topics
from streams.app.installation import create_topics, import_prices
from streams.embedded.endpoints import Endpoints
from streams.errors import SetupError, TransientError
from streams.settings import Settings


@pytest.fixture
def settings(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path,
        kafka_bootstrap=endpoints.kafka_bootstrap,
        topic_prefix=topic_prefix,
        app_id=topic_prefix.rstrip("."),
        partitions=2,
    )


def names() -> set[str]:
    return {topic.name for topic in TOPICS}


def test_topics_are_created_once_and_again_nothing_happens(settings: Settings) -> None:
    first = asyncio.run(create_topics(settings))
    assert (set(first.created), first.existing) == (names(), ())
    again = asyncio.run(create_topics(settings))
    assert (again.created, set(again.existing)) == ((), names())


def test_the_catalog_begins_with_generation_rules_and_prices_and_has_each_once(
    settings: Settings,
) -> None:
    async def twice() -> tuple[Any, bool, bool]:
        await create_topics(settings)
        _, appended = await import_prices(settings)
        await create_topics(settings)
        _, again = await import_prices(settings)
        view = await read_catalog(settings.kafka_bootstrap or "", settings.topic_prefix)
        return view, appended, again

    view, appended, again = asyncio.run(twice())
    assert (appended, again) == (True, False)
    assert view.next_offset == 3
    assert view.context().partitions == 2
    assert view.context().prices.find("openai", "gpt-4o") is not None


def make_usage_topic(settings: Settings, partitions: int, config: dict[str, str]) -> None:
    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
        await admin.start()
        name = USAGE.full_name(settings.topic_prefix)
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
        await admin.close()

    asyncio.run(run())


def test_a_topic_with_other_settings_is_refused_and_every_difference_is_named(
    settings: Settings,
) -> None:
    make_usage_topic(settings, 3, {"retention.ms": "1000"})
    with pytest.raises(SetupError) as refused:
        asyncio.run(create_topics(settings))
    usage = USAGE.full_name(settings.topic_prefix)
    assert f"{usage}: 3 partitions, not 2" in refused.value.message
    assert f"{usage}: retention.ms is 1000, not -1" in refused.value.message
    assert f"{usage}: message.timestamp.type is CreateTime, not LogAppendTime" in str(refused.value)


def test_nothing_is_created_beside_a_topic_that_does_not_fit(settings: Settings) -> None:
    make_usage_topic(settings, 3, {})
    with pytest.raises(SetupError):
        asyncio.run(create_topics(settings))

    async def existing() -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
        await admin.start()
        found = {n for n in await admin.list_topics() if n.startswith(settings.topic_prefix)}
        await admin.close()
        return found

    assert asyncio.run(existing()) == {USAGE.full_name(settings.topic_prefix)}


def test_another_partition_count_than_the_catalog_says_is_refused(settings: Settings) -> None:
    asyncio.run(create_topics(settings))
    changed = settings.model_copy(update={"partitions": 4})
    with pytest.raises(SetupError, match="2 partitions, not 4"):
        asyncio.run(create_topics(changed))


def test_a_broker_that_is_not_there_is_said_so(settings: Settings) -> None:
    with pytest.raises(TransientError, match="did not answer") as failed:
        asyncio.run(ensure_topics("127.0.0.1:1", settings.topic_prefix, 2, 1))
    assert "TOLLGATE_KAFKA_BOOTSTRAP" in failed.value.action


def test_the_command_says_what_it_did_for_a_script(settings: Settings) -> None:
    def run() -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "streams", "topics", "create", "--json"],
            env=os.environ | settings.environment(),
            capture_output=True,
            check=True,
        )
        return json.loads(done.stdout)

    assert set(run()["created"]) == names()
    assert run()["created"] == []
