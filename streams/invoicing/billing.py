"""What an invoice follows from beside usage: terms, closes, issues, voids and credits, from rows.

Entries come back as the plain mappings that their JSON is (`schemas/entry.py`), because that is
what `streams.domain.invoices` takes, whether they come from rows or from the log. Usage is never
read this way: of it only sums are (`streams.invoicing.tallies`).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from schemas import invoice
from schemas.money import format_amount
from streams.invoicing.draft import pico_of
from streams.ports import Warehouse

Plain = dict[str, Any]
"""An entry as its JSON."""

Place = tuple[int, int]
"""Generation and sequence: the order of a customer's entries."""

CUSTOMERS_AT_ONCE: Final = 1_000
"""Customers of one query: what is read of them is held in memory, some 10 KB each."""

IDS_BYTES_AT_ONCE: Final = 40_000
"""Of their ids: the server takes 128 KiB in one parameter, escaped."""

KINDS: Final[Mapping[str, type[BaseModel]]] = {
    "terms": invoice.TermsEntry,
    "credit": invoice.CreditEntry,
    "invoice_close": invoice.InvoiceCloseEntry,
    "invoice_issue": invoice.InvoiceIssueEntry,
    "invoice_void": invoice.InvoiceVoidEntry,
}
"""The kinds of the ledger that are about invoices: those that have a `billing_entry`."""

FEW_ROWS: Final = "\nSETTINGS max_threads = 1, optimize_move_to_prewhere = 0"
"""For one customer's entries about invoices, some in each month: to plan which columns to read
first, and on how many threads, takes longer than to read all on one."""

_WHOLE: Final = frozenset({"line", "from_us", "to_us"})
"""Whole numbers in parts; everything else in them is text."""


@dataclass(slots=True)
class Billing:
    """What is known of a customer, each in the order in which it counts. Issues have their lines
    where those were asked for (`with_lines`), and none otherwise."""

    customer_id: str
    with_lines: bool = True
    terms: list[Plain] = field(default_factory=list)
    credits: list[Plain] = field(default_factory=list)
    closes: list[Plain] = field(default_factory=list)
    issues: list[Plain] = field(default_factory=list)
    voids: list[Plain] = field(default_factory=list)

    def add(self, one: Plain) -> None:
        """Takes an entry of one of `KINDS`, after all before it."""
        {
            "terms": self.terms,
            "credit": self.credits,
            "invoice_close": self.closes,
            "invoice_issue": self.issues,
            "invoice_void": self.voids,
        }[one["kind"]].append(one)

    @property
    def unissued(self) -> list[Plain]:
        """Closes and voids whose document is not issued, in their order."""
        issued = {one["number"] for one in self.issues}
        waiting = [one for one in (*self.closes, *self.voids) if one["number"] not in issued]
        return sorted(waiting, key=place_of)

    @property
    def last_close(self) -> Plain | None:
        """The close of the latest period; reissues close nothing."""
        own = [one for one in self.closes if not one["reissues"]]
        return own[-1] if own else None

    @property
    def billed_to(self) -> int:
        """Where the next period begins: at the end of the last one, here or in the installation
        that the customer was carried over from; 0 before the first."""
        if self.last_close is not None:
            return int(self.last_close["period_to"])
        return max((int(one.get("billed_to", 0)) for one in self.terms), default=0)


def place_of(one: Mapping[str, Any]) -> Place:
    """Where an entry stands."""
    return (int(one["generation"]), int(one["sequence"]))


def in_batches(customers: Sequence[str]) -> Iterator[list[str]]:
    """Customers as many at once as one query takes."""
    batch: list[str] = []
    size = 0
    for customer in customers:
        bytes_ = len(customer.encode()) + 3
        if batch and (len(batch) >= CUSTOMERS_AT_ONCE or size + bytes_ > IDS_BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(customer)
        size += bytes_
    if batch:
        yield batch


def read_billing(
    warehouse: Warehouse,
    customers: Sequence[str],
    *,
    with_lines: bool = False,
) -> dict[str, Billing]:
    """What is known of these customers (one batch of them), each of them in the answer."""
    found = {customer: Billing(customer, with_lines) for customer in customers}
    condition = "customer_id IN {customers:Array(String)}"
    # In one query: what a query costs before it has read a row is most of a customer's draft.
    told = {"customers": list(customers)}
    for one in _read(warehouse, tuple(KINDS), condition, told, with_lines):
        found[one["customer_id"]].add(one)
    return found


def read_lines(
    warehouse: Warehouse, customers: Sequence[str]
) -> dict[tuple[str, str], list[Plain]]:
    """The lines of what was issued to these customers (one batch of them), by customer and
    number."""
    rows = warehouse.query(LINES_SQL, {"customers": list(customers)}).rows
    return {(str(customer), str(number)): _read_parts(lines) for customer, number, lines in rows}


def read_plain(
    warehouse: Warehouse,
    kind: str,
    condition: str,
    parameters: Mapping[str, Any],
    with_lines: bool = True,
) -> Iterator[Plain]:
    """The entries of one of `KINDS` that meet a condition of ours, in the order in which they
    count."""
    return _read(warehouse, (kind,), condition, parameters, with_lines)


def _read(
    warehouse: Warehouse,
    kinds: Sequence[str],
    condition: str,
    parameters: Mapping[str, Any],
    with_lines: bool,
) -> Iterator[Plain]:
    """Entries of some kinds, each with the fields that its kind has; without lines, documents have
    none."""
    few = FEW_ROWS if len(parameters.get("customers", ())) == 1 else ""
    lines = "billing_lines" if with_lines else "''"
    rows = warehouse.query(
        f"SELECT billing_entry, {lines} FROM ledger "  # noqa: S608 - our own names
        f"WHERE kind IN ({', '.join(map(repr, kinds))}) AND {condition} "
        f"ORDER BY customer_id, generation, sequence{few}",
        parameters,
    ).rows
    for told, its_lines in rows:
        yield _entry(told, its_lines)


def _entry(told: str, lines: str) -> Plain:
    """An entry out of `billing_entry`, which has the fields of all kinds, and `billing_lines`."""
    found = json.loads(told, parse_float=str)
    one = {
        name: found[name] if make is None else make(found[name])
        for name, make in _FIELDS[found["kind"]]
    }
    if "lines" in KINDS[one["kind"]].model_fields:
        one["lines"] = _read_parts(lines) if lines else []
    return one


def _read_parts(text: str) -> list[Plain]:
    return _parts(json.loads(text, parse_float=str))


def _parts(found: Iterable[Mapping[str, Any]]) -> list[Plain]:
    return [_part(part) for part in found]


def _part(part: Mapping[str, Any]) -> Plain:
    return {
        name: int(value) if name in _WHOLE else _amount(value) if name == "amount" else value
        for name, value in part.items()
    }


def _amount(found: Any) -> str:
    return format_amount(pico_of(str(found)))


_MADE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "segments": _parts,
    "totals": _parts,
    "amount": _amount,
}
"""What becomes of a value of `billing_entry`, where it is not what the JSON of an entry has."""

_FIELDS: Final = {
    kind: [(name, _MADE.get(name)) for name in model.model_fields if name != "lines"]
    for kind, model in KINDS.items()
}


LINES_SQL: Final = """
SELECT customer_id, number, billing_lines FROM ledger
WHERE kind = 'invoice_issue' AND customer_id IN {customers:Array(String)}
"""


# --- who there is --------------------------------------------------------------------------------

CUSTOMERS_SQL: Final = """
SELECT customer_id FROM ledger
WHERE kind IN ('usage', 'signal', 'terms') AND customer_id != ''
GROUP BY customer_id ORDER BY customer_id
"""

FIRST_SQL: Final = """
SELECT customer_id, toUnixTimestamp64Micro(min(occurred_at)) FROM ledger
WHERE kind IN ('usage', 'signal') AND customer_id IN {customers:Array(String)}
GROUP BY customer_id
"""

NUMBERS_SQL: Final = """
SELECT DISTINCT customer_id FROM ledger
WHERE kind IN ('invoice_close', 'invoice_void') AND number IN {numbers:Array(String)}
"""


def billable_customers(warehouse: Warehouse) -> list[str]:
    """Everybody who has used something, or has terms and therefore may owe a fee; sorted."""
    return [str(customer) for (customer,) in warehouse.query(CUSTOMERS_SQL).rows]


def first_times(warehouse: Warehouse, customers: Sequence[str]) -> dict[str, int]:
    """When each of these customers (one batch of them) first used something; a customer who never
    did is missing."""
    if not customers:
        return {}
    rows = warehouse.query(FIRST_SQL, {"customers": list(customers)}).rows
    return {str(customer): int(first) for customer, first in rows}


def customers_of(warehouse: Warehouse, numbers: Iterable[str]) -> list[str]:
    """Whose documents these numbers name."""
    rows = warehouse.query(NUMBERS_SQL, {"numbers": list(numbers)}).rows
    return sorted(str(customer) for (customer,) in rows)
