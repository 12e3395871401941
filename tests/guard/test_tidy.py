"""Habits that no linter knows: sizes, empty words, and a core without clock, float or set order."""

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


@pytest.mark.parametrize("path", ALL, ids=label)
def test_a_module_is_no_longer_than_allowed(path: Path) -> None:
    length = len(path.read_text(encoding="utf-8").splitlines())
    assert length <= LONGER_MODULES.get(label(path), MODULE_LINES_MAX)


@pytest.mark.parametrize("path", ALL, ids=label)
def test_a_function_fits_a_screen(path: Path) -> None:
    too_long = [
        f"{label(path)}:{name} has {length} lines"
        for name, length in tidy.function_lengths(tree(path))
        if length > LONGER_FUNCTIONS.get(f"{label(path)}:{name}", FUNCTION_LINES_MAX)
    ]
    assert not too_long


def test_an_exception_that_is_no_longer_needed_is_taken_off_the_list() -> None:
    modules_now = {label(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL}
    functions_now = {
        f"{label(path)}:{name}": length
        for path in ALL
        for name, length in tidy.function_lengths(tree(path))
    }
    for listed, now, usual in (
        (LONGER_MODULES, modules_now, MODULE_LINES_MAX),
        (LONGER_FUNCTIONS, functions_now, FUNCTION_LINES_MAX),
    ):
        for name in listed:
            assert name in now, f"{name} is gone: remove its exception"
            assert now[name] > usual, f"{name} has become short enough: remove its exception"


@pytest.mark.parametrize("path", ALL, ids=label)
def test_no_name_is_a_word_without_meaning(path: Path) -> None:
    assert not tidy.empty_words(tree(path), path.stem)


@pytest.mark.parametrize("path", ALL, ids=label)
def test_every_module_says_what_it_is(path: Path) -> None:
    if "tests" in path.parts and path.name == "__init__.py":
        return
    assert tidy.has_docstring(tree(path)), f"{label(path)} has no docstring"


@pytest.mark.parametrize("path", PURE, ids=label)
def test_the_core_reads_no_clock_knows_no_float_and_depends_on_no_set_order(path: Path) -> None:
    assert not purity.impurities(tree(path))


def test_the_guard_of_the_core_looks_at_the_money_and_the_domain() -> None:
    looked_at = {label(path) for path in PURE}
    assert {"schemas/money.py", "streams/domain/pipeline.py"} <= looked_at
