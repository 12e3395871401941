"""Entries of the ledger, version 1: every accepted consequence, in the order that counts.

Field names are the column names of ClickHouse's `ledger` table, so that the JSON of entries is an
insert body as it stands. Times are microseconds since the epoch. Personal data (metadata) never
gets here.
"""

from typing import Annotated, Literal

from pydantic import Field

from schemas.budget import Denomination
from schemas.envelope import (
    Count,
    Currency,
    Id,
    Name,
    Offset,
    Outbound,
    Part,
    Sequence,
    SignedAmount,
    TimeUs,
    TotalTokens,
)


class Consumed(Part):
    """The records [from_offset, to_offset) of one inbound topic that a cycle took."""

    topic: Name
    from_offset: Offset
    to_offset: Offset


class Burn(Part):
    """What an entry took from one grant."""

    grant_id: Name
    """The `entry_id` of the grant's own entry."""
    denomination: Denomination
    amount: SignedAmount


class CycleEntry(Outbound):
    """The first entry of each cycle: what it consumed and under what it was decided (D1)."""

    kind: Literal["cycle"] = "cycle"
    catalog_offset: Offset
    """The next offset of the catalog: records below it were visible."""
    rules_version: Annotated[int, Field(ge=1)]
    consumed: list[Consumed]
    accepted: Count
    duplicates: Count
    conflicts: Count
    dead_letters: Count
    """All dead letters, conflicts among them."""
    dead_letter_sequence: Sequence
    """How many dead letters the partition has written after this cycle."""


class SourcedEntry(Outbound):
    """An entry that follows from one record of an inbound topic."""

    topic: Name
    source_offset: Offset
    entry_index: Count
    """Its place among the entries of that record."""
    appended_at: TimeUs
    occurred_at: TimeUs
    customer_id: Id
    source: Id
    event_id: Id


class UsageEntry(SourcedEntry):
    """A usage event that counts: what was consumed, what it cost, how it was covered."""

    kind: Literal["usage"] = "usage"
    agent_id: str = ""
    task_ref: str = ""
    trace_id: str = ""
    provider: str = ""
    model: str = ""
    units: Count = 0
    input_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    output_tokens: Count = 0
    reasoning_tokens: Count = 0
    input_audio_tokens: Count = 0
    output_audio_tokens: Count = 0
    cost: SignedAmount = "0"
    currency: Currency = "USD"
    cost_basis: Literal["reported", "priced", "unpriced", "none"] = "none"
    """Where the cost comes from: the producer, the price book, nowhere yet, or nothing that
    costs."""
    price_version: str = ""
    """The price book that priced it."""
    priced_as: str = ""
    """The provider and model of the price book that it was priced as."""
    provisional: SignedAmount = "0"
    """What an unpriced event charges a dollar balance until it is rated anew (M1)."""
    covered_units: Count = 0
    covered_tokens: TotalTokens = 0
    covered_usd: SignedAmount = "0"
    burns: list[Burn] = []
    success: bool = True
    flags: list[Name] = []


class SignalEntry(SourcedEntry):
    """A business outcome that counts."""

    kind: Literal["signal"] = "signal"
    agent_id: str = ""
    trace_id: str = ""
    scope_id: str = ""
    signal_name: Name
    quantity: Count = 1
    cost_tracing: bool = False


class GrantEntry(SourcedEntry):
    """An allowance that now counts: from a budget record, or from the default plan at first sight.

    Its `entry_id` is the grant's id in every burn.
    """

    kind: Literal["grant"] = "grant"
    denomination: Denomination
    amount: SignedAmount
    priority: Count
    effective_at: TimeUs
    expires_at: TimeUs | None = None
    reason: str = ""
    resets: str = ""
    """An Interval, empty for a grant that never resets."""


class ResolutionEntry(SourcedEntry):
    """What became of a dead letter. Touches no account.

    After `replayed` stand the entries of the original, under the original's position.
    """

    kind: Literal["resolution"] = "resolution"
    letter_id: Name
    """`entry_id` of the dead letter."""
    resolution: Literal["replayed", "duplicate", "discarded"]
    """`duplicate`: the event had been accepted from another record by then."""
    note: str = ""
    """Why it was discarded, for a person."""
