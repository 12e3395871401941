"""Ledgers that no fold has made: entries of every kind that invoices know, with places, times and
amounts at every edge. For tests that compare SQL with the domain over the same entries."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas import codec
from schemas.budget import Denomination
from schemas.envelope import SCHEMA_VERSION
from schemas.limits import UNITS_MAX
from schemas.structs import (
    AdjustmentEntry,
    GrantEntry,
    LedgerEntry,
    SignalEntry,
    UsageEntry,
    VoidEntry,
)
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.ports import NO_ROWS
from tests.builders import DAY_US, NOON_US

CUSTOMERS: Final = ("acme", "acme2", "o'Neil \\ söhne", "tab\there", '"quoted", [1]', "x" * 128)
"""Among them what has to be escaped on the way to a server."""

EDGES: Final = tuple(NOON_US + days * DAY_US for days in (-40, -9, 0, 20, 31))
"""Event times that random ones lie at, or a microsecond beside; periods begin and end there."""

LARGEST: Final = "9" * 26 + "." + "9" * 12
"""The largest amount that an entry can carry."""

_NAMES: Final = ("", "a", "b\tc", "ü")
_COUNTS: Final = (
    "units",
    "covered_units",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "missing_tokens",
    "covered_tokens",
)


def random_entries(seed: int, count: int = 400) -> list[LedgerEntry]:
    """Entries of two generations of two partitions; each customer is in one of each generation."""
    rng = random.Random(seed)
    sequences: dict[tuple[int, int], int] = {}
    found: list[LedgerEntry] = []
    for number in range(count):
        customer = rng.randrange(len(CUSTOMERS))
        generation = 1 + (number * 2 >= count)
        partition = (customer + generation) % 2
        sequence = sequences.get((generation, partition), -1) + 1
        sequences[generation, partition] = sequence
        found.append(_entry(rng, number, CUSTOMERS[customer], (generation, partition, sequence)))
    return found


def _entry(
    rng: random.Random, number: int, customer: str, place: tuple[int, int, int]
) -> LedgerEntry:
    generation, partition, sequence = place
    head: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "entry_id": f"{generation}-usage-{partition}-{sequence}-0",
        "generation": generation,
        "partition": partition,
        "sequence": sequence,
        "cycle": 1 + sequence // 10,
        "decided_at": NOON_US + number * 3_600_000_000,
        "topic": "usage",
        "source_offset": sequence,
        "entry_index": 0,
        "appended_at": NOON_US,
        "occurred_at": rng.choice(EDGES) + rng.choice((-1, 0, 0, 1, rng.randrange(DAY_US))),
        "customer_id": customer,
        "source": "crm",
        "event_id": f"e{number}",
    }
    agent_id = rng.choice(_NAMES)
    kind = rng.choices(("usage", "adjustment", "signal", "void", "grant"), (9, 3, 3, 2, 1))[0]
    if kind == "grant":
        return GrantEntry(
            **head,
            denomination=Denomination.USD,
            amount="5",
            priority=0,
            effective_at=NOON_US,
            reason="plan",
        )
    if kind in ("signal", "void"):
        told: dict[str, Any] = {"agent_id": agent_id, "signal_name": rng.choice(("booked", "söld"))}
        quantity = rng.choice((1, 3, UNITS_MAX))
        if kind == "signal":
            return SignalEntry(**head, **told, quantity=quantity)
        return VoidEntry(**head, **told, quantity=quantity, signal_entry="1-signals-0-0-0")
    charged: dict[str, Any] = {
        "agent_id": agent_id,
        "provider": rng.choice(_NAMES),
        "model": rng.choice(_NAMES),
        "currency": rng.choice(("USD", "USD", "EUR")),
        "price_version": rng.choice(("", "1", "2, 3", "4\t5")),
    }
    if kind == "adjustment":
        return AdjustmentEntry(
            **head,
            **charged,
            adjusted_entry="1-usage-0-0-0",
            charged_at=NOON_US,
            charged_generation=1,
            charged_sequence=0,
            cost=rng.choice(("0", "-1.5", "0.000000000001", f"-{LARGEST}")),
            cost_basis="adjusted",
            was_unpriced=rng.random() < 0.5,
        )
    counts: dict[str, Any] = {name: rng.choice((0, 1, 999, UNITS_MAX)) for name in _COUNTS}
    return UsageEntry(
        **head,
        **charged,
        **counts,
        cost=rng.choice(("0", "1.5", "0.000000000001", "12345678.9", LARGEST)),
        cost_basis=rng.choice(("reported", "priced", "unpriced", "none")),
        flags=rng.choice(([], [], ["outer_span"], ["late", "outer_span"])),
    )


async def insert_entries(clickhouse: ClickHouse, entries: Sequence[LedgerEntry]) -> None:
    """The rows of entries whose sequences are dense, in one insert for each partition."""
    rows = ClickHouseRows(clickhouse)
    values: dict[tuple[int, int], list[bytes]] = {}
    for entry in entries:
        values.setdefault((entry.generation, entry.partition), []).append(codec.encode(entry))
    for (generation, partition), bodies in values.items():
        await rows.insert("ledger", generation, partition, NO_ROWS, codec.join_rows(bodies))


def plain_of(entries: Sequence[LedgerEntry], customer_id: str) -> list[Mapping[str, Any]]:
    """The entries of one customer as their JSON says them."""
    return [codec.to_plain(entry) for entry in entries if _customer(entry) == customer_id]


def _customer(entry: LedgerEntry) -> str:
    return str(getattr(entry, "customer_id", ""))
