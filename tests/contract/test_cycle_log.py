"""One suite for every cycle log: memory, and transactions on the real broker."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from schemas.topics import DEAD_LETTERS, LEDGER, USAGE
from streams.adapters.log import KafkaCycleLog
from streams.adapters.memory import MemoryBroker, MemoryCycleLog
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError
from streams.ports import Appends, CycleLog
from tests.installation import Installation

T = TypeVar("T")


class Setting:
    """Logs of one broker, and what a committed reader sees on it."""

    def __init__(
        self,
        make_log: Callable[[], CycleLog],
        read: Callable[[str], list[tuple[bytes | None, bytes]]],
    ) -> None:
        self.make_log = make_log
        self.read = read


@pytest.fixture(params=["memory", "kafka"])
def setting(request: pytest.FixtureRequest, tmp_path: Path, unique_name: str) -> Iterator[Setting]:
    if request.param == "memory":
        broker = MemoryBroker()
        yield Setting(lambda: MemoryCycleLog(broker), lambda topic: list(broker.topics[topic, 0]))
        return
    endpoints: Endpoints = request.getfixturevalue("stack").endpoints()
    with Installation.create(endpoints, f"{unique_name}.", tmp_path) as installation:
        settings = installation.settings
        yield Setting(
            lambda: KafkaCycleLog(
                endpoints.kafka_bootstrap, settings.app_id, settings.topic_prefix
            ),
            lambda topic: [(r.key, r.value) for r in installation.read(topic)[0]],
        )


def entries(*values: bytes) -> list[Appends]:
    return [Appends(LEDGER.name, [(b"k", value) for value in values])]


async def released(log: CycleLog, work: Awaitable[T]) -> T:
    try:
        return await work
    finally:
        await log.release()


def test_a_commit_makes_everything_visible_and_returns_the_last_offsets(setting: Setting) -> None:
    async def run() -> dict[str, int]:
        log = setting.make_log()
        await log.fence([0])
        appends = [*entries(b"1", b"2"), Appends(DEAD_LETTERS.name, [(None, b"d")])]
        return await released(log, log.commit(0, appends, {USAGE.name: 2}))

    assert asyncio.run(run()) == {LEDGER.name: 1, DEAD_LETTERS.name: 0}
    assert setting.read(LEDGER.name) == [(b"k", b"1"), (b"k", b"2")]
    assert setting.read(DEAD_LETTERS.name) == [(None, b"d")]


def test_a_topic_without_records_is_left_out(setting: Setting) -> None:
    async def run() -> dict[str, int]:
        log = setting.make_log()
        await log.fence([0])
        return await released(log, log.commit(0, [Appends(LEDGER.name)], {USAGE.name: 1}))

    assert asyncio.run(run()) == {}


def test_a_fenced_owner_can_commit_nothing_any_more(setting: Setting) -> None:
    async def run() -> None:
        old, new = setting.make_log(), setting.make_log()
        await old.fence([0])
        await old.commit(0, entries(b"before"), {USAGE.name: 1})
        await new.fence([0])
        with pytest.raises(FaultError):
            await old.commit(0, entries(b"zombie"), {USAGE.name: 2})
        await new.commit(0, entries(b"after"), {USAGE.name: 2})
        await new.release()
        await old.release()

    asyncio.run(run())
    assert [value for _, value in setting.read(LEDGER.name)] == [b"before", b"after"]


def test_a_partition_that_was_given_up_is_refused(setting: Setting) -> None:
    async def run() -> None:
        log = setting.make_log()
        await log.fence([0])
        await log.release()
        with pytest.raises(FaultError):
            await log.commit(0, entries(b"late"), {USAGE.name: 1})

    asyncio.run(run())
    assert setting.read(LEDGER.name) == []


def test_a_record_that_the_broker_refuses_commits_nothing(
    stack: Any, tmp_path: Path, unique_name: str
) -> None:
    endpoints: Endpoints = stack.endpoints()
    with Installation.create(endpoints, f"{unique_name}.", tmp_path) as installation:
        settings = installation.settings

        async def run() -> None:
            log = KafkaCycleLog(endpoints.kafka_bootstrap, settings.app_id, settings.topic_prefix)
            await log.fence([0])
            await log.commit(0, entries(b"small"), {USAGE.name: 1})
            too_large = bytes(6 * 1024 * 1024)
            with pytest.raises(FaultError):
                await log.commit(0, entries(b"beside", too_large), {USAGE.name: 2})
            await log.release()

        asyncio.run(run())
        assert [r.value for r in installation.read(LEDGER.name)[0]] == [b"small"]
