"""Whose cost it is: what each entry of the ledger changes in the windows that it names, and the
rows of `attributions` that follow.

A window is quiet until it closes: then every cost in it is shared out among the signals that claim
it. What comes later changes the shares of the costs concerned, and the differences are rows, so
that the sums over rows are right at every moment. When a window closes therefore decides how many
rows there are, and never what they sum to (decision 023).
"""

from typing import Final

from schemas.envelope import SCHEMA_VERSION
from schemas.money import format_amount, parse_signed_amount
from schemas.structs import (
    AdjustmentEntry,
    Attribution,
    LedgerEntry,
    SignalEntry,
    UsageEntry,
    VoidEntry,
)
from streams.domain.context import Context
from streams.domain.entries import Position
from streams.domain.holding import touch_account
from streams.domain.invoices.tallies import OUTER_SPAN
from streams.domain.ledger import cycle_id
from streams.domain.state import PartitionState
from streams.domain.windows import (
    CLOSING,
    KEEPING,
    SCOPE,
    SEGMENT_KEYS_MAX,
    TRACE,
    Segment,
    Window,
    WindowCost,
    WindowSignal,
    claimants,
    home_of,
    links,
    segment_row,
    shares,
    signal_of,
    window_key,
)

SEGMENTS_MAX: Final = 4
"""Segments of a queue that one cycle looks through: a thousand windows, a few milliseconds."""

ROWS_MAX: Final = 20_000
"""Rows after which a cycle closes no further window: some 6 MB of its transaction."""

SPLIT: Final = "split_between_signals"
LATE: Final = "late"
FULL: Final = "window_full"
VOIDED: Final = "voided"
NO_COST: Final = "no_cost"
"""Nothing that costs was seen in what the signal names: no wrapper, or no customer on its spans."""
TRACING_OFF: Final = "cost_tracing_off"
"""There is cost that nobody claims, and this signal did not ask for it."""
NO_TRACE: Final = "no_trace"
"""It asks for cost and names neither trace nor scope."""
WINDOW_GONE: Final = "window_gone"
"""Too long ago: what it carried cannot be found any more, and stays with it."""

Shares = dict[str, int]


class Attributing:
    """The attributions of one cycle. Give it every entry after it has been evolved, then finish."""

    def __init__(self, state: PartitionState, context: Context, position: Position) -> None:
        self.rows: list[Attribution] = []
        self._state = state
        self._windows = state.windows
        self._context = context
        self._position = position
        self._cause = cycle_id(position.generation, position.partition, position.cycle)
        self._opened: list[str] = []
        self._closed: list[str] = []
        self._names: dict[str, str] = {}

    def take(self, entry: LedgerEntry) -> None:
        """Folds one entry into the windows that it names."""
        kind = type(entry)
        if kind is UsageEntry:
            assert isinstance(entry, UsageEntry)
            if (entry.trace_id or entry.scope_id) and OUTER_SPAN not in entry.flags:
                self._take_cost(entry)
        elif isinstance(entry, SignalEntry):
            self._take_signal(entry)
        elif isinstance(entry, AdjustmentEntry):
            if entry.trace_id or entry.scope_id:
                self._take_cost(entry)
        elif isinstance(entry, VoidEntry):
            self._take_void(entry)

    # --- what comes ----------------------------------------------------------------------------

    def _take_cost(self, entry: UsageEntry | AdjustmentEntry) -> None:
        named = home_of(entry.trace_id, entry.scope_id)
        assert named is not None, "asked before"
        home = self._open(entry.customer_id, *named, entry.occurred_at)
        spans = ("", "")
        if isinstance(entry, UsageEntry) and entry.cost_basis != "none":
            # A call that told no usage takes it from nobody: the span around it may know it.
            spans = (entry.span_id, entry.parent_span_id)
        cost = WindowCost(
            entry.entry_id,
            parse_signed_amount(entry.cost),
            entry.currency,
            entry.scope_id if entry.trace_id else "",
            *spans,
        )
        full = len(home.costs) >= self._context.window_costs_max
        if full or (cost.scope_id and not self._join_scope(home, cost, entry.occurred_at)):
            self._emit(home, cost, None, {"": cost.pico}, entry.entry_id, [FULL])
            return
        home.costs.append(cost)
        if home.closed:
            found = self._claimants(home, cost)
            self._emit(home, cost, None, found, entry.entry_id, [LATE])

    def _join_scope(self, home: Window, cost: WindowCost, occurred_us: int) -> bool:
        """Lets the scope of a cost know its trace. False where the scope is full."""
        scope = self._open(home.customer_id, SCOPE, cost.scope_id, occurred_us)
        if home.id in scope.traces:
            return True
        if len(scope.traces) >= self._context.window_costs_max:
            return False
        scope.traces.append(home.id)
        return True

    def _take_signal(self, entry: SignalEntry) -> None:
        if not entry.trace_id and not entry.scope_id:
            if entry.cost_tracing:
                self._mention(entry, NO_TRACE)
            return
        for kind, name in ((TRACE, entry.trace_id), (SCOPE, entry.scope_id)):
            if not name:
                continue
            window = self._open(entry.customer_id, kind, name, entry.occurred_at)
            if len(window.signals) >= self._context.window_signals_max:
                self._mention(entry, FULL)
                continue
            before = self._shares_now(window) if entry.cost_tracing else []
            signal = WindowSignal(
                entry.entry_id, entry.signal_name, entry.weight, claims=entry.cost_tracing
            )
            window.signals.append(signal)
            self._emit_changes(before, entry.entry_id, [LATE])
            if window.closed:
                self._explain(window, signal, entry.entry_id, [LATE])

    def _take_void(self, entry: VoidEntry) -> None:
        gone = False
        for kind, name in ((TRACE, entry.trace_id), (SCOPE, entry.scope_id)):
            if not name:
                continue
            window = self._windows.rows.get(window_key(entry.customer_id, kind, name))
            signal = signal_of(window, entry.signal_entry)
            if window is None or signal is None:
                gone = True
            else:
                gone = gone or window.lost
                self._end_signal(window, signal, entry)
        if gone:
            self._mention(entry, WINDOW_GONE)

    def _end_signal(self, window: Window, signal: WindowSignal, entry: VoidEntry) -> None:
        before = self._shares_now(window) if signal.claims else []
        if entry.signal_cost == "move" or not signal.claims:
            window.signals.remove(signal)
        else:
            signal.lapsed = True
        self._touch(window)
        self._emit_changes(before, entry.entry_id, [VOIDED])

    # --- what time makes due -------------------------------------------------------------------

    def finish(self) -> None:
        """Closes and drops what is due, and lets what was opened wait its time."""
        progress, context = self._state.progress, self._context
        progress.closing_from = self._pass(
            CLOSING, progress.closing_from, progress.closing_to, progress.event_time_us
        )
        progress.keeping_from = self._pass(
            KEEPING, progress.keeping_from, progress.keeping_to, progress.domain_time_us
        )
        progress.closing_to = self._wait(
            CLOSING, progress.closing_to, self._opened, context.quiet_us
        )
        progress.keeping_to = self._wait(
            KEEPING, progress.keeping_to, self._closed, context.window_us
        )

    def _pass(self, queue: str, first: int, end: int, now_us: int) -> int:
        """Looks through the segments that are due, the oldest first; the number of the first that
        stays."""
        segments = self._windows.segments
        for number in range(first, min(end, first + SEGMENTS_MAX)):
            key = segment_row(queue, number)
            segment = segments[key]
            if segment.due_us > now_us:
                return number
            for place, row in enumerate(segment.keys):
                if len(self.rows) >= ROWS_MAX:
                    segment.keys = segment.keys[place:]
                    self._windows.touched.add(key)
                    return number
                window = self._windows.rows.get(row)
                if window is not None:
                    self._pass_window(queue, row, window, now_us)
            del segments[key]
            self._windows.touched.add(key)
        return min(end, first + SEGMENTS_MAX)

    def _pass_window(self, queue: str, key: str, window: Window, now_us: int) -> None:
        if queue == CLOSING:
            if window.last_us + self._context.quiet_us > now_us:
                self._opened.append(key)
            else:
                self._close(key, window)
            return
        # A scope stays as long as any of its traces: what its signals carry there comes from it.
        traces = self._traces(window)
        window.last_us = max(window.last_us, *(trace.last_us for trace in traces), 0)
        self._windows.touched.add(key)
        if traces or window.last_us + self._context.window_us > now_us:
            self._closed.append(key)
        else:
            self._drop(key, window)

    def _wait(self, queue: str, number: int, keys: list[str], after_us: int) -> int:
        """Lets windows wait until so long after their last events: together, so that the first of
        them may wait as long again. The number of the segment to come."""
        rows = self._windows.rows
        for begin in range(0, len(keys), SEGMENT_KEYS_MAX):
            key, piece = segment_row(queue, number), keys[begin : begin + SEGMENT_KEYS_MAX]
            due_us = max(rows[row].last_us for row in piece) + after_us
            self._windows.segments[key] = Segment(due_us, piece)
            self._windows.touched.add(key)
            number += 1
        return number

    def _drop(self, key: str, window: Window) -> None:
        del self._windows.rows[key]
        if window.kind != TRACE:
            return
        for scope_key in links(window):
            scope = self._windows.rows.get(scope_key)
            if scope is not None and window.id in scope.traces:
                scope.traces.remove(window.id)
                scope.lost = True
                self._windows.touched.add(scope_key)

    def _close(self, key: str, window: Window) -> None:
        window.closed = True
        self._touch(window)
        self._closed.append(key)
        touch_account(self._state, window.customer_id).windows -= 1
        for cost in window.costs:
            self._emit(window, cost, None, self._claimants(window, cost), self._cause, [])
        for signal in window.signals:
            self._explain(window, signal, self._cause, [])

    # --- windows -------------------------------------------------------------------------------

    def _open(self, customer_id: str, kind: str, name: str, occurred_us: int) -> Window:
        """The window, made where there is none, and touched."""
        key = window_key(customer_id, kind, name)
        window = self._windows.rows.get(key)
        if window is None:
            window = self._windows.rows[key] = Window(customer_id, kind, name)
            account = touch_account(self._state, customer_id)
            if account.windows >= self._context.windows_open_max:
                # Closing early costs rows and changes no sum.
                window.closed = True
                self._closed.append(key)
            else:
                account.windows += 1
                self._opened.append(key)
        if occurred_us > window.last_us:
            window.last_us = occurred_us
        self._windows.touched.add(key)
        return window

    def _touch(self, window: Window) -> None:
        self._windows.touched.add(window_key(window.customer_id, window.kind, window.id))

    def _claimants(self, home: Window, cost: WindowCost) -> Shares:
        scope = None
        if cost.scope_id:
            key = window_key(home.customer_id, SCOPE, cost.scope_id)
            scope = self._windows.rows.get(key)
        found = claimants(home, scope)
        for signal in found:
            self._names[signal.entry_id] = signal.name
        return shares(cost.pico, found)

    def _traces(self, window: Window) -> list[Window]:
        """The traces of a scope that have not been dropped."""
        keys = (window_key(window.customer_id, TRACE, trace) for trace in window.traces)
        return [home for home in map(self._windows.rows.get, keys) if home is not None]

    def _shares_now(self, window: Window) -> list[tuple[Window, WindowCost, Shares]]:
        """The costs that the signals of a window can claim and that have been shared out."""
        return [
            (home, cost, self._claimants(home, cost))
            for home in [window, *self._traces(window)]
            if home.closed
            for cost in home.costs
            if home is window or cost.scope_id == window.id
        ]

    # --- rows ----------------------------------------------------------------------------------

    def _emit_changes(
        self, before: list[tuple[Window, WindowCost, Shares]], cause: str, flags: list[str]
    ) -> None:
        for home, cost, old in before:
            self._emit(home, cost, old, self._claimants(home, cost), cause, flags)

    def _emit(
        self,
        home: Window,
        cost: WindowCost,
        old: Shares | None,
        new: Shares,
        cause: str,
        flags: list[str],
    ) -> None:
        """Rows for what changed in the shares of a cost; all of them where it had none."""
        if len(new) > 1:
            flags = [SPLIT, *flags]
        for whose in dict.fromkeys([*(old or ()), *new]):
            amount = new.get(whose, 0) - (old or {}).get(whose, 0)
            if amount or old is None:
                self._append(
                    role="share" if whose else "unattributed",
                    customer_id=home.customer_id,
                    trace_id=home.id if home.kind == TRACE else "",
                    scope_id=cost.scope_id if home.kind == TRACE else home.id,
                    cause=cause,
                    cost_entry=cost.entry_id,
                    signal_entry=whose,
                    signal_name=self._names.get(whose, ""),
                    amount=format_amount(amount),
                    currency=cost.currency,
                    flags=flags,
                )

    def _explain(self, window: Window, signal: WindowSignal, cause: str, flags: list[str]) -> None:
        """Says why a signal of a closed window carries nothing, where it does not."""
        has_cost = bool(window.costs or window.traces)
        if signal.claims == has_cost or signal.lapsed:
            return
        if has_cost and any(one.claims for one in window.signals):
            return
        if not has_cost and not signal.claims:
            return
        self._append(
            role="signal",
            customer_id=window.customer_id,
            trace_id=window.id if window.kind == TRACE else "",
            scope_id=window.id if window.kind == SCOPE else "",
            cause=cause,
            signal_entry=signal.entry_id,
            signal_name=signal.name,
            flags=[TRACING_OFF if has_cost else NO_COST, *flags],
        )

    def _mention(self, entry: SignalEntry | VoidEntry, flag: str) -> None:
        self._append(
            role="signal",
            customer_id=entry.customer_id,
            trace_id=entry.trace_id,
            scope_id=entry.scope_id,
            cause=entry.entry_id,
            signal_entry=entry.signal_entry if isinstance(entry, VoidEntry) else entry.entry_id,
            signal_name=entry.signal_name,
            flags=[flag],
        )

    def _append(self, **told: object) -> None:
        position, progress = self._position, self._state.progress
        sequence = progress.next_attribution
        progress.next_attribution = sequence + 1
        self.rows.append(
            Attribution(
                schema_version=SCHEMA_VERSION,
                entry_id=f"{position.generation}-attribution-{position.partition}-{sequence}",
                generation=position.generation,
                partition=position.partition,
                sequence=sequence,
                cycle=position.cycle,
                decided_at=position.decided_at_us,
                **told,  # type: ignore[arg-type]
            )
        )
