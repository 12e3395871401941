"""streams.adapters.owners on a real broker: who answers for a partition is heard by everybody, and
the newest lease wins."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.structs import Owner
from streams.adapters.owners import OwnerAnnouncer, OwnerDirectory
from streams.adapters.producer import append_facts
from streams.embedded.endpoints import Endpoints
from streams.errors import SetupError, TransientError
from tests.installation import Installation

SECONDS = 20.0
"""A deadline, not an expectation."""


@pytest.fixture
def topics(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> tuple[str, str]:
    """Broker and prefix of an installation of this test's own."""
    Installation.create(endpoints, topic_prefix, tmp_path)
    return endpoints.kafka_bootstrap, topic_prefix


@asynccontextmanager
async def announcing(topics: tuple[str, str]) -> AsyncIterator[OwnerAnnouncer]:
    announcer = OwnerAnnouncer(*topics)
    await announcer.start()
    try:
        yield announcer
    finally:
        await announcer.stop()


@asynccontextmanager
async def following(topics: tuple[str, str]) -> AsyncIterator[OwnerDirectory]:
    directory = OwnerDirectory(*topics)
    await directory.start()
    try:
        yield directory
    finally:
        await directory.stop()


async def announce(
    announcer: OwnerAnnouncer, partition: int, lease: int, generation: int = 1
) -> None:
    await announcer.announce(
        partition,
        generation=generation,
        address=f"127.0.0.1:{1_000 + lease}",
        lease=lease,
        nonce=f"{lease:016x}",
        since=1_000_000 * lease,
    )


def leases_of(directory: OwnerDirectory) -> dict[int, tuple[int, int]]:
    return {p: (owner.generation, owner.lease) for p, owner in directory.owners.items()}


async def test_what_was_announced_is_known_when_the_directory_has_started(
    topics: tuple[str, str],
) -> None:
    async with announcing(topics) as announcer:
        await announce(announcer, 0, 3)
        await announce(announcer, 1, 5)
    async with following(topics) as directory:
        assert directory.owner_of(1) == Owner(
            schema_version=1,
            partition=1,
            generation=1,
            address="127.0.0.1:1005",
            lease=5,
            nonce=f"{5:016x}",
            since=5_000_000,
        )
        assert leases_of(directory) == {0: (1, 3), 1: (1, 5)}
        assert directory.owner_of(2) is None


async def test_a_refresh_has_heard_everything_that_was_announced_before_it(
    topics: tuple[str, str],
) -> None:
    async with (
        asyncio.timeout(SECONDS),
        following(topics) as directory,
        announcing(topics) as announcer,
    ):
        for lease in range(1, 20):
            await announce(announcer, 0, lease)
            await asyncio.gather(*(directory.refresh() for _ in range(3)))
            assert leases_of(directory) == {0: (1, lease)}


async def test_an_owner_of_yesterday_that_announces_late_changes_nothing(
    topics: tuple[str, str],
) -> None:
    async with (
        asyncio.timeout(SECONDS),
        following(topics) as directory,
        announcing(topics) as old,
        announcing(topics) as new,
    ):
        await announce(new, 0, 8)
        await announce(old, 0, 7)
        await directory.refresh()
        assert leases_of(directory) == {0: (1, 8)}
        await announce(new, 0, 2, generation=2)
        await announce(old, 0, 9)
        await directory.refresh()
        assert leases_of(directory) == {0: (2, 2)}
    async with following(topics) as directory:
        assert leases_of(directory)[0][0] == 2


async def test_a_record_that_is_none_is_passed_over(topics: tuple[str, str]) -> None:
    bootstrap, prefix = topics
    async with announcing(topics) as announcer, asyncio.timeout(SECONDS):
        await announce(announcer, 0, 1)
        junk = [(0, b"0", b"{"), (0, b"1", b"null"), (0, b"0", b'{"schema_version":1}')]
        await append_facts(bootstrap, prefix, "owners", junk)
        await announce(announcer, 1, 2)
        async with following(topics) as directory:
            assert leases_of(directory) == {0: (1, 1), 1: (1, 2)}


async def test_without_the_topic_nothing_is_followed(
    endpoints: Endpoints, topic_prefix: str
) -> None:
    with pytest.raises(SetupError, match="there is no topic"):
        await OwnerDirectory(endpoints.kafka_bootstrap, topic_prefix).start()


async def test_an_announcement_after_the_end_is_an_error(topics: tuple[str, str]) -> None:
    async with announcing(topics) as announcer:
        pass
    with pytest.raises(TransientError, match="not running"):
        await announce(announcer, 0, 1)


@dataclass(frozen=True)
class Held:
    offset: int
    nonce: str = "0" * 16


async def test_leases_are_announced_as_they_come_and_those_of_a_later_take_again(
    topics: tuple[str, str],
) -> None:
    leases: dict[int, Held] = {}
    async with (
        asyncio.timeout(SECONDS),
        following(topics) as directory,
        announcing(topics) as announcer,
    ):
        task = asyncio.create_task(
            announcer.announce_leases(
                lambda: leases, generation=lambda: 1, address="127.0.0.1:7", now_us=lambda: 5
            )
        )

        async def heard(due: dict[int, tuple[int, int]]) -> None:
            while leases_of(directory) != due:
                await directory.refresh()

        leases |= {0: Held(3), 1: Held(4)}
        await heard({0: (1, 3), 1: (1, 4)})
        owner = directory.owner_of(0)
        assert owner is not None
        assert (owner.address, owner.since) == ("127.0.0.1:7", 5)
        leases.clear()
        leases[0] = Held(9)
        await heard({0: (1, 9), 1: (1, 4)})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with following(topics) as directory:
        # Nothing was said more than once: three leases, three records.
        assert directory._position == 3
