"""Rows for tests of the sink: the smallest records that tables take, and logs full of them."""

from collections.abc import Iterable

from schemas.codec import encode
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import UsageEntry
from schemas.times import parse_time_us
from streams.adapters.memory_sink import MemoryLog

JANUARY_US = parse_time_us("2026-01-15T12:00:00Z")
FEBRUARY_US = parse_time_us("2026-02-01T00:00:00Z")


def row(
    sequence: int,
    *,
    generation: int = 1,
    partition: int = 0,
    decided_at: int = JANUARY_US,
    customer: str = "acme",
) -> bytes:
    """The bytes of a ledger entry with this place."""
    return encode(
        UsageEntry(
            schema_version=SCHEMA_VERSION,
            entry_id=f"{generation}-usage-{partition}-{sequence}-0",
            generation=generation,
            partition=partition,
            sequence=sequence,
            cycle=1,
            decided_at=decided_at,
            topic="usage",
            source_offset=sequence,
            entry_index=0,
            appended_at=decided_at,
            occurred_at=decided_at,
            customer_id=customer,
            source="crm",
            event_id=f"e{sequence}",
            units=1,
            cost="0.000000000001",
        )
    )


def rows(
    sequences: Iterable[int],
    *,
    generation: int = 1,
    partition: int = 0,
    decided_at: int = JANUARY_US,
) -> list[bytes]:
    """The bytes of entries with these sequences."""
    return [
        row(sequence, generation=generation, partition=partition, decided_at=decided_at)
        for sequence in sequences
    ]


def log_of(values: Iterable[bytes], *, hint: int | None = None, gap_every: int = 3) -> MemoryLog:
    """A ledger partition with these records; after every few of them a marker takes an offset."""
    log = MemoryLog("ledger", 0, hint=hint)
    for number, value in enumerate(values):
        log.append(value, gap=1 if number and number % gap_every == 0 else 0)
    return log
