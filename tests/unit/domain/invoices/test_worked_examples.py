"""The examples of docs/invoicing.md, each worked out by hand there, say what is issued."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.money import currency_digits, smallest_unit_pico
from schemas.times import parse_time_us
from streams.domain.invoices.bundle import differences
from streams.domain.invoices.documents import Document, Line
from tests.invoiced import Books, Plain

ROOT = Path(__file__).parents[4]
COUNTS = {"per", "included", "up_to"}
TEXTS = {"model", "provider", "agent_id", "signal_name", "cost", "currency", "zone"}
_BLOCK = re.compile(r"```yaml\n(.*?)```\s*```text\n(.*?)```", re.DOTALL)


@dataclass
class Example:
    name: str
    cards: list[Plain]
    steps: list[str]


def examples() -> Iterator[Example]:
    text = (ROOT / "docs/invoicing.md").read_text("utf-8")
    for found in _BLOCK.finditer(text):
        heading = re.findall(r"^## (.*)$", text[: found.start()], re.MULTILINE)[-1]
        line = text[: found.start()].count("\n") + 1
        cards = [
            {"kind": "rate_card", "id": "pro", "version": str(number), **_typed(plain)}
            for number, plain in enumerate(yaml.load_all(found[1], yaml.BaseLoader), start=1)
        ]
        yield Example(f"{heading}, line {line}", cards, found[2].splitlines())


def _typed(plain: Any, name: str = "") -> Any:
    """A card of a file, as its record says it: every number is read from its text."""
    if isinstance(plain, dict):
        return {key: _typed(value, key) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_typed(value) for value in plain]
    if name == "effective_from":
        return parse_time_us(f"{plain}T00:00:00Z")
    return int(plain) if name in COUNTS else plain


def run(example: Example) -> tuple[list[str], Books]:
    """What happens, with what is issued where it is issued."""
    books = Books(list(example.cards))
    told: list[str] = []
    for step in example.steps:
        if step.startswith("  "):
            continue
        told.append(step)
        told += [f"  {line}" for line in _step(books, *shlex.split(step))]
    return told, books


def _step(books: Books, first: str, *rest: str) -> list[str]:
    if first == "close":
        return printed(books.close(*rest))
    if first == "void":
        return printed(books.void(rest[0], reissue=rest[1:] == ("reissue",)))
    if first == "reissue":
        return printed(books.reissue(*rest))
    if first == "credit":
        books.credit(rest[0], number="acme-0001")
    elif first == "price":
        (one,) = books.cards
        changed = [{**item, "price": rest[1]} for item in one["items"] if item["id"] == rest[0]]
        books.cards.append({**one, "version": "2", "items": changed})
    elif first == "terms":
        fields = _fields(rest)
        books.zone, books.anchor_day = fields["zone"], fields["anchor_day"]
    else:
        named = {"signal_name": "resolved"} if rest[0] in ("signal", "void") else {}
        books.add(rest[0], first, **named | _fields(rest[1:]))
    return []


def _fields(texts: tuple[str, ...]) -> dict[str, Any]:
    pairs = [text.split("=") for text in texts]
    return {name: value if name in TEXTS else int(value) for name, value in pairs}


def printed(document: Document) -> list[str]:
    sums = [_money(pico, currency) for currency, pico in document.totals_pico.items()]
    head = f"{document.document} {document.number} of {document.label}: {', '.join(sums)}"
    several = len({line.card for line in document.lines if line.card}) > 1
    return [head, *(_line(line, several) for line in document.lines)]


def _line(line: Line, several: bool) -> str:
    item = f"{line.item}/{line.group}" if line.group else line.item
    card = f" {line.card}" if several else ""
    corrects = f" corrects {line.corrects}" if line.corrects else ""
    money = _money(line.amount_pico, line.currency)
    return f"{line.line_kind} {item}{card} {line.quantity} {money}{corrects}"


def _money(pico: int, currency: str) -> str:
    units, rest = divmod(abs(pico), smallest_unit_pico(currency))
    assert not rest, "a line has more decimals than its currency"
    digits = currency_digits(currency)
    whole, fraction = divmod(units, int("1".ljust(digits + 1, "0")))
    text = f"{whole}.{fraction:0{digits}d}" if digits else str(whole)
    return f"{'-' if pico < 0 else ''}{text} {currency}"


EXAMPLES = list(examples())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_issues_what_is_worked_out(example: Example) -> None:
    told, _ = run(example)
    assert told == example.steps


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_document_of_an_example_is_verified(example: Example) -> None:
    _, books = run(example)
    assert books.documents
    for number, bundle in books.bundles.items():
        assert not differences(bundle, books.issued(number))


def test_every_block_of_a_card_belongs_to_an_example() -> None:
    text = (ROOT / "docs/invoicing.md").read_text("utf-8")
    assert len(EXAMPLES) == text.count("```yaml") == text.count("```text") > 10
