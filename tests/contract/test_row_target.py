"""One suite for every row target: memory, and ClickHouse with its guard and its tokens."""

import asyncio

import pytest

from schemas.codec import join_rows
from streams.errors import FaultError
from streams.ports import NO_ROWS
from tests.rows import rows
from tests.sinks import Table, table_for


@pytest.fixture(params=["memory", "clickhouse"])
def table(request: pytest.FixtureRequest) -> Table:
    return table_for(request, request.param)


async def insert(table: Table, mark: int, last: int, *, partition: int = 0) -> None:
    body = join_rows(rows(range(mark + 1, last + 1), partition=partition))
    await table.target.insert("ledger", 1, partition, mark, body)


async def test_the_mark_of_an_empty_table_is_not_that_of_a_table_with_sequence_0(
    table: Table,
) -> None:
    assert await table.target.mark("ledger", 1, 0) == NO_ROWS
    await insert(table, NO_ROWS, 0)
    assert await table.target.mark("ledger", 1, 0) == 0


async def test_marks_of_partitions_and_generations_are_apart(table: Table) -> None:
    await insert(table, NO_ROWS, 4)
    await insert(table, NO_ROWS, 1, partition=3)
    assert await table.target.mark("ledger", 1, 3) == 1
    assert await table.target.mark("ledger", 2, 0) == NO_ROWS
    assert await table.target.mark("dead_letters", 1, 0) == NO_ROWS


async def test_an_insert_under_a_mark_that_moved_on_changes_nothing(table: Table) -> None:
    await insert(table, NO_ROWS, 4)
    await insert(table, NO_ROWS, 4)
    await insert(table, NO_ROWS, 9)
    assert table.sequences() == [0, 1, 2, 3, 4]


async def test_an_insert_under_a_mark_that_the_table_has_not_reached_changes_nothing(
    table: Table,
) -> None:
    await insert(table, 7, 9)
    assert table.sequences() == []


async def test_a_stale_insert_changes_nothing_even_when_its_token_is_forgotten(
    table: Table,
) -> None:
    await insert(table, NO_ROWS, 4)
    table.forget_tokens()
    await insert(table, NO_ROWS, 9)
    assert table.sequences() == [0, 1, 2, 3, 4]


async def test_of_many_inserts_under_one_mark_one_counts_and_counts_whole(table: Table) -> None:
    await asyncio.gather(*(insert(table, NO_ROWS, last) for last in (4, 9, 2, 7, 4, 4)))
    first = table.sequences()
    assert first in [list(range(size)) for size in (5, 10, 3, 8)]
    assert table.batches() == 1


async def test_inserts_of_different_partitions_do_not_hinder_each_other(table: Table) -> None:
    await asyncio.gather(*(insert(table, NO_ROWS, 4, partition=p) for p in range(6)))
    assert all(table.sequences(partition=p) == [0, 1, 2, 3, 4] for p in range(6))


async def test_a_hole_below_the_mark_is_a_fault_and_not_a_mark(table: Table) -> None:
    await insert(table, NO_ROWS, 1)
    await table.target.insert("ledger", 1, 0, 1, join_rows(rows([4])))
    with pytest.raises(FaultError, match="missing or doubled"):
        await table.target.mark("ledger", 1, 0)


async def test_a_row_that_is_there_twice_is_a_fault_and_not_a_mark(table: Table) -> None:
    await table.target.insert("ledger", 1, 0, NO_ROWS, join_rows(rows([0, 1, 1])))
    with pytest.raises(FaultError, match="missing or doubled"):
        await table.target.mark("ledger", 1, 0)
