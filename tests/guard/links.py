"""Links and citations in texts: what they point to, found by reading Markdown and code as text."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LINK: Final = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_DECISION: Final = re.compile(r"\b[Dd]ecision (\d{3})\b")
_INVARIANT: Final = re.compile(r"\bINV-(\d+)\b")


def broken_links(document: Path, root: Path) -> list[str]:
    """Return the relative links of a Markdown file whose file or heading is not there."""
    found = []
    for link in _links(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document
        if name:
            target = root / name[1:] if name.startswith("/") else document.parent / name
        if not target.exists():
            found.append(f"{link}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
            found.append(f"{link}: no such heading")
    return found


def cited_decisions(text: str) -> set[str]:
    """Return the numbers of decisions that a text cites, as in `decision 004`."""
    return set(_DECISION.findall(text))


def cited_invariants(text: str) -> set[str]:
    """Return the numbers of invariants that a text cites, as in `INV-3`."""
    return set(_INVARIANT.findall(text))


def _links(text: str) -> Iterator[str]:
    for match in _LINK.finditer(_FENCE.sub("", text)):
        yield match.group(1) or match.group(2)


def _anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    anchors: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        # The second heading of a name gets -1, and so on.
        number = 0
        unique = anchor
        while unique in anchors:
            number += 1
            unique = f"{anchor}-{number}"
        anchors.add(unique)
    return anchors
