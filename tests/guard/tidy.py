"""What the tidy guard measures in a syntax tree; pure, so that planted faults can test it."""

import ast
import re
from collections.abc import Iterator
from typing import Final

EMPTY_WORDS: Final = frozenset(
    {"manager", "handle", "handler", "handles", "data", "util", "utils", "helper", "helpers"}
)
"""Words that fit anything and so say nothing; `process` is one when it is what a function does."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def function_lengths(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines of every function, without its decorators."""
    for node in ast.walk(module):
        if isinstance(node, Function) and node.end_lineno is not None:
            yield node.name, node.end_lineno - node.lineno + 1


def empty_words(module: ast.Module, module_name: str) -> list[str]:
    """Return the names that contain an empty word, with their lines.

    Looks at what we name ourselves: the module, classes, functions, parameters and variables;
    not at attributes and keywords of other people's interfaces.
    """
    found = [f"line {line}: {name}" for name, line in _names(module) if EMPTY_WORDS & _words(name)]
    found += [
        f"line {node.lineno}: {node.name} processes"
        for node in ast.walk(module)
        if isinstance(node, Function) and _verb(node.name) == "process"
    ]
    if EMPTY_WORDS & _words(module_name):
        found.append(f"the module's own name: {module_name}")
    return found


def has_docstring(module: ast.Module) -> bool:
    """Whether the module says what it owns."""
    return bool(ast.get_docstring(module))


def _names(module: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module):
        match node:
            case ast.ClassDef() if not _named_after_a_base(node):
                yield node.name, node.lineno
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno


def _named_after_a_base(node: ast.ClassDef) -> bool:
    """Whether the class has its empty word from somebody else's class that it extends."""
    inherited = {word for base in node.bases for word in _words(ast.unparse(base))}
    return EMPTY_WORDS & _words(node.name) <= inherited


def _words(name: str) -> set[str]:
    """Split a name of any case into its words: `OpenHolds` and `open_holds` are the same two."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def _verb(name: str) -> str:
    """Return the first word of a function's name if more follow: what it does, not what it is."""
    first, separator, _ = name.lstrip("_").partition("_")
    return first if separator else ""
