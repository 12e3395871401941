"""Values of attributes, the same from both forms of OTLP: short, of UTF-8, without surprises."""

import json
from collections.abc import Sequence
from typing import Final

from schemas.limits import INTEGER_MAX, METADATA_VALUE_CHARS_MAX
from streams.gateway.otlp.emitters import PROVIDER_METADATA
from streams.gateway.otlp.limits import SIGNAL_CHARS_MAX, TEXT_CHARS_MAX
from streams.gateway.otlp.spans import METADATA, SIGNAL_CONTENT, Value

CACHE_WRITTEN: Final = (
    ("anthropic", "cacheCreationInputTokens"),
    ("bedrock", "usage", "cacheWriteInputTokens"),
)
"""Where a provider's metadata of the AI SDK says what was written to a cache."""

CUT: Final = "…"
"""Ends a text of which the rest was left out."""


def kept_value(name: str, value: Value | None) -> Value | None:
    """The value as it is kept; None for one that says nothing.

    Texts are cut, metadata to what a record keeps; a signal's content that is too long becomes "".
    """
    if isinstance(value, str):
        value = clean(value)
    if name.startswith(METADATA):
        return None if value is None else metadata_text(value)
    if name == PROVIDER_METADATA:
        return cache_written(value) if isinstance(value, str) else None
    if not isinstance(value, str):
        return value
    if name == SIGNAL_CONTENT:
        return value if len(value) <= SIGNAL_CHARS_MAX else ""
    return value[:TEXT_CHARS_MAX]


def cache_written(text: str) -> int | None:
    """The one number of a provider's metadata that is kept, None where it is not there."""
    if len(text) > SIGNAL_CHARS_MAX:
        return None
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for path in CACHE_WRITTEN:
        found = told
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if type(found) is int:
            return found
    return None


def clean(text: str) -> str:
    """The text without lone surrogates, which would not be UTF-8 in the log."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def metadata_text(value: Value) -> str:
    """A value of metadata as a text."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float):
        text = repr(value)
    else:
        text = str(value)
    if len(text) <= METADATA_VALUE_CHARS_MAX:
        return text
    return text[: METADATA_VALUE_CHARS_MAX - len(CUT)] + CUT


def list_text(values: Sequence[Value | None]) -> str:
    """A list as JSON text."""
    plain = [
        str(each) if type(each) is int and abs(each) > INTEGER_MAX else each for each in values
    ]
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
