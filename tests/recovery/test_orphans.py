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
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidTxnState

from schemas.topics import ACCOUNTS_CHANGELOG, LEDGER
from streams.adapters.orphans import close_orphans, open_places
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError
from tests.embedded_waiting import until_async
from tests.installation import WAIT_SECONDS, Installation
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


@pytest.mark.timeout(600)
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
        check_books(installation)


async def verify_partitions(bootstrap: str, *, on: bool) -> None:
    """Whether the broker asks its coordinator before it takes a record into a transaction."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        configs = {"transaction.partition.verification.enable": "true" if on else "false"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", configs=configs)])
    finally:
        await admin.close()


async def leave_orphan(installation: Installation, topic: str, value: bytes) -> None:
    """A record of a transaction that is over for the coordinator and open in the partition: the
    coordinator is never told that the partition takes part, so it writes no marker there."""
    bootstrap = str(installation.settings.kafka_bootstrap)
    place = TopicPartition(installation.settings.topic_prefix + topic, 0)
    await verify_partitions(bootstrap, on=False)
    try:
        await until_async(
            lambda: rolled_back(installation, place, value),
            "a broker that does not ask its coordinator any more",
            WAIT_SECONDS,
        )
    finally:
        await verify_partitions(bootstrap, on=True)
    assert await open_places(bootstrap, [place]) == [place]


async def rolled_back(installation: Installation, place: TopicPartition, value: bytes) -> bool:
    """Writes a record and rolls it back; False where the broker refused it, because it takes a
    moment until a change of its configuration counts."""
    async with transactional(installation, "0") as producer:
        await producer.begin_transaction()
        producer._txn_manager._txn_partitions.add(place)
        try:
            await producer.send_and_wait(place.topic, value, key=b"somebody", partition=0)
        except InvalidTxnState:
            return False
        finally:
            producer._txn_manager._txn_partitions.clear()
        await producer.abort_transaction()
        return True


async def commit_once(installation: Installation) -> None:
    topic = installation.settings.topic_prefix + LEDGER.name
    async with transactional(installation, "0") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"next", partition=0)
        await producer.commit_transaction()


def test_without_a_repair_the_next_commit_would_show_the_orphan(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    with one_partition(endpoints, unique_name, tmp_path / "home") as installation:
        asyncio.run(leave_orphan(installation, LEDGER.name, b"rolled back"))
        asyncio.run(commit_once(installation))
        (visible,) = installation.read(LEDGER.name)
        assert [record.value for record in visible] == [b"rolled back", b"next"]


def test_an_owner_ends_orphans_before_it_reads_and_nobody_ever_sees_them(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    with one_partition(endpoints, unique_name, tmp_path / "home") as installation:
        produce(installation, "first")
        for topic in (LEDGER.name, ACCOUNTS_CHANGELOG.name):
            asyncio.run(leave_orphan(installation, topic, b"rolled back"))
        installation.start_worker("owner")
        installation.wait_consumed()
        assert "ending transactions that the broker left open" in installation.log_text("owner")
        for topic in (LEDGER.name, ACCOUNTS_CHANGELOG.name):
            (visible,) = installation.read(topic)
            assert b"rolled back" not in [record.value for record in visible]
        check_books(installation)
