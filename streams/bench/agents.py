"""Agents in a benchmark: what they ask, what they are told, and how they settle what they hold.

Of an approval nine in ten are settled within a fraction of a second by usage that names the hold;
the tenth is left to expire. Both in the process that makes the load, so both are cheap.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from schemas.partitioner import partition_of
from streams.bench.broker import Feeder
from streams.bench.events import BenchRecord
from streams.bench.http_load import request
from streams.bench.preflight_books import Told

ESTIMATE_UNITS: Final = 10
"""What every preflight holds, and what its usage uses."""

LEFT_TO_EXPIRE_ONE_IN: Final = 10
"""So that expiry is part of every run."""

TTL_SECONDS: Final = 5
"""Of a hold. At 4,000 decisions a second the tenth that is left to expire is 2,000 open holds; the
rules allow an account 4,096."""

SETTLE_SECONDS: Final = 0.05
"""Between two appends of what was used: usage arrives in batches, as exporters send it."""

_APPROVED: Final = b'"approved":true'
_RESERVATION: Final = b'"reservation_id":"'

Key = tuple[str, str]
"""Customer and idempotency key."""


class Agents:
    """Agents of some customers, all of whose ids are of one length."""

    def __init__(self, name: str, customers: list[str], partitions: int) -> None:
        """`name` begins every idempotency key."""
        self.customers = customers
        self.told: dict[Key, Told] = {}
        self.open: list[tuple[str, str]] = []
        """Customers and reservations to be settled with the next append."""
        self._name = name
        self._numbers: dict[Key, int] = {}
        self._partitions = {
            customer: partition_of(customer.encode(), partitions) for customer in customers
        }
        body = self._body(0)
        self._head = request("POST", "/v1/preflights", body)[: -len(body)]

    def _key(self, number: int) -> str:
        return f"{self._name}-{number:09d}"

    def customer_of(self, number: int) -> str:
        """Who asks with the request of this number: each in turn."""
        return self.customers[number % len(self.customers)]

    def preflight(self, number: int) -> bytes:
        """The request of this number; the same for the same number."""
        return self._head + self._body(number)

    def _body(self, number: int) -> bytes:
        return b'{"customer_id":"%b","idempotency_key":"%b","estimate":"%d","ttl_seconds":%d}' % (
            self.customer_of(number).encode(),
            self._key(number).encode(),
            ESTIMATE_UNITS,
            TTL_SECONDS,
        )

    def lookup(self, number: int) -> bytes:
        """A request for the budget."""
        return request("GET", f"/v1/customers/{self.customer_of(number)}/budget")

    def take(self, number: int, status: int, body: bytes) -> None:
        """Takes the answer to `preflight(number)`."""
        if status != 200:
            return
        begins = body.index(_RESERVATION) + len(_RESERVATION)
        reservation = body[begins : body.index(b'"', begins)].decode()
        customer = self.customer_of(number)
        approved = _APPROVED in body
        self.told[customer, self._key(number)] = Told(approved, reservation)
        if approved and number % LEFT_TO_EXPIRE_ONE_IN:
            self.open.append((customer, reservation))

    def unanswered(self, sent: int) -> list[int]:
        """The numbers below `sent` that nobody has decided as far as their agent knows."""
        return [
            number
            for number in range(sent)
            if (self.customer_of(number), self._key(number)) not in self.told
        ]

    def settlements(self) -> list[BenchRecord]:
        """Usage that settles what was approved since the last call."""
        settled, self.open = self.open, []
        return [
            BenchRecord(
                self._partitions[customer],
                customer.encode(),
                b'{"schema_version":1,"event_id":"used-%b","source":"bench","customer_id":"%b",'
                b'"units":%d,"reservation_id":"%b"}'
                % (
                    reservation.encode(),
                    customer.encode(),
                    ESTIMATE_UNITS,
                    reservation.encode(),
                ),
            )
            for customer, reservation in settled
        ]


async def settle(agents: Agents, feeder: Feeder) -> None:
    """Settles until it is cancelled. Raises TransientError."""
    while True:
        await asyncio.sleep(SETTLE_SECONDS)
        if agents.open:
            await feeder.feed(agents.settlements())


def merged(parts: list[Agents]) -> Mapping[Key, Told]:
    """What all of them were told."""
    return {key: told for agents in parts for key, told in agents.told.items()}
