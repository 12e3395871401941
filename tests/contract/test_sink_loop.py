"""The sink's promise, on memory and on ClickHouse: every record of the log becomes one row."""

import asyncio

import pytest

from schemas.codec import join_rows
from streams.adapters.memory_sink import EndOfLogError, MemoryLog
from streams.errors import FaultError, TransientError
from streams.ports import NO_ROWS
from streams.sink.loop import Inserted
from streams.sink.rows import BatchLimits
from tests.rows import FEBRUARY_US, log_of, row, rows
from tests.sinks import (
    Counted,
    Killed,
    Overtaken,
    Shaky,
    Steps,
    Table,
    drain,
    reread,
    sink_of,
    table_for,
)

SMALL = BatchLimits(rows_max=3, bytes_max=1_000_000)


@pytest.fixture(params=["memory", "clickhouse"])
def table(request: pytest.FixtureRequest) -> Table:
    return table_for(request, request.param)


async def fill(table: Table, last: int) -> None:
    """Rows 0 to `last`, as an earlier sink left them."""
    body = join_rows(rows(range(last + 1)))
    await table.target.insert("ledger", 1, 0, NO_ROWS, body)


# --- what a sink does where nothing goes wrong -------------------------------------------------


async def test_every_record_becomes_one_row_from_sequence_0_on(table: Table) -> None:
    told: list[Inserted] = []
    await drain(log_of(rows(range(8))), table.target, SMALL, told)
    assert table.sequences() == list(range(8))
    assert [batch.rows for batch in told] == [3, 3, 2]


async def test_a_single_record_with_sequence_0_is_not_lost(table: Table) -> None:
    await drain(log_of([row(0)]), table.target)
    assert table.sequences() == [0]


async def test_a_sink_goes_on_where_the_table_ends_and_leaves_a_hint_there(table: Table) -> None:
    await fill(table, 4)
    log = log_of(rows(range(8)))
    await drain(log, table.target)
    assert table.sequences() == list(range(8))
    assert await log.hint() == log.records[-1].offset + 1


async def test_rows_of_two_months_go_into_inserts_of_their_own(table: Table) -> None:
    values = [row(0, decided_at=FEBRUARY_US - 1), *rows([1, 2], decided_at=FEBRUARY_US)]
    await drain(log_of(values), table.target)
    assert table.sequences() == [0, 1, 2]
    assert table.batches() == 2


async def test_a_new_generation_begins_at_sequence_0_in_the_same_log(table: Table) -> None:
    log = log_of([*rows(range(3)), *rows(range(2), generation=2)])
    await drain(log, table.target)
    await drain(reread(log), table.target)
    assert table.sequences() == [0, 1, 2]
    assert table.sequences(generation=2) == [0, 1]


# --- where to begin ----------------------------------------------------------------------------


@pytest.mark.parametrize("hint", [None, 0, 1, 5, 9, 11, 10_000])
async def test_a_wrong_hint_changes_nothing(table: Table, hint: int | None) -> None:
    await fill(table, 4)
    await drain(log_of(rows(range(8)), hint=hint), table.target)
    assert table.sequences() == list(range(8))


async def test_a_table_restored_from_an_older_backup_is_filled_up_again(table: Table) -> None:
    log = log_of(rows(range(8)))
    await drain(log, table.target)
    table.lose_rows_from(2)
    table.forget_tokens()
    await drain(reread(log, hint=await log.hint()), table.target)
    assert table.sequences() == list(range(8))


async def test_a_table_that_shrinks_under_a_running_sink_is_filled_up_again(table: Table) -> None:
    async def restore_a_backup(number: int) -> None:
        if number == 1:
            table.lose_rows_from(1)
            table.forget_tokens()

    await drain(log_of(rows(range(8))), Overtaken(table.target, restore_a_backup), SMALL)
    assert table.sequences() == list(range(8))


async def test_a_table_ahead_of_its_log_stops_the_sink(table: Table) -> None:
    await fill(table, 9)
    with pytest.raises(FaultError, match=r"up to sequence 9, the log only up to 4"):
        await drain(log_of(rows(range(5))), table.target)
    assert table.sequences() == list(range(10))


async def test_a_log_that_begins_anew_under_an_old_generation_stops_the_sink(table: Table) -> None:
    await fill(table, 9)
    log = MemoryLog("ledger", 0)
    await drain(log, table.target)  # Nothing there yet, so nothing is wrong yet.
    log.append(row(0))
    with pytest.raises(FaultError, match=r"up to sequence 9, the log only up to 0"):
        await drain(log, table.target)


async def test_a_log_that_no_longer_has_what_the_table_lacks_stops_the_sink(table: Table) -> None:
    await fill(table, 4)
    with pytest.raises(FaultError, match="the log goes on with sequence 7"):
        await drain(log_of(rows(range(7, 9))), table.target)
    assert table.sequences() == list(range(5))


async def test_a_gap_in_the_log_stops_the_sink_right_before_it(table: Table) -> None:
    with pytest.raises(FaultError, match="the log goes on with sequence 5"):
        await drain(log_of(rows([0, 1, 2, 5, 6])), table.target)
    assert table.sequences() == [0, 1, 2]


async def test_a_log_that_repeats_a_sequence_stops_the_sink_instead_of_turning_in_circles(
    table: Table,
) -> None:
    with pytest.raises(FaultError, match=r"not dense|only up to"):
        await drain(log_of(rows([0, 1, 2, 1, 2, 3])), table.target)
    assert table.sequences() == [0, 1, 2]


# --- trouble -----------------------------------------------------------------------------------


async def test_an_insert_whose_answer_got_lost_is_not_sent_again(table: Table) -> None:
    steps = Steps()
    shaky = Counted(Shaky(table.target, lost_answers=2), steps)
    await drain(log_of(rows(range(6))), shaky, SMALL)
    assert table.sequences() == list(range(6))
    assert steps.taken.count("insert") == 2


async def test_an_insert_that_never_arrived_is_sent_again(table: Table) -> None:
    await drain(log_of(rows(range(6))), Shaky(table.target, lost_requests=3), SMALL)
    assert table.sequences() == list(range(6))


async def test_a_table_that_takes_no_inserts_stops_the_sink_after_its_deadline(
    table: Table,
) -> None:
    with pytest.raises(TransientError, match="connection refused"):
        await drain(log_of(rows(range(6))), Shaky(table.target, lost_requests=10**6))
    assert table.sequences() == []


async def test_troubles_that_pass_do_not_add_up(table: Table) -> None:
    """The deadline of `sink_of` is 50 troubles; here are more, each of them over at once."""

    async def fails_every_other_time(number: int) -> None:
        if number % 2 == 0:
            raise TransientError("connection refused", action="Wait.")

    target = Overtaken(table.target, fails_every_other_time)
    one_by_one = BatchLimits(rows_max=1, bytes_max=1_000_000)
    await drain(log_of(rows(range(60))), target, one_by_one)
    assert table.sequences() == list(range(60))


async def test_a_remembered_insert_whose_rows_are_gone_stops_the_sink_with_what_to_do(
    table: Table,
) -> None:
    log = log_of(rows(range(6)))
    await drain(log, table.target)
    table.lose_rows_from(0)
    with pytest.raises(FaultError, match="holds none") as caught:
        await drain(reread(log), table.target)
    assert "non_replicated_deduplication_window = 0" in caught.value.action
    table.forget_tokens()
    await drain(reread(log), table.target)
    assert table.sequences() == list(range(6))


async def test_a_sink_killed_between_two_months_of_one_take_leaves_what_the_next_one_completes(
    table: Table,
) -> None:
    """One generation per place to be killed at, before and after each call."""
    generation, died = 0, True
    while died:
        generation += 1
        month_end = rows(range(3), generation=generation, decided_at=FEBRUARY_US - 1)
        month_begin = rows(range(3, 6), generation=generation, decided_at=FEBRUARY_US)
        log = log_of([*month_end, *month_begin])
        steps = Steps(kill_at=(generation - 1) // 2, after=generation % 2 == 0)
        try:
            await sink_of(Counted(log, steps), Counted(table.target, steps)).run()
        except Killed:
            pass
        except EndOfLogError:
            died = False
            assert steps.taken.count("insert") == 2
        await drain(reread(log, hint=await log.hint()), table.target)
        assert table.sequences(generation) == list(range(6)), steps.taken
    assert generation > 12


# --- several sinks -----------------------------------------------------------------------------


async def test_two_sinks_on_one_partition_insert_every_row_once(table: Table) -> None:
    log = log_of(rows(range(40)))
    limits = [BatchLimits(rows_max=size, bytes_max=1_000_000) for size in (3, 5, 4)]
    await asyncio.gather(*(drain(reread(log), table.target, limit) for limit in limits))
    assert table.sequences() == list(range(40))


@pytest.mark.parametrize("ahead", [2, 3, 4, 8])
async def test_a_sink_that_was_paused_before_its_insert_goes_on_where_the_other_one_is(
    table: Table, ahead: int
) -> None:
    log = log_of(rows(range(12)))
    shorter = reread(log)
    shorter.records = log.records[:ahead]

    async def another_sink_runs(number: int) -> None:
        if number == 0:
            await drain(reread(shorter), table.target)

    limits = BatchLimits(rows_max=4, bytes_max=1_000_000)
    await drain(reread(log), Overtaken(table.target, another_sink_runs), limits)
    assert table.sequences() == list(range(12))


# --- killed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_sink_killed_at_any_step_leaves_a_table_that_the_next_one_completes(
    table: Table, after: bool
) -> None:
    """One generation per place to be killed at, so that one table serves them all."""
    steps_seen: set[str] = set()
    generation, died = 0, True
    while died:
        generation += 1
        log = log_of(rows(range(7), generation=generation))
        steps = Steps(kill_at=generation - 1, after=after)
        try:
            await sink_of(Counted(log, steps), Counted(table.target, steps), SMALL).run()
        except Killed:
            steps_seen.add(steps.taken[-1])
        except EndOfLogError:
            died = False
        await drain(reread(log, hint=await log.hint()), table.target, SMALL)
        assert table.sequences(generation) == list(range(7)), steps.taken
    assert steps_seen >= {"bounds", "hint", "peek", "seek", "take", "mark", "insert", "done"}
    assert generation > len(steps_seen)
