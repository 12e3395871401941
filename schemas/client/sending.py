"""What a sender is: takes records out of the spool's hands, or says why not.

The two that there are: `schemas.client.http_sender` and `schemas.client.kafka_sender`. A test or a
producer with a way of its own writes another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Spooled:
    """A record that waits in the spool, under the number that orders it there."""

    sequence: int
    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The log will never take the record as it is. `code` is stable, `reason` for a person."""

    code: str
    reason: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """Nobody knows whether the record is in the log, or it certainly is not: to be sent again,
    the same bytes, not before `after_seconds`."""

    reason: str
    after_seconds: float = 0.0


Outcome = Refused | Later | None
"""What became of a record; None: it is in the log, acknowledged by all replicas."""


class Sender(Protocol):
    """A way into the log. All methods are called from one event loop, in a thread of its own."""

    async def send(self, records: Sequence[Spooled]) -> Sequence[Outcome]:
        """One outcome per record, in their order. Records of one customer and topic arrive in
        their order. Connects when it has to; never raises for what can happen on a network."""
        ...

    async def close(self) -> None:
        """Gives back what it holds. May be followed by another `send`, which connects anew."""
        ...
