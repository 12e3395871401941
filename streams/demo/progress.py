"""Progress on stderr: bars on a terminal, a line per step of a quarter elsewhere."""

import sys
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_STEPS = 4
"""Lines per bar where nobody watches: enough to see where a log stopped."""


class Bars:
    """Named bars with a common look. Use as a context manager; `show` may be called at any time."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Draws to `stream`, stderr if None."""
        self._stream = stream or sys.stderr
        self._rich = (
            Progress(
                TextColumn("{task.description:<22}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(file=self._stream),
            )
            if self._stream.isatty()
            else None
        )
        self._tasks: dict[str, int] = {}
        self._steps: dict[str, int] = {}

    def show(self, name: str, done: int, total: int) -> None:
        """Moves the bar `name`, which appears when it is first shown."""
        done = min(done, total)
        if self._rich is not None:
            if name not in self._tasks:
                self._tasks[name] = self._rich.add_task(name, total=total)
            self._rich.update(self._rich.task_ids[self._tasks[name]], completed=done)
            return
        step = PLAIN_STEPS * done // total if total else PLAIN_STEPS
        if step > self._steps.get(name, 0):
            self._steps[name] = step
            print(f"tollgate: {name}: {done:,} of {total:,}", file=self._stream, flush=True)

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop drawing; the bars stay."""
        if self._rich is not None:
            self._rich.stop()
