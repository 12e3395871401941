"""What all facts have in common: who says it, about whom, under which identity, and the field
types."""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from schemas.limits import ID_BYTES_MAX, NAME_CHARS_MAX, UNITS_MAX
from schemas.money import AMOUNT_PATTERN, parse_amount
from schemas.times import TIME_PATTERN, parse_time_us

SCHEMA_VERSION: Final = 1
"""The one version of every record so far. A record with another is refused, never guessed at."""


def _within_id_bytes(text: str) -> str:
    if len(text.encode()) > ID_BYTES_MAX:
        raise ValueError(f"longer than {ID_BYTES_MAX} bytes in UTF-8")
    return text


def _is_time(text: str) -> str:
    parse_time_us(text)
    return text


def _is_amount(text: str) -> str:
    parse_amount(text)
    return text


Version = Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]
Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=ID_BYTES_MAX),
    AfterValidator(_within_id_bytes),
]
"""Free text of 1 to 128 bytes."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARS_MAX)]
Count = Annotated[int, Field(ge=0, le=UNITS_MAX)]
Time = Annotated[str, StringConstraints(pattern=TIME_PATTERN), AfterValidator(_is_time)]
"""RFC 3339 with a zone, at most microseconds."""
Amount = Annotated[str, StringConstraints(pattern=AMOUNT_PATTERN), AfterValidator(_is_amount)]
"""A decimal string without sign, at most 12 decimals."""
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
"""ISO 4217 code."""
TotalTokens = Annotated[int, Field(ge=0, le=10 * UNITS_MAX)]
"""A sum over the token classes of one event."""
Offset = Annotated[int, Field(ge=0)]
Sequence = Annotated[int, Field(ge=0)]
TimeUs = Annotated[int, Field(ge=0)]
"""Microseconds since the epoch: the form of every time that Tollgate itself writes."""
SignedAmount = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,26}(\.[0-9]{1,12})?$")]
"""A decimal string that an entry of the ledger may carry: corrections are negative."""


class Part(BaseModel):
    """Base of everything on the wire: strict types, no unknown fields, immutable."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        # Most processes validate by the Structs alone: a validator is built when it is first used.
        defer_build=True,
    )


class Record(Part):
    """Base of everything that is a record of its own and therefore says its version."""

    schema_version: Version


class Fact(Record):
    """Base of the inbound facts.

    (customer, source, event id) is the identity of a fact on its topic: the first accepted record
    claims it, a repeat is a duplicate, other billing content under it a conflict (decision 002).
    `source` names the producing system and never an API key, so that a key can be rotated between a
    try and its retry.
    """

    event_id: Id
    source: Id
    customer_id: Id
    occurred_at: Time | None = None
    """When it happened. Without it the append time counts, and only the claims' horizon protects
    against a repeat."""


class Outbound(Record):
    """Base of everything that a cycle appends: entries, attributions, dead letters.

    `sequence` is dense per (topic, generation, partition): count = max + 1. `entry_id` follows from
    where the record comes from (decision 004), so deciding again writes the same bytes.
    `decided_at` is the domain time of the cycle: it never runs backwards in a partition, and
    ClickHouse's partitions follow its month.
    """

    entry_id: Name
    generation: Annotated[int, Field(ge=1)]
    partition: Annotated[int, Field(ge=0)]
    sequence: Sequence
    cycle: Annotated[int, Field(ge=1)]
    decided_at: TimeUs
