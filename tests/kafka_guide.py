"""docs/kafka-security.md, taken apart for tests."""

import re
from pathlib import Path
from typing import Final

GUIDE: Final = Path(__file__).parents[1] / "docs" / "kafka-security.md"


def blocks(language: str) -> list[str]:
    """The blocks of one language, in their order."""
    text = GUIDE.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def rights_table() -> dict[str, str]:
    """Topic to the letters of its row."""
    _, _, after = GUIDE.read_text("utf-8").partition("<!-- rights")
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", after, re.MULTILINE)
    return {topic: " ".join(cells.split(" | ")) for topic, cells in rows}


def head() -> list[str]:
    """The roles in the head of that table."""
    _, _, after = GUIDE.read_text("utf-8").partition("<!-- rights")
    found = re.search(r"^\| topic \| (.*) \|$", after, re.MULTILINE)
    return found[1].split(" | ") if found else []
