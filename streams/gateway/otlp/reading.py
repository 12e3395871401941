"""A request's spans as a whole: which of them are billed, to whom, and which repeat others.

A call whose descendant reports what was used is an outer span too, through any chain of parents:
within a request in any order, over several where the inner spans come first, as SDKs send them.
What spans hold calls in every case, `kinds` knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from streams.gateway.otlp.counting import Counted, CountError, count
from streams.gateway.otlp.emitters import EMITTERS
from streams.gateway.otlp.kinds import Kind, counts_tools, kind_of
from streams.gateway.otlp.memory import Remembered
from streams.gateway.otlp.providers import provider_of
from streams.gateway.otlp.records import (
    Outgoing,
    binding_record,
    outer_record,
    signal_records,
    usage_record,
)
from streams.gateway.otlp.signals import content_of
from streams.gateway.otlp.spans import COST, Span
from streams.gateway.ports import AuthError, Caller
from streams.gateway.problems import ProblemError
from streams.gateway.validation import check_account

TOOL_CALLS: Final = "tool_calls"

_COUNTS: Final = frozenset().union(*(emitter.attributes.all() for emitter in EMITTERS))


def _nothing() -> Counted:
    """What an outer span is taken to have used itself."""
    return Counted(EMITTERS[-1], None, {}, {})


class Making(Enum):
    """What becomes of a span."""

    SIGNAL = "signal"
    USAGE = "usage"
    MISSING = "missing"
    """A call that should have said what it used."""
    OUTER = "outer"
    NOTHING = "nothing"


@dataclass(slots=True)
class Seen:
    """A span and what was found out about it."""

    span: Span
    kind: Kind
    provider: str | None = None
    counted: Counted = field(default_factory=_nothing)
    fault: str = ""

    @property
    def is_used(self) -> bool:
        """Whether the span itself says that something was used."""
        return not self.fault and (self.counted.something or COST in self.span.attributes)


@dataclass(slots=True)
class Taken:
    """What is made of a request. `refused` are the reasons, one for each span that is refused;
    `warnings` concern spans that were taken all the same."""

    records: list[Outgoing] = field(default_factory=list)
    bindings: dict[tuple[str, str], Outgoing] = field(default_factory=dict)
    """By trace and customer."""
    refused: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def look_at(span: Span) -> Seen:
    """What a span is and reports, without its neighbours."""
    if span.fault:
        return Seen(span, Kind.OTHER, fault=span.fault)
    kind = kind_of(span)
    provider = provider_of(span.attributes)
    if kind in (Kind.SIGNAL, Kind.OUTER):
        return Seen(span, kind, provider)
    if kind is Kind.TOOL:
        return _look_at_tool(span)
    try:
        return Seen(span, kind, provider, count(span, provider))
    except CountError as error:
        return Seen(span, kind, provider, fault=str(error))


def _look_at_tool(span: Span) -> Seen:
    """The run of a tool: billed where it has quantities, or where runs are to be counted."""
    try:
        counted = count(span, None)
    except CountError as error:
        return Seen(span, Kind.TOOL, fault=str(error))
    # What a framework adds up over the calls that a tool makes is theirs.
    counted.tokens, counted.explicit = None, True
    if counts_tools(span):
        counted.quantities.setdefault(TOOL_CALLS, 1)
    return Seen(span, Kind.TOOL, None, counted)


class Reading:
    """One request: every span is `add`ed, then each is `take`n."""

    def __init__(self, caller: Caller, holding: Remembered) -> None:
        """`holding` are spans that hold usage of earlier requests, and will be of this one."""
        self._caller = caller
        self._holding = holding
        self._seen: list[Seen] = []
        self._parents: dict[tuple[str, str], str | None] = {}
        self._customers: dict[str, str] = {}
        self._hold_usage: set[tuple[str, str]] = set()
        self._hold_calls: set[tuple[str, str]] = set()
        self.taken = Taken()

    def add(self, span: Span) -> None:
        """A span of the request."""
        seen = look_at(span)
        self._seen.append(seen)
        if span.fault:
            return
        self._parents[span.trace_id, span.span_id] = span.parent_span_id
        customer_id = span.customer()
        if customer_id is not None:
            self._customers.setdefault(span.trace_id, customer_id)

    def spans(self) -> Sequence[Seen]:
        """All of them, once all are added: then it is known which hold others."""
        for seen in self._seen:
            span = seen.span
            if self._remembered(span.trace_id, span.span_id) in self._holding:
                self._hold_usage.add((span.trace_id, span.span_id))
                self._mark(span, self._hold_usage)
            elif not seen.fault and seen.counted.is_of_provider:
                self._mark(span, self._hold_usage)
            if seen.kind is Kind.CALL:
                self._mark(span, self._hold_calls)
        self._holding.remember(self._remembered(*place) for place in self._hold_usage)
        return self._seen

    def _remembered(self, trace_id: str, span_id: str) -> tuple[str, str]:
        """The place under which a span is remembered: of one key, so that nobody else's spans can
        say anything about it."""
        return f"{self._caller.key_id}:{trace_id}", span_id

    def _mark(self, span: Span, marked: set[tuple[str, str]]) -> None:
        """Marks every span above this one, up to where the request ends. A circle ends too."""
        trace_id, parent = span.trace_id, span.parent_span_id
        if parent == span.span_id:
            return
        while parent is not None and (trace_id, parent) not in marked:
            marked.add((trace_id, parent))
            parent = self._parents.get((trace_id, parent))

    def take(self, seen: Seen) -> None:
        """Makes the records of a span, or the reason why there are none."""
        span, taken = seen.span, self.taken
        try:
            if seen.fault:
                raise CountError(seen.fault)
            making = self._making(seen)
            customer_id = self._customer(span, is_needed=making is not Making.NOTHING)
            taken.records.extend(self._records(seen, making, customer_id))
            named = span.customer()
            if named is not None and (span.trace_id, named) not in taken.bindings:
                taken.bindings[span.trace_id, named] = binding_record(span, named)
        except CountError as error:
            taken.refused.append(str(error))
        except (ProblemError, AuthError) as error:
            detail = error.detail if isinstance(error, ProblemError) else error.message
            taken.refused.append(f"{error.code}: {detail}")

    def _making(self, seen: Seen) -> Making:
        """What becomes of a span, whose customer it ever is."""
        span, kind = seen.span, seen.kind
        place = span.trace_id, span.span_id
        if kind is Kind.SIGNAL:
            return Making.SIGNAL
        if kind is Kind.OUTER:
            return Making.NOTHING if _COUNTS.isdisjoint(span.attributes) else Making.OUTER
        if place in self._hold_usage and not seen.counted.explicit:
            return Making.OUTER if seen.counted.something else Making.NOTHING
        if seen.is_used:
            return Making.USAGE
        if kind is not Kind.CALL or place in self._hold_calls:
            return Making.NOTHING
        return Making.USAGE if seen.counted.reported or span.failed else Making.MISSING

    def _customer(self, span: Span, *, is_needed: bool) -> str | None:
        """Whom a span concerns: whom it names, or another of its trace; None where nobody does.

        Raises ProblemError and AuthError.
        """
        customer_id = span.customer() or self._customers.get(span.trace_id)
        bound = self._caller.customers
        if customer_id is None and bound is not None and is_needed:
            if len(bound) != 1:
                raise AuthError(
                    "customer_not_allowed",
                    "a key bound to several customers needs spans that name one",
                    status=403,
                )
            [customer_id] = bound
        if customer_id is not None:
            check_account("external_customer_id", customer_id)
            self._caller.require_customer(customer_id)
        return customer_id

    def _records(self, seen: Seen, making: Making, customer_id: str | None) -> Sequence[Outgoing]:
        span = seen.span
        if making is Making.NOTHING:
            return ()
        if making is Making.SIGNAL:
            content = content_of(span)
            if content.warning:
                self.taken.warnings.append(content.warning)
            return signal_records(span, content, customer_id)
        if making is Making.OUTER:
            return [outer_record(span, seen.provider, customer_id)]
        if (span.trace_id, span.span_id) in self._hold_usage:
            # What it says of itself counts; the tokens are those of the calls inside it.
            seen.counted.tokens = None
        missing = making is Making.MISSING
        return [usage_record(span, seen.counted, seen.provider, customer_id, missing=missing)]
