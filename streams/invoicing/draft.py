"""Draft invoices: one customer, one month, from the rows that ClickHouse holds.

The SQL says what `streams.domain.drafts.draft` says; a test compares the two on generated
entries. Sums run in Decimal(76, 12), because a sum of Decimal(38, 12) wraps without a word."""

from dataclasses import dataclass
from typing import Final

from schemas.money import PICO
from streams.domain.drafts import Draft, Figures, LineKey
from streams.domain.invoices.tallies import TOKEN_CLASSES
from streams.domain.months import Period
from streams.invoicing.asof import WITHIN_CUT, Mark, places_of, read_cut
from streams.ports import Warehouse

_MONEY: Final = ("cost", "provisional", "covered_usd")
_COUNTS: Final = ("units", "covered_units", *TOKEN_CLASSES, "covered_tokens")

LINES_SQL: Final = f"""
SELECT
    provider, model, cost_basis, currency,
    countIf(kind = 'usage'),
    {", ".join(f"sum(toUInt128({name}))" for name in _COUNTS)},
    {", ".join(f"toString(sum(toDecimal256({name}, 12)))" for name in _MONEY)}
FROM ledger
WHERE customer_id = {{customer:String}}
  AND kind IN ('usage', 'adjustment')
  AND occurred_at >= fromUnixTimestamp64Micro({{from_us:Int64}}, 'UTC')
  AND occurred_at < fromUnixTimestamp64Micro({{to_us:Int64}}, 'UTC')
  AND {WITHIN_CUT}
GROUP BY provider, model, cost_basis, currency
"""  # noqa: S608 - column names of ours


@dataclass(frozen=True, slots=True)
class DraftInvoice:
    """A draft and its as-of: the marks of the partitions that hold the customer."""

    draft: Draft
    as_of: tuple[Mark, ...]


def draft_invoice(warehouse: Warehouse, customer_id: str, period: Period) -> DraftInvoice | None:
    """The draft of a customer and month, None for a customer of whom there is no row at all.

    Every entry counts whose event time lies in the month and whose row is in ClickHouse.
    """
    cut = read_cut(warehouse)
    places = places_of(warehouse, cut, customer_id)
    if not places:
        return None
    parameters = {
        "customer": customer_id,
        "from_us": period.from_us,
        "to_us": period.to_us,
        **cut.parameters(),
    }
    draft = Draft(customer_id, period)
    for row in warehouse.query(LINES_SQL, parameters).rows:
        counts, money = row[5 : 5 + len(_COUNTS)], row[5 + len(_COUNTS) :]
        figures = Figures(
            calls=int(row[4]),
            cost_pico=pico_of(money[0]),
            provisional_pico=pico_of(money[1]),
            covered_pico_usd=pico_of(money[2]),
            **{name: int(count) for name, count in zip(_COUNTS, counts, strict=True)},
        )
        draft.lines[LineKey(*map(str, row[:4]))] = figures
    return DraftInvoice(draft, cut.of(places))


def pico_of(text: str) -> int:
    """The pico amount of a sum as ClickHouse writes it: at most 12 decimals, any number of
    digits."""
    whole, _, fraction = text.removeprefix("-").partition(".")
    if not (whole.isdecimal() and len(fraction) <= 12 and (fraction or "0").isdecimal()):
        raise ValueError(f"not a sum of amounts: {text[:80]!r}")
    pico = int(whole) * PICO + int(fraction.ljust(12, "0"))
    return -pico if text.startswith("-") else pico
