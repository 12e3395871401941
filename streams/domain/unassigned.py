"""Events that name no customer: whose their traces are, as far as anybody has said, and what waits
for that (K4).

Everything stands in rows among the accounts of the trace's partition: one for each trace, one for
each event that waits, and segments of both for what time ends. How records change them is
`assigning`.
"""

from dataclasses import dataclass, field
from typing import Final

from schemas.structs import Row, column
from streams.domain.windows import Segment

TRACE_PREFIX: Final = "\0trace\0"
EVENT_PREFIX: Final = "\0waiting\0"
"""Before the keys of rows. No customer's id begins with NUL."""

NUMBER_DIGITS: Final = 16
"""Of the number at the end of a waiting event's row."""

WAITING: Final = "\0waiting-until\0"
BOUND: Final = "\0bound-until\0"
"""Before the numbers of the segments of events that wait, and of traces that have a customer."""


class BoundTrace(Row):
    """The row of a trace that has a customer, or events that wait for one."""

    trace_id: str
    customer_id: str = ""
    """Empty until somebody names one."""
    last_us: int = 0
    """When it was last heard of: the latest append time of a record about it."""
    waiting: list[tuple[int, int]] = column(default_factory=list)
    """Number and append time of its events that wait, in the order of their offsets."""
    kept: bool = False
    """It stands in a segment of those that are dropped one day."""


class WaitingEvent(Row):
    """The row of an event that waits: its record, whole."""

    trace_id: str
    offset: int
    appended_us: int
    value: bytes


@dataclass(slots=True)
class Unbound:
    """The rows that a cycle may look at, changed in place, by row key. What is `touched` and in
    none of them is gone."""

    traces: dict[str, BoundTrace] = field(default_factory=dict)
    events: dict[str, WaitingEvent] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)


def trace_row(trace_id: str) -> str:
    """The key of a trace's row."""
    return TRACE_PREFIX + trace_id


def event_row(number: int) -> str:
    """The key of a waiting event's row. A partition numbers them as they come."""
    return f"{EVENT_PREFIX}{number:0{NUMBER_DIGITS}d}"


def is_trace_row(key: bytes) -> bool:
    """Whether a row of the accounts is a trace's."""
    return key.startswith(TRACE_PREFIX.encode())


def is_event_row(key: bytes) -> bool:
    """Whether a row of the accounts is a waiting event's."""
    return key.startswith(EVENT_PREFIX.encode())
