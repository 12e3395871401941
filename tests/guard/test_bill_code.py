"""What travels inside a bill needs Python alone: `streams.domain.invoices` imports the standard
library, itself, and two modules of `schemas`."""

import ast
import sys
from pathlib import Path

import pytest

from tests.guard.repository import ROOT, label

PACKAGE = ROOT / "streams/domain/invoices"
ALLOWED = ("streams.domain.invoices.", "schemas.money", "schemas.limits")
FILES = [*sorted(PACKAGE.glob("*.py")), ROOT / "schemas/money.py", ROOT / "schemas/limits.py"]


def foreign_imports(path: Path) -> list[str]:
    """The imports of a module that somebody who has only Python and the package lacks."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or ".")
    return [
        name
        for name in names
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(ALLOWED)
    ]


@pytest.mark.parametrize("path", FILES, ids=label)
def test_the_code_of_a_bill_needs_nothing_else(path: Path) -> None:
    assert foreign_imports(path) == []


def test_another_import_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(
        "import json\nimport msgspec\nfrom schemas.structs import Usage\nfrom . import cards\n"
        "def late():\n    from streams.domain import tasks\n"
    )
    assert foreign_imports(planted) == ["msgspec", "schemas.structs", ".", "streams.domain"]
