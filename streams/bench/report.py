"""The form that every benchmark keeps: figures with their targets, as JSON and as a table.

{"machine": {…}, "results": [{"name", "value", "unit", "target", "ok"}]}. Knows nothing about what
is measured.
"""

import json
import os
import platform
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

MEASURED: Final = 0
MISSED: Final = 1
"""Exit codes of a benchmark: all targets met, or one of them missed. That a result was wrong, or
that nothing could be measured, is an error of its own and gives 2 or 3."""

FAULTY: Final = 3


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure has to be: at least or at most `bound`."""

    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        """Whether a figure is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {figure(self.bound)}"


def at_least(bound: float) -> Target:
    """A target that larger figures meet."""
    return Target(bound, True)


def at_most(bound: float) -> Target:
    """A target that smaller figures meet."""
    return Target(bound, False)


@dataclass(frozen=True, slots=True)
class Result:
    """A figure: whose, of what, in which unit."""

    name: str
    value: float
    unit: str
    target: Target | None = None

    @property
    def ok(self) -> bool:
        """Whether the target is met; a figure without one is always fine."""
        return self.target is None or self.target.met(self.value)

    def plain(self) -> dict[str, Any]:
        """The figure as it stands in the JSON."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "target": None if self.target is None else str(self.target),
            "ok": self.ok,
        }


@dataclass(slots=True)
class Report:
    """All figures of a run, in the order in which they are shown."""

    machine: dict[str, Any]
    results: list[Result] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, target: Target | None = None) -> None:
        """Adds a figure."""
        self.results.append(Result(name, value, unit, target))

    @property
    def missed(self) -> list[Result]:
        """The figures that do not meet their target."""
        return [result for result in self.results if not result.ok]

    @property
    def exit_code(self) -> int:
        """MEASURED or MISSED."""
        return MISSED if self.missed else MEASURED

    def plain(self) -> dict[str, Any]:
        """The whole report for JSON."""
        return {
            "machine": self.machine,
            "results": [result.plain() for result in self.results],
        }

    def write(self, path: Path) -> None:
        """Writes the JSON."""
        path.write_text(json.dumps(self.plain(), indent=2, ensure_ascii=False) + "\n", "utf-8")

    def text(self) -> str:
        """The figures as an aligned table, with a verdict where there are targets."""
        rows = [
            (
                result.name,
                figure(result.value),
                result.unit,
                "" if result.target is None else str(result.target),
                "" if result.target is None else ("yes" if result.ok else "NO"),
            )
            for result in self.results
        ]
        return aligned([("figure", "value", "unit", "target", "met"), *rows], right=(1,))


def machine() -> dict[str, Any]:
    """What the figures were made on, as far as it explains them."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "python": sys.version,
        "python_built_with": _built_with(str(sysconfig.get_config_var("CONFIG_ARGS") or "")),
    }


def _built_with(arguments: str) -> str:
    """How an interpreter was optimised, by the arguments of its `configure`: two of one version may
    differ in it, and then in their speed."""
    names = {"--enable-optimizations": "PGO", "--with-lto": "LTO"}
    found = [name for option, name in names.items() if option in arguments]
    return " and ".join(found) or "neither PGO nor LTO, as far as it says"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def figure(value: float) -> str:
    """A figure with as many digits as it is worth: whole from 100 on, else three or so."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def aligned(rows: Sequence[Iterable[str]], right: Sequence[int] = ()) -> str:
    """Lines whose columns stand below each other; the first row is the head."""
    cells = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join(
        [line(cells[0]), "  ".join("─" * width for width in widths), *map(line, cells[1:])]
    )
