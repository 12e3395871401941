"""The import contracts of pyproject.toml hold, and each of them notices a breach."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.guard.repository import ROOT, modules

BREACHES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "a lower layer imports a higher one": (
        "layers",
        {"streams/limits.py": "import streams.settings"},
    ),
    "a layer imports its neighbour": (
        "layers",
        {"streams/agents/planted.py": "import streams.adapters"},
    ),
    "a module has no place": ("layers", {"streams/planted.py": ""}),
    "prices know the pipeline": (
        "layers-domain",
        {"streams/domain/prices.py": "import streams.domain.pipeline"},
    ),
    "the wire format imports the program": ("roots", {"schemas/money.py": "import streams.errors"}),
    "the domain draws lots": ("pure", {"streams/domain/prices.py": "import random"}),
    "the cli picks an adapter": ("adapters", {"streams/cli/planted.py": "import streams.adapters"}),
    "the cli imports Faust": ("faust", {"streams/cli/planted.py": "import faust"}),
    "an agent opens a connection": ("clients", {"streams/agents/planted.py": "import aiokafka"}),
    "a command parses bytes itself": ("bytes", {"streams/cli/planted.py": "import orjson"}),
    "two neighbours import each other": (
        "siblings",
        {
            "schemas/errors.py": "import schemas.limits",
            "schemas/limits.py": "import schemas.errors",
        },
    ),
}
"""What is planted: the id of the contract that must notice, and a line for each file."""


def lint(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a checkout; exit code 0 says that all contracts are kept."""
    program = "from importlinter.cli import lint_imports_command as lint; lint()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--no-logo", *arguments],
        cwd=project,
        env={"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def planted(project: Path, lines: dict[str, str]) -> Iterator[None]:
    """Append a line to each file, which may be new, and take it out again."""
    before = {
        project / name: (project / name).read_bytes() if (project / name).exists() else None
        for name in lines
    }
    try:
        for name, line in lines.items():
            with (project / name).open("a", encoding="utf-8") as file:
                file.write(f"\n{line}\n")
        yield
    finally:
        for path, content in before.items():
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what import-linter reads; the tests leave it as they found it."""
    project = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", project)
    for path in modules("streams", "schemas"):
        target = project / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return project


def test_all_import_contracts_are_kept() -> None:
    outcome = lint(ROOT)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "0 broken" in outcome.stdout


def test_every_contract_has_a_breach_that_tests_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {contract["id"] for contract in project["tool"]["importlinter"]["contracts"]}
    assert contracts == {contract for contract, _ in BREACHES.values()}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_planted_breach_breaks_its_contract(breach: str, copy: Path) -> None:
    contract, lines = BREACHES[breach]
    with planted(copy, lines):
        outcome = lint(copy, "--contract", contract)
    # The exit code alone would also be that of an import-linter that could not start.
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert "Contracts: 0 kept, 1 broken." in outcome.stdout
