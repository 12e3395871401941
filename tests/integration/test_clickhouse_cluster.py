"""The migrations as a cluster of ClickHouse has them, on two servers that are its shards; what one
machine cannot show stands in decision 036."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from schemas import codec
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows, describe
from streams.invoicing.billing import read_billing
from streams.ports import NO_ROWS
from streams.sink.cluster import SHARDED
from tests.clickhouse_shards import for_one_server, running_shards, statements
from tests.invoice_facts import Invoiced, close, credit, issue, line, terms, totals_of
from tests.random_ledger import insert_entries, random_entries
from tests.rows import rows

SHARDS: Final = 2
SUMS: Final = {
    "usage": "count(), sum(units), sum(toDecimal256(cost, 12))",
    "adjustments": "count(), sum(toDecimal256(cost, 12))",
    "monthly_usage": "count(), sum(calls), sum(tokens), sum(cost)",
    "signals": "count(), sum(quantity)",
    "signal_costs": "count()",
    "usage_by_day": "count()",
    "cost_by_model": "count()",
    "grants": "count()",
    "open_holds": "count()",
    "invoices": "count()",
}
"""Views over one table, over joins by customer, and over customers of all shards."""


@pytest.fixture(scope="module")
def shards() -> Iterator[Sequence[ClickHouse]]:
    with running_shards(SHARDS) as found:
        with ThreadPoolExecutor(SHARDS) as pool:
            list(pool.map(fill, found))
        yield found


def fill(shard: ClickHouse) -> None:
    """All tables and views; what columns are called changes no figure."""
    for statement in for_one_server(statements(), replicated=False):
        if "COMMENT COLUMN" not in statement:
            shard.execute(statement)


@pytest.fixture
def empty(shards: Sequence[ClickHouse]) -> Sequence[ClickHouse]:
    for shard in shards:
        for table in SHARDED:
            shard.execute(f"TRUNCATE TABLE {table}_local SYNC")
            for window in (0, 10_000):
                shard.execute(
                    f"ALTER TABLE {table}_local MODIFY SETTING "
                    f"non_replicated_deduplication_window = {window}"
                )
    return shards


def own_rows(shard: ClickHouse) -> int:
    return int(shard.query("SELECT count() FROM ledger_local").rows[0][0])


def test_every_table_of_a_cluster_is_replicated_and_what_is_billed_is_sharded() -> None:
    with running_shards(1) as [server]:
        made = [one for one in statements() if one.startswith("CREATE TABLE")]
        for statement in for_one_server(made, replicated=True):
            server.execute(statement)
        body = "\n".join(json.dumps({"one": one}) for one in statements()).encode()
        sql = "SELECT formatQuerySingleLine(one) FROM written"
        read = server.query_beside(sql, {}, "written", "one String", body).rows
        found = server.query(
            "SELECT name, engine, engine_full FROM system.tables WHERE database = 'tollgate'"
        ).rows
    assert len(read) > len(made)
    assert all(" ON CLUSTER shards" in str(one) for (one,) in read)
    engines = {str(name): str(engine) for name, engine, _ in found}
    for table in SHARDED:
        assert engines[table] == "Distributed"
        assert engines[f"{table}_local"] == "ReplicatedMergeTree"
    assert {e for name, e in engines.items() if name not in SHARDED} == {"ReplicatedMergeTree"}
    windows = [str(full) for _, engine, full in found if engine == "ReplicatedMergeTree"]
    assert all(" replicated_deduplication_window = " in full for full in windows)


async def test_a_partition_lives_on_one_shard_and_its_mark_is_read_through_any(
    empty: Sequence[ClickHouse],
) -> None:
    targets = [ClickHouseRows(shard) for shard in empty]
    for partition in range(4):
        body = codec.join_rows(rows(range(10), partition=partition))
        await targets[0].insert("ledger", 1, partition, NO_ROWS, body)
    assert [own_rows(shard) for shard in empty] == [20, 20]
    for target in targets:
        assert [await target.mark("ledger", 1, partition) for partition in range(4)] == [9] * 4


async def test_an_insert_that_is_sent_twice_through_any_server_counts_once(
    empty: Sequence[ClickHouse],
) -> None:
    first, second = (ClickHouseRows(shard) for shard in empty)
    body = codec.join_rows(rows(range(10), partition=1))
    for target in (first, second, first):
        await target.insert("ledger", 1, 1, NO_ROWS, body)
    # Another cut of the same rows under the same mark: the token drops what the guard lets pass.
    await second.insert("ledger", 1, 1, NO_ROWS, codec.join_rows(rows(range(7), partition=1)))
    assert await first.mark("ledger", 1, 1) == 9
    assert [own_rows(shard) for shard in empty] == [0, 10]


async def test_views_over_shards_say_what_they_say_over_one_server(
    empty: Sequence[ClickHouse], clickhouse: ClickHouse
) -> None:
    entries = [entry for entry in random_entries(7) if entry.generation == 1]
    await insert_entries(clickhouse, entries)
    await insert_entries(empty[0], entries)
    assert all(own_rows(shard) for shard in empty)
    for view, figures in SUMS.items():
        due = clickhouse.query(f"SELECT {figures} FROM {view}").rows
        for shard in empty:
            assert shard.query(f"SELECT {figures} FROM {view}").rows == due, view


async def test_what_invoices_are_made_of_is_the_same_over_shards(
    empty: Sequence[ClickHouse], clickhouse: ClickHouse
) -> None:
    books, lines = Invoiced(), [line(1, "8")]
    books.tell(terms(), credit(), close(0))
    books.tell(issue(lines=lines, totals=totals_of(lines)))
    for target in (clickhouse, empty[0]):
        await insert_entries(target, books.entries)
    due = read_billing(clickhouse, ["acme"], with_lines=True)
    assert [one["number"] for one in due["acme"].closes] == ["acme-0001"]
    assert [len(one["lines"]) for one in due["acme"].issues] == [1]
    for shard in empty:
        assert read_billing(shard, ["acme"], with_lines=True) == due


def test_a_table_over_shards_is_judged_by_the_rows_behind_it(
    empty: Sequence[ClickHouse],
) -> None:
    shape = describe(empty[0], "ledger")
    assert not shape.replicated, "a plain table stands for the replicated one here"
    assert "sequence" in shape.names
