"""How tests wait: until something holds, or with words about what did not come."""

import asyncio
import re
from collections.abc import Callable

import pytest

from tests.embedded_waiting import until, until_async


def third_time() -> Callable[[], str]:
    """A condition that holds when it is asked for the third time."""
    answers = iter(["", "", "found"])
    return lambda: next(answers)


def test_what_was_found_is_returned() -> None:
    assert until(third_time(), "something", pause_seconds=0) == "found"


def test_what_never_came_is_told_with_what_was_seen_last() -> None:
    looks: list[int] = []

    def look() -> bool:
        looks.append(len(looks))
        return False

    with pytest.raises(AssertionError, match=r"^ten looks, but \d+: not within 0.0 s$") as told:
        until(look, lambda: f"ten looks, but {len(looks)}", 0.0, 0)
    assert f"but {len(looks)}:" in str(told.value)


async def test_a_condition_is_awaited_where_it_has_to_be() -> None:
    plain, asked = third_time(), third_time()

    async def ask() -> str:
        return asked()

    await until_async(plain, "something", pause_seconds=0)
    await until_async(ask, "something", pause_seconds=0)
    for used_up in (plain, asked):
        with pytest.raises(StopIteration):
            used_up()


async def test_a_condition_that_never_comes_back_is_told_as_one_that_never_held() -> None:
    with pytest.raises(AssertionError, match=re.escape("an answer: not within 0.01 s")):
        await until_async(asyncio.Event().wait, "an answer", 0.01)


async def test_a_timeout_of_what_was_asked_stays_what_it_is() -> None:
    async def ask() -> bool:
        raise TimeoutError("the broker")

    with pytest.raises(TimeoutError, match="the broker"):
        await until_async(ask, "an answer")
