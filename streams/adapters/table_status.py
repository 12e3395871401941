"""A look at ClickHouse for an onlooker: its version and how far the tables are."""

from typing import Final

from streams.adapters.clickhouse import ClickHouse
from streams.status.seen import TableMark, TablesSeen

SECONDS_MAX: Final = 4
"""One query of a look. The projection answers it in milliseconds."""

TABLES: Final = ("ledger", "attributions", "dead_letters")
"""Tables with rows of (generation, partition, sequence)."""


def look_at_tables(clickhouse: ClickHouse) -> TablesSeen:
    """The tables now. Raises what `ClickHouse.query` raises."""
    [[version]] = clickhouse.query("SELECT version()").rows
    marks = {}
    for table in TABLES:
        found = clickhouse.query(
            "SELECT generation, `partition`, max(sequence), count(), "  # noqa: S608 - our names
            f"toUnixTimestamp64Micro(max(decided_at)) FROM {table} "
            f"GROUP BY generation, `partition` SETTINGS max_execution_time = {SECONDS_MAX}"
        )
        for generation, number, mark, rows, newest_us in found.rows:
            key = (table, int(generation), int(number))
            marks[key] = TableMark(int(mark), int(rows), int(newest_us))
    read_only = clickhouse.query(
        "SELECT table FROM system.replicas WHERE database = {d:String} AND is_readonly "  # noqa: S608
        f"SETTINGS max_execution_time = {SECONDS_MAX}",
        {"d": clickhouse.address.database},
    )
    return TablesSeen(str(version), marks, tuple(sorted(str(name) for (name,) in read_only.rows)))
