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
    leases: Count = 0
    """Leases and ticks that the cycle took."""
    void: Count = 0
    """Decisions that do not count: another owner's lease stands between theirs and themselves."""
    watermark: TimeUs = 0
    """The latest event time that the partition has seen: what trace windows close by (D6)."""
    attributions: Count = 0
    """Rows that the cycle wrote to `attributions`."""
    attribution_sequence: Sequence = 0
    """How many the partition has written after this cycle."""
    bindings: Count = 0
    """Records that say whose a trace is, refused ones not among them."""
    forwarded: Count = 0
    """Events that named no customer and were passed on to that of their trace."""
    waiting: Count = 0
    """Events that wait for a customer after this cycle, in the whole partition."""
    timed_out: Count = 0
    """Events that waited in vain: dead letters now, and counted among them."""
    unassigned_time: TimeUs = 0
    """How far the time of `unassigned` is: what waiting ends by."""
    lease: Offset | None = None
    """The lease in force after the cycle, where the cycle took one."""
    nonce: str = ""
    """Of that lease."""


class HoldPart(Part):
    """What an entry took from one hold."""

    reservation_id: Name
    amount: SignedAmount
    """In the denomination of the hold."""
    task_reservation_id: str = ""
    """The hold of the task that goes with it."""


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
    reservation_id: str = ""
    """The hold that the event names."""
    settlement: Literal["", "settled", "already_closed", "not_found"] = ""
    """What became of that hold, or of the oldest ones; empty where none was meant."""
    holds: list[HoldPart] = []
    """What it took from which holds."""
    missing_tokens: TotalTokens = 0
    """Tokens charged because they were held and the caller does not know what was used."""
    usage_missing: bool = False
    quantities: dict[str, Count] = {}
    """What was used beside tokens."""
    conditions: dict[str, str] = {}
    """How the call was made."""
    price_override: str = ""
    """The override that priced it."""
    scope_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""


class Return(Part):
    """What a grant gets back, with the terms under which it is open again where it was spent."""

    grant_id: Name
    amount: SignedAmount
    priority: Count
    effective_at: TimeUs
    expires_at: TimeUs | None = None


class AdjustmentEntry(SourcedEntry):
    """A correction of a usage entry's cost: what its sums change by, so all amounts are signed.

    `occurred_at` is that of the usage entry, so that both belong to the same invoice.
    """

    kind: Literal["adjustment"] = "adjustment"
    adjusted_entry: Name
    """The usage entry that it corrects."""
    charged_at: TimeUs
    """When that was decided."""
    charged_generation: Annotated[int, Field(ge=1)]
    charged_sequence: Sequence
    """Where it stands."""
    agent_id: str = ""
    task_ref: str = ""
    trace_id: str = ""
    scope_id: str = ""
    provider: str = ""
    model: str = ""
    cost: SignedAmount = "0"
    currency: Currency = "USD"
    cost_basis: Literal["adjusted"]
    """Apart from the bases of usage: a line of its own wherever costs are grouped by basis."""
    price_version: str = ""
    price_override: str = ""
    priced_as: str = ""
    provisional: SignedAmount = "0"
    covered_usd: SignedAmount = "0"
    burns: list[Burn] = []
    """What it took from grants, where the cost rose."""
    returned: list[Return] = []
    """What it gave back to grants, where the cost fell."""
    was_unpriced: bool = False


class SignalEntry(SourcedEntry):
    """A business outcome that counts."""

    kind: Literal["signal"] = "signal"
    agent_id: str = ""
    trace_id: str = ""
    scope_id: str = ""
    signal_name: Name
    quantity: Count = 1
    cost_tracing: bool = False
    weight: Count = 1
    span_id: str = ""
    parent_span_id: str = ""


class VoidEntry(SourcedEntry):
    """A signal that does not count any more: what its own entry says of quantity is to be taken
    off.

    `occurred_at` is that of the signal, so that both belong to the same invoice.
    """

    kind: Literal["void"] = "void"
    agent_id: str = ""
    trace_id: str = ""
    scope_id: str = ""
    signal_name: Name
    quantity: Count = 1
    signal_entry: Name
    """The entry of the signal."""
    signal_cost: Literal["unattributed", "move"] = "unattributed"
    note: str = ""
    """Why, for a person."""


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
    anchor: TimeUs | None = None
    rollover_max: SignedAmount = "0"
    used: SignedAmount | None = None
    """What was used of it elsewhere in the period of `occurred_at`; missing for most."""


class LimitEntry(SourcedEntry):
    """A limit that is now in force, or lifted."""

    kind: Literal["limit"] = "limit"
    agent_id: str = ""
    denomination: Denomination
    amount: SignedAmount = "0"
    lifted: bool = False
    """There is no limit any more; `amount` says nothing."""
    resets: str = ""
    anchor: TimeUs | None = None
    used: SignedAmount | None = None
    """What was used of it elsewhere; missing for most."""


class CeilingEntry(SourcedEntry):
    """A task's ceiling that is now in force. `customer_id` is empty: the task pays for none."""

    kind: Literal["ceiling"] = "ceiling"
    customer_id: str = ""
    task_ref: Id
    denomination: Denomination
    amount: SignedAmount


class DecisionEntry(SourcedEntry):
    """A preflight that counts. Approved, it holds `amount` under `reservation_id`.

    `event_id` is the idempotency key. Of a task's account `customer_id` is empty.
    """

    kind: Literal["decision"] = "decision"
    customer_id: str = ""
    account_kind: Literal["customer", "task"] = "customer"
    agent_id: str = ""
    task_ref: str = ""
    denomination: Denomination
    amount: SignedAmount
    approved: bool
    reason: str = ""
    reservation_id: Name
    task_reservation_id: str = ""
    expires_at: TimeUs
    ceiling: str = ""
    """Opens the task account with this ceiling; empty where it was open or none was named."""


class ExtensionEntry(SourcedEntry):
    """A hold that lasts longer now. `event_id` and `reservation_id` are the hold's."""

    kind: Literal["extension"] = "extension"
    customer_id: str = ""
    account_kind: Literal["customer", "task"] = "customer"
    task_ref: str = ""
    reservation_id: Name
    expires_at: TimeUs


class ClosingEntry(SourcedEntry):
    """The end of a hold: one for each, ever (P9). `event_id` is the hold's id too."""

    kind: Literal["closing"] = "closing"
    customer_id: str = ""
    account_kind: Literal["customer", "task"] = "customer"
    agent_id: str = ""
    task_ref: str = ""
    reservation_id: Name
    denomination: Denomination
    amount: SignedAmount
    """What was placed."""
    closed_as: Literal["settled", "used_up", "released", "expired"]
    released: SignedAmount
    """What of it was given back."""
    task_reservation_id: str = ""
    """The hold of the task that ends with it."""


class SettlementEntry(SourcedEntry):
    """A usage entry as the account of its task sees it (P8). `event_id` is that entry's id."""

    kind: Literal["settlement"] = "settlement"
    customer_id: str = ""
    task_ref: Id
    agent_id: str = ""
    units: Count = 0
    tokens: TotalTokens = 0
    usd: SignedAmount = "0"
    holds: list[HoldPart] = []
    success: bool = True
    usage_missing: bool = False
    unpriced: bool = False
    adjusts: bool = False
    """It corrects the cost of a call that was told before: no call of its own. `unpriced` then
    says that the call was unpriced until now."""


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
