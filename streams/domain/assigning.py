"""Whose events without a customer are: what each record of `unassigned` changes, what is passed on
to customers, and what has waited in vain (K4).

The first binding of a trace by offset counts. An event whose trace has a customer is passed on at
once, any other waits: until there is one, or until the time of the rules is over. All of that goes
by append times of the topic alone, so that it depends neither on how cycles are cut nor on what
else lies in the log (decision 024); when rows are dropped decides nothing.
"""

from typing import Final

from schemas import codec
from schemas.errors import RejectCode
from schemas.topics import UNASSIGNED
from streams.domain.context import Context
from streams.domain.facts import Rejected, SourceRecord, UnassignedFact
from streams.domain.nameless import Forward, forward_of
from streams.domain.state import PartitionState
from streams.domain.unassigned import (
    BOUND,
    NUMBER_DIGITS,
    WAITING,
    BoundTrace,
    WaitingEvent,
    event_row,
    trace_row,
)
from streams.domain.windows import SEGMENT_KEYS_MAX, Segment, segment_row

ENDED_SEGMENTS_MAX: Final = 4
"""Segments of a queue that one cycle ends: a thousand events, usually half a megabyte of dead
letters. The next cycle goes on."""


class Assigning:
    """The records of `unassigned` of one cycle. Give it every one, then finish."""

    def __init__(self, state: PartitionState, context: Context) -> None:
        self.bindings = 0
        self.forwards: list[Forward] = []
        self.waited = state.progress.waiting
        """How many events waited before the cycle."""
        self._progress = state.progress
        self._rows = state.unbound
        self._context = context
        self._began: dict[str, None] = {}
        self._bound: list[str] = []
        self._ended: list[Rejected] = []

    def take(self, fact: UnassignedFact) -> Rejected | None:
        """Folds one record. Returns its refusal, where it is refused."""
        key, record = trace_row(fact.body.trace_id), fact.record
        trace = self._rows.traces.get(key)
        customer_id = "" if trace is None else self._customer_of(trace, record)
        if trace is None:
            trace = BoundTrace(fact.body.trace_id)
        if fact.body.customer_id is not None:
            return self._bind(fact, trace, customer_id, fact.body.customer_id)
        if customer_id:
            self.forwards.append(forward_of(fact.body, customer_id))
        else:
            count = sum(not self._is_over(since_us, record) for _, since_us in trace.waiting)
            if count >= self._context.unassigned_max:
                return Rejected(
                    record,
                    RejectCode.TOO_MANY_WAITING,
                    f"{count} events of the trace wait for a customer, the most that the rules "
                    "allow; name the customer on a span of the trace",
                    "customer_id",
                )
            trace.customer_id = ""
            self._wait(trace, record)
        self._touch(trace, record)
        return None

    def _customer_of(self, trace: BoundTrace, record: SourceRecord) -> str:
        """Whose the trace is when a record about it comes: nobody's again, where it has not been
        heard of for so long that it may have been dropped."""
        forgotten = trace.last_us + self._context.window_us <= record.appended_at_us
        return "" if forgotten else trace.customer_id

    def _is_over(self, since_us: int, record: SourceRecord) -> bool:
        """Whether an event had waited its time when a record came: then its customer, if that is
        who comes, comes too late, in the same cycle or in a later one."""
        return since_us + self._context.unassigned_us <= record.appended_at_us

    def _bind(
        self, fact: UnassignedFact, trace: BoundTrace, known: str, customer_id: str
    ) -> Rejected | None:
        if known and known != customer_id:
            return Rejected(
                fact.record,
                RejectCode.OTHER_CUSTOMER,
                "another customer was named for the trace before, and its events are that one's; "
                "give the work of each customer a trace of its own",
                "customer_id",
            )
        if not known:
            self._release(fact, trace, customer_id)
        self.bindings += 1
        self._touch(trace, fact.record)
        return None

    def _release(self, fact: UnassignedFact, trace: BoundTrace, customer_id: str) -> None:
        """Passes on what waits for the customer that a record names, and ends what has waited too
        long for it."""
        over: list[str] = []
        ready: list[str] = []
        for number, since_us in trace.waiting:
            row = event_row(number)
            (over if self._is_over(since_us, fact.record) else ready).append(row)
        events = self._rows.events
        # All of them are made before anything is changed: a fault refuses this record alone.
        self.forwards += [
            forward_of(codec.decode_unassigned(events[row].value), customer_id) for row in ready
        ]
        self._ended += [self._letter(events[row]) for row in over]
        for row in (*over, *ready):
            self._forget(row)
        trace.waiting, trace.customer_id = [], customer_id
        if not trace.kept:
            trace.kept = True
            self._bound.append(trace_row(trace.trace_id))

    def _wait(self, trace: BoundTrace, record: SourceRecord) -> None:
        assert record.value is not None, "an event without bytes is no fact"
        number = self._progress.next_waiting
        row = event_row(number)
        self._progress.next_waiting = number + 1
        self._progress.waiting += 1
        self._rows.events[row] = WaitingEvent(
            trace.trace_id, record.offset, record.appended_at_us, record.value
        )
        self._rows.touched.add(row)
        trace.waiting.append((number, record.appended_at_us))
        self._began[row] = None

    def _forget(self, row: str) -> None:
        self._progress.waiting -= 1
        del self._rows.events[row]
        if row in self._began:
            # The table has never had it.
            del self._began[row]
            self._rows.touched.discard(row)
        else:
            self._rows.touched.add(row)

    def _touch(self, trace: BoundTrace, record: SourceRecord) -> None:
        key = trace_row(trace.trace_id)
        trace.last_us = max(trace.last_us, record.appended_at_us)
        self._rows.traces[key] = trace
        self._rows.touched.add(key)

    # --- what time ends ------------------------------------------------------------------------

    def finish(self) -> list[Rejected]:
        """Ends what is due and lets what came wait its time. Returns the events that waited in
        vain."""
        progress, rows = self._progress, self._rows
        first = progress.waiting_from
        for segment in self._due(WAITING, first, progress.waiting_to):
            progress.waiting_from += 1
            for row in segment.keys:
                self._end_event(row)
        limited = progress.waiting_from - first == ENDED_SEGMENTS_MAX
        for segment in self._due(BOUND, progress.bound_from, progress.bound_to):
            progress.bound_from += 1
            for key in segment.keys:
                self._pass_trace(key)
        for piece in _pieces(list(self._began)):
            due_us = max(rows.events[row].appended_us for row in piece)
            self._put(WAITING, progress.waiting_to, piece, due_us + self._context.unassigned_us)
            progress.waiting_to += 1
        # A trace that ended while it was kept, and came again, may stand in two segments.
        for piece in _pieces([key for key in dict.fromkeys(self._bound) if key in rows.traces]):
            due_us = max(rows.traces[key].last_us for key in piece)
            self._put(BOUND, progress.bound_to, piece, due_us + self._context.window_us)
            progress.bound_to += 1
        progress.waiting_due_us = self._next_due_us(limited=limited)
        return self._ended

    def _due(self, queue: str, first: int, end: int) -> list[Segment]:
        """The segments whose time is over, the oldest first, taken out."""
        found: list[Segment] = []
        for number in range(first, min(end, first + ENDED_SEGMENTS_MAX)):
            key = segment_row(queue, number)
            if self._rows.segments[key].due_us > self._progress.unassigned_us:
                break
            found.append(self._rows.segments.pop(key))
            self._rows.touched.add(key)
        return found

    def _end_event(self, row: str) -> None:
        """Ends an event that waited in vain, if it was not passed on."""
        event = self._rows.events.get(row)
        if event is None:
            return
        self._ended.append(self._letter(event))
        self._forget(row)
        key, number = trace_row(event.trace_id), int(row[-NUMBER_DIGITS:])
        trace = self._rows.traces[key]
        trace.waiting = [one for one in trace.waiting if one[0] != number]
        if not trace.waiting:
            del self._rows.traces[key]
        self._rows.touched.add(key)

    def _letter(self, event: WaitingEvent) -> Rejected:
        source = SourceRecord(
            UNASSIGNED.name, event.offset, event.appended_us, event.trace_id.encode(), event.value
        )
        seconds = self._context.unassigned_us // 1_000_000
        return Rejected(
            source,
            RejectCode.NO_CUSTOMER,
            f"no span of the trace named a customer within {seconds} s; send the event to its own "
            "topic under its customer, with the id that it has",
            "customer_id",
        )

    def _pass_trace(self, key: str) -> None:
        """Drops a trace that nobody has mentioned for the window's time; any other waits on."""
        trace = self._rows.traces.get(key)
        if trace is None:
            return
        if not trace.customer_id:
            # Nobody's again, and it goes with its last event.
            trace.kept = False
        elif trace.last_us + self._context.window_us > self._progress.unassigned_us:
            self._bound.append(key)
            return
        else:
            del self._rows.traces[key]
        self._rows.touched.add(key)

    def _put(self, queue: str, number: int, keys: list[str], due_us: int) -> None:
        key = segment_row(queue, number)
        self._rows.segments[key] = Segment(due_us, keys)
        self._rows.touched.add(key)

    def _next_due_us(self, *, limited: bool) -> int:
        """When the first segment of waiting events ends, 0 where none waits. Where as many have
        ended as one cycle may, the next is due now for all that is known."""
        progress = self._progress
        if progress.waiting_from == progress.waiting_to:
            return 0
        if limited:
            return progress.unassigned_us
        return self._rows.segments[segment_row(WAITING, progress.waiting_from)].due_us


def _pieces(keys: list[str]) -> list[list[str]]:
    return [keys[at : at + SEGMENT_KEYS_MAX] for at in range(0, len(keys), SEGMENT_KEYS_MAX)]
