"""Sums of many customers' entries in few queries: what invoices are priced from.

The SQL says what `streams.domain.invoices.tallies.tally` says of the same entries; a property test
compares the two over random ledgers. Every figure is exact: amounts are summed in Decimal(76, 12)
and counts in 128 bits, because narrower sums wrap without a word.

A span is a row of its own query's parameters, and an entry counts in each span of its customer that
it falls into. Entries are found by the table's order (customer, kind, time), so what a batch costs
is what its customers have, not what the table has.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from streams.domain.invoices.tallies import (
    OUTER_SPAN,
    TOKEN_CLASSES,
    Figures,
    Place,
    Tally,
    TallyKey,
)
from streams.invoicing.asof import WITHIN_CUT, Cut
from streams.invoicing.draft import pico_of
from streams.ports import Warehouse

END_OF_LEDGER: Final[Place] = (2**32 - 1, 2**64 - 1)
"""A cut behind every entry: that of a draft."""

SPANS_AT_ONCE: Final = 1_000
"""Spans of one query."""

BYTES_AT_ONCE: Final = 60_000
"""Bytes of customer ids, and of edges, of one query: each is one parameter, which a server bounds
to 128 KiB, and ids may grow to twice their bytes by escapes."""

EDGE_BYTES: Final = 20
"""Of a time as text, and what stands around it."""

ONE_CUSTOMER: Final = "\nSETTINGS optimize_move_to_prewhere = 0"
"""Of a query about one customer, whose rows the table's order finds: nearly all that is read
counts, and to plan which columns to read first takes a seventh of the query."""


@dataclass(frozen=True, slots=True)
class CustomerSpan:
    """Entries of one customer with event times in [from_us, to_us) whose place is at most `cut`."""

    customer_id: str
    from_us: int
    to_us: int
    cut: Place


@dataclass(frozen=True, slots=True)
class LateAsk:
    """Which earlier periods of a customer have entries with `after` < place <= `cut`.

    `edges` ascend: where each period begins that has been closed before, and last where the one
    that is closed now begins.
    """

    customer_id: str
    after: Place
    cut: Place
    edges: tuple[int, ...]


_SUMMED: Final = (
    "units",
    "covered_units",
    *TOKEN_CLASSES,
    "missing_tokens",
    "covered_tokens",
)
"""Counts of usage entries, called alike in the ledger and in Figures, in the order of Figures."""

_COUNTED: Final = "kind IN ('usage', 'adjustment', 'signal', 'void')"

_TOLD: Final = "kind IN ('signal', 'void')"

_OF_CUSTOMER: Final = (
    "transform(customer_id, {customers:Array(String)}, {numbers:Array(UInt32)}, toUInt32(0))"
)
"""The place of a row's customer among the parameters, from 1 on."""


TALLIES_SQL: Final = f"""
SELECT
    number,
    if({_TOLD}, '', toString(provider)) AS of_provider,
    if({_TOLD}, '', toString(model)) AS of_model,
    {{agent}} AS of_agent,
    if({_TOLD}, toString(signal_name), '') AS of_signal,
    if({_TOLD}, '', toString(currency)) AS of_currency,
    arrayStringConcat([
        toString(countIf(kind = 'usage' AND NOT has(flags, '{OUTER_SPAN}'))),
        {", ".join(f"toString(sumIf(toUInt128({name}), kind = 'usage'))" for name in _SUMMED)},
        toString(sumIf(toDecimal256(cost, 12), NOT {_TOLD})),
        toString(
            toInt64(countIf(kind = 'usage' AND cost_basis = 'unpriced'))
            - toInt64(countIf(kind = 'adjustment' AND was_unpriced))
        ),
        toString(sumIf(if(kind = 'signal', toInt256(quantity), -toInt256(quantity)), {_TOLD}))
    ], ' '),
    groupUniqArrayIf(toString(price_version), price_version != '' AND NOT {_TOLD})
FROM
(
    SELECT
        kind, provider, model, agent_id, signal_name, currency, flags, {", ".join(_SUMMED)},
        cost, cost_basis, price_version, was_unpriced, quantity, occurred_at, generation, sequence,
        {_OF_CUSTOMER} AS customer_number,
        arrayJoin(range(
            {{firsts:Array(UInt32)}}[customer_number], {{ends:Array(UInt32)}}[customer_number]
        )) AS number
    FROM ledger
    WHERE customer_id IN {{customers:Array(String)}}
      AND {_COUNTED}
      AND occurred_at >= fromUnixTimestamp64Micro({{earliest:Int64}}, 'UTC')
      AND occurred_at < fromUnixTimestamp64Micro({{latest:Int64}}, 'UTC')
      {{within}}
)
WHERE toUnixTimestamp64Micro(occurred_at) >= {{froms:Array(Int64)}}[number]
  AND toUnixTimestamp64Micro(occurred_at) < {{tos:Array(Int64)}}[number]
  AND (generation, sequence)
      <= ({{generations:Array(UInt32)}}[number], {{sequences:Array(UInt64)}}[number])
GROUP BY number, of_provider, of_model, of_agent, of_signal, of_currency
"""  # noqa: S608 - column names of ours

# The first condition on places follows from the second one, and lets the index on places tell
# what was decided before any of the cuts; as a comparison of pairs it would not.
LATE_SQL: Final = f"""
SELECT number, groupUniqArray(period)
FROM
(
    SELECT
        {_OF_CUSTOMER} AS number,
        arrayCount(
            edge -> edge <= toUnixTimestamp64Micro(occurred_at),
            {{edges:Array(Array(Int64))}}[number]
        ) AS period
    FROM ledger
    WHERE customer_id IN {{customers:Array(String)}}
      AND {_COUNTED}
      AND occurred_at < fromUnixTimestamp64Micro({{latest:Int64}}, 'UTC')
      AND (generation > {{least_generation:UInt32}} OR sequence > {{least_sequence:UInt64}})
      AND period < length({{edges:Array(Array(Int64))}}[number])
      AND (generation, sequence) > (
          {{after_generations:Array(UInt32)}}[number], {{after_sequences:Array(UInt64)}}[number]
      )
      AND (generation, sequence)
          <= ({{generations:Array(UInt32)}}[number], {{sequences:Array(UInt64)}}[number])
      {{within}}
)
GROUP BY number
"""  # noqa: S608 - column names of ours

One = TypeVar("One", CustomerSpan, LateAsk)


def tallies(
    warehouse: Warehouse,
    spans: Sequence[CustomerSpan],
    as_of: Cut | None = None,
    *,
    by_agent: bool = True,
) -> list[Tally]:
    """The tally of each span, in their order; empty where nothing falls into it.

    With `as_of`, only entries up to those marks count, so that several queries of a draft agree on
    what is there. Without `by_agent` the sums are of all agents together, under the agent "": a
    fraction of the rows where no rate card asks for agents.
    """
    found: list[Tally] = [{} for _ in spans]
    keys: dict[tuple[str, ...], TallyKey] = {}
    sql = _within(TALLIES_SQL, as_of).replace("{agent}", "toString(agent_id)" if by_agent else "''")
    marks = {} if as_of is None else as_of.parameters()
    for places in _batches(spans):
        parameters = _span_parameters([spans[place] for place in places]) | marks
        for number, *named, figures, books in _ask(warehouse, sql, parameters):
            name = tuple(named)
            key = keys.get(name)
            if key is None:
                key = keys[name] = TallyKey(*named)
            found[places[number - 1]][key] = _figures(figures, frozenset(books))
    return found


def late_periods(
    warehouse: Warehouse, asks: Sequence[LateAsk], as_of: Cut | None = None
) -> list[tuple[int, ...]]:
    """For each ask, in their order, the earlier periods in which something is late.

    A period is the number of edges at or before its entries: 0 for what happened before the first
    period that was ever closed, n for [edges[n - 1], edges[n]). At most one ask for a customer.
    """
    found: list[tuple[int, ...]] = [() for _ in asks]
    sql = _within(LATE_SQL, as_of)
    marks = {} if as_of is None else as_of.parameters()
    for places in _batches(asks):
        parameters = _ask_parameters([asks[place] for place in places]) | marks
        for number, periods in _ask(warehouse, sql, parameters):
            found[places[number - 1]] = tuple(sorted(map(int, periods)))
    return found


def _ask(warehouse: Warehouse, sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    alone = len(parameters["customers"]) == 1
    return warehouse.query(sql + ONE_CUSTOMER if alone else sql, parameters).rows


def _within(sql: str, as_of: Cut | None) -> str:
    return sql.replace("{within}", "" if as_of is None else f"AND {WITHIN_CUT}")


def _batches(wanted: Sequence[One]) -> Iterator[list[int]]:
    """Places in `wanted`, those of one customer side by side, in batches that one query takes.

    Customers in order lie side by side in the table as well, so a query reads few parts of it."""
    places = sorted(range(len(wanted)), key=lambda place: wanted[place].customer_id)
    batch: list[int] = []
    size = 0
    for place in places:
        grows = _size(wanted[place])
        if batch and (len(batch) == SPANS_AT_ONCE or size + grows > BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += grows
    if batch:
        yield batch


def _size(one: CustomerSpan | LateAsk) -> int:
    """Bytes in the larger of the parameters that grow with what is asked, quotes among them."""
    of_id = len(one.customer_id.encode()) + 3
    return max(of_id, EDGE_BYTES * len(one.edges)) if isinstance(one, LateAsk) else of_id


def _span_parameters(batch: Sequence[CustomerSpan]) -> dict[str, Any]:
    """Parameters of TALLIES_SQL; the spans of one customer lie side by side in `batch`."""
    customers: list[str] = []
    firsts: list[int] = []
    for number, span in enumerate(batch, 1):
        if not customers or customers[-1] != span.customer_id:
            customers.append(span.customer_id)
            firsts.append(number)
    return {
        "customers": customers,
        "numbers": list(range(1, len(customers) + 1)),
        "firsts": firsts,
        "ends": [*firsts[1:], len(batch) + 1],
        "froms": [span.from_us for span in batch],
        "tos": [span.to_us for span in batch],
        "earliest": min(span.from_us for span in batch),
        "latest": max(span.to_us for span in batch),
        **_places("", [span.cut for span in batch]),
    }


def _ask_parameters(batch: Sequence[LateAsk]) -> dict[str, Any]:
    """Parameters of LATE_SQL."""
    least = min(ask.after for ask in batch)
    return {
        "customers": [ask.customer_id for ask in batch],
        "numbers": list(range(1, len(batch) + 1)),
        "edges": [list(ask.edges) for ask in batch],
        "latest": max((ask.edges[-1] for ask in batch if ask.edges), default=0),
        "least_generation": least[0],
        "least_sequence": least[1],
        **_places("after_", [ask.after for ask in batch]),
        **_places("", [ask.cut for ask in batch]),
    }


def _places(prefix: str, places: Sequence[Place]) -> dict[str, list[int]]:
    return {
        f"{prefix}generations": [generation for generation, _ in places],
        f"{prefix}sequences": [sequence for _, sequence in places],
    }


def _figures(text: str, price_versions: frozenset[str]) -> Figures:
    """Figures in the order of TALLIES_SQL. As one text, because a million rows of fifteen wide
    integers take longer to read than to sum."""
    *counts, cost, unpriced, signals = text.split(" ")
    # By place: names of fields would double the time of a million rows.
    return Figures(  # type: ignore[call-arg]
        *map(int, counts),  # type: ignore[arg-type]
        pico_of(cost),
        int(unpriced),
        int(signals),
        price_versions,
    )
