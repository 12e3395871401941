"""A customer's entries, the newest first, a page at a time, from the rows that ClickHouse holds.

Follows the ledger's own order (generation, sequence), which is dense and never changes, so that a
page neither repeats nor leaves out what arrives meanwhile.
"""

from collections.abc import Sequence
from typing import Any, Final

from schemas.times import format_time
from streams.ports import Warehouse

ENTRIES_SQL: Final = """
SELECT
    generation, sequence, entry_id, kind,
    toUnixTimestamp64Micro(decided_at), toUnixTimestamp64Micro(occurred_at),
    source, event_id, agent_id, task_ref, trace_id, provider, model, units,
    toString(toDecimal256(cost, 12)), currency, cost_basis,
    denomination, toString(toDecimal256(amount, 12))
FROM ledger
WHERE customer_id = {customer:String}
    AND (generation, sequence) < ({generation:UInt32}, {sequence:UInt64})
ORDER BY generation DESC, sequence DESC
LIMIT {rows:UInt32}
"""

NEWEST: Final = (2**32 - 1, 2**64 - 1)
"""A place after every entry: where the first page begins."""

_TEXTS: Final = ("source", "event_id", "agent_id", "task_ref", "trace_id", "provider", "model")


def entries_before(
    warehouse: Warehouse, customer_id: str, before: tuple[int, int], rows_max: int
) -> Sequence[dict[str, Any]]:
    """Entries of a customer before a place (generation, sequence), the newest first, at most
    `rows_max`: plain values, texts that are empty as None. Raises as `Warehouse.query` does."""
    found = warehouse.query(
        ENTRIES_SQL,
        {
            "customer": customer_id,
            "generation": before[0],
            "sequence": before[1],
            "rows": rows_max,
        },
    )
    return [_entry(row) for row in found.rows]


def _entry(row: Sequence[Any]) -> dict[str, Any]:
    generation, sequence, entry_id, kind, decided_us, occurred_us, *rest = row
    texts, (units, cost, currency, cost_basis, denomination, amount) = rest[:7], rest[7:]
    has_cost = kind in ("usage", "adjustment")
    return {
        "place": f"{generation}-{sequence}",
        "entry_id": entry_id,
        "kind": kind,
        "decided_at": format_time(decided_us),
        "occurred_at": format_time(occurred_us),
        **{name: text or None for name, text in zip(_TEXTS, texts, strict=True)},
        "units": units,
        "cost": cost if has_cost else None,
        "currency": currency if has_cost else None,
        "cost_basis": cost_basis if has_cost else None,
        "denomination": denomination or None,
        "amount": amount if denomination else None,
    }
