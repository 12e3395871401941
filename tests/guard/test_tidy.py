"""Habits that no linter knows: sizes, empty words, and a core without clock, float or set order."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.guard import purity, tidy
from tests.guard.repository import label, modules, tree

FUNCTION_LINES_MAX: Final = 70
"""A function fits a screen."""

MODULE_LINES_MAX: Final = 400
"""Beyond it nobody keeps a module in mind; half of that is the aim."""

LONGER_MODULES: Final[dict[str, int]] = {}
"""A ratchet: modules that are longer with the length they may have, which only ever shrinks."""

LONGER_FUNCTIONS: Final[dict[str, int]] = {}
"""The same for functions, as `path:function`."""

ALL: Final = modules("streams", "schemas", "tests")
PURE: Final = [
    path
    for path in modules("streams/domain", "schemas")
    if path.parent.name == "domain" or path.name == "money.py"
]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is measured in one module; its syntax tree is not kept."""

    lines: int
    functions: tuple[tuple[str, int], ...]
    empty_words: tuple[str, ...]
    has_docstring: bool


@cache
def facts() -> dict[str, Facts]:
    """The facts of all modules by label: each is read and parsed once."""
    found = {}
    for path in ALL:
        module = tree(path)
        found[label(path)] = Facts(
            len(path.read_text(encoding="utf-8").splitlines()),
            tuple(tidy.function_lengths(module)),
            tuple(tidy.empty_words(module, path.stem)),
            tidy.has_docstring(module),
        )
    return found


def test_a_module_is_no_longer_than_allowed() -> None:
    too_long = [
        f"{where} has {of.lines} lines"
        for where, of in facts().items()
        if of.lines > LONGER_MODULES.get(where, MODULE_LINES_MAX)
    ]
    assert too_long == []


def test_a_function_fits_a_screen() -> None:
    too_long = [
        f"{where}:{name} has {length} lines"
        for where, of in facts().items()
        for name, length in of.functions
        if length > LONGER_FUNCTIONS.get(f"{where}:{name}", FUNCTION_LINES_MAX)
    ]
    assert too_long == []


def test_an_exception_that_is_no_longer_needed_is_taken_off_the_list() -> None:
    modules_now = {where: of.lines for where, of in facts().items()}
    functions_now = {
        f"{where}:{name}": length for where, of in facts().items() for name, length in of.functions
    }
    for listed, now, usual in (
        (LONGER_MODULES, modules_now, MODULE_LINES_MAX),
        (LONGER_FUNCTIONS, functions_now, FUNCTION_LINES_MAX),
    ):
        for name in listed:
            assert name in now, f"{name} is gone: remove its exception"
            assert now[name] > usual, f"{name} has become short enough: remove its exception"


def test_no_name_is_a_word_without_meaning() -> None:
    assert {where: of.empty_words for where, of in facts().items() if of.empty_words} == {}


def test_every_module_says_what_it_is() -> None:
    silent = [
        where
        for where, of in facts().items()
        if not of.has_docstring
        and not (where.startswith("tests/") and where.endswith("/__init__.py"))
    ]
    assert silent == [], "these have no docstring"


@pytest.mark.parametrize("path", PURE, ids=label)
def test_the_core_reads_no_clock_knows_no_float_and_depends_on_no_set_order(path: Path) -> None:
    assert not purity.impurities(tree(path))


def test_the_guard_of_the_core_looks_at_the_money_and_the_domain() -> None:
    looked_at = {label(path) for path in PURE}
    assert {"schemas/money.py", "streams/domain/pipeline.py"} <= looked_at
