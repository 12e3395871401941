"""Issued documents out of ClickHouse as the ledger has them: nothing is computed again.

For what passes documents on. Whether a document is what its period comes to is another question,
which `tollgate invoice verify` answers.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from schemas.money import format_amount
from schemas.times import format_time
from streams.invoicing.draft import pico_of
from streams.papers.handover import Issued
from streams.ports import Warehouse

PAGE_DOCUMENTS: Final = 500
"""Documents of one query: with the most lines that there may be, a gigabyte never comes together,
and ten thousand customers are twenty queries."""

LINE_FIELDS: Final = (
    "line",
    "line_kind",
    "corrects",
    "label",
    "item",
    "title",
    "card",
    "group",
    "metric",
    "quantity",
    "from_us",
    "to_us",
    "amount",
    "currency",
)
"""The columns of a line, in the order in which the query below tells them."""

_CELLS: Final = ", ".join(
    f"toString(one.{name})" if name == "amount" else f"one.`{name}`" for name in LINE_FIELDS
)

ISSUED_SQL: Final = f"""
SELECT
    toUnixTimestamp64Micro(issued.decided_at), issued.generation, issued.`partition`,
    issued.sequence, issued.document, issued.number, issued.customer_id, issued.label,
    toUnixTimestamp64Micro(issued.period_from), toUnixTimestamp64Micro(issued.period_to),
    closed.zone, closed.reissues, issued.voids, issued.digest,
    toJSONString(arrayMap(one -> tuple({_CELLS}), issued.lines)),
    toJSONString(arrayMap(one -> tuple(one.currency, toString(one.amount)), issued.totals))
FROM
(
    SELECT * FROM ledger
    WHERE kind = 'invoice_issue'
        AND ({{customer:String}} = '' OR customer_id = {{customer:String}})
        AND toUnixTimestamp64Micro(decided_at) >= {{since:Int64}}
        AND toUnixTimestamp64Micro(decided_at) < {{until:Int64}}
        AND (toUnixTimestamp64Micro(decided_at), generation, `partition`, sequence)
            > ({{at:Int64}}, {{generation:Int64}}, {{partition:Int64}}, {{sequence:Int64}})
    ORDER BY decided_at, generation, `partition`, sequence
    LIMIT {{documents:UInt32}}
) AS issued
LEFT JOIN
(
    SELECT customer_id, number, zone, reissues FROM ledger
    WHERE kind = 'invoice_close'
        AND ({{customer:String}} = '' OR customer_id = {{customer:String}})
) AS closed
ON closed.customer_id = issued.customer_id
    AND closed.number = if(issued.voids = '', issued.number, issued.voids)
ORDER BY issued.decided_at, issued.generation, issued.`partition`, issued.sequence
"""  # noqa: S608 - our own names
"""Documents in the order of their issue, those after a place. The zone is that of the close; of a
credit note that of the invoice which it takes back."""

_EARLIEST: Final = (-1, -1, -1, -1)
_NEVER_US: Final = 2**62


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which documents: of one customer or of all, issued in [since_us, until_us)."""

    customer_id: str = ""
    since_us: int = 0
    until_us: int = _NEVER_US


def issued_documents(
    warehouse: Warehouse, wanted: Wanted, *, page: int = PAGE_DOCUMENTS
) -> Iterator[Issued]:
    """The issued invoices and credit notes, oldest first: voided ones too, because their credit
    notes are among them."""
    place = _EARLIEST
    while True:
        parameters = {
            "customer": wanted.customer_id,
            "since": wanted.since_us,
            "until": wanted.until_us,
            "documents": page,
            **dict(zip(("at", "generation", "partition", "sequence"), place, strict=True)),
        }
        rows = warehouse.query(ISSUED_SQL, parameters).rows
        for row in rows:
            yield _issued(row)
        if len(rows) < page:
            return
        at, generation, partition, sequence, *_ = rows[-1]
        place = (int(at), int(generation), int(partition), int(sequence))


def _issued(row: Sequence[Any]) -> Issued:
    at, _, _, _, document, number, customer_id, label, begin, end, *more = row
    zone, reissues, voids, digest, lines, totals = more
    plain = {
        "document": str(document),
        "number": str(number),
        "customer_id": str(customer_id),
        "label": str(label),
        "zone": str(zone) or "UTC",
        "period_from": format_time(int(begin)),
        "period_to": format_time(int(end)),
        "reissues": str(reissues),
        "voids": str(voids),
        "lines": [_line(cells) for cells in json.loads(lines)],
        "totals": [
            {"currency": currency, "amount": _amount(amount)}
            for currency, amount in json.loads(totals)
        ],
    }
    return Issued(plain, str(digest), int(at))


def _line(cells: Sequence[Any]) -> dict[str, Any]:
    line = dict(zip(LINE_FIELDS, cells, strict=True))
    line |= {name: int(line[name]) for name in ("line", "from_us", "to_us")}
    return line | {"amount": _amount(line["amount"])}


def _amount(text: str) -> str:
    """ClickHouse's decimal as the ledger has it: without zeros at its end."""
    return format_amount(pico_of(text))
