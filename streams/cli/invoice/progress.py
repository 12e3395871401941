"""Progress of commands about many invoices, on stderr where somebody looks at it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

Show = Callable[[int, int], None]
"""Told how much is done, and how much there is."""


def _unseen(_done: int, _total: int) -> None:
    """Nobody looks."""


@contextmanager
def progress(what: str, *, counted: bool = True) -> Iterator[Show]:
    """A bar called `what`; `counted` shows the numbers, which only mean something for things."""
    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield _unseen
        return
    figures = MofNCompleteColumn() if counted else TaskProgressColumn()
    with Progress(
        TextColumn(what), BarColumn(), figures, TimeElapsedColumn(), console=screen, transient=True
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
