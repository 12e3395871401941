"""The catalog as a gateway follows it for its keys: the same follower, which also knows since when
it may have missed something.

What it feeds is `streams.gateway.keys.KeyRing`; what is a key and whether it counts is decided
there.
"""

import math
from collections.abc import Mapping
from typing import Any

from schemas.client.kafka_access import Bootstrap
from schemas.structs import ApiKey
from streams.adapters.catalog import CatalogFollower
from streams.ports import Clock


class KeyFeed(CatalogFollower):
    """A `CatalogFollower` that is a `KeySource` as well: for decisions and keys alike."""

    def __init__(self, bootstrap: Bootstrap, prefix: str, clock: Clock) -> None:
        super().__init__(bootstrap, prefix)
        self._clock = clock
        self._whole_at_us: int | None = None

    @property
    def keys(self) -> Mapping[str, ApiKey]:
        """The latest version of each key that has been read, by id."""
        return self.view.keys

    def seconds_behind(self) -> float:
        """How long ago the broker last said where the catalog ends and everything up to there had
        been read. Grows while the broker does not answer or following has ended."""
        if self._whole_at_us is None:
            return math.inf
        return max(0, self._clock.now_us() - self._whole_at_us) / 1_000_000

    async def _poll(self) -> None:
        await super()._poll()
        # A fetch is answered within half a second, news or not; its answer dates the end that it
        # tells (`isolation_level` read_committed: the end of what is committed).
        consumer: Any = self._consumer
        answered_at_ms = consumer.last_poll_timestamp(self._partition)
        end = consumer.last_stable_offset(self._partition)
        if answered_at_ms is not None and end is not None and self.view.next_offset >= end:
            self._whole_at_us = answered_at_ms * 1000
