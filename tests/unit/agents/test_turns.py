"""Cycles fold one after the other, and whoever asks gets the loop between their pieces."""

import asyncio

from streams.agents.turns import TURNS_FOR_ANSWERS, SharedTurns, Turns


async def cycle(turns: Turns, name: str, log: list[str], pieces: int = 2) -> None:
    async with turns.folding():
        for piece in range(pieces):
            if piece:
                await turns.breathe()
            log.append(name)


async def other(log: list[str], times: int) -> None:
    for _ in range(times):
        log.append(".")
        await asyncio.sleep(0)


async def test_two_cycles_never_fold_in_one_turn_of_the_loop() -> None:
    turns, log = SharedTurns(lambda: TURNS_FOR_ANSWERS), list[str]()
    await asyncio.gather(cycle(turns, "a", log), cycle(turns, "b", log), other(log, 20))
    told = "".join(log)
    assert told.replace(".", "") == "aabb"
    assert "." in told[told.rindex("a") : told.index("b")]


async def test_whoever_asks_gets_the_loop_between_two_pieces() -> None:
    turns, log = SharedTurns(lambda: TURNS_FOR_ANSWERS), list[str]()
    await asyncio.gather(cycle(turns, "a", log), other(log, 20))
    between = "".join(log).split("a")[1]
    assert between == "." * TURNS_FOR_ANSWERS


async def test_a_cycle_that_fails_leaves_the_loop_to_the_next_one() -> None:
    turns, log = SharedTurns(lambda: TURNS_FOR_ANSWERS), list[str]()

    async def failing() -> None:
        async with turns.folding():
            raise RuntimeError

    await asyncio.gather(failing(), cycle(turns, "b", log), return_exceptions=True)
    assert log == ["b", "b"]


async def test_a_cycle_that_is_cancelled_while_it_waits_holds_nobody_up() -> None:
    turns, log = SharedTurns(lambda: TURNS_FOR_ANSWERS), list[str]()
    first = asyncio.create_task(cycle(turns, "a", log, pieces=3))
    second = asyncio.create_task(cycle(turns, "b", log))
    await asyncio.sleep(0)
    second.cancel()
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await cycle(turns, "c", log)
    assert log[-2:] == ["c", "c"]


async def test_nobody_waits_for_a_turn_while_nobody_asks() -> None:
    turns, log = SharedTurns(lambda: 0), list[str]()
    await asyncio.gather(cycle(turns, "a", log), cycle(turns, "b", log), other(log, 1))
    assert log == ["a", "a", "b", "b", "."]
