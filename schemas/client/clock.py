"""The one place where the client reads the clock of the machine."""

import time

from schemas.times import format_time


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1000


def now_text() -> str:
    """Now, as `occurred_at` says it."""
    return format_time(now_us())
