"""How commands print figures: aligned, exact, and whole even where nobody looks at a terminal."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.money import PICO

_PIPE_WIDTH: Final = 100_000
"""Columns of what is no terminal: a pipe has no width, and a cut figure is a wrong one."""


def console() -> Console:
    """Where tables go: stdout, as wide as they need where that is no terminal."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, emoji=False, markup=False)


def amounts(picos: Iterable[int]) -> list[str]:
    """Amounts as texts of the same number of decimals, as few as show each of them exactly."""
    values = list(picos)
    decimals = 0
    for value in values:
        fraction = f"{abs(value) % PICO:012d}".rstrip("0")
        decimals = max(decimals, len(fraction))
    return [_amount(value, decimals) for value in values]


def _amount(pico: int, decimals: int) -> str:
    whole, fraction = divmod(abs(pico), PICO)
    sign = "-" if pico < 0 else ""
    point = f".{fraction:012d}"[: decimals + 1] if decimals else ""
    return f"{sign}{whole:,}{point}"


def counts(numbers: Iterable[int]) -> list[str]:
    """Whole numbers with separators."""
    return [f"{number:,}" for number in numbers]


def table(
    columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]], *, total: bool = False
) -> Table:
    """A table of texts. `columns` are (title, right-aligned); with `total` the last row stands
    apart."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title, right in columns:
        made.add_column(
            Text(title), justify="right" if right else "left", overflow="fold", no_wrap=right
        )
    for number, row in enumerate(rows):
        ends = total and number == len(rows) - 2
        # Texts of producers are shown as they are: `Text` interprets no markup.
        made.add_row(*(Text(cell) for cell in row), end_section=ends)
    return made
