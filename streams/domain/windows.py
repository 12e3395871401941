"""Trace windows: what a trace, or a scope, has cost so far, and which signals claim it.

A cost stands in one window, its home: that of its trace, or of its scope where it has no trace. A
scope's window lists the traces with costs of the scope, so that a signal which claims the scope
finds them. Windows are rows among the accounts, each rewritten whole; what bounds them are the
rules' limits. How entries change them and what follows is `attributing`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.structs import Row, column

TRACE: Final = "trace"
SCOPE: Final = "scope"

ROW_PREFIX: Final = "\0window\0"
"""Before the key of a window's row. No customer's id begins with NUL."""

CLOSING: Final = "\0closing\0"
KEEPING: Final = "\0keeping\0"
"""Before the numbers of the segments of windows that wait to be closed, and to be dropped."""

SEGMENT_KEYS_MAX: Final = 256
"""Windows in one segment: some 25 KB, read whole when its time has come."""


class WindowCost(Row):
    """A cost in its home window. `pico` is signed: an adjustment may take back."""

    entry_id: str
    pico: int = 0
    currency: str = "USD"
    scope_id: str = ""
    """The scope that it can be claimed by beside its trace."""
    span_id: str = ""
    parent_span_id: str = ""


class WindowSignal(Row):
    """A signal that names the window."""

    entry_id: str
    name: str
    weight: int = 1
    claims: bool = False
    """Whether it asks for cost."""
    lapsed: bool = False
    """It was taken back, and what it carried goes to nobody."""


class Window(Row):
    """The row of one trace or scope of one customer."""

    customer_id: str
    kind: str
    id: str
    last_us: int = 0
    """The latest event time of what is in it."""
    closed: bool = False
    costs: list[WindowCost] = column(default_factory=list)
    signals: list[WindowSignal] = column(default_factory=list)
    traces: list[str] = column(default_factory=list)
    """Of a scope: the traces that have costs of it."""
    lost: bool = False
    """Of a scope: one of its traces has been dropped, with what its signals carry there."""


class Segment(Row):
    """Keys of windows, none of which can be due before `due_us`. Segments are numbered and leave in
    the order in which they came."""

    due_us: int
    keys: list[str]


@dataclass(slots=True)
class Windows:
    """The windows and segments that a cycle may look at, changed in place, by row key. What is
    `touched` and in neither is gone."""

    rows: dict[str, Window] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)


def window_key(customer_id: str, kind: str, name: str) -> str:
    """The key of a window's row. The customer's id is free text, so its length stands before it."""
    return f"{ROW_PREFIX}{kind}\0{len(customer_id)}:{customer_id}{name}"


def is_window_row(key: bytes) -> bool:
    """Whether a row of the accounts is a window's."""
    return key.startswith(ROW_PREFIX.encode())


def segment_row(queue: str, number: int) -> str:
    """The key of a segment's row."""
    return f"{queue}{number:016d}"


def home_of(trace_id: str, scope_id: str) -> tuple[str, str] | None:
    """Kind and id of the window where a cost stands, None for a cost that names neither."""
    if trace_id:
        return TRACE, trace_id
    return (SCOPE, scope_id) if scope_id else None


def named_by(customer_id: str, trace_id: str | None, scope_id: str | None) -> list[str]:
    """The keys of the windows that an event names."""
    keys = []
    if trace_id:
        keys.append(window_key(customer_id, TRACE, trace_id))
    if scope_id:
        keys.append(window_key(customer_id, SCOPE, scope_id))
    return keys


def split(pico: int, weights: Sequence[int]) -> list[int]:
    """Parts of an amount in proportion to weights (each at least 1), which sum to it exactly: every
    part is rounded towards zero, and what is left goes to the first ones, a pico-dollar each."""
    total, amount = sum(weights), abs(pico)
    parts = [amount * weight // total for weight in weights]
    for place in range(amount - sum(parts)):
        parts[place] += 1
    return [-part for part in parts] if pico < 0 else parts


def shares(pico: int, claimants: Sequence[WindowSignal]) -> dict[str, int]:
    """What of a cost is whose, by signal entry; '' for nobody's. The amounts sum to the cost."""
    if not claimants:
        return {"": pico}
    found: dict[str, int] = {}
    parts = split(pico, [signal.weight for signal in claimants])
    for signal, part in zip(claimants, parts, strict=True):
        whose = "" if signal.lapsed else signal.entry_id
        found[whose] = found.get(whose, 0) + part
    return found


def claimants(home: Window, scope: Window | None) -> list[WindowSignal]:
    """The signals that claim a cost, each once: those of its home first, then its scope's."""
    found = {signal.entry_id: signal for signal in home.signals if signal.claims}
    if scope is not None:
        for signal in scope.signals:
            if signal.claims:
                found.setdefault(signal.entry_id, signal)
    return list(found.values())


def signal_of(window: Window | None, entry_id: str) -> WindowSignal | None:
    """The signal of an entry in a window, None where it is not there."""
    signals = () if window is None else window.signals
    return next((one for one in signals if one.entry_id == entry_id), None)


def repeats(window: Window | None, span_id: str, parent_span_id: str) -> bool:
    """Whether the usage of a span has been counted already: by the call inside it, or by the span
    right around it. Either way counting it would count the same tokens twice."""
    if window is None:
        return False
    for cost in window.costs:
        if cost.parent_span_id == span_id or (cost.span_id and cost.span_id == parent_span_id):
            return True
    return False


def links(window: Window) -> Iterable[str]:
    """The keys of the windows by which the shares of a window's costs are found: the scopes of a
    trace, the traces of a scope."""
    if window.kind == SCOPE:
        return (window_key(window.customer_id, TRACE, trace) for trace in window.traces)
    scopes = dict.fromkeys(cost.scope_id for cost in window.costs if cost.scope_id)
    return (window_key(window.customer_id, SCOPE, scope) for scope in scopes)
