"""What the demo needs of a running installation. `streams.app` gives it; tests give their own."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

Place = tuple[str, int]
"""A topic (its logical name) and a partition."""


class EventProducer(Protocol):
    """Appends to the installation's topics, by their logical names."""

    async def send(
        self, topic: str, partition: int, records: Iterable[tuple[bytes | None, bytes | None]]
    ) -> None:
        """Queues (key, value) records for exactly this partition, after all sent before."""
        ...

    async def flush(self) -> None:
        """Returns when all that was sent is acknowledged; raises where it is not."""
        ...


class Positions(Protocol):
    """How far the inbound topics are, as the broker says."""

    async def end_offsets(self) -> dict[Place, int]:
        """The offset after the last record of each inbound partition."""
        ...

    async def committed(self) -> dict[Place, int]:
        """Up to where the workers have committed; a place is missing where they have not yet."""
        ...


class Query(Protocol):
    """Asks the installation's ClickHouse, in its database."""

    def __call__(self, sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """The rows of one SELECT; `{name:Type}` in it stands for a parameter.

        Decimals come as `decimal.Decimal`, integers as `int`. Raises TollgateError.
        """
        ...
