"""Documents say what is: links and citations resolve, and what is made from code is current."""

from pathlib import Path

import pytest

from tests.guard import generated, links
from tests.guard.repository import ROOT, files, label


@pytest.mark.parametrize("document", files(".md"), ids=label)
def test_the_links_of_a_document_resolve(document: Path) -> None:
    assert not links.broken_links(document, ROOT)


@pytest.mark.parametrize("name", generated.DOCUMENTS)
def test_a_document_made_from_code_is_current(name: str) -> None:
    path = ROOT / name
    assert path.exists(), f"{name} is missing: make docs"
    assert path.read_text(encoding="utf-8") == generated.DOCUMENTS[name](), "not current: make docs"


def test_every_cited_decision_exists() -> None:
    recorded = {path.name[:3] for path in files(".md", "docs/decisions")}
    missing = {
        f"{label(path)} cites decision {number}"
        for suffix in (".py", ".md", ".sql", ".toml")
        for path in files(suffix)
        if path.parent.name != "guard"
        for number in links.cited_decisions(path.read_text(encoding="utf-8")) - recorded
    }
    assert not missing


def test_every_cited_invariant_is_listed() -> None:
    cited = {
        number: label(path)
        for suffix in (".py", ".md", ".sql")
        for path in files(suffix)
        if path.parent.name != "guard" and path.name != "invariants.md"
        for number in links.cited_invariants(path.read_text(encoding="utf-8"))
    }
    if not cited:
        return
    document = ROOT / "docs/invariants.md"
    assert document.exists(), f"docs/invariants.md is missing; {cited} are cited"
    listed = links.cited_invariants(document.read_text(encoding="utf-8"))
    assert not {
        f"{where} cites INV-{number}" for number, where in cited.items() if number not in listed
    }


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, twice\n\n# A heading, twice\n")
    document = tmp_path / "index.md"
    document.write_text(
        "[a](there.md) [b](there.md#a-heading-twice-1) [c](https://example.org)\n"
        "```\n[code](is/not/a/link)\n```\n"
        "[d](gone.md) [e](there.md#no-heading) ![f](gone.png) [g](#here)\n"
    )
    assert links.broken_links(document, tmp_path) == [
        "gone.md: no such file",
        "there.md#no-heading: no such heading",
        "gone.png: no such file",
        "#here: no such heading",
    ]


def test_citations_are_found_in_running_text() -> None:
    assert links.cited_decisions("as decision 004 says; Decision 012.") == {"004", "012"}
    assert links.cited_invariants("holds by INV-3 and INV-12") == {"3", "12"}
