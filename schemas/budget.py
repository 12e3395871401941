"""Budget, version 1: what a customer may spend, what of its costs is corrected, and what becomes of
dead letters. Topic `budgets`, keyed by `customer_id`, administration only.

The records of the topic are told apart by `kind`; one without a kind is a grant. Those about terms
and invoices are in `schemas.invoice`.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from schemas.envelope import (
    Amount,
    Fact,
    Id,
    Name,
    Offset,
    Part,
    Sequence,
    Time,
    TimeUs,
)
from schemas.limits import (
    EVENT_BYTES_MAX,
    NAME_CHARS_MAX,
    PAYERS_MAX,
    PRIORITY_MAX,
    REASON_CHARS_MAX,
    REPLAYED_KEY_BYTES_MAX,
    UNITS_MAX,
)
from schemas.money import AMOUNT_PATTERN, parse_amount


def _is_used(text: str) -> str:
    parse_amount(text.removeprefix("-"))
    return text


Used = Annotated[
    str,
    StringConstraints(pattern=AMOUNT_PATTERN.replace("^", "^-?", 1)),
    AfterValidator(_is_used),
]
"""An amount that may be negative."""


class Denomination(StrEnum):
    """What a balance is counted in."""

    UNIT = "unit"
    TOKEN = "token"
    USD = "usd"


class Interval(StrEnum):
    """A period of the calendar in UTC; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Grant(Fact):
    """An allowance. Usage burns grants by priority, then expiry."""

    kind: Literal["grant"] = "grant"
    denomination: Denomination
    amount: Amount
    """Whole for units and tokens, dollars otherwise."""
    priority: Annotated[int, Field(ge=0, le=PRIORITY_MAX)] = 100
    """Lower burns first."""
    effective_at: Time | None = None
    """From the append on where it is missing."""
    expires_at: Time | None = None
    reason: Name | None = None
    resets: Interval | None = None
    """The whole amount is there again when the next period begins."""
    anchor: Time | None = None
    """A time at which some period begins; of the calendar in UTC where it is missing. A month whose
    day does not exist begins on its last one."""
    rollover_max: Amount | None = None
    """What may be carried from one period into the next at the most; nothing where it is
    missing."""
    used: Used | None = None
    """What was used of one that resets in the period of `occurred_at`, before this record: in the
    installation that it was carried over from. Negative where more is there than `amount`, because
    periods before left something."""


class Limit(Fact):
    """The most that a customer, or one of its agents, may use: in each period, or in all.

    The latest limit of an (agent, denomination) is in force; one without an amount lifts it.
    """

    kind: Literal["limit"] = "limit"
    agent_id: Id | None = None
    """Of the agent that it bounds; of the whole customer where it is missing."""
    denomination: Denomination
    amount: Amount | None = None
    resets: Interval | None = None
    anchor: Time | None = None
    used: Used | None = None
    """What was used of it, in the period of `occurred_at` where it resets, before this record: in
    the installation that it was carried over from."""


class Ceiling(Fact):
    """The most that a task may use, whoever pays for its calls: an account of its own (P8).

    `customer_id` is the task's ref: the account that it names and the key that it lies under.
    """

    kind: Literal["ceiling"] = "ceiling"
    denomination: Denomination
    amount: Amount


class Payer(Part):
    """A grant that paid for a usage entry, with the terms under which it would be open again."""

    grant_id: Name
    amount: Amount
    """What the entry has taken of it, less what was given back since."""
    priority: Annotated[int, Field(ge=0, le=PRIORITY_MAX)]
    effective_at: TimeUs
    expires_at: TimeUs | None = None


class Adjustment(Fact):
    """What a usage entry costs after all: rated anew, without changing what is written.

    `event_id` names the entry and counts its adjustments, so that no two can follow from the same
    state of it (decision 021). Amounts are dollars; `old_*` is what the entry and its adjustments
    say together, `new_*` what they say with this one.
    """

    kind: Literal["adjustment"] = "adjustment"
    entry_id: Name
    """Of the usage entry."""
    charged_at: TimeUs
    """Its `decided_at`: the periods of limits and grants that it counted in."""
    charged_generation: Annotated[int, Field(ge=1)]
    charged_sequence: Sequence
    """Its place in the ledger: a limit that was set later never counted it."""
    used_at: TimeUs
    """Its `occurred_at`: the period of the invoice that it belongs to."""
    agent_id: Id | None = None
    task_ref: Id | None = None
    trace_id: Id | None = None
    scope_id: Id | None = None
    provider: Name | None = None
    model: Name | None = None
    old_cost: Amount
    old_provisional: Amount = "0"
    covered: Amount = "0"
    """How much of the two dollar grants have paid."""
    payers: Annotated[list[Payer], Field(max_length=PAYERS_MAX)] = []
    """Those grants, in the order in which they were burnt."""
    new_cost: Amount
    new_provisional: Amount = "0"
    was_unpriced: bool = False
    """No price was known until now."""
    price_version: Name
    price_override: str = Field(default="", max_length=2 * NAME_CHARS_MAX + 1)
    priced_as: str = Field(default="", max_length=2 * NAME_CHARS_MAX + 1)


class Void(Fact):
    """A signal taken back: the meeting was cancelled. Its revenue is credited, and the cost that it
    carried goes on to nobody, or to the signals that claim it too.

    `source`, `event_id` are those of this record; a signal is taken back once, whatever they say.
    """

    kind: Literal["void"] = "void"
    signal_source: Id
    signal_event_id: Id
    signal_entry: Name
    """`entry_id` of the signal in the ledger."""
    signal_decided_at: TimeUs
    signal_occurred_at: TimeUs | None = None
    """Its `occurred_at`: the period of the invoice that it belongs to. Where it is missing the void
    belongs to the period of its own time."""
    signal_name: Name
    quantity: Annotated[int, Field(ge=1, le=UNITS_MAX)] = 1
    agent_id: Id | None = None
    trace_id: Id | None = None
    scope_id: Id | None = None
    cost: Literal["unattributed", "move"] = "unattributed"
    """What becomes of the cost that it carried: nobody's, or shared by the other claimants (and
    nobody's where there is none)."""
    reason: Annotated[str, StringConstraints(max_length=REASON_CHARS_MAX)] = ""


class Replay(Fact):
    """A dead letter, decided again as the record that it was (I5, decision 012).

    `customer_id` is the one that the original names, so that the replay reaches the partition where
    that customer lives, wherever the original lay. The original's position and append time come
    along: its entries are called as they would have been called then.
    """

    kind: Literal["replay"] = "replay"
    letter_id: Name
    """`entry_id` of the dead letter."""
    generation: Annotated[int, Field(ge=1)]
    """Of the topics, when the original was appended."""
    topic: Name
    """Inbound topic of the original, without prefix."""
    partition: Annotated[int, Field(ge=0)]
    offset: Offset
    appended_at: TimeUs
    record_key: (
        Annotated[str, StringConstraints(max_length=(REPLAYED_KEY_BYTES_MAX + 2) // 3 * 4)] | None
    ) = None
    """Base64 of the original's key; decides nothing any more."""
    record_value: Annotated[str, StringConstraints(max_length=(EVENT_BYTES_MAX + 2) // 3 * 4)]
    """Base64 of the original's value."""


class Discard(Fact):
    """A dead letter that nobody means to replay: a fact for whoever reads the books, no more.

    `customer_id` only says where the record lies: the letter's key where it can be one, else the
    letter's id. No account comes of it.
    """

    kind: Literal["discard"] = "discard"
    letter_id: Name
    """`entry_id` of the dead letter."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=REASON_CHARS_MAX)]
