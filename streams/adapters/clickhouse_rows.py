"""Rows into ClickHouse under a compare-and-swap: the `RowTarget` that decision 008 argues for.

An insert counts only if the table still stands at the mark that the sink has read. Three checks
close the three gaps in which another sink can get ahead of it:

    guard   before the server begins the insert: it compares the mark, however late the request is
    limit   while the body arrives: a body that takes longer than BODY_SECONDS_MAX is refused, by
            the server's clock alone
    token   from the guard to the written part: of all inserts under one mark the first wins, as
            long as the table's window remembers it, which is longer than the limit
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final

from streams.adapters.clickhouse import ClickHouse
from streams.errors import FaultError, SetupError
from streams.limits import SINK_BATCH_BYTES_MAX, SINK_BATCH_ROWS_MAX
from streams.ports import NO_ROWS

BODY_SECONDS_MAX: Final = 30
"""How long the body of an insert may take to arrive. The largest takes a second on a slow
network; the table's window of remembered tokens covers this time
(deploy/clickhouse/0001_ledger.sql)."""

WINDOW_MIN: Final = 10_000
"""Insert tokens that a table must remember, per ClickHouse partition."""

CONCURRENT_CALLS_MAX: Final = 4
"""Calls to ClickHouse under way at once. Inserts into one table wait for each other on its disk
anyway, and each holds its body in memory."""

BLOCK_ROWS: Final = 1_048_449
"""Rows at which ClickHouse ends a block of an insert and begins the next."""

BLOCK_BYTES: Final = 256 * 1024 * 1024
"""Bytes at which it does so."""

INSERT_SETTINGS: Final[dict[str, Any]] = {
    # The default since 26.x is 1, which answers before the row is in the table.
    "async_insert": 0,
    # One insert is one block (S3): one thread that parses, one that writes.
    "max_threads": 1,
    "max_insert_threads": 1,
    "input_format_parallel_parsing": 0,
    # The sizes at which a block is cut are the defaults of the server, but a profile may have
    # smaller ones.
    "max_insert_block_size": BLOCK_ROWS,
    "min_insert_block_size_rows": BLOCK_ROWS,
    "min_insert_block_size_bytes": BLOCK_BYTES,
    # A field that the table lacks, or a null where it has none, is a drift and not a default.
    "input_format_skip_unknown_fields": 0,
    "input_format_null_as_default": 0,
    # They are given by the expressions that the table itself has for them.
    "insert_allow_materialized_columns": 1,
    # Through a Distributed table: the answer comes when the shard has the rows, not when this
    # server has noted that it is to send them. Elsewhere it has no effect.
    "distributed_foreground_insert": 1,
}

REPLICATED_SETTINGS: Final[dict[str, Any]] = {
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    "select_sequential_consistency": 1,
}
"""Where the table is replicated: an insert is decided by a majority, and a mark is read after it
(S7, decision 036)."""

DISTRIBUTED: Final = re.compile(
    r"Distributed\('[^']+', (?:'(?P<d>\w+)'|currentDatabase\(\)), '(?P<t>\w+)'"
)
"""Where a Distributed table has its rows."""


@dataclass(frozen=True, slots=True)
class TableShape:
    """What an insert into one table looks like. `columns`, `structure` and `made` belong
    together."""

    columns: str
    structure: str
    made: str
    """The values of a row as it is read, each called by its column."""
    replicated: bool
    names: tuple[str, ...]
    derived: tuple[tuple[str, str], ...]
    """Columns that ClickHouse makes of the others, and the expression of each."""


class ClickHouseRows:
    """Tables with rows of (generation, partition, sequence)."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        """Take a connection; tables are looked at when they are first written to."""
        self._clickhouse = clickhouse
        self._shapes: dict[str, TableShape] = {}
        self._room = asyncio.Semaphore(CONCURRENT_CALLS_MAX)

    async def mark(self, table: str, generation: int, partition: int) -> int:
        """Read the mark; see `ports.RowTarget`."""
        async with self._room:
            return await asyncio.to_thread(self._mark, table, generation, partition)

    async def insert(
        self, table: str, generation: int, partition: int, mark: int, body: bytes
    ) -> None:
        """Insert under the mark; see `ports.RowTarget`."""
        async with self._room:
            await asyncio.to_thread(self._insert, table, generation, partition, mark, body)

    def _shape(self, table: str) -> TableShape:
        shape = self._shapes.get(table)
        if shape is None:
            shape = self._shapes[table] = describe(self._clickhouse, table)
        return shape

    def _mark(self, table: str, generation: int, partition: int) -> int:
        sql = (
            f"SELECT {MARK}, count() FROM {table} "  # noqa: S608 - a table's name of ours
            "WHERE generation = {generation:UInt64} AND `partition` = {partition:UInt64}"
            + (SEQUENTIAL if self._shape(table).replicated else "")
        )
        answer = self._clickhouse.query(sql, {"generation": generation, "partition": partition})
        mark, count = map(int, answer.rows[0])
        if count != mark + 1:
            raise FaultError(
                f"{table} holds {count} rows of generation {generation}, partition {partition}, "
                f"up to sequence {mark}: rows are missing or doubled",
                action=f"Stop the sinks, restore {table} from a backup or drop and migrate it, and "
                "start them again: they fill it from the log.",
            )
        return mark

    def _insert(self, table: str, generation: int, partition: int, mark: int, body: bytes) -> None:
        require_one_block(table, body)
        shape = self._shape(table)
        sql = insert_statement(table, shape, generation, partition, mark)
        token = f"{table}:{generation}:{partition}:{mark}"
        self._clickhouse.send(sql, body, insert_settings(shape, token))


def require_one_block(table: str, body: bytes) -> None:
    """Raises FaultError for a body that ClickHouse could cut into several blocks."""
    rows = body.count(b"\n") + 1
    if rows > SINK_BATCH_ROWS_MAX or (rows > 1 and len(body) > SINK_BATCH_BYTES_MAX):
        raise FaultError(
            f"an insert of {rows} rows and {len(body)} bytes into {table} could become several "
            "blocks, of which a fault would leave the first ones",
            action="Nothing was inserted. Report this: batches are cut far below it.",
        )


def insert_settings(shape: TableShape, token: str) -> dict[str, Any]:
    """The settings of one insert under a token."""
    replicated = REPLICATED_SETTINGS if shape.replicated else {}
    return INSERT_SETTINGS | replicated | {"insert_deduplication_token": token}


SEQUENTIAL: Final = " SETTINGS select_sequential_consistency = 1"
"""Behind a SELECT: it waits for every insert that a majority has confirmed."""

MARK: Final = f"if(count() = 0, {NO_ROWS}, toInt64(max(sequence)))"
"""The mark in SQL. `max` of nothing would be 0, and the row with sequence 0 would be lost (S2)."""


def insert_statement(
    table: str, shape: TableShape, generation: int, partition: int, mark: int
) -> str:
    """The INSERT whose body follows: guarded by the mark, refused when the body comes too late.

    `nowInBlock()` is read when a block has been parsed, which for one block is when the body has
    arrived; `now()` is when the statement began.
    """
    read_mark = (
        f"SELECT {MARK} FROM {table} WHERE generation = {generation:d} "  # noqa: S608 - our own names and integers
        f"AND `partition` = {partition:d}"
    )
    return guarded_insert(table, shape, read_mark, mark)


def guarded_insert(table: str, shape: TableShape, read_mark: str, mark: int) -> str:
    """An INSERT whose body counts only if the query `read_mark` still gives `mark`, and the body
    is here in time.

    It gives derived columns as well, by their own expressions: in a SELECT, ClickHouse evaluates
    what stands in an `if` for the rows that it is for, for a column that is not given of all
    (decision 040)."""
    columns = (shape.columns, *(f"`{name}`" for name, _ in shape.derived))
    given = (shape.columns, *(expression for _, expression in shape.derived))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(given)} "  # noqa: S608 - our own names and integers
        f"FROM (SELECT {shape.made} FROM input($${shape.structure}$$) "
        f"WHERE ({read_mark}) = {mark:d} "
        f"AND NOT throwIf(nowInBlock() > now() + INTERVAL {BODY_SECONDS_MAX} SECOND, "
        "'the body of the insert arrived too late')) FORMAT JSONEachRow"
    )


def describe(clickhouse: ClickHouse, table: str) -> TableShape:
    """What inserts into a table look like, from its columns.

    Times are microseconds in JSON: as a DateTime64, an unquoted integer means raw ticks to some
    releases of ClickHouse and seconds to others, so it is read as Int64 and converted. `input`
    knows no defaults, so a column with one is read as nullable and completed. Raises SetupError
    for a table that is missing or remembers too few tokens."""
    where = {"d": clickhouse.address.database, "t": table}
    engine, created = _engine(clickhouse, table)
    if engine == "Distributed" and (local := DISTRIBUTED.search(created)):
        engine, created = _engine(clickhouse, local["t"])
    replicated = "MergeTree" in engine and engine.startswith(("Replicated", "Shared"))
    setting = ("" if replicated else "non_") + "replicated_deduplication_window"
    window = re.search(rf"\b{setting} = (\d+)", created)
    # A Shared table has no such setting: who runs it for others sees to that.
    remembered = int(window[1]) if window else WINDOW_MIN if engine.startswith("Shared") else 0
    if remembered < WINDOW_MIN:
        raise SetupError(
            f"{table} remembers {remembered} insert tokens, fewer than {WINDOW_MIN}",
            action=f"Run `ALTER TABLE {table} MODIFY SETTING {setting} = {WINDOW_MIN}`: without "
            "them an interrupted insert could count twice.",
        )
    found = clickhouse.query(
        "SELECT name, type, default_expression, default_kind FROM system.columns "
        "WHERE database = {d:String} AND table = {t:String} ORDER BY position",
        where,
    ).rows
    columns = [one[:3] for one in found if one[3] in ("", "DEFAULT")]
    read = [_column(str(name), str(kind), str(default)) for name, kind, default in columns]
    return TableShape(
        columns=", ".join(f"`{name}`" for name, _, _ in columns),
        structure=", ".join(structure for structure, _ in read),
        replicated=replicated,
        names=tuple(str(name) for name, _, _ in columns),
        made=", ".join(
            f"{value} AS `{name}`" for (name, _, _), (_, value) in zip(columns, read, strict=True)
        ),
        derived=tuple((str(one[0]), str(one[2])) for one in found if one[3] == "MATERIALIZED"),
    )


def _engine(clickhouse: ClickHouse, table: str) -> tuple[str, str]:
    """A table's engine, and the statement that makes it. Raises SetupError where there is none."""
    database = clickhouse.address.database
    found = clickhouse.query(
        "SELECT engine, create_table_query FROM system.tables "
        "WHERE database = {d:String} AND name = {t:String}",
        {"d": database, "t": table},
    ).rows
    if not found:
        raise SetupError(
            f"there is no table {table} in database {database}", action="Run `tollgate migrate`."
        )
    return str(found[0][0]), str(found[0][1])


def _column(name: str, kind: str, default: str) -> tuple[str, str]:
    """How a column is read from JSON, and the expression that makes its value."""
    # Building dictionaries while parsing costs a third of the whole insert; they are built per
    # part anyway.
    read = re.sub(r"LowCardinality\(([^()]*)\)", r"\1", kind)
    value = f"`{name}`"
    time = re.fullmatch(r"(Nullable\()?DateTime64\(6, 'UTC'\)\)?", kind)
    if time is not None:
        read = "Nullable(Int64)" if time[1] else "Int64"
        value = f"fromUnixTimestamp64Micro({value}, 'UTC')"
    if default:
        read, value = f"Nullable({read})", f"ifNull({value}, {default})"
    return f"`{name}` {read}", value
