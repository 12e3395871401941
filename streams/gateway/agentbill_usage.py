"""An AgentBill event as a usage record of the log. Pure translation.

Owns what the clients' counts contain: `wrap()` reports `input` without cache reads and writes but
with audio, `output` with reasoning and audio. In the log no token is in two classes.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.errors import RejectError
from schemas.limits import (
    INTEGER_MAX,
    METADATA_ENTRIES_MAX,
    METADATA_KEY_CHARS_MAX,
    METADATA_VALUE_CHARS_MAX,
    NAME_CHARS_MAX,
    UNITS_MAX,
)
from schemas.structs import Tokens, Usage
from streams.domain.rating import total_tokens
from streams.gateway.agentbill_bodies import EventBody
from streams.gateway.decimals import NumberText
from streams.gateway.validation import rejected

SOURCE: Final = "agentbill"
"""Of everything that these clients send. Never derived from a key (I4)."""

COUNTED_MAX: Final = 2_147_483_647
"""`wrap()` sends no larger number of units, whatever the tokens sum up to."""

_COUNTS: Final = ("input", "cache_read", "cache_write", "output")
_DETAILS: Final = ("cache_write_1h", "reasoning", "audio_input", "audio_output")
_TOKEN_KEYS: Final = frozenset((*_COUNTS, *_DETAILS))

CUT_SHORT: Final = "metadata_cut"
"""Set to true among the metadata where something of it was too long or too much to keep."""


def reported_tokens(metadata: Mapping[str, Any] | None) -> Tokens | None:
    """The tokens in `metadata.tokens`, in disjoint classes with the same sum; None where there are
    none, or nothing of the form that `wrap()` writes."""
    told = None if metadata is None else metadata.get("tokens")
    if not isinstance(told, dict) or not _TOKEN_KEYS.issuperset(told):
        return None
    if not all(name in told for name in ("input", "output")):
        return None
    counts = {name: told.get(name, 0) for name in (*_COUNTS, *_DETAILS)}
    if not all(type(count) is int and 0 <= count <= UNITS_MAX for count in counts.values()):
        return None
    reasoning = min(counts["reasoning"], counts["output"])
    output_audio = min(counts["audio_output"], counts["output"] - reasoning)
    # Audio that was read from a cache stays a cache read, which is what it is priced as.
    input_audio = min(counts["audio_input"], counts["input"])
    return Tokens(
        input=counts["input"] - input_audio,
        cache_read=counts["cache_read"],
        cache_write=min(counts["cache_write"] + counts["cache_write_1h"], UNITS_MAX),
        output=counts["output"] - reasoning - output_audio,
        reasoning=reasoning,
        input_audio=input_audio,
        output_audio=output_audio,
    )


def counts_tokens(body: EventBody, denomination: str | None) -> bool:
    """Whether the event's `units` are tokens.

    They are on a job in tokens or dollars. Where the job is not known (`denomination` None) they
    are if the event reports exactly as many tokens, which is what `wrap()` does.
    """
    if denomination is not None:
        return denomination != "unit"
    tokens = reported_tokens(body.metadata)
    return tokens is not None and body.units == min(total_tokens(tokens), COUNTED_MAX)


def usage_of(body: EventBody, denomination: str | None) -> Usage:
    """The record of an event; `denomination` is that of its job, None where it has none.

    An event that failed charges nothing. Tokens that a job counts without anybody saying of which
    class they are stand as input under no model: without a price, rather than with a wrong one.
    """
    metadata = body.metadata or {}
    tokens = reported_tokens(metadata) if body.success else None
    units = body.units if body.success else 0
    provider, model = _name(metadata.get("provider")), _name(metadata.get("model"))
    if body.success and counts_tokens(body, denomination):
        units = 0
        if tokens is None and body.units:
            tokens, provider, model = Tokens(input=body.units), None, None
    return Usage(
        schema_version=SCHEMA_VERSION,
        event_id=body.idempotency_key,
        source=SOURCE,
        customer_id=body.customer_id,
        agent_id=body.event_type,
        task_ref=body.task_ref,
        provider=provider,
        model=model,
        units=units,
        tokens=tokens,
        success=body.success,
        reservation_id=body.reservation_id,
        settles_oldest=body.reservation_id is None,
        usage_missing=body.usage_missing and body.success,
        metadata=kept_metadata(metadata, but="tokens" if tokens is not None else "") or None,
    )


def _name(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    return _clean(value)[:NAME_CHARS_MAX] or None


def _clean(text: str) -> str:
    # A lone surrogate would not be UTF-8 in the log.
    return text.encode("utf-8", "replace").decode()


def kept_metadata(metadata: Mapping[str, Any], but: str = "") -> dict[str, str | int | bool | None]:
    """Metadata as the log takes it: short values, few of them; `but` is left out.

    Fractions and nested values become text. What has to be cut or dropped is marked by CUT_SHORT.
    """
    kept: dict[str, str | int | bool | None] = {}
    cut = False
    for key, value in metadata.items():
        if key == but:
            continue
        if len(kept) >= METADATA_ENTRIES_MAX - 1:
            cut = True
            break
        name, plain = _clean(key), _scalar(value)
        if isinstance(plain, str) and len(plain) > METADATA_VALUE_CHARS_MAX:
            plain, cut = plain[:METADATA_VALUE_CHARS_MAX], True
        cut = cut or len(name) > METADATA_KEY_CHARS_MAX
        kept[name[:METADATA_KEY_CHARS_MAX]] = plain
    if cut:
        kept[CUT_SHORT] = True
    return kept


def _scalar(value: Any) -> str | int | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= INTEGER_MAX else str(value)
    if isinstance(value, NumberText):
        return value.text
    if isinstance(value, str):
        return _clean(value)
    return _clean(json.dumps(value, default=_number, ensure_ascii=False))


def _number(value: object) -> str:
    assert isinstance(value, NumberText), "JSON holds nothing else"
    return value.text


def encoded(usage: Usage) -> bytes:
    """The bytes of a usage record, as the log will take them. Raises ProblemError for what it would
    refuse."""
    value = codec.encode(usage)
    try:
        codec.decode_usage(value)
    except RejectError as error:
        raise rejected(error) from None
    return value
