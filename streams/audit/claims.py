"""The claims of a partition while it is decided again: as long as they can hold, not longer."""

from collections import deque
from collections.abc import Iterable
from typing import Final

from schemas.times import MICROSECONDS
from schemas.topics import CLAIMS_RETENTION_DAYS
from streams.domain.identity import Claim

DAY_US: Final = 86_400 * MICROSECONDS

KEPT_US: Final = CLAIMS_RETENTION_DAYS * DAY_US
"""By domain time. A worker's tables keep a claim as long; what is older never holds (I3, I6)."""


class ClaimWindow:
    """Claims by key, dropped by the day. `claims` is what a state looks claims up in."""

    def __init__(self) -> None:
        self.claims: dict[bytes, Claim] = {}
        self._days: deque[tuple[int, list[bytes]]] = deque()

    def add(self, keys: Iterable[bytes], domain_time_us: int) -> None:
        """Notes claims that a cycle has put into `claims`, and drops those that are over."""
        day = domain_time_us // DAY_US
        if not self._days or self._days[-1][0] < day:
            self._days.append((day, []))
            self._drop(domain_time_us - KEPT_US)
        self._days[-1][1].extend(keys)

    def _drop(self, before_us: int) -> None:
        while (self._days[0][0] + 1) * DAY_US <= before_us:
            for key in self._days.popleft()[1]:
                claim = self.claims.get(key)
                # An id may have been claimed anew since.
                if claim is not None and claim.appended_at_us < before_us:
                    del self.claims[key]
