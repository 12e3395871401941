"""Consumer groups, looked at from outside."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    for_code,
)
from aiokafka.structs import TopicPartition

from schemas.client.kafka_access import Bootstrap, client_options
from streams.adapters.kafka_trouble import kafka_trouble

Answer = TypeVar("Answer")

NO_COORDINATOR: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)
"""What a broker says while it makes or loads the topic in which groups are kept."""

COORDINATOR_SECONDS_MAX: Final = 60.0
"""How long a group may be without a coordinator. A new broker makes that topic, of fifty
partitions, when somebody first asks: half a second, and half a minute on a machine that is busy."""

ASK_AGAIN_SECONDS: Final = 0.2


async def from_coordinator(
    ask: Callable[[], Awaitable[Answer]], seconds_max: float = COORDINATOR_SECONDS_MAX
) -> Answer:
    """What the coordinator of a group answers, asked again while there is none: the admin client
    gives up at once, where consumers and producers wait. Raises KafkaError."""
    deadline = time.monotonic() + seconds_max
    while True:
        try:
            return await ask()
        except NO_COORDINATOR:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(ASK_AGAIN_SECONDS)


async def group_offsets(
    admin: AIOKafkaAdminClient,
    group: str,
    places: Collection[TopicPartition],
    seconds_max: float = COORDINATOR_SECONDS_MAX,
) -> dict[TopicPartition, int]:
    """How far a group has committed each of these partitions; -1 where it never did. Raises
    KafkaError."""

    async def ask() -> dict[TopicPartition, int]:
        found = await admin.list_consumer_group_offsets(group, partitions=list(places))
        # A coordinator that still loads says so for the whole answer, which the client drops.
        if any(place not in found for place in places):
            raise GroupLoadInProgressError(f"the offsets of {group} are not loaded yet")
        return {place: int(commit.offset) for place, commit in found.items()}

    return await from_coordinator(ask, seconds_max)


async def describe_group(admin: AIOKafkaAdminClient, group: str) -> Mapping[str, Any]:
    """State and members of a group, as DescribeGroups tells them. Raises KafkaError, also where the
    coordinator does not know yet."""
    [answer] = await admin.describe_consumer_groups([group])
    [described] = answer.to_object()["groups"]
    if described["error_code"]:
        raise for_code(described["error_code"])(f"group {group} is not described")
    return described  # type: ignore[no-any-return]


async def group_members(bootstrap: Bootstrap, group: str) -> int:
    """How many processes are members of a group now; 0 for a group that nobody knows.

    Raises TransientError where the broker does not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    try:
        await admin.start()
        described = await from_coordinator(lambda: describe_group(admin, group))
        return len(described["members"])
    except KafkaError as error:
        raise kafka_trouble(
            error,
            f"Kafka does not say who is in group {group}: {type(error).__name__}: {error}",
            action="Check that the broker runs, then try again.",
        ) from error
    finally:
        await admin.close()
