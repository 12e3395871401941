"""Signal, version 1: a business outcome. Topic `signals`, keyed by `customer_id`."""

from typing import Annotated

from pydantic import Field

from schemas.envelope import Fact, Id, Name
from schemas.limits import UNITS_MAX, WEIGHT_MAX
from schemas.usage import Metadata


class Signal(Fact):
    """An outcome that agents produced: a meeting booked, a ticket closed."""

    name: Name
    agent_id: Id | None = None
    trace_id: Id | None = None
    scope_id: Id | None = None
    """Claims every span of this scope as its cost, like `trace_id` claims the trace."""
    quantity: Annotated[int, Field(ge=1, le=UNITS_MAX)] = 1
    cost_tracing: bool = False
    """Whether the cost of the trace or scope is to be attributed to this signal."""
    metadata: Metadata | None = None
    weight: Annotated[int, Field(ge=1, le=WEIGHT_MAX)] = 1
    """Its part of a cost that several signals claim, in proportion to theirs."""
    span_id: Id | None = None
    parent_span_id: Id | None = None
