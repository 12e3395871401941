"""What a peer wrote, added up as it is read back: the condition of every figure of it. Pure.

Right means: every distinct event once, the sums of every customer, and the same sums in the last
entry of each customer, since that is what the peer's own state had become.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import TypedDict

from streams.bench.check import Found
from streams.bench.events import Expected


class Entry(TypedDict):
    """What bench/java writes for each accepted event."""

    customer_id: str
    source: str
    event_id: str
    tokens: int
    cost_pico: int
    sum_tokens: int
    sum_cost_pico: int


@dataclass(slots=True)
class Outputs:
    """The entries of a run. `cost_pico` are pico-dollars."""

    ids: set[tuple[str, str, str]] = field(default_factory=set)
    events: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    cost_pico: Counter[str] = field(default_factory=Counter)
    last_sums: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Tokens and cost so far, by the last entry of a customer."""
    appended_ms: list[int] = field(default_factory=list)
    """When the broker appended each entry, in milliseconds since the epoch."""

    def take(self, entry: Entry, appended_ms: int) -> None:
        """Adds an entry; in the order of its partition."""
        customer = entry["customer_id"]
        self.ids.add((customer, entry["source"], entry["event_id"]))
        self.events[customer] += 1
        self.tokens[customer] += entry["tokens"]
        self.cost_pico[customer] += entry["cost_pico"]
        self.last_sums[customer] = entry["sum_tokens"], entry["sum_cost_pico"]
        self.appended_ms.append(appended_ms)

    def found(self, name: str, expected: Expected) -> Found:
        """All of it in the form in which results of contenders are checked.

        Peers add up the costs that events bring and rate nothing.
        """
        entries = len(self.appended_ms)
        faults = [
            f"the last entry of {customer} says {sums[0]} tokens and {sums[1]} pico-dollars"
            for customer, sums in sorted(self.last_sums.items())
            if sums != (expected.tokens.get(customer), expected.cost_pico.get(customer))
        ]
        if entries != len(self.ids):
            faults.append(f"{entries - len(self.ids):,} entries repeat an event")
        return Found(
            name,
            len(self.ids),
            events=self.events,
            tokens=self.tokens,
            cost_pico=self.cost_pico,
            faults=faults,
        )


def half_at_ms(appended_ms: Sequence[int]) -> int:
    """When half of the entries had been appended."""
    return median_low(appended_ms)
