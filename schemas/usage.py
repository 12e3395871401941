"""Usage, version 1: what was consumed. Topic `usage`, keyed by `customer_id`."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from schemas.envelope import Amount, Count, Currency, Fact, Id, Name, Part
from schemas.errors import RejectCode, RejectError
from schemas.limits import (
    CONDITION_CHARS_MAX,
    CONDITIONS_MAX,
    INTEGER_MAX,
    METADATA_ENTRIES_MAX,
    METADATA_KEY_CHARS_MAX,
    METADATA_VALUE_CHARS_MAX,
    QUANTITIES_MAX,
    QUANTITY_NAME_CHARS_MAX,
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

QuantityName = Annotated[
    str, StringConstraints(pattern=rf"^[a-z][a-z0-9_]{{0,{QUANTITY_NAME_CHARS_MAX - 1}}}$")
]

Quantities = Annotated[dict[QuantityName, Count], Field(max_length=QUANTITIES_MAX)]
"""What was used beside tokens: whole counts by name, no count in two of them."""

Condition = Annotated[str, StringConstraints(min_length=1, max_length=CONDITION_CHARS_MAX)]

Conditions = Annotated[dict[Condition, Condition], Field(max_length=CONDITIONS_MAX)]
"""How a call was made, in the words of its provider, where its price depends on it:
`{"processing": "batch"}`, `{"service_tier": "flex"}`."""

TOKEN_PARTS: Final = {
    "cache_write_1h_tokens": "cache_write",
    "cache_write_5m_tokens": "cache_write",
    "cache_audio_read_tokens": "cache_read",
    "cache_image_read_tokens": "cache_read",
    "input_image_tokens": "input",
    "input_video_tokens": "input",
    "output_image_tokens": "output",
    "output_video_tokens": "output",
    "output_citation_tokens": "output",
}
"""Quantities that are tokens, to the class of `Tokens` whose part they are: they say of what kind
some of its tokens were, where those have a price of their own, and add none to it."""


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
    quantities: Quantities | None = None
    """What else is charged for, such as `web_searches`, `requests`, `input_document_pages`,
    `audio_milliseconds`, and what kind of tokens some were (`input_image_tokens`). The names that
    the price book knows are listed in docs/domain/rating.md."""
    conditions: Conditions | None = None
    """How the call was made, where its price depends on it."""
    scope_id: Id | None = None
    """What a signal may claim instead of a whole trace: calls that belong together, in one trace
    or several."""
    span_id: Id | None = None
    """The call's own place in its trace."""
    parent_span_id: Id | None = None
    outer: bool = False
    """The span around calls that tell their usage themselves: it is logged with what it says of
    itself, and none of it counts."""


def exceeding_part(tokens: Any, quantities: Mapping[str, int]) -> str | None:
    """The first of the quantities with which the parts of a token class exceed it, None where all
    is well. `tokens` is a `Tokens`, None for no tokens at all.

    No model says it of itself: whoever takes usage asks (`refuse_exceeding_part`).
    """
    parts: dict[str, int] = {}
    for name, count in quantities.items():
        whole = TOKEN_PARTS.get(name)
        if whole is not None:
            parts[whole] = parts.get(whole, 0) + count
            if parts[whole] > (0 if tokens is None else getattr(tokens, whole)):
                return name
    return None


def refuse_exceeding_part(tokens: Any, quantities: Mapping[str, int]) -> None:
    """Raises RejectError where the parts of a token class exceed it."""
    part = exceeding_part(tokens, quantities)
    if part is not None:
        field = f"quantities.{part}"
        reason = f"{field}: parts of tokens.{TOKEN_PARTS[part]} exceed it; it counts all of them"
        raise RejectError(RejectCode.INVALID_FIELD, reason, field)
