"""Waiting for a condition under a deadline, for tests that watch processes from outside."""

import threading
import time
from collections.abc import Callable

import psutil


def until(
    condition: Callable[[], object],
    what: str | Callable[[], object],
    timeout_seconds: float = 20.0,
) -> None:
    """Return once `condition` is true; fail the test, saying `what` never came, otherwise. One that
    is called says how things stand then."""
    deadline = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            told = what() if callable(what) else what
            raise AssertionError(f"{told}: not within {timeout_seconds} s")
        pause.wait(0.02)


def is_gone(pid: int) -> bool:
    """Return whether no process of that pid runs; one that waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
