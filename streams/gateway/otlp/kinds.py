"""What a span is: a signal, a call of a model, a span that only holds calls, a tool, or none of it.

The rules stand in tables, like those of the counts: a span that repeats what calls inside it used
must not be counted again, whether or not those calls come in the same request.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from streams.gateway.otlp.spans import COUNT_OUTER, COUNT_TOOLS, Span, Value

PREFIX: Final = "paid.trace."
"""What Paid's SDKs put before the name of every span."""

SIGNAL: Final = "paid.trace.signal"
"""The name of a span that is a signal. Others may carry `event_name` too."""


class Kind(Enum):
    """What is made of a span."""

    SIGNAL = "signal"
    CALL = "call"
    """A call of a model, whether it reports counts or not."""
    OUTER = "outer"
    """Holds calls. Counts that it reports are theirs."""
    TOOL = "tool"
    OTHER = "other"
    """Is billed only where it reports counts all the same."""


OUTER_VALUES: Final = {
    "gen_ai.operation.name": frozenset({"invoke_agent", "create_agent", "invoke_workflow"}),
    "openinference.span.kind": frozenset({"AGENT", "CHAIN"}),
    "traceloop.span.kind": frozenset({"workflow", "agent", "task"}),
    "langchain.operation": frozenset({"chain", "agent"}),
}
"""Attributes whose values say that a span holds calls."""

OUTER_NAMES: Final = {
    "openinference.instrumentation.openai_agents": frozenset({"generation", "response"}),
    "pydantic-ai": frozenset({"agent run"}),
}
"""Spans that hold calls, by their instrumentation and name: the client of the model is
instrumented too, and writes the call itself."""

TOOL_VALUES: Final = {
    "gen_ai.operation.name": frozenset({"execute_tool"}),
    "openinference.span.kind": frozenset({"TOOL"}),
    "traceloop.span.kind": frozenset({"tool"}),
    "langchain.operation": frozenset({"tool"}),
    "ai.operationId": frozenset({"ai.toolCall"}),
}
"""Attributes whose values say that a span is the run of a tool."""

CALL_KINDS: Final = frozenset({"LLM", "EMBEDDING", "RERANKER"})
"""Values of OpenInference's kind that are calls of a model."""

NO_CALLS: Final = frozenset({"retrieval", "plan", "evaluate", "create_agent"})
"""Operations of the conventions that call no model by themselves."""

_VERCEL: Final = "ai."
_VERCEL_CALL: Final = ".do"
"""What the AI SDK calls the spans that ask a provider: `ai.generateText.doGenerate`."""


def kind_of(span: Span) -> Kind:
    """What is made of a span."""
    if span.name == SIGNAL:
        return Kind.SIGNAL
    held = span.attributes
    if _has(held, TOOL_VALUES):
        return Kind.TOOL
    if _is_outer(span):
        counts_outer = held.get(COUNT_OUTER, span.resource.get(COUNT_OUTER))
        return Kind.OTHER if _is_true(counts_outer) else Kind.OUTER
    if held.get("openinference.span.kind") in CALL_KINDS or _VERCEL_CALL in _operation_id(span):
        return Kind.CALL
    operation = held.get("gen_ai.operation.name")
    if operation is not None:
        return Kind.OTHER if operation in NO_CALLS else Kind.CALL
    return Kind.OTHER


def _has(held: Mapping[str, Value], values: Mapping[str, frozenset[str]]) -> bool:
    return any(held.get(name) in chosen for name, chosen in values.items())


def _is_outer(span: Span) -> bool:
    if _has(span.attributes, OUTER_VALUES):
        return True
    named = OUTER_NAMES.get(span.scope[0])
    if named is not None and span.name.removeprefix(PREFIX) in named:
        return True
    operation_id = _operation_id(span)
    return operation_id.startswith(_VERCEL) and _VERCEL_CALL not in operation_id


def _operation_id(span: Span) -> str:
    """What the AI SDK calls the operation, "" for a span of another emitter."""
    named = span.attributes.get("ai.operationId")
    return named if isinstance(named, str) else ""


def counts_tools(span: Span) -> bool:
    """Whether runs of tools are to be counted: the span or its resource asks for it."""
    return _is_true(span.attributes.get(COUNT_TOOLS, span.resource.get(COUNT_TOOLS)))


def _is_true(value: Value | None) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")
