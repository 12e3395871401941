"""A line of the log for each request that was not served, few enough for a disk.

A line says which request (its id), which route, which status and code, and how long it took:
nothing of a path, a key or a body. Whoever sends a thousand wrong requests a second gets a thousand
answers and LINES_PER_SECOND lines; the next line after that says how many have none. Metrics count
them all.
"""

import logging
from typing import Final

log = logging.getLogger(__name__)

LINES_PER_SECOND: Final = 20
"""On average, and at once after a pause: enough to see each of a few troubles, and 200 MB a day at
the most."""


class RefusedLog:
    """Belongs to one event loop. Times are those of a monotonic clock in seconds."""

    def __init__(self) -> None:
        self._left = float(LINES_PER_SECOND)
        self._at = 0.0
        self._silent = 0

    def tell(
        self, request_id: str, route: str, status: int, code: str, seconds: float, now: float
    ) -> None:
        """One request that was answered with 4xx or 5xx."""
        gained = (now - self._at) * LINES_PER_SECOND
        self._left, self._at = min(float(LINES_PER_SECOND), self._left + gained), now
        if self._left < 1:
            self._silent += 1
            return
        self._left -= 1
        if self._silent:
            log.info("%d more requests were not served: too many for a line each", self._silent)
            self._silent = 0
        log.log(
            logging.WARNING if status >= 500 else logging.INFO,
            "request %s to %s: %d %s after %.3f s",
            request_id,
            route,
            status,
            code or "refused",
            seconds,
            extra={
                "request_id": request_id,
                "route": route,
                "status": status,
                "code": code,
                "seconds": round(seconds, 6),
            },
        )
