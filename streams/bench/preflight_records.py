"""Agents that record what they have used and are told what is left: the load of the scenarios of
`tollgate bench preflight` about records. Each answer comes from a committed entry (R1)."""

from typing import Final

from streams.bench.agents import Agents
from streams.bench.http_load import request
from streams.bench.preflight_books import DecisionBooks

USED_UNITS: Final = 1
"""By every record."""


class Recorders(Agents):
    """Agents of some customers that ask nothing and record."""

    def __init__(self, name: str, customers: list[str], partitions: int) -> None:
        """`name` begins every event id."""
        super().__init__(name, customers, partitions)
        self._recorded: set[int] = set()
        body = self._record(0)
        self._record_head = request("POST", "/v1/records", body)[: -len(body)]

    def record(self, number: int) -> bytes:
        """The request of this number; the same for the same number, so that it counts once."""
        return self._record_head + self._record(number)

    def _record(self, number: int) -> bytes:
        return (
            b'{"schema_version":1,"event_id":"%b","source":"bench","customer_id":"%b","units":%d}'
            % (self._key(number).encode(), self.customer_of(number).encode(), USED_UNITS)
        )

    def take_record(self, number: int, status: int, _body: bytes) -> None:
        """Takes the answer to `record(number)`. 202 says that it is in the log and not decided."""
        if status == 200:
            self._recorded.add(number)

    def unrecorded(self, sent: int) -> list[int]:
        """The numbers below `sent` of which their agent does not know that they are decided."""
        return [number for number in range(sent) if number not in self._recorded]

    def miscounted(self, books: DecisionBooks) -> int:
        """By how many records the ledger counts more or less than were answered."""
        return abs(books.used_units(self.customers) // USED_UNITS - len(self._recorded))
