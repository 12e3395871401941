"""The process of a Faust app, which ends as soon as everything has stopped."""

import asyncio
from typing import Final

import faust

LEFT_SECONDS_MAX: Final = 1.0
"""How long tasks may take that are cancelled when the app has stopped; none should take any."""


class Worker(faust.Worker):
    """mode sets up a log of its own; here there is one already. It waits a second for tasks that
    last as long as the process, cancels them, and waits another second. Here they are cancelled at
    once, and waited for as long as they need."""

    def __init__(self, app: faust.App) -> None:
        """Everything that the program says is a line of its log: no spinner, no banner."""
        super().__init__(app, quiet=True, redirect_stdouts=False)
        self.spinner = None

    def _setup_logging(self) -> None:
        pass

    def _gather_all(self) -> None:
        for task in asyncio.all_tasks(loop=self.loop):
            task.cancel()

    async def _sentinel_task(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=LEFT_SECONDS_MAX)
