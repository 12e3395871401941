"""Signals and costs of Paid's clients as records of the log. Pure translation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.limits import NAME_CHARS_MAX
from schemas.money import format_amount
from schemas.structs import Signal, Tokens, Usage
from schemas.topics import SIGNALS, USAGE
from streams.gateway.agentbill_usage import kept_metadata
from streams.gateway.decimals import Dollars
from streams.gateway.otlp.counting import NO_TOKENS
from streams.gateway.otlp.providers import book_name
from streams.gateway.otlp.signals import COST, PAID, ROUNDED, CostError, read_cost
from streams.gateway.otlp.signals import Cost as Given
from streams.gateway.otlp.spans import WEIGHT
from streams.gateway.paid_bodies import (
    CostBody,
    Money,
    SignalBody,
    TokenUsage,
    UsageBody,
)
from streams.gateway.paid_identity import fitting
from streams.gateway.problems import ProblemError
from streams.gateway.validation import check_record

COST_SOURCE: Final = "-cost"
"""Follows the source of a signal in that of the cost it brings, so that the ids of signals and of
costs sent alone never meet."""

_TOO_FINE: Final = re.compile(r"(\.[0-9]{6})[0-9]+(?=Z|[+-])")


@dataclass(frozen=True, slots=True)
class Said:
    """What a record has from its request: who, which agent, under which identity."""

    customer_id: str
    agent_id: str | None
    source: str
    event_id: str


Cost = tuple[Dollars, str]
"""An amount and its currency."""

Record = tuple[str, str, bytes]
"""Topic, customer, bytes: ready to be appended."""


def signal_records(body: SignalBody, said: Said) -> list[Record]:
    """The signal, and after it the usage of a cost that it brings along. Raises ProblemError."""
    content = body.content or {}
    paid = content.get(PAID)
    paid = paid if isinstance(paid, Mapping) else {}
    scope_id = _scope(paid.get("paid_scope_id"))
    given = content.get(COST)
    # A cost of its own is found under a trace of its own, unless a scope joins them already.
    trace_id = None
    if given is not None and scope_id is None:
        trace_id = fitting(f"signal:{said.event_id}")
    free = {name: part for name, part in content.items() if name not in (PAID, COST, WEIGHT)}
    weight = content.get(WEIGHT, 1)
    if body.customer_unit is not None and body.customer_unit.external_customer_unit_id:
        free["customerUnit"] = body.customer_unit.external_customer_unit_id
    signal = Signal(
        schema_version=SCHEMA_VERSION,
        event_id=said.event_id,
        source=said.source,
        customer_id=said.customer_id,
        occurred_at=_time(body.timestamp),
        name=body.event_name,
        agent_id=said.agent_id,
        trace_id=trace_id,
        scope_id=scope_id,
        cost_tracing=given is not None
        or scope_id is not None
        or paid.get("enable_cost_tracing") is True,
        weight=weight if type(weight) is int else 0,
        metadata=kept_metadata(free) or None,
    )
    records = [_record(SIGNALS.name, signal)]
    if given is not None:
        usage = _given_usage(_given(given), body, said, trace_id, scope_id)
        records.append(_record(USAGE.name, usage))
    return records


def _given_usage(
    given: Given, body: SignalBody, said: Said, trace_id: str | None, scope_id: str | None
) -> Usage:
    return Usage(
        schema_version=SCHEMA_VERSION,
        event_id=said.event_id,
        source=said.source + COST_SOURCE,
        customer_id=said.customer_id,
        occurred_at=_time(body.timestamp),
        agent_id=said.agent_id,
        trace_id=trace_id,
        scope_id=scope_id,
        provider=_name(given.provider),
        model=given.model,
        tokens=given.tokens,
        cost=given.amount,
        currency=given.currency,
        metadata={ROUNDED: True} if given.rounded else None,
        quantities=given.quantities,
        conditions=given.conditions,
    )


def _given(told: object) -> Given:
    """A `costData`, read as that of a signal's span is. Raises ProblemError."""
    try:
        return read_cost(told)
    except CostError as error:
        place = f"data.{COST}"
        raise ProblemError("invalid_field", f"{place}: {error}", field=place) from None


def cost_record(body: CostBody | UsageBody, said: Said) -> Record:
    """A cost, or tokens that the price book prices. Raises ProblemError."""
    tokens = None
    if isinstance(body, CostBody):
        cost: Cost | None = (body.amount, body.currency)
    else:
        cost, tokens = _cost(body.cost_override), _used(body.usage)
    metadata = kept_metadata(body.metadata or {}) | (_rounded(cost) or {})
    usage = Usage(
        schema_version=SCHEMA_VERSION,
        event_id=said.event_id,
        source=said.source,
        customer_id=said.customer_id,
        occurred_at=_time(body.timestamp),
        agent_id=said.agent_id,
        provider=_name(book_name(body.vendor or "")),
        model=_name(body.model),
        tokens=tokens,
        cost=_amount(cost),
        currency=_currency(cost),
        metadata=metadata or None,
    )
    return _record(USAGE.name, usage)


def _record(topic: str, fact: Signal | Usage) -> Record:
    """The bytes of a record as the log will take them. Raises ProblemError for what it refuses."""
    value = codec.encode(fact)
    check_record(topic, value)
    return topic, fact.customer_id, value


def _used(usage: TokenUsage) -> Tokens | None:
    """Disjoint classes; None where nothing was counted.

    What was generated includes the reasoning, as every provider counts it; where it cannot, the
    reasoning stands beside it.
    """
    output, reasoning = usage.output_tokens, usage.reasoning_output_tokens
    tokens = Tokens(
        input=usage.input_tokens,
        cache_read=usage.cache_read_input_tokens,
        cache_write=usage.cache_creation_input_tokens,
        output=output - reasoning if reasoning <= output else output,
        reasoning=reasoning,
    )
    return None if tokens == NO_TOKENS else tokens


def _cost(money: Money | None) -> Cost | None:
    return None if money is None else (money.amount, money.currency)


def _amount(cost: Cost | None) -> str | None:
    return None if cost is None else format_amount(cost[0].pico)


def _currency(cost: Cost | None) -> str:
    return "USD" if cost is None else cost[1].upper()


def _rounded(cost: Cost | None) -> dict[str, str | int | bool | None] | None:
    return {ROUNDED: True} if cost is not None and cost[0].rounded else None


def _scope(value: Any) -> str | None:
    """Paid's number of a scope, as text."""
    if type(value) is int or (isinstance(value, str) and value):
        return fitting(str(value))
    return None


def _name(text: str | None) -> str | None:
    return text[:NAME_CHARS_MAX] if text else None


def _time(text: str | None) -> str | None:
    """A time of the log: at most microseconds."""
    return None if text is None else _TOO_FINE.sub(r"\1", text)
