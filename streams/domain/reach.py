"""Which windows a cycle can look at: those that its facts name, those that time may make due, and
those by which the shares of their costs are found. And which rows of events without a customer.

Whoever holds all rows of a partition needs none of this; the worker reads them from its store.
"""

from collections.abc import Callable, Iterator, Sequence

from schemas import codec
from streams.domain.assigning import ENDED_SEGMENTS_MAX
from streams.domain.attributing import SEGMENTS_MAX
from streams.domain.facts import (
    AdjustmentFact,
    Fact,
    Rejected,
    ReplayFact,
    SignalFact,
    UnassignedFact,
    UsageFact,
    VoidFact,
)
from streams.domain.state import Progress
from streams.domain.unassigned import (
    BOUND,
    WAITING,
    BoundTrace,
    Unbound,
    WaitingEvent,
    event_row,
    trace_row,
)
from streams.domain.windows import (
    CLOSING,
    KEEPING,
    SCOPE,
    TRACE,
    Segment,
    Window,
    Windows,
    links,
    named_by,
    segment_row,
    window_key,
)

Read = Callable[[Sequence[bytes]], Sequence[bytes | None]]
"""The rows of these keys, in their order, None where there is none."""

decode_window = codec.state_codec(Window)[1]
decode_segment = codec.state_codec(Segment)[1]
decode_trace = codec.state_codec(BoundTrace)[1]
decode_event = codec.state_codec(WaitingEvent)[1]


def load_windows(
    facts: Sequence[Fact | Rejected],
    progress: Progress,
    event_time_us: int,
    domain_time_us: int,
    read: Read,
) -> Windows:
    """The windows and segments that a cycle of these facts looks at. The times are those after the
    cycle."""
    found = Windows()
    keys, claimed = _named(facts)
    for queue, first, end, now_us in (
        (CLOSING, progress.closing_from, progress.closing_to, event_time_us),
        (KEEPING, progress.keeping_from, progress.keeping_to, domain_time_us),
    ):
        numbers = range(first, min(end, first + SEGMENTS_MAX))
        for segment in _due(found.segments, queue, numbers, now_us, read):
            keys.update(dict.fromkeys(segment.keys))
            if queue == KEEPING:
                claimed.update(segment.keys)
    seen: set[str] = set()
    while keys:
        seen |= keys.keys()
        # A trace finds the scopes that may claim its costs. A scope is asked for its traces only
        # where a signal comes or goes, else nothing of theirs can change; and before it is dropped.
        keys = {
            key: None
            for window in _windows(found, list(keys), read)
            if window.kind == TRACE or window_key(window.customer_id, SCOPE, window.id) in claimed
            for key in links(window)
            if key not in seen
        }
    return found


def load_unbound(
    facts: Sequence[Fact | Rejected], progress: Progress, unassigned_us: int, read: Read
) -> Unbound:
    """The traces, waiting events and segments that a cycle of these facts looks at. The time is
    that of `unassigned` after the cycle."""
    found = Unbound()
    traces: dict[str, None] = {}
    binding: dict[str, None] = {}
    for fact in facts:
        if isinstance(fact, UnassignedFact):
            key = trace_row(fact.body.trace_id)
            traces[key] = None
            if fact.body.customer_id is not None:
                binding[key] = None
    ending: list[str] = []
    for queue, first, end in (
        (WAITING, progress.waiting_from, progress.waiting_to),
        (BOUND, progress.bound_from, progress.bound_to),
    ):
        numbers = range(first, min(end, first + ENDED_SEGMENTS_MAX))
        for segment in _due(found.segments, queue, numbers, unassigned_us, read):
            if queue == WAITING:
                ending += segment.keys
            else:
                traces.update(dict.fromkeys(segment.keys))
    _load_events(found, ending, read)
    traces.update({trace_row(event.trace_id): None for event in found.events.values()})
    for key, row in zip(traces, read([key.encode() for key in traces]), strict=True):
        if row is not None:
            found.traces[key] = decode_trace(row)
    released = [
        event_row(number)
        for key in binding
        if key in found.traces
        for number, _ in found.traces[key].waiting
    ]
    _load_events(found, [key for key in released if key not in found.events], read)
    return found


def _load_events(found: Unbound, keys: list[str], read: Read) -> None:
    for key, row in zip(keys, read([key.encode() for key in keys]), strict=True):
        if row is not None:
            found.events[key] = decode_event(row)


def _due(
    found: dict[str, Segment], queue: str, numbers: range, now_us: int, read: Read
) -> Iterator[Segment]:
    """The segments of these numbers whose time is over. The first one that stays is found too: the
    fold looks at it."""
    for number in numbers:
        key = segment_row(queue, number)
        (row,) = read([key.encode()])
        assert row is not None, f"segment {key!a} is missing from the tables"
        segment = found[key] = decode_segment(row)
        if segment.due_us > now_us:
            return
        yield segment


def _windows(found: Windows, keys: list[str], read: Read) -> list[Window]:
    windows = []
    for key, row in zip(keys, read([key.encode() for key in keys]), strict=True):
        if row is not None:
            window = found.rows[key] = decode_window(row)
            windows.append(window)
    return windows


def _named(facts: Sequence[Fact | Rejected]) -> tuple[dict[str, None], set[str]]:
    """The keys of the windows that facts name, and of those whose signals they change."""
    keys: dict[str, None] = {}
    claimed: set[str] = set()
    for fact in facts:
        if type(fact) is UsageFact and not (fact.body.trace_id or fact.body.scope_id):
            continue
        if isinstance(fact, ReplayFact):
            fact = fact.inner
        if isinstance(fact, UsageFact | SignalFact | AdjustmentFact | VoidFact):
            body = fact.body
            if body.trace_id or body.scope_id:
                named = named_by(body.customer_id, body.trace_id, body.scope_id)
                keys.update(dict.fromkeys(named))
                if not isinstance(fact, UsageFact | AdjustmentFact):
                    claimed.update(named)
    return keys, claimed
