"""A page as its reader sees it: its cells, its texts, and whether its tags fit together."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "br"})
"""Elements that have no end."""


@dataclass
class Page:
    """Tags in the order of their beginnings, rows of the table, and what does not fit."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    rows: dict[str, list[str]] = field(default_factory=dict)
    """Cells of rows with an id, by it."""
    foot: list[list[str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    row: list[str] = field(default_factory=list)
    """The cells of the row that is being read."""

    def begin(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "tr":
            self.row = []
            name = found.get("id")
            if name:
                self.rows[name] = self.row
            elif "tfoot" in self.open:
                self.foot.append(self.row)
        elif tag in ("td", "th"):
            self.row.append("")
        elif tag == "span" and self.row:
            self.row[-1] += " | "

    def end(self, tag: str) -> None:
        """An element ends."""
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> after {self.texts[-1:]}")

    def read(self, text: str) -> None:
        """Text between tags."""
        if "style" in self.open:
            return
        self.texts.append(text)
        if self.row and ("td" in self.open or "th" in self.open):
            self.row[-1] += text

    @property
    def text(self) -> str:
        """All that can be read."""
        return " ".join(" ".join(self.texts).split())


def page_of(html: str) -> Page:
    """The page of a text; what is still open at its end is a fault."""
    page = Page()
    told = {
        "handle_starttag": lambda _, tag, attributes: page.begin(tag, attributes),
        "handle_endtag": lambda _, tag: page.end(tag),
        "handle_data": lambda _, text: page.read(text),
    }
    parser = type("Parser", (HTMLParser,), told)(convert_charrefs=True)
    parser.feed(html)
    parser.close()
    page.faults += [f"<{tag}> has no end" for tag in page.open]
    return page
