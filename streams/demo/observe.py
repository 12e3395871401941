"""What ClickHouse says: how far it is, what was counted, and each customer's bill.

Only questions; what the answers must be is `totals` and `compare`. All of them look at one
generation of the topics, because offsets and sequences begin anew with the next.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from schemas.topics import BUDGETS
from streams.demo.events import SOURCE
from streams.demo.ports import Place, Query
from streams.demo.totals import PICO, CustomerTotals


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of records, over all cycles so far. `by_code` counts the rows of dead letters."""

    accepted: int
    duplicates: int
    conflicts: int
    dead_letters: int
    by_code: dict[str, int]

    def since(self, earlier: "Counts") -> "Counts":
        """What was added after `earlier`."""
        added = {code: n - earlier.by_code.get(code, 0) for code, n in self.by_code.items()}
        return Counts(
            self.accepted - earlier.accepted,
            self.duplicates - earlier.duplicates,
            self.conflicts - earlier.conflicts,
            self.dead_letters - earlier.dead_letters,
            {code: n for code, n in sorted(added.items()) if n},
        )


class Observer:
    """Asks the ClickHouse of one installation. May be used from several threads."""

    def __init__(self, query: Query, generation: int) -> None:
        """`generation` is that of the topics as they stand."""
        self._query = query
        self._generation = generation
        self._one_at_a_time = threading.Lock()

    def _rows(self, sql: str) -> Sequence[Sequence[Any]]:
        parameters = {
            "generation": self._generation,
            "source": SOURCE,
            "budgets": BUDGETS.name,
        }
        used = {name: value for name, value in parameters.items() if f"{{{name}:" in sql}
        with self._one_at_a_time:
            return self._query(sql, used)

    def consumed(self) -> dict[Place, int]:
        """Up to which offset each inbound partition is accounted for by a cycle's row."""
        rows = self._rows(
            "SELECT part.topic, `partition`, max(part.to_offset) FROM ledger "
            "ARRAY JOIN consumed AS part "
            "WHERE generation = {generation:UInt32} AND kind = 'cycle' "
            "GROUP BY part.topic, `partition`"
        )
        return {(str(topic), int(partition)): int(offset) for topic, partition, offset in rows}

    def missing_rows(self) -> int:
        """How many rows of the cycles seen so far are not there yet.

        A cycle's own row comes first and says how many facts it accepted and how many dead letters
        the partition has; each accepted fact has exactly one row beside those of the default plan.
        """
        ((promised, present),) = self._rows(
            "SELECT sumIf(accepted, kind = 'cycle'), countIf(kind IN ('usage', 'signal', 'terms', "
            "'credit', 'invoice_close', 'invoice_issue', 'invoice_void') "
            "OR (kind = 'grant' AND topic = {budgets:String})) "
            "FROM ledger WHERE generation = {generation:UInt32}"
        )
        ((promised_letters,),) = self._rows(
            "SELECT sum(letters) FROM (SELECT max(dead_letter_sequence) AS letters FROM ledger "
            "WHERE generation = {generation:UInt32} AND kind = 'cycle' GROUP BY `partition`)"
        )
        ((letters,),) = self._rows(
            "SELECT count() FROM dead_letters WHERE generation = {generation:UInt32}"
        )
        return int(promised) - int(present) + int(promised_letters) - int(letters)

    def counts(self) -> Counts:
        """What became of everything so far."""
        ((accepted, duplicates, conflicts, dead_letters),) = self._rows(
            "SELECT sum(accepted), sum(duplicates), sum(conflicts), sum(dead_letters) "
            "FROM ledger WHERE generation = {generation:UInt32} AND kind = 'cycle'"
        )
        codes = self._rows(
            "SELECT toString(code), count() FROM dead_letters "
            "WHERE generation = {generation:UInt32} GROUP BY code ORDER BY code"
        )
        return Counts(
            int(accepted),
            int(duplicates),
            int(conflicts),
            int(dead_letters),
            {str(code): int(count) for code, count in codes},
        )

    def customers(self) -> dict[str, CustomerTotals]:
        """The bills of the demo's calls, by customer."""
        rows = self._rows(
            "SELECT customer_id, count(), sum(units), sum(input_tokens), sum(output_tokens), "
            "sum(toDecimal256(cost, 12)), sum(covered_units) FROM ledger "
            "WHERE kind = 'usage' AND source = {source:String} "
            "GROUP BY customer_id ORDER BY customer_id"
        )
        bills = {}
        for customer, calls, units, input_tokens, output_tokens, cost, covered in rows:
            if calls != units:
                raise AssertionError(f"{customer}: {calls} calls but {units} units")
            bills[str(customer)] = CustomerTotals(
                int(calls), int(input_tokens), int(output_tokens), _pico(cost), int(covered)
            )
        return bills

    def calls(self) -> int:
        """How many of the demo's calls are billed."""
        ((count,),) = self._rows(
            "SELECT count() FROM ledger WHERE kind = 'usage' AND source = {source:String}"
        )
        return int(count)

    def not_priced(self) -> int:
        """How many of the demo's calls have no price of the book."""
        ((count,),) = self._rows(
            "SELECT count() FROM ledger "
            "WHERE kind = 'usage' AND source = {source:String} AND cost_basis != 'priced'"
        )
        return int(count)

    def sequence_faults(self) -> list[str]:
        """Where rows are missing or doubled: in each partition of a table, count = last + 1."""
        faults = []
        for table, sql in _DENSE.items():
            faults += [
                f"{table}, partition {partition}: {count} rows, {distinct} sequences, {due} due"
                for partition, count, distinct, due in self._rows(sql)
                if not count == distinct == due
            ]
        return faults

    def today(self) -> date:
        """The UTC day by the server's clock."""
        ((day,),) = self._rows("SELECT toString(toDate(now('UTC')))")
        return date.fromisoformat(str(day))


_DENSE = {
    table: f"SELECT `partition`, count(), uniqExact(sequence), max(sequence) + 1 FROM {table} "  # noqa: S608 - the tables below
    "WHERE generation = {generation:UInt32} GROUP BY `partition` ORDER BY `partition`"
    for table in ("ledger", "attributions", "dead_letters")
}


def _pico(cost: Any) -> int:
    scaled = Decimal(cost).scaleb(12)
    if scaled != scaled.to_integral_value():
        raise AssertionError(f"{cost} dollars have more than 12 decimals")
    return int(scaled)


if PICO != 10**12:
    raise AssertionError("the scale of `_pico` and of the totals differ")
