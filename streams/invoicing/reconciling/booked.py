"""What the ledger says by day, model and currency: usage with the adjustments that correct it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from streams.domain.invoices.tallies import OUTER_SPAN
from streams.domain.prices import CLASSES
from streams.invoicing.draft import pico_of
from streams.invoicing.reconciling.exports import Key
from streams.ports import Warehouse

# The day of the end is given as a time of its own, so that a change of the clock cannot move it.
BOOKED_SQL: Final = f"""
SELECT
    toString(toDate(occurred_at, {{zone:String}})) AS day,
    provider, model, currency,
    toString(sum(toDecimal256(cost, 12))),
    countIf(kind = 'usage' AND NOT has(flags, '{OUTER_SPAN}')),
    toInt64(countIf(kind = 'usage' AND cost_basis = 'unpriced'))
        - toInt64(countIf(kind = 'adjustment' AND was_unpriced)),
    countIf(kind = 'usage' AND has(mapValues(conditions), 'batch')),
    arraySort(groupUniqArrayIf(20)(price_version, price_version != '')),
    {", ".join(f"sum(toUInt128({name}_tokens))" for name in CLASSES)}
FROM ledger
WHERE kind IN ('usage', 'adjustment')
  AND occurred_at >= toDateTime64({{first:String}}, 6, {{zone:String}})
  AND occurred_at < toDateTime64({{end:String}}, 6, {{zone:String}})
GROUP BY day, provider, model, currency
"""  # noqa: S608 - column names of ours


@dataclass(slots=True)
class Booked:
    """What the ledger says of a key. `unpriced` calls have no price by now; `batch` calls were
    told to be of a batch; `tokens` by class; `versions` are the price books that priced it."""

    cost_pico: int = 0
    calls: int = 0
    unpriced: int = 0
    batch: int = 0
    versions: set[str] = field(default_factory=set)
    tokens: dict[str, int] = field(default_factory=dict)


def read_booked(
    warehouse: Warehouse,
    first: date,
    end: date,
    zone: str,
    naming: Callable[[str, str], str | None],
) -> dict[Key, Booked]:
    """The ledger's sums over the days [first, end) of a zone.

    `naming` makes the compared name of a (provider, model), None for what is not compared.
    """
    parameters = {"zone": zone, "first": f"{first} 00:00:00", "end": f"{end} 00:00:00"}
    return add_up(warehouse.query(BOOKED_SQL, parameters).rows, naming)


def add_up(rows: Iterable[Any], naming: Callable[[str, str], str | None]) -> dict[Key, Booked]:
    """The sums of the query's rows under their compared names."""
    found: dict[Key, Booked] = {}
    for day, provider, model, currency, cost, calls, unpriced, batch, versions, *tokens in rows:
        name = naming(provider, model)
        # An entry that counts nothing (an outer span, say) has no cost, and is no call.
        if name is None or not (calls or unpriced or any(tokens) or pico_of(cost)):
            continue
        cell = found.setdefault(Key(date.fromisoformat(day), name, currency), Booked())
        cell.cost_pico += pico_of(cost)
        cell.calls += calls
        cell.unpriced += unpriced
        cell.batch += batch
        cell.versions.update(versions)
        for token_class, count in zip(CLASSES, tokens, strict=True):
            cell.tokens[token_class] = cell.tokens.get(token_class, 0) + int(count)
    return found
