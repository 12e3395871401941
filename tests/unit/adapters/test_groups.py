"""A group whose coordinator is not there yet is asked again, as consumers do."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.adapters import groups
from streams.adapters.groups import from_coordinator, group_offsets


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "ASK_AGAIN_SECONDS", 0)


def broker(*errors: type[KafkaError]) -> Callable[[], Awaitable[str]]:
    left = list(errors)

    async def ask() -> str:
        if left:
            raise left.pop(0)
        return "told"

    return ask


async def test_a_broker_that_has_just_started_is_asked_again() -> None:
    starting = broker(
        GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError
    )
    assert await from_coordinator(starting) == "told"


async def test_a_coordinator_that_never_comes_is_a_fault_in_the_end() -> None:
    with pytest.raises(GroupCoordinatorNotAvailableError):
        await from_coordinator(broker(GroupCoordinatorNotAvailableError), seconds_max=0)


async def test_a_missing_right_does_not_come_by_waiting() -> None:
    with pytest.raises(GroupAuthorizationFailedError):
        await from_coordinator(broker(GroupAuthorizationFailedError))


async def test_offsets_that_a_coordinator_still_loads_are_not_taken_for_none() -> None:
    here, there = TopicPartition("usage", 0), TopicPartition("usage", 1)
    answers: list[dict[TopicPartition, int]] = [{}, {here: 5}, {here: 5, there: -1}]

    class Admin:
        async def list_consumer_group_offsets(self, _group: str, partitions: Any) -> Any:
            assert partitions == [here, there]
            return {tp: OffsetAndMetadata(at, "") for tp, at in answers.pop(0).items()}

    found = await group_offsets(cast(Any, Admin()), "workers", [here, there])
    assert found == {here: 5, there: -1}
    assert answers == []
