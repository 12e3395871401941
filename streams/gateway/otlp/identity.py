"""What every record of a span has: its identity, time, agent, scope, model and metadata."""

from collections.abc import Mapping
from typing import Final

from schemas.limits import METADATA_ENTRIES_MAX, METADATA_KEY_CHARS_MAX, NAME_CHARS_MAX
from schemas.times import format_time
from streams.gateway.otlp.spans import AGENTS, METADATA, SCOPE, Span, Value

SOURCE: Final = "otlp"
"""Of everything that spans say. Never derived from a key (I4)."""

NS_PER_US: Final = 1_000

MODELS: Final = (
    *("gen_ai.response.model", "ai.response.model", "gen_ai.request.model", "llm.model_name"),
    *("ai.model.id", "embedding.model_name", "reranker.model_name"),
)
"""Attributes that name the model; the first that does counts."""

TOOLS: Final = ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "langchain.tool.name")
"""Attributes that name a tool: it stands in the place of the model where its runs are counted."""


def event_id_of(span: Span) -> str:
    """The identity of what a span says: the same whenever and however often it is exported."""
    return f"{span.trace_id}:{span.span_id}"


def occurred_at_of(span: Span) -> str | None:
    """The end of the span, else its beginning, None where it has no time."""
    time_ns = span.ended_ns or span.started_ns
    return format_time(time_ns // NS_PER_US) if time_ns else None


def agent_of(span: Span) -> str | None:
    """The agent that the span or its resource names."""
    for held in (span.attributes, span.resource):
        for name in AGENTS:
            value = held.get(name)
            if value not in (None, ""):
                return str(value)
    return None


def scope_of(span: Span) -> str | None:
    """Paid's scope as decimal text, None for none."""
    value = span.attributes.get(SCOPE)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value in (None, "", 0) or isinstance(value, bool) else str(value)


def model_of(held: Mapping[str, Value]) -> str | None:
    """The model that was called, or the tool that was run."""
    for name in (*MODELS, *TOOLS):
        value = held.get(name)
        if isinstance(value, str) and value:
            return value[:NAME_CHARS_MAX]
    return None


def metadata_of(span: Span) -> dict[str, str | int | bool | None]:
    """The `metadata.*` of a span, as texts, as much of it as a record keeps."""
    found: dict[str, str | int | bool | None] = {}
    for name, value in span.attributes.items():
        if name.startswith(METADATA) and len(found) < METADATA_ENTRIES_MAX:
            found[name[len(METADATA) :][:METADATA_KEY_CHARS_MAX]] = str(value)
    return found
