"""The repository as the guards see it: its files, without what tools and installations leave."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

_NOT_OURS: Final = frozenset(
    {
        ".git",
        ".hypothesis",
        ".import_linter_cache",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".tollgate",
        ".venv",
        ".venv-clients",
        ".venv-lock",
        "__pycache__",
        "dist",
    }
)


def files(suffix: str = "", under: str = ".") -> list[Path]:
    """Return the files of the repository whose name ends with `suffix`, sorted.

    Raises:
        AssertionError: there is none; a guard that looks at nothing must not pass.
    """
    found = sorted(path for path in _walk(ROOT / under) if path.name.endswith(suffix))
    assert found, f"the guard found no *{suffix} under {under}"
    return found


def modules(*packages: str) -> list[Path]:
    """Return the Python files of the named top-level packages; each has at least one."""
    return [path for package in packages for path in files(".py", package)]


def label(path: Path) -> str:
    """Return a path as messages name it."""
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _walk(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.name in _NOT_OURS:
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path
