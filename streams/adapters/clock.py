"""The system clock."""

import time


class SystemClock:
    """Wall time of this machine."""

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return time.time_ns() // 1000
