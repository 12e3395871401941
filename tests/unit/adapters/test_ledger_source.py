"""Partitions that are handed over; the source itself is tested on the real broker."""

import asyncio

from streams.adapters.ledger_source import end_tasks


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    """Else a rebalance would wait for it until Kafka throws the whole group out."""
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed:
                    raise
                swallowed += 1

    task = asyncio.ensure_future(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_tasks([task]), 30)
    assert (task.cancelled(), swallowed) == (True, 1)


async def test_tasks_that_ended_by_themselves_are_no_trouble() -> None:
    async def failing() -> None:
        raise ValueError

    async def done() -> None:
        pass

    tasks = [asyncio.ensure_future(failing()), asyncio.ensure_future(done())]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert isinstance(tasks[0].exception(), ValueError)
    await end_tasks([])
