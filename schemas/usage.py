"""Usage, version 1: what was consumed. Topic `usage`, keyed by `customer_id`."""

from typing import Annotated

from pydantic import Field, StringConstraints

from schemas.envelope import Amount, Count, Currency, Fact, Id, Name, Part
from schemas.limits import (
    INTEGER_MAX,
    METADATA_ENTRIES_MAX,
    METADATA_KEY_CHARS_MAX,
    METADATA_VALUE_CHARS_MAX,
)

Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(max_length=METADATA_KEY_CHARS_MAX)],
        Annotated[str, StringConstraints(max_length=METADATA_VALUE_CHARS_MAX)]
        | Annotated[int, Field(ge=-INTEGER_MAX, le=INTEGER_MAX)]
        | bool
        | None,
    ],
    Field(max_length=METADATA_ENTRIES_MAX),
]
"""Personal: stays on the inbound topic, outside the hash, the ledger and every invoice (F4)."""


class Tokens(Part):
    """Token counts in disjoint classes: no token is in two of them.

    `input` excludes what was read from or written to a cache and audio; `output` excludes reasoning
    and audio. Providers disagree about what contains what; adapters normalise before the log.
    """

    input: Count = 0
    cache_read: Count = 0
    cache_write: Count = 0
    output: Count = 0
    reasoning: Count = 0
    input_audio: Count = 0
    output_audio: Count = 0


class Usage(Fact):
    """Something consumed by a customer: units, tokens, and what it cost where the producer knows
    it."""

    agent_id: Id | None = None
    task_ref: Id | None = None
    trace_id: Id | None = None
    provider: Name | None = None
    model: Name | None = None
    units: Count = 0
    tokens: Tokens | None = None
    cost: Amount | None = None
    """What the producer says it cost. Wins over the price book."""
    currency: Currency = "USD"
    """Of `cost`."""
    success: bool = True
    reservation_id: Id | None = None
    """The hold that this settles, whole."""
    settles_oldest: bool = False
    """Without a reservation: settles the oldest holds of the customer, in `task_ref` where there is
    one, by what was used."""
    usage_missing: bool = False
    """The caller does not know what was used: at least what was held is charged."""
    metadata: Metadata | None = None
