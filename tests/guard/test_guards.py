"""The guards that read syntax trees find planted faults, and leave honest code alone."""

import ast

import pytest

from tests.guard import purity, tidy


@pytest.mark.parametrize(
    "source",
    [
        "import datetime\nat = datetime.datetime.now(datetime.UTC)",
        "import time\nat = time.time()",
        "day = date.today()",
        "at = datetime.fromtimestamp(seconds, UTC)",
        "share = 0.1",
        "share = float(text)",
        "def weight(share: float) -> int: ...",
        "for customer in {'a', 'b'}: print(customer)",
        "names = [name for name in set(rows)]",
        "seen: set[str] = set()\nfirst = list(seen)",
        "seen = {row.name for row in rows}\nfor name in seen: print(name)",
        "def lines(ids: frozenset[str]) -> list[str]: return [*ids]",
        "class State:\n    open: set[str]\ndef text(s: State) -> str: return ','.join(s.open)",
        "for name in set(old) | set(new): print(name)",
    ],
)
def test_a_planted_impurity_is_found(source: str) -> None:
    assert purity.impurities(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "half = Fraction(1, 2)",
        "for name in sorted({'a', 'b'}): print(name)",
        "total = sum(amount[name] for name in set(names))",
        "seen: set[str] = set()\nif name in seen: seen.add(name)",
        "by_name: dict[str, set[str]] = {}\nfor name in by_name: print(name)",
        "at_us = record.append_time_us",
    ],
)
def test_what_is_pure_is_left_alone(source: str) -> None:
    assert not purity.impurities(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "class LedgerManager: ...",
        "def handle_record(): ...",
        "def load(data): ...",
        "for raw_data in rows: ...",
        "def process_batch(): ...",
        "async def _process_batch(): ...",
    ],
)
def test_an_empty_word_is_found(source: str) -> None:
    assert tidy.empty_words(ast.parse(source), "ledger")


def test_an_empty_word_in_a_module_name_is_found() -> None:
    assert tidy.empty_words(ast.parse(""), "string_utils")


@pytest.mark.parametrize(
    "source",
    [
        "class BatchTableManager(faust.TableManager): ...",
        "metadata = {}",
        "class Metadata: ...",
        "process = start(argv)",
        "def process() -> int: ...",
    ],
)
def test_words_that_mean_something_are_left_alone(source: str) -> None:
    assert not tidy.empty_words(ast.parse(source), "ledger")


def test_the_length_of_a_function_includes_what_is_inside() -> None:
    source = "def outer():\n    def inner():\n        return 1\n    return inner\n"
    assert dict(tidy.function_lengths(ast.parse(source))) == {"outer": 4, "inner": 2}


def test_a_module_without_a_docstring_is_found() -> None:
    assert not tidy.has_docstring(ast.parse("x = 1"))
    assert tidy.has_docstring(ast.parse('"""What it owns."""'))
