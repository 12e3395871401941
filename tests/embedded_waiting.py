"""Waiting for a condition under a deadline, for tests that watch processes from outside."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import psutil

T = TypeVar("T")

PAUSE_SECONDS: Final = 0.02
"""Between two looks; who looks at a topic or asks a server, which is work for it, takes longer."""


def until(
    condition: Callable[[], T],
    what: str | Callable[[], object],
    timeout_seconds: float = 20.0,
    pause_seconds: float = PAUSE_SECONDS,
) -> T:
    """Return what `condition` found once it is true; fail the test, saying `what` never came,
    otherwise. One that is called says how things stand then."""
    deadline = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(_told(what, timeout_seconds))
        pause.wait(pause_seconds)
    return found


async def until_async(
    condition: Callable[[], object],
    what: str | Callable[[], object],
    timeout_seconds: float = 20.0,
    pause_seconds: float = PAUSE_SECONDS,
) -> None:
    """As `until`, while the loop's other tasks go on. A condition may have to be awaited; one that
    never comes back is ended as well."""
    deadline = asyncio.timeout(timeout_seconds)
    try:
        async with deadline:
            while not await _looked(condition):  # noqa: ASYNC110 - nobody sets an event for it
                await asyncio.sleep(pause_seconds)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise AssertionError(_told(what, timeout_seconds)) from None


async def _looked(condition: Callable[[], object]) -> object:
    found = condition()
    return await found if inspect.isawaitable(found) else found


def _told(what: str | Callable[[], object], timeout_seconds: float) -> str:
    return f"{what() if callable(what) else what}: not within {timeout_seconds} s"


def is_gone(pid: int) -> bool:
    """Return whether no process of that pid runs; one that waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
