"""As of when a report is: a cut through the ledger that a query can be bounded by.

Rows become visible batch by batch, each a run of sequences right above the mark. So the rows up to
the marks read first are a prefix of every partition, the same for all queries of a report, whatever
is inserted between them.
"""

from dataclasses import dataclass
from typing import Any, Final

from streams.ports import Warehouse

# A partition's number fits well below; the pair becomes one integer, for which `transform` is
# quick.
_PARTITIONS_MAX: Final = 1_000_000

WITHIN_CUT: Final = (
    f"sequence <= transform(generation * {_PARTITIONS_MAX} + partition, "
    "{series:Array(UInt64)}, {marks:Array(Int64)}, toInt64(-1))"
)
"""Condition on `ledger` that keeps the rows up to a cut; its parameters are `Cut.parameters`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one partition of the ledger is in ClickHouse."""

    generation: int
    partition: int
    sequence: int
    decided_at_us: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The marks of all partitions at one moment, ordered by generation and partition.

    What the log holds beyond them is not known here: the sink's lag is not part of a report.
    """

    marks: tuple[Mark, ...]

    def parameters(self) -> dict[str, Any]:
        """The parameters of WITHIN_CUT."""
        # `transform` wants at least one pair; no partition has this number.
        series = [mark.generation * _PARTITIONS_MAX + mark.partition for mark in self.marks]
        return {"series": [0, *series], "marks": [-1, *(mark.sequence for mark in self.marks)]}

    def of(self, places: set[tuple[int, int]]) -> tuple[Mark, ...]:
        """The marks of these (generation, partition) pairs."""
        return tuple(mark for mark in self.marks if (mark.generation, mark.partition) in places)


def read_cut(warehouse: Warehouse) -> Cut:
    """The marks as they are now."""
    answer = warehouse.query(
        "SELECT generation, partition, max(sequence), toUnixTimestamp64Micro(max(decided_at)) "
        "FROM ledger GROUP BY generation, partition ORDER BY generation, partition"
    )
    return Cut(tuple(Mark(*map(int, row)) for row in answer.rows))


def places_of(warehouse: Warehouse, cut: Cut, customer_id: str) -> set[tuple[int, int]]:
    """Where a customer has rows: one partition per generation, empty for one that nobody knows."""
    answer = warehouse.query(
        "SELECT DISTINCT generation, partition FROM ledger "  # noqa: S608 - our own condition
        f"WHERE customer_id = {{customer:String}} AND {WITHIN_CUT}",
        {"customer": customer_id, **cut.parameters()},
    )
    return {(int(generation), int(partition)) for generation, partition in answer.rows}
