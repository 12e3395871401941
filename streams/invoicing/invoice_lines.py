"""Which ledger entries a line of an invoice counts, from rows.

A line of usage or of signals counts those that match its item, in its stretch of time, up to the
cut; a correction what came after the cut before. Fees, minimums and discounts count none: they
follow from the card.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from schemas.money import format_amount
from streams.invoicing.draft import pico_of
from streams.ports import Warehouse

OTHERS: Final = "(others)"
"""The group of all groups beyond those that have a line of their own."""

GROUP_COLUMNS: Final = {"model": "model", "agent": "agent_id", "signal": "signal_name"}

SQL: Final = """
SELECT
    entry_id, kind, toUnixTimestamp64Micro(occurred_at), generation, sequence, source, event_id,
    agent_id, provider, model, signal_name, units, covered_units,
    input_tokens + cache_read_tokens + cache_write_tokens + output_tokens + reasoning_tokens
        + input_audio_tokens + output_audio_tokens + missing_tokens,
    covered_tokens, if(kind IN ('signal', 'void'), quantity, 0), toString(if(kind = 'credit',
    amount, cost)), currency
FROM ledger
WHERE customer_id = {customer:String} AND kind IN {kinds:Array(String)}
  AND (generation, sequence) <= ({cut_generation:UInt64}, {cut_sequence:UInt64})
  AND (generation, sequence) > ({after_generation:UInt64}, {after_sequence:UInt64})
"""


@dataclass(frozen=True, slots=True)
class CountedEntry:
    """A ledger entry as a line counts it. `cost` is in its currency; of a void `signals` are taken
    off."""

    entry_id: str
    kind: str
    occurred_at_us: int
    generation: int
    sequence: int
    source: str
    event_id: str
    agent_id: str
    provider: str
    model: str
    signal: str
    units: int
    covered_units: int
    tokens: int
    covered_tokens: int
    signals: int
    cost: str
    currency: str


_ENTRY_FIELDS: Final = tuple(field.name for field in fields(CountedEntry))


def counts_entries(line: Mapping[str, Any]) -> bool:
    """Whether a line counts entries at all."""
    return line["line_kind"] in ("usage", "credit")


def counted_entries(
    warehouse: Warehouse,
    close: Mapping[str, Any],
    line: Mapping[str, Any],
    item: Mapping[str, Any] | None,
    groups: Sequence[str],
    limit: int,
) -> Iterator[CountedEntry]:
    """The entries that a line counts, the earliest first.

    `item` is the rate card's, None of a credit; `groups` are those that have lines of their own
    beside this one.
    """
    conditions, parameters = _conditions(close, line, item, groups)
    sql = SQL + "".join(f"  AND {one}\n" for one in conditions)
    rows = warehouse.query(
        f"{sql}ORDER BY occurred_at, generation, sequence LIMIT {{limit:UInt32}}",
        parameters | {"limit": limit},
    ).rows
    for row in rows:
        named = dict(zip(_ENTRY_FIELDS, row, strict=True))
        yield CountedEntry(**named | {"cost": format_amount(pico_of(str(named["cost"])))})


def _conditions(
    close: Mapping[str, Any],
    line: Mapping[str, Any],
    item: Mapping[str, Any] | None,
    groups: Sequence[str],
) -> tuple[list[str], dict[str, Any]]:
    parameters = {
        "customer": close["customer_id"],
        "cut_generation": close["cut_generation"],
        "cut_sequence": close["cut_sequence"],
        "after_generation": 0,
        "after_sequence": 0,
        "from_us": line["from_us"],
        "to_us": line["to_us"],
    }
    late = {name: close[name] for name in ("after_generation", "after_sequence")}
    if item is None:
        chosen = {"kinds": ["credit"], "currency": line["currency"]}
        return ["currency = {currency:String}"], parameters | late | chosen
    conditions = [
        "occurred_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')",
        "occurred_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')",
    ]
    parameters["kinds"] = _kinds(item["metric"])
    if line["corrects"]:
        parameters |= late
    for name, column in (("provider", "provider"), ("model", "model"), ("agent", "agent_id"),
                         ("signal", "signal_name")):  # fmt: skip
        if item.get(name) is not None:
            conditions.append(f"{column} = {{{name}:String}}")
            parameters[name] = item[name]
    if item["metric"] == "cost":
        conditions.append("currency = {currency:String}")
        parameters["currency"] = line["currency"]
    if item.get("group_by"):
        column = GROUP_COLUMNS[item["group_by"]]
        if line["group"] == OTHERS:
            conditions.append(f"{column} NOT IN {{groups:Array(String)}}")
            parameters["groups"] = list(groups)
        else:
            conditions.append(f"{column} = {{group:String}}")
            parameters["group"] = line["group"]
    return conditions, parameters


def _kinds(metric: str) -> list[str]:
    if metric == "signals":
        return ["signal", "void"]
    return ["usage", "adjustment"] if metric == "cost" else ["usage"]


# --- the list ------------------------------------------------------------------------------------

LIST_SQL: Final = """
SELECT customer_id, number, document, status, label, toUnixTimestamp64Micro(period_from),
    toUnixTimestamp64Micro(period_to), digest,
    arrayMap(total -> (toString(total.1), toString(total.2)), totals), reissues, voids, credit_note,
    toUnixTimestamp64Micro(closed_at), toUnixTimestamp64Micro(issued_at)
FROM invoices
"""


@dataclass(frozen=True, slots=True)
class ListedInvoice:
    """A document as a list shows it. `credit_note` took it back; `voids` is what it takes back."""

    customer_id: str
    number: str
    document: str
    status: str
    label: str
    period_from: int
    period_to: int
    digest: str
    totals: tuple[tuple[str, str], ...]
    reissues: str
    voids: str
    credit_note: str
    closed_at_us: int
    issued_at_us: int | None


def list_invoices(
    warehouse: Warehouse, customer_id: str | None, label: str | None, limit: int
) -> list[ListedInvoice]:
    """Documents by customer and in the order of their numbers; of all customers where None."""
    given = {"customer": customer_id, "label": label}
    columns = {"customer": "customer_id", "label": "label"}
    used = {name: value for name, value in given.items() if value is not None}
    where = " AND ".join(f"{columns[name]} = {{{name}:String}}" for name in used) or "1"
    rows = warehouse.query(
        f"{LIST_SQL}WHERE {where} ORDER BY customer_id, closed_at, number LIMIT {{limit:UInt32}}",
        used | {"limit": limit},
    ).rows
    return [_listed(row) for row in rows]


def _listed(row: Sequence[Any]) -> ListedInvoice:
    named = dict(zip(_LIST_FIELDS, row, strict=True))
    named["totals"] = tuple(
        (str(currency), format_amount(pico_of(str(amount)))) for currency, amount in named["totals"]
    )
    return ListedInvoice(**named)


_LIST_FIELDS: Final = tuple(field.name for field in fields(ListedInvoice))
