"""The sink's tables as the audit reads them: `ports.AuditedRows` over ClickHouse.

What the log demands goes along with a query as a temporary table of that query alone, so that the
server itself makes rows of it, just as it does for the sink, and compares. A user that only reads
may do all of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.codec import join_rows
from schemas.money import PICO
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import TableShape, describe
from streams.ports import RowDifference, RowSum

TABLES: Final = ("ledger", "attributions", "dead_letters")

_SUMS: Final = "count(), sum(reinterpretAsUInt128(sipHash128(tuple({columns}))))"
"""A digest per row, added up: unlike an exclusive or, a sum shows a row that is there twice."""

_BILLED: Final = ", sum(toDecimal256(cost, 12)), sum(toUInt256(units))"


class ClickHouseAuditedRows:
    """Reads tables that rows of (generation, partition, sequence) lie in."""

    def __init__(self, clickhouse: ClickHouse, customer: str | None = None) -> None:
        """With a customer, the ledger's rows of that one alone."""
        self._clickhouse = clickhouse
        self._customer = customer
        self._shapes: dict[str, TableShape] = {}

    def _shape(self, table: str) -> TableShape:
        if table not in self._shapes:
            self._shapes[table] = describe(self._clickhouse, table)
        return self._shapes[table]

    def marks(self) -> Mapping[tuple[str, int, int], int]:
        """See `ports.AuditedRows`."""
        found: dict[tuple[str, int, int], int] = {}
        for table in TABLES:
            sql = (
                "SELECT generation, `partition`, max(sequence) "  # noqa: S608 - our own names
                f"FROM {table} GROUP BY 1, 2"
            )
            for generation, partition, mark in self._clickhouse.query(sql).rows:
                found[table, int(generation), int(partition)] = int(mark)
        return found

    def sum_expected(self, table: str, values: Sequence[bytes]) -> RowSum:
        """See `ports.AuditedRows`."""
        shape = self._shape(table)
        sql = f"SELECT {_sums(table, shape)} FROM (SELECT {shape.made} FROM demanded)"  # noqa: S608
        (row,) = self._with(table, sql, {}, values)
        return _row_sum(row)

    def sum_rows(
        self, table: str, generation: int, partition: int, first: int, last: int, step: int
    ) -> Mapping[int, RowSum]:
        """See `ports.AuditedRows`."""
        sql = (
            f"SELECT intDiv(sequence, {step:d}), {_sums(table, self._shape(table))} "  # noqa: S608 - our own
            f"FROM {table} WHERE {self._where()} GROUP BY 1"
        )
        answer = self._clickhouse.query(sql, self._range(generation, partition, first, last))
        return {int(row[0]): _row_sum(row[1:]) for row in answer.rows}

    def compare(
        self,
        table: str,
        generation: int,
        partition: int,
        first: int,
        last: int,
        values: Sequence[bytes],
        limit: int,
    ) -> Sequence[RowDifference]:
        """See `ports.AuditedRows`."""
        shape = self._shape(table)
        # A column beside the rows' own; their names are those of JSON fields, which have no `__`.
        texts = ", ".join(f"toString(`{name}`)" for name in shape.names)
        sql = (
            f"SELECT sequence, sum(__side), {texts} FROM ("  # noqa: S608 - our own names
            f"SELECT {shape.made}, toInt64(1) AS __side FROM demanded "
            f"UNION ALL SELECT {shape.columns}, toInt64(-1) AS __side FROM {table} "
            f"WHERE {self._where()}) "
            f"GROUP BY {shape.columns} HAVING sum(__side) != 0 ORDER BY sequence LIMIT {limit:d}"
        )
        parameters = self._range(generation, partition, first, last)
        return [
            RowDifference(
                int(row[0]), int(row[1]), dict(zip(shape.names, map(str, row[2:]), strict=True))
            )
            for row in self._with(table, sql, parameters, values)
        ]

    def _where(self) -> str:
        where = (
            "generation = {g:UInt64} AND `partition` = {p:UInt64} "
            "AND sequence BETWEEN {a:UInt64} AND {z:UInt64}"
        )
        return where if self._customer is None else where + " AND customer_id = {c:String}"

    def _range(self, generation: int, partition: int, first: int, last: int) -> dict[str, Any]:
        found: dict[str, Any] = {"g": generation, "p": partition, "a": first, "z": last}
        return found if self._customer is None else found | {"c": self._customer}

    def _with(
        self, table: str, sql: str, parameters: Mapping[str, Any], values: Sequence[bytes]
    ) -> Sequence[Sequence[Any]]:
        structure = self._shape(table).structure
        body = join_rows(values)
        return self._clickhouse.query_beside(sql, parameters, "demanded", structure, body).rows


def _sums(table: str, shape: TableShape) -> str:
    sums = _SUMS.format(columns=shape.columns)
    return sums + (_BILLED if table == "ledger" else "")


def _row_sum(row: Sequence[Any]) -> RowSum:
    units, cost = (int(row[3]), int(row[2] * PICO)) if len(row) > 2 else (0, 0)
    return RowSum(int(row[0]), int(row[1]), units, cost)
