"""docs/security.md: every control that it cites as proved is proved by a test that exists."""

import ast
import re
from typing import Final

import pytest

from tests.guard.repository import ROOT, tree

GUIDE: Final = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
CELL: Final = re.compile(r"`(tests/[\w/]+\.py)`((?: `test_\w+`)*)")
ROW: Final = re.compile(
    r"^\| ([STRIDE](?:, [STRIDE])*) \| (.+?) \| (.+?) \| ?(.*?) ?\|$", re.MULTILINE
)


def citations(text: str) -> list[tuple[str, list[str]]]:
    """Each file of tests that is cited, with the names that follow it."""
    return [(found[1], re.findall(r"test_\w+", found[2])) for found in CELL.finditer(text)]


def names(file: str) -> set[str]:
    """The tests of a file."""
    return {
        node.name
        for node in ast.walk(tree(ROOT / file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def broken(text: str) -> list[str]:
    """Citations that lead nowhere."""
    found = []
    for file, cited in citations(text):
        if not (ROOT / file).is_file():
            found.append(file)
        else:
            found += [f"{file} {name}" for name in cited if name not in names(file)]
    return found


def test_every_test_that_is_cited_exists() -> None:
    assert len(citations(GUIDE)) > 40
    assert not broken(GUIDE)


def test_every_citation_is_read() -> None:
    cited = re.findall(r"`(test_\w+)`", GUIDE)
    assert cited == [name for _, some in citations(GUIDE) for name in some]
    assert set(re.findall(r"`(tests/[^`]+)`", GUIDE)) == {file for file, _ in citations(GUIDE)}


def test_every_threat_has_a_control_and_a_proof_or_says_that_it_has_none() -> None:
    threats = re.findall(
        r"^\| ([STRIDE](?:, [STRIDE])*) \| (.+?) \| (.+?) \| ?(.*?) ?\|$", GUIDE, re.M
    )
    assert len(threats) > 30
    assert {letter for kinds, *_ in threats for letter in kinds.split(", ")} == set("STRIDE")
    for _, threat, control, proof in threats:
        assert citations(proof) or "**not encrypted**" in control, threat


@pytest.mark.parametrize(
    "text", ["`tests/guard/test_nothing.py`", "`tests/guard/test_docs.py` `test_nothing`"]
)
def test_a_citation_of_nothing_is_found(text: str) -> None:
    assert len(broken(text)) == 1
