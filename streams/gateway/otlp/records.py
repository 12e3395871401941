"""Records of the log from spans: usage, signals, and what waits for a customer.

Each is read again by the worker's own decoder, so that what it would refuse is refused here.
"""

from dataclasses import dataclass
from typing import Any, Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.money import amount_from_number_text, format_amount
from schemas.structs import Unassigned, Usage
from schemas.topics import SIGNALS, UNASSIGNED, USAGE
from streams.gateway.otlp.counting import Counted, CountError
from streams.gateway.otlp.identity import (
    SOURCE,
    agent_of,
    event_id_of,
    metadata_of,
    model_of,
    occurred_at_of,
    scope_of,
)
from streams.gateway.otlp.signals import (
    CURRENCY_DEFAULT,
    ROUNDED,
    Content,
    Cost,
    signal_of,
    trace_of_signal,
)
from streams.gateway.otlp.spans import COST, CURRENCY, Span
from streams.gateway.validation import check_record

NOBODY: Final = "unassigned"
"""Stands for the customer while a record without one is checked; it is in no record."""

OF_COST: Final = ":cost"
"""Ends the id of the usage that a signal brings along."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record for the log: the logical topic, its key and its bytes."""

    topic: str
    key: bytes
    value: bytes


def usage_record(
    span: Span, counted: Counted, provider: str | None, customer_id: str | None, *, missing: bool
) -> Outgoing:
    """What a call used. `missing`: it should have said so and has not. Raises ProblemError and
    CountError."""
    metadata = metadata_of(span)
    cost, currency, rounded = _reported_cost(span)
    # What a span counts of itself is no part of any other: it names no place, by which the worker
    # would take it for a repetition of the calls inside it, or those for one of it.
    placed = counted.is_of_provider or not counted.explicit
    if rounded:
        metadata[ROUNDED] = True
    usage = _of_call(
        span,
        provider,
        customer_id,
        placed=placed,
        units=counted.units,
        tokens=counted.tokens,
        cost=cost,
        currency=currency,
        usage_missing=missing,
        metadata=metadata or None,
        quantities=counted.quantities or None,
        conditions=counted.conditions or None,
    )
    return _outgoing(USAGE.name, span, usage, customer_id)


def outer_record(span: Span, provider: str | None, customer_id: str | None) -> Outgoing:
    """A span that repeats what calls inside it used: it is logged and counts nothing. Raises
    ProblemError."""
    metadata = metadata_of(span) or None
    usage = _of_call(span, provider, customer_id, placed=True, outer=True, metadata=metadata)
    return _outgoing(USAGE.name, span, usage, customer_id)


def signal_records(span: Span, content: Content, customer_id: str | None) -> list[Outgoing]:
    """The signal, and before it the cost that it brings along. Raises ProblemError."""
    signal = signal_of(span, content, customer_id or NOBODY)
    made = [_outgoing(SIGNALS.name, span, signal, customer_id)]
    if content.cost is not None:
        made.insert(0, _cost_record(span, content, content.cost, customer_id))
    return made


def _cost_record(span: Span, content: Content, cost: Cost, customer_id: str | None) -> Outgoing:
    usage = _usage(
        span,
        customer_id,
        OF_COST,
        trace_id=trace_of_signal(span, content),
        provider=cost.provider,
        model=cost.model,
        tokens=cost.tokens,
        cost=cost.amount,
        currency=cost.currency,
        metadata={ROUNDED: True} if cost.rounded else None,
        quantities=cost.quantities,
        conditions=cost.conditions,
    )
    return _outgoing(USAGE.name, span, usage, customer_id)


def _of_call(
    span: Span, provider: str | None, customer_id: str | None, *, placed: bool, **told: Any
) -> Usage:
    """Usage of the call that a span is; `placed` says whether it names its place in the trace."""
    return _usage(
        span,
        customer_id,
        trace_id=span.trace_id,
        scope_id=scope_of(span),
        span_id=span.span_id if placed else None,
        parent_span_id=span.parent_span_id if placed else None,
        provider=provider,
        model=model_of(span.attributes),
        success=not span.failed,
        **told,
    )


def _usage(span: Span, customer_id: str | None, ending: str = "", **told: Any) -> Usage:
    """What every usage of a span begins with: its id, with an ending, whose it is, when it was and
    which agent's; `told` is the rest."""
    return Usage(
        schema_version=SCHEMA_VERSION,
        event_id=event_id_of(span) + ending,
        source=SOURCE,
        customer_id=customer_id or NOBODY,
        occurred_at=occurred_at_of(span),
        agent_id=agent_of(span),
        **told,
    )


def binding_record(span: Span, customer_id: str) -> Outgoing:
    """That the span's trace belongs to this customer (K4)."""
    binding = Unassigned(
        schema_version=SCHEMA_VERSION,
        trace_id=span.trace_id,
        source=SOURCE,
        event_id=event_id_of(span),
        customer_id=customer_id,
    )
    return Outgoing(UNASSIGNED.name, span.trace_id.encode(), codec.encode(binding))


def _outgoing(topic: str, span: Span, record: Any, customer_id: str | None) -> Outgoing:
    value = codec.encode(record)
    check_record(topic, value)
    if customer_id is not None:
        return Outgoing(topic, customer_id.encode(), value)
    body = codec.to_plain(record)
    del body["customer_id"]
    waiting = {
        "schema_version": SCHEMA_VERSION,
        "trace_id": span.trace_id,
        "source": record.source,
        "event_id": record.event_id,
        "usage" if topic == USAGE.name else "signal": body,
    }
    return Outgoing(UNASSIGNED.name, span.trace_id.encode(), codec.encode(waiting))


def _reported_cost(span: Span) -> tuple[str | None, str, bool]:
    """What the span itself says that it cost (`tollgate.cost`), and whether it was rounded."""
    told, currency = span.attributes.get(COST), span.attributes.get(CURRENCY, CURRENCY_DEFAULT)
    if told is None:
        return None, CURRENCY_DEFAULT, False
    if isinstance(told, bool) or not isinstance(currency, str):
        raise CountError(f"{COST}: an amount and a code of three letters are expected")
    text = repr(told) if isinstance(told, float) else str(told)
    try:
        pico, rounded = amount_from_number_text(text)
    except ValueError:
        raise CountError(f"{COST}: not a non-negative amount") from None
    return format_amount(pico), currency.upper(), rounded
