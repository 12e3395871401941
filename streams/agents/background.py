"""Work that goes on by itself while a partition is owned, and ends with it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Background:
    """The pieces of work of one owner. A fault of any of them is told in the step in which it
    happens; none is lost. Belongs to one event loop."""

    def __init__(self, lose: Callable[[BaseException], None]) -> None:
        self._lose = lose
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begins a piece of work."""
        self._tasks.append(asyncio.get_running_loop().create_task(self._run(work)))

    async def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as fault:
            self._lose(fault)
            raise

    async def end(self) -> None:
        """Cancels what has not ended, and returns once it has."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
