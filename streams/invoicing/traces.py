"""What a trace, or a scope, cost and who carries it, from the rows that ClickHouse holds.

What is attributed says the table `attributions` alone: nothing here shares anything out. A cost
without a row there is open until its window closes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.domain.invoices.tallies import OUTER_SPAN, TOKEN_CLASSES
from streams.invoicing.draft import pico_of
from streams.ports import Warehouse

SPANS_MAX: Final = 20_000
"""Costs of one report: twice what a window may hold; a scope may have more."""

SIGNALS_MAX: Final = 1_000

SPANS_SQL: Final = f"""
SELECT
    entry_id, adjusted_entry, span_id, parent_span_id, trace_id, scope_id, `partition`,
    toUnixTimestamp64Micro(occurred_at), agent_id, provider, model, source, event_id,
    {" + ".join(TOKEN_CLASSES)}, toString(toDecimal256(cost, 12)), currency, cost_basis, flags
FROM ledger
WHERE customer_id = {{customer:String}} AND kind IN ('usage', 'adjustment') AND {{named}}
ORDER BY occurred_at, generation, sequence
LIMIT {SPANS_MAX + 1}
"""  # noqa: S608 - our own columns

SIGNALS_SQL: Final = """
SELECT
    told.entry_id, signal_name, told.source, told.event_id, told.agent_id,
    told.trace_id, told.scope_id, `partition`,
    toUnixTimestamp64Micro(told.occurred_at), toUnixTimestamp64Micro(told.decided_at),
    quantity, cost_tracing, weight,
    taken.entry_id, toUnixTimestamp64Micro(taken.decided_at), taken.signal_cost, taken.reason,
    without.flag
FROM (SELECT * FROM ledger WHERE customer_id = {customer:String} AND kind = 'signal') AS told
LEFT JOIN
(
    SELECT entry_id, decided_at, signal_entry, signal_cost, note AS reason
    FROM ledger
    WHERE customer_id = {customer:String} AND kind = 'void'
) AS taken ON taken.signal_entry = told.entry_id
LEFT JOIN
(
    SELECT signal_entry, argMax(flags[1], (generation, sequence)) AS flag
    FROM attributions
    WHERE customer_id = {customer:String} AND role = 'signal'
    GROUP BY signal_entry
) AS without ON without.signal_entry = told.entry_id
WHERE {named}
ORDER BY told.occurred_at DESC, told.generation DESC, told.sequence DESC
LIMIT {rows:UInt32}
"""

SHARES_SQL: Final = """
SELECT
    cost_entry, signal_entry, any(signal_name), currency, toString(sum(toDecimal256(amount, 12))),
    groupUniqArrayArray(flags)
FROM attributions
WHERE customer_id = {customer:String} AND role != 'signal' AND {named}
GROUP BY cost_entry, signal_entry, currency
"""

WATERMARK_SQL: Final = """
SELECT toUnixTimestamp64Micro(argMax(watermark, (generation, sequence)))
FROM ledger
WHERE customer_id = '' AND kind = 'cycle' AND `partition` = {partition:UInt32}
"""

Named = tuple[str, dict[str, Any]]
"""A condition on rows, and its parameters."""


@dataclass(frozen=True, slots=True)
class Span:
    """A usage entry, or an adjustment of one; amounts in pico."""

    entry_id: str
    adjusted_entry: str
    span_id: str
    parent_span_id: str
    trace_id: str
    scope_id: str
    partition: int
    at_us: int
    agent_id: str
    provider: str
    model: str
    source: str
    event_id: str
    tokens: int
    cost_pico: int
    currency: str
    cost_basis: str
    flags: tuple[str, ...]

    @property
    def is_outer(self) -> bool:
        """Whether it repeats what calls inside it, or around it, have told, and counts nothing."""
        return OUTER_SPAN in self.flags


@dataclass(frozen=True, slots=True)
class Taken:
    """How a signal was taken back. `cost` is what becomes of what it carried."""

    at_us: int
    cost: str
    reason: str


@dataclass(frozen=True, slots=True)
class Told:
    """A signal. `flag` is what attributions say of it where it carries nothing."""

    entry_id: str
    name: str
    source: str
    event_id: str
    agent_id: str
    trace_id: str
    scope_id: str
    partition: int
    at_us: int
    decided_at_us: int
    quantity: int
    asks: bool
    weight: int
    taken: Taken | None
    flag: str


@dataclass(frozen=True, slots=True)
class Share:
    """What a signal carries of a cost by now, '' for nobody."""

    cost_entry: str
    signal_entry: str
    signal_name: str
    currency: str
    pico: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """A currency of the report: `cost` is the sum of the others, always."""

    cost: int
    carried: int
    unattributed: int
    open: int


@dataclass(frozen=True, slots=True)
class TraceReport:
    """A trace, or a scope (then `trace_id` is empty). `watermark_us` is the event time of its
    partition, by which windows close. `is_cut` says that there is more than is shown."""

    customer_id: str
    trace_id: str
    scope_id: str
    spans: Sequence[Span]
    signals: Sequence[Told]
    shares: Sequence[Share]
    watermark_us: int
    is_cut: bool = False

    def shares_of(self, cost_entry: str) -> list[Share]:
        """Whose a cost is; empty where it is open."""
        return [share for share in self.shares if share.cost_entry == cost_entry]

    def carried_by(self, signal_entry: str) -> dict[str, int]:
        """What a signal carries of what is shown, by currency."""
        found: dict[str, int] = {}
        for share in self.shares:
            if share.signal_entry == signal_entry:
                found[share.currency] = found.get(share.currency, 0) + share.pico
        return found

    def open_costs(self) -> list[Span]:
        """Costs that nothing has been said of yet."""
        closed = {share.cost_entry for share in self.shares}
        return [s for s in self.spans if not s.is_outer and s.entry_id not in closed]

    def totals(self) -> dict[str, Totals]:
        """Sums by currency."""
        costs: dict[str, int] = {}
        for span in self.spans:
            if not span.is_outer:
                costs[span.currency] = costs.get(span.currency, 0) + span.cost_pico
        parts: dict[tuple[str, bool], int] = {}
        for share in self.shares:
            key = (share.currency, bool(share.signal_entry))
            parts[key] = parts.get(key, 0) + share.pico
        found = {}
        for currency, cost in costs.items():
            carried, nobody = parts.get((currency, True), 0), parts.get((currency, False), 0)
            found[currency] = Totals(cost, carried, nobody, cost - carried - nobody)
        return found


def read_trace(warehouse: Warehouse, customer_id: str, trace_id: str) -> TraceReport | None:
    """A trace of a customer, None where no entry names it."""
    return _report(warehouse, customer_id, trace_id, "")


def read_scope(warehouse: Warehouse, customer_id: str, scope_id: str) -> TraceReport | None:
    """A scope of a customer with the traces that have costs of it, None where no entry names it."""
    return _report(warehouse, customer_id, "", scope_id)


def read_signals(warehouse: Warehouse, customer_id: str, named: Named, limit: int) -> list[Told]:
    """Signals of a customer, the latest first."""
    condition, parameters = named
    sql = SIGNALS_SQL.replace("{named}", condition)
    rows = warehouse.query(sql, {"customer": customer_id, "rows": limit, **parameters}).rows
    return [_told(row) for row in rows]


def read_signal(warehouse: Warehouse, customer_id: str, entry_id: str) -> Told | None:
    """One signal, None where there is none of this id."""
    named: Named = ("told.entry_id = {entry:String}", {"entry": entry_id})
    found = read_signals(warehouse, customer_id, named, 1)
    return found[0] if found else None


def read_shares(warehouse: Warehouse, customer_id: str, named: Named) -> list[Share]:
    """What is carried by now, without what has become nothing."""
    condition, parameters = named
    sql = SHARES_SQL.replace("{named}", condition)
    rows = warehouse.query(sql, {"customer": customer_id, **parameters}).rows
    return [
        Share(str(cost), str(signal), str(name), str(currency), pico_of(str(amount)), _texts(flags))
        for cost, signal, name, currency, amount, flags in rows
    ]


def _report(
    warehouse: Warehouse, customer_id: str, trace_id: str, scope_id: str
) -> TraceReport | None:
    key: Named = (
        ("trace_id = {trace:String}", {"trace": trace_id})
        if trace_id
        else ("scope_id = {scope:String}", {"scope": scope_id})
    )
    # Before the entries: what has been said of a cost must be here when the cost is.
    shares = read_shares(warehouse, customer_id, key)
    spans = _spans(warehouse, customer_id, key)
    traces = {trace_id} | {span.trace_id for span in spans}
    scopes = {scope_id} | {span.scope_id for span in spans}
    signals = read_signals(
        warehouse,
        customer_id,
        (
            "(told.trace_id IN {traces:Array(String)} OR told.scope_id IN {scopes:Array(String)})",
            {"traces": sorted(traces - {""}), "scopes": sorted(scopes - {""})},
        ),
        SIGNALS_MAX,
    )
    if not spans and not signals:
        return None
    partition = (spans[0] if spans else signals[0]).partition
    ((watermark,),) = warehouse.query(WATERMARK_SQL, {"partition": partition}).rows
    known = {span.entry_id for span in spans[:SPANS_MAX]}
    return TraceReport(
        customer_id,
        trace_id,
        scope_id,
        spans[:SPANS_MAX],
        signals[::-1],
        [share for share in shares if share.cost_entry in known],
        int(watermark),
        is_cut=len(spans) > SPANS_MAX or len(signals) == SIGNALS_MAX,
    )


def _spans(warehouse: Warehouse, customer_id: str, named: Named) -> list[Span]:
    condition, parameters = named
    sql = SPANS_SQL.replace("{named}", condition)
    rows = warehouse.query(sql, {"customer": customer_id, **parameters}).rows
    found = []
    for row in rows:
        entry_id, adjusted, span_id, parent, trace_id, scope_id, partition, at, *more = row
        agent, provider, model, source, event_id, tokens, cost, currency, basis, flags = more
        found.append(
            Span(
                str(entry_id),
                str(adjusted),
                str(span_id),
                str(parent),
                str(trace_id),
                str(scope_id),
                int(partition),
                int(at),
                str(agent),
                str(provider),
                str(model),
                str(source),
                str(event_id),
                int(tokens),
                pico_of(str(cost)),
                str(currency),
                str(basis),
                _texts(flags),
            )
        )
    return found


def _told(row: Sequence[Any]) -> Told:
    entry_id, name, source, event_id, agent, trace_id, scope_id, partition, at, decided, *more = row
    quantity, asks, weight, void_entry, void_at, void_cost, reason, flag = more
    return Told(
        str(entry_id),
        str(name),
        str(source),
        str(event_id),
        str(agent),
        str(trace_id),
        str(scope_id),
        int(partition),
        int(at),
        int(decided),
        int(quantity),
        bool(asks),
        int(weight),
        Taken(int(void_at), str(void_cost), str(reason)) if void_entry else None,
        str(flag),
    )


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(sorted(str(value) for value in values))


def by_signal(shares: Sequence[Share]) -> dict[str, dict[str, tuple[int, int]]]:
    """What each signal carries: amount and number of costs, by currency. Costs of which nothing is
    left to it are no costs of its."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for share in shares:
        of = found.setdefault(share.signal_entry, {})
        pico, costs = of.get(share.currency, (0, 0))
        of[share.currency] = (pico + share.pico, costs + bool(share.pico))
    return found
