"""Settings come from one object: nothing else in the code reads the environment."""

import ast
from pathlib import Path
from typing import Final

import pytest

from tests.guard.repository import ROOT, files, label

READERS: Final = {
    "streams/settings/sources.py": "the one place",
    "streams/embedded/child.py": "hands the whole environment on to a child",
    "streams/embedded/clickhouse.py": "hands PATH and the like on to the engine",
    "streams/embedded/jars.py": "XDG_CACHE_HOME, which is the machine's",
    "streams/embedded/java.py": "JAVA_HOME, which is the machine's",
    "streams/bench/full_path.py": "hands the whole environment on to a child",
    "streams/bench/preflight_stack.py": "hands the whole environment on to a child",
}
"""Who may, and what for."""


def reads_the_environment(source: str) -> bool:
    """Whether a module names `os.environ` or `getenv`, or imports them."""
    names = {"environ", "environb", "getenv", "getenvb"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.ImportFrom) and names & {one.name for one in node.names})
        for node in ast.walk(ast.parse(source))
    )


PRODUCT: Final = [path for path in files(".py") if label(path).startswith("streams/")]


@pytest.mark.parametrize("path", PRODUCT, ids=label)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    reads = reads_the_environment(path.read_text(encoding="utf-8"))
    assert reads is (label(path) in READERS)


def test_every_reader_of_the_list_is_there() -> None:
    assert PRODUCT
    assert all((ROOT / name).is_file() for name in READERS)


def test_a_planted_reader_is_found() -> None:
    for planted in (
        "import os\nos.getenv('X')",
        "from os import environ",
        "import os as o\no.environ",
    ):
        assert reads_the_environment(planted)
    assert not reads_the_environment("import os\nos.getpid()")
