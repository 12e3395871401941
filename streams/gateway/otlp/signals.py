"""What a signal's span says: the outcome, whether it asks for the cost of its trace, and a cost
that it brings along.

Its `data` is a JSON text that the vendor writes. The flag stands inside it; of the rest only short
values at its top are kept, as metadata.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from schemas.envelope import SCHEMA_VERSION
from schemas.money import amount_from_number_text, format_amount
from schemas.structs import Signal, Tokens
from streams.gateway.agentbill_usage import kept_metadata
from streams.gateway.decimals import NumberText, parse_numbers
from streams.gateway.otlp.counting import Counted, CountError, count, emitter_of, tokens_of
from streams.gateway.otlp.emitters import COUNTED_ATTRIBUTES, NOTHING
from streams.gateway.otlp.identity import (
    SOURCE,
    agent_of,
    event_id_of,
    metadata_of,
    model_of,
    occurred_at_of,
)
from streams.gateway.otlp.providers import book_name, provider_of
from streams.gateway.otlp.spans import (
    COST_TRACING,
    NO_ATTRIBUTES,
    SIGNAL_CONTENT,
    SIGNAL_NAME,
    WEIGHT,
    Span,
    Value,
    is_harmless,
)
from streams.gateway.problems import ProblemError

PAID: Final = "paid"
COST: Final = "costData"
CURRENCY_DEFAULT: Final = "USD"

UNREADABLE: Final = "data_unreadable"
"""Set to true among the metadata of a signal whose `data` is no JSON object."""

ROUNDED: Final = "cost_rounded"
"""Set to true among the metadata of a cost that had more than twelve decimals (M2)."""

OF_SIGNAL: Final = "signal:"
"""Begins the trace of a signal that brings its own cost and asks for no other: the cost is alone
in it with the signal, which therefore gets all of it."""


class CostError(Exception):
    """A cost that a signal brings along and that cannot be read."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a signal's `data.costData` says: an amount, or what was used."""

    provider: str | None
    model: str | None
    amount: str | None = None
    currency: str = CURRENCY_DEFAULT
    rounded: bool = False
    tokens: Tokens | None = None
    quantities: dict[str, int] | None = None
    conditions: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """A signal's `data`, read. `warning` says what of it could not be, "" for nothing."""

    cost_tracing: bool = False
    cost: Cost | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    warning: str = ""


def read_content(text: str | None) -> Content:
    """The `data` of a signal; the signal counts whatever is wrong with it."""
    if text is None:
        return Content()
    try:
        told = parse_numbers(text.encode("utf-8", "replace"))
    except ProblemError as problem:
        return Content(metadata={UNREADABLE: True}, warning=f"data: {problem.detail}")
    paid = told.get(PAID)
    cost: Cost | None = None
    warning = ""
    if told.get(COST) is not None:
        try:
            cost = read_cost(told[COST])
        except CostError as error:
            warning = f"{COST}: {error}"
    return Content(
        cost_tracing=isinstance(paid, dict) and paid.get("enable_cost_tracing") is True,
        cost=cost,
        metadata={
            name: value
            for name, value in told.items()
            if name not in (PAID, COST) and not isinstance(value, dict | list) and is_harmless(name)
        },
        warning=warning,
    )


def read_cost(told: object) -> Cost:
    """A `costData`: `vendor`, `cost` with `amount` and `currency`, or `gen_ai.*` attributes, in
    `attributes` or beside them. Raises CostError."""
    if not isinstance(told, dict):
        raise CostError("an object is expected")
    beside = told.get("attributes")
    sent = {**told, **beside} if isinstance(beside, dict) else told
    held = {name: _value(sent[name]) for name in COUNTED_ATTRIBUTES if name in sent}
    attributes = {name: value for name, value in held.items() if value is not None}
    vendor = told.get("vendor")
    provider = book_name(vendor) if isinstance(vendor, str) and vendor else None
    provider = provider or provider_of(attributes)
    model = model_of(attributes)
    if told.get("cost") is not None:
        amount, currency, rounded = _amount(told["cost"])
        return Cost(provider, model, amount, currency, rounded)
    try:
        counted = _counted(attributes, provider)
    except CountError as error:
        raise CostError(str(error)) from None
    if not counted.something:
        raise CostError("neither a cost nor what was used")
    return Cost(
        provider,
        model,
        tokens=counted.tokens,
        quantities=counted.quantities or None,
        conditions=counted.conditions or None,
    )


def _counted(attributes: Mapping[str, Value], provider: str | None) -> Counted:
    """What somebody counted by hand: as the provider's own wrapper counts, unless the input cannot
    include what was cached.

    Then it excludes it, as in Paid's own example of such a cost.
    """
    span = _as_span(attributes)
    try:
        return count(span, provider)
    except CountError:
        exclusive = replace(emitter_of(span, provider), input_includes=NOTHING)
        return Counted(exclusive, tokens_of(exclusive, attributes), {}, {})


def _value(told: object) -> Value | None:
    if isinstance(told, NumberText):
        return float(told.text)
    return told if isinstance(told, str | int | bool) else None


def _as_span(attributes: Mapping[str, Value]) -> Span:
    # Counted as Paid's own wrappers count, since its SDK asks for the same names.
    scope = ("paid.python", "")
    return Span("", "", None, "", 0, 0, False, scope, attributes, NO_ATTRIBUTES)


def _amount(told: object) -> tuple[str, str, bool]:
    if not isinstance(told, dict):
        raise CostError("cost: an object with amount and currency is expected")
    amount, currency = told.get("amount"), told.get("currency") or CURRENCY_DEFAULT
    if isinstance(amount, NumberText):
        text = amount.text
    elif isinstance(amount, int | str) and not isinstance(amount, bool):
        text = str(amount)
    else:
        raise CostError("cost.amount: a number is expected")
    if not isinstance(currency, str) or len(currency) != 3 or not currency.isalpha():
        raise CostError("cost.currency: a code of three letters is expected")
    try:
        pico, rounded = amount_from_number_text(text)
    except ValueError:
        raise CostError("cost.amount: not a non-negative amount") from None
    return format_amount(pico), currency.upper(), rounded


def signal_of(span: Span, content: Content, customer_id: str) -> Signal:
    """The signal of a span. Raises ProblemError where it has no name.

    One that asks for cost claims its trace. One that only brings a cost along has a trace of its
    own with it.
    """
    name = span.attributes.get(SIGNAL_NAME)
    if not isinstance(name, str) or not name:
        raise ProblemError("invalid_field", "event_name: a signal needs a name", field=SIGNAL_NAME)
    asks = asks_for_trace(span, content)
    metadata = kept_metadata({**content.metadata, **metadata_of(span)})
    weight = span.attributes.get(WEIGHT, 1)
    return Signal(
        schema_version=SCHEMA_VERSION,
        event_id=event_id_of(span),
        source=SOURCE,
        customer_id=customer_id,
        occurred_at=occurred_at_of(span),
        name=name,
        agent_id=agent_of(span),
        trace_id=trace_of_signal(span, content),
        cost_tracing=asks or content.cost is not None,
        weight=weight if type(weight) is int else 0,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        metadata=metadata or None,
    )


def asks_for_trace(span: Span, content: Content) -> bool:
    """Whether the signal asks for the cost of its trace: inside its data, or beside it."""
    return content.cost_tracing or span.attributes.get(COST_TRACING) is True


def trace_of_signal(span: Span, content: Content) -> str:
    """The trace of a signal and of the cost that it brings along."""
    if content.cost is None or asks_for_trace(span, content):
        return span.trace_id
    return f"{OF_SIGNAL}{event_id_of(span)}"


def content_of(span: Span) -> Content:
    """What the span's `data` says."""
    text = span.attributes.get(SIGNAL_CONTENT)
    return read_content(text if isinstance(text, str) else None)
