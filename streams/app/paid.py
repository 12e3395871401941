"""Paid's catalogue of a gateway, put together: the view, the topic behind it, a producer.

The topic has one partition, so its records go there whatever their keys; the producer of the
customer topics would look for others.
"""

from schemas.client.kafka_access import Bootstrap
from schemas.topics import PAID_CATALOGUE
from streams.adapters.catalogue_feed import CatalogueFeed
from streams.adapters.inbound import KafkaInbound
from streams.errors import TransientError
from streams.gateway.paid_catalogue import Catalogue, CatalogueView
from streams.gateway.ports import Appended


class PaidCatalogue:
    """The `CatalogueLog` of a gateway, and the catalogue over it."""

    def __init__(self, bootstrap: Bootstrap, prefix: str) -> None:
        """Nothing is connected yet."""
        view = CatalogueView()
        self._feed = CatalogueFeed(bootstrap, prefix, view.fold)
        self._inbound = KafkaInbound(bootstrap, prefix, 1, Appended)
        self.catalogue = Catalogue(view, self)

    async def start(self) -> None:
        """Reads the topic to its end and connects for appending.

        Raises SetupError where there is no such topic, TransientError where the broker does not
        answer.
        """
        await self._feed.start()
        await self._inbound.start()

    async def stop(self) -> None:
        """Waits a moment for what is on its way, then disconnects."""
        await self._inbound.stop()
        await self._feed.stop()

    def check(self) -> None:
        """Raises FaultError where the topic is not followed any more."""
        self._feed.check()

    async def append(self, key: bytes, value: bytes) -> int | None:
        """See `streams.gateway.paid_catalogue.CatalogueLog`."""
        try:
            [place] = await self._inbound.append(PAID_CATALOGUE.name, [(key, value)])
        except TransientError:
            return None
        return place.offset if isinstance(place, Appended) else None

    async def read_to(self, offset: int, seconds: float) -> bool:
        """See `streams.gateway.paid_catalogue.CatalogueLog`."""
        return await self._feed.read_to(offset, seconds)

    async def read_to_end(self, seconds: float) -> bool:
        """See `streams.gateway.paid_catalogue.CatalogueLog`."""
        return await self._feed.read_to_end(seconds)
