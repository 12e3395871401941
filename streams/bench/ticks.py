"""A clock that ticks at a constant rate far above the millisecond: Linux' timerfd, through libc.

Event loops round their timers to whole milliseconds, which at 1,000 requests a second would be most
of what is measured. Where there is no timerfd the loop's own timer ticks every millisecond.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Final

TICK_SECONDS_MIN: Final = 0.000_1
"""Ticks may come together: at most so many a second (10,000), or waking would cost a core."""

LOOP_TICK_SECONDS: Final = 0.001
"""What the loop's own timer can do."""

_CLOCK_MONOTONIC: Final = 1
_NON_BLOCKING: Final = 0o4000
_CLOSE_ON_EXEC: Final = 0o2000000


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timing(ctypes.Structure):
    _fields_ = (("interval", _Moment), ("first", _Moment))


class Ticks:
    """Calls `on_tick` about every `interval_seconds` until it is stopped."""

    def __init__(self, interval_seconds: float, on_tick: Callable[[], None]) -> None:
        """Starts to tick."""
        self._loop = asyncio.get_running_loop()
        self._on_tick = on_tick
        self._interval = max(interval_seconds, TICK_SECONDS_MIN)
        self._descriptor = _timer(self._interval)
        self._timer: asyncio.TimerHandle | None = None
        if self._descriptor is None:
            self._interval = max(self._interval, LOOP_TICK_SECONDS)
            self._timer = self._loop.call_later(self._interval, self._again)
        else:
            self._loop.add_reader(self._descriptor, self._read)

    def stop(self) -> None:
        """Ends the ticking."""
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
        if self._timer is not None:
            self._timer.cancel()

    def _read(self) -> None:
        if self._descriptor is not None:
            os.read(self._descriptor, 8)
            self._on_tick()

    def _again(self) -> None:
        self._timer = self._loop.call_later(self._interval, self._again)
        self._on_tick()


def _timer(interval_seconds: float) -> int | None:
    """A timerfd that has been started, None where this system has none."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.timerfd_create(_CLOCK_MONOTONIC, _NON_BLOCKING | _CLOSE_ON_EXEC)
    if descriptor < 0:
        return None
    nanoseconds = round(interval_seconds * 1e9)
    every = _Moment(nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)
    if libc.timerfd_settime(descriptor, 0, ctypes.byref(_Timing(every, every)), None) < 0:
        os.close(descriptor)
        return None
    return descriptor
