"""Who gets the loop: folding a cycle is milliseconds of work in one piece, and an agent that waits
for its answer needs many short ones.

How many turns of it others want is told to it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

TURNS_FOR_ANSWERS: Final = 4
"""Turns of the loop between two pieces of a cycle while somebody asks: in so many a request goes
from the socket through the gateway to its owner, is decided, and its record is on the way to the
broker."""

TURNS_WHILE_BEHIND: Final = 1
"""The same where usage has waited for long."""


ANSWERS_SECONDS: Final = 0.002
"""How long a cycle stands back for answers where they take longer: as long as one of its pieces
takes. With more, a rush of questions would keep usage from being folded, until what is known of it
is too old to decide on (P7)."""


class Turns:
    """Between the pieces of a cycle. This one lets nobody in between."""

    async def breathe(self) -> None:
        """Between two pieces of a cycle: lets others have the loop."""

    @asynccontextmanager
    async def folding(self) -> AsyncIterator[None]:
        """Around all pieces of a cycle."""
        yield


class SharedTurns(Turns):
    """While somebody asks, one cycle folds at a time, and never two in one turn of the loop: eight
    partitions whose cycles became due together would keep an answer waiting for all of them."""

    def __init__(self, wanted: Callable[[], int]) -> None:
        """`wanted` says how many turns of the loop others should have between two pieces now."""
        self._wanted = wanted
        self._one_at_a_time = asyncio.Lock()

    async def breathe(self) -> None:
        """Lets answers be given, where somebody asks for them."""
        wanted = self._wanted()
        if not wanted:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWERS_SECONDS
        for _ in range(wanted):
            await asyncio.sleep(0)
            if loop.time() > until:
                break

    @asynccontextmanager
    async def folding(self) -> AsyncIterator[None]:
        """Waits for its turn, where somebody asks. Records that wait here have left the inbox, so
        nobody waits without need."""
        if not self._wanted():
            yield
            return
        async with self._one_at_a_time:
            await asyncio.sleep(0)
            await self.breathe()
            yield
