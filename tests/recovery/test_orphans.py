"""Transactions that a restarting broker rolls back without ending them in their partitions."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from schemas.topics import LEDGER
from streams.adapters.orphans import close_orphans, open_places
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError
from tests.installation import Installation
from tests.recovery.cases import check_books, one_partition, produce, wait_paused

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack


@contextlib.asynccontextmanager
async def transactional(installation: Installation, name: str) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=installation.settings.kafka_bootstrap,
        transactional_id=f"{installation.settings.app_id}-{name}",
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def test_a_transaction_of_somebody_else_that_stays_open_stops_the_owner(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    async def run(installation: Installation) -> None:
        bootstrap = str(installation.settings.kafka_bootstrap)
        topic = LEDGER.full_name(installation.settings.topic_prefix)
        place = TopicPartition(topic, 0)
        async with (
            transactional(installation, "own") as own,
            transactional(installation, "other") as other,
        ):
            assert await close_orphans(bootstrap, {0: own}, [topic]) == []
            await other.begin_transaction()
            await other.send_and_wait(topic, b"left open", partition=0)
            assert await open_places(bootstrap, [place]) == [place]
            with pytest.raises(FaultError, match="stay open"):
                await close_orphans(bootstrap, {0: own}, [topic])
            await other.abort_transaction()
            assert await close_orphans(bootstrap, {0: own}, [topic]) == []

    with one_partition(endpoints, unique_name, tmp_path / "home") as installation:
        asyncio.run(run(installation))
        assert installation.read(LEDGER.name) == [[]], "what was aborted is not visible"


@pytest.mark.timeout(240)
def test_a_cycle_that_a_restarting_broker_rolled_back_counts_once(
    stack: "EmbeddedStack", endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    """The broker is killed under an open transaction and comes back after its timeout. Whether it
    then forgets the markers depends on its start; that nothing counts twice must not."""
    with one_partition(endpoints, unique_name, tmp_path / "home") as installation:
        produce(installation, "first")
        words = ["tests.recovery.launcher", "worker", "--at", "appended", "--nth", "2"]
        more = ["--signal", "STOP", "--transaction-timeout-ms", "1000"]
        paused = installation.start([*words, *more], "paused")
        wait_paused(paused)
        restarts = stack.supervisor.restarts("kafka")
        os.kill(stack.endpoints().pids["kafka"], signal.SIGKILL)
        stack.supervisor.wait_ready("kafka", restarts=restarts + 1)
        paused.kill()
        assert paused.wait() == -signal.SIGKILL
        installation.start_worker("heir")
        installation.wait_consumed()
        print("orphans:", "ending transactions" in installation.log_text("heir"))
        check_books(installation)
