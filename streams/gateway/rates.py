"""How often a key may be used: a token bucket for each, with the time given by the caller.

Owns buckets and nothing else: whose they are and what is answered is `streams.gateway.keys`. Limits
on connections and addresses are the server's.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

REQUESTS_PER_SECOND_DEFAULT: Final = 5_000
"""What one gateway takes under a key that names no rate of its own: about half of what its process
can answer at all, so that one client that repeats without a pause leaves room for the others."""

BURST_SECONDS: Final = 1.0
"""How long a key may save up what it does not use. Agents start together and ask together; after
a second of that the rate holds."""

BUCKETS_MAX: Final = 10_000
"""Buckets in memory, each some 200 bytes. Only accepted keys have one, and there are no more keys
in force than this; beyond it the one that was used longest ago is forgotten, which gives its key
one burst at most."""


class _Bucket:
    """What a key may still use, as of a time."""

    __slots__ = ("at_seconds", "tokens")

    def __init__(self, tokens: float, at_seconds: float) -> None:
        self.tokens = tokens
        self.at_seconds = at_seconds


class Rates:
    """The buckets of all keys of one gateway.

    `now` is a monotonic clock in seconds. A function of the calls made and of what `now` said.
    """

    def __init__(self, now: Callable[[], float], buckets_max: int = BUCKETS_MAX) -> None:
        self._now = now
        self._buckets_max = buckets_max
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_seconds(self, name: str, per_second: int) -> float:
        """Takes one request out of a bucket: 0.0 where it was there.

        Otherwise how long until it would be, and nothing is taken: a client that keeps asking too
        often is served at its rate all the same.
        """
        now, full = self._now(), max(1.0, per_second * BURST_SECONDS)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(full, now)
            if len(self._buckets) > self._buckets_max:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
            # A monotonic clock does not go back; two calls may read the same time.
            passed = max(0.0, now - bucket.at_seconds)
            bucket.tokens = min(full, bucket.tokens + passed * per_second)
            bucket.at_seconds = now
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0.0
        return (1.0 - bucket.tokens) / per_second
