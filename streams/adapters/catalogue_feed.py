"""The topic `paid-catalogue`, followed: what a record means is said by whoever gives `fold`; here
is waiting until it has been read as far as somebody wrote it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aiokafka.errors import KafkaError

from schemas.client.kafka_access import Bootstrap
from schemas.limits import RECORD_BYTES_MAX
from schemas.topics import PAID_CATALOGUE
from streams.adapters.followed import FollowedTopic

FETCH_BYTES_MAX: Final = 4 * RECORD_BYTES_MAX
"""There are many items, and a gateway starts when it has read them all."""

log = logging.getLogger(__name__)


class CatalogueFeed(FollowedTopic):
    """Gives every record of the topic to `fold`, in their order."""

    def __init__(self, bootstrap: Bootstrap, prefix: str, fold: Callable[[bytes], None]) -> None:
        """Nothing is read yet. `fold` raises ValueError for a record that is none."""
        super().__init__(
            bootstrap, PAID_CATALOGUE.full_name(prefix), "Paid's catalogue", FETCH_BYTES_MAX
        )
        self._fold = fold

    async def read_to(self, offset: int, seconds: float) -> bool:
        """Whether the record at `offset` was given within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._reached(offset + 1)
        except TimeoutError:
            return False
        return True

    async def read_to_end(self, seconds: float) -> bool:
        """Whether everything that stood in the topic when this was called was given in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._reached(await self._end())
        except (TimeoutError, KafkaError):
            return False
        return True

    def _take(self, record: Any) -> None:
        if record.value is None:
            return
        try:
            self._fold(record.value)
        except ValueError:
            # Nothing of money stands here: one stray record must not keep every gateway away.
            log.warning("record %d of %s is none and was passed over", record.offset, record.topic)
