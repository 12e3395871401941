"""Retries wait longer and longer, and end at one deadline."""

import asyncio
from collections.abc import Callable

import pytest

from streams.errors import TransientError
from streams.sink.patience import DEADLINE_SECONDS, PAUSE_SECONDS_MAX, Patience


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def trouble() -> TransientError:
    return TransientError("no answer", action="Wait.")


def failing(times: int) -> Callable[[], object]:
    left = [times]

    async def attempt() -> str:
        if left[0]:
            left[0] -= 1
            raise trouble()
        return "done"

    return attempt


def patience(clock: Clock) -> Patience:
    return Patience(lambda: clock.now, clock.sleep)


def test_a_step_is_repeated_until_it_works() -> None:
    clock = Clock()
    assert asyncio.run(patience(clock).insist(failing(3))) == "done"  # type: ignore[arg-type]
    assert clock.pauses == [0.1, 0.2, 0.4]


def test_a_trouble_that_lasts_is_raised_with_how_long_it_has_lasted() -> None:
    clock = Clock()
    with pytest.raises(TransientError, match=r"no answer \(for 6\d s by now\)"):
        asyncio.run(patience(clock).insist(failing(10**6)))  # type: ignore[arg-type]
    assert DEADLINE_SECONDS <= clock.now <= DEADLINE_SECONDS + PAUSE_SECONDS_MAX
    assert max(clock.pauses) == PAUSE_SECONDS_MAX


def test_a_new_trouble_gets_the_whole_deadline_again() -> None:
    clock = Clock()
    one = patience(clock)
    asyncio.run(one.insist(failing(1)))  # type: ignore[arg-type]
    clock.now += 10 * DEADLINE_SECONDS
    asyncio.run(one.insist(failing(1)))  # type: ignore[arg-type]


def test_reads_that_work_do_not_extend_the_deadline_of_inserts_that_do_not() -> None:
    clock = Clock()
    one = patience(clock)

    async def inserts_fail_reads_work() -> None:
        while True:
            await one.after(trouble())
            await one.insist(failing(0))  # type: ignore[arg-type]

    with pytest.raises(TransientError):
        asyncio.run(inserts_fail_reads_work())
    assert clock.now <= DEADLINE_SECONDS + PAUSE_SECONDS_MAX


def test_a_trouble_is_told_once_when_it_begins_and_the_next_one_again() -> None:
    clock = Clock()
    told: list[TransientError] = []
    one = Patience(lambda: clock.now, clock.sleep, tell=told.append)
    asyncio.run(one.insist(failing(5)))  # type: ignore[arg-type]
    assert len(told) == 1
    asyncio.run(one.insist(failing(1)))  # type: ignore[arg-type]
    assert [error.message for error in told] == ["no answer"] * 2
