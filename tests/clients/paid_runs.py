"""What became of a traced program: the records and entries of its customer, by its workflows; and
what the calls cost that the stand-ins answered."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from schemas import codec
from schemas.structs import UsageEntry
from schemas.topics import SIGNALS, USAGE
from tests.clients.whole import Whole

# By the prices of `whole`, in dollars: of what the stand-ins say that they used.
CHAT: Final = Decimal("0.0060102")  # 176 * 3 + 1,024 * 0.3 + (281 + 64) * 15
RESPONSE: Final = Decimal("0.0051588")  # 644 * 3 + 256 * 0.3 + (82 + 128) * 15
EMBEDDING: Final = Decimal("0.000024")  # 8 * 3
MESSAGE: Final = Decimal("0.011085")  # 410 * 3 + 3,000 * 0.3 + 1,500 * 3.75 + 222 * 15


class Run:
    """What became of the program: `traces` of its workflows, and the records and entries of its
    customer."""

    def __init__(self, whole: Whole, customer: str, traces: dict[str, str]) -> None:
        self.customer = customer
        self.traces = traces
        installation = whole.installation
        self.raw = [
            record.value
            for topic in (USAGE.name, SIGNALS.name)
            for part in installation.read(topic)
            for record in part
            if record.key == customer.encode()
        ]
        self.usage = self._records(whole, USAGE.name, codec.decode_usage)
        self.signals = self._records(whole, SIGNALS.name, codec.decode_signal)
        installation.wait_consumed()
        entries = [entry for part in installation.entries() for entry in part]
        self.entries = [one for one in entries if getattr(one, "customer_id", "") == customer]

    def _records(self, whole: Whole, topic: str, decode: Callable[[bytes], Any]) -> list[Any]:
        found = [decode(one.value) for part in whole.installation.read(topic) for one in part]
        return [record for record in found if record.customer_id == self.customer]

    def usage_of(self, workflow: str) -> list[Any]:
        """The usage records of a workflow."""
        trace_id = self.traces[workflow]
        return [one for one in self.usage if one.event_id.startswith(trace_id)]

    def signals_of(self, workflow: str) -> list[Any]:
        """Its signals that came as spans."""
        trace_id = self.traces[workflow]
        return [one for one in self.signals if one.event_id.startswith(trace_id)]

    def cost_of(self, usage: Any) -> Decimal:
        """What the ledger says that a usage record cost."""
        [entry] = [
            one
            for one in self.entries
            if isinstance(one, UsageEntry) and one.event_id == usage.event_id
        ]
        return Decimal(entry.cost)
