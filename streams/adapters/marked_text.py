"""YAML and JSON texts as values that know where they stand, so that a fault can be shown to whoever
wrote them.

Scalars stay the texts that they are: a price never becomes a float, and `no` stays a word. Which
text is a number the reader's own model says. PyYAML only finds the structure; nothing of its
construction of objects is used.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

DEPTH_MAX: Final = 32
"""Levels of nesting. A rate card has seven; an alias inside of what it stands for has no end."""

NODES_MAX: Final = 200_000
"""Values of one text, those that aliases repeat counted each time: ten times the largest file of
rate cards that anybody would read."""

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class TextFault:
    """What is wrong with a text, and where: lines and columns are counted from 1."""

    line: int
    column: int
    message: str


class BrokenTextError(ValueError):
    """A text whose structure cannot be read any further; `fault` says where."""

    def __init__(self, fault: TextFault) -> None:
        super().__init__(f"{fault.line}:{fault.column}: {fault.message}")
        self.fault = fault


@dataclass(slots=True)
class Marked:
    """A value and where it begins: a text, None, a list or a mapping."""

    value: "str | list[Marked] | dict[str, Marked] | None"
    line: int
    column: int
    plain: bool = False
    """A scalar without quotes: it may be a number."""
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Where the keys of a mapping stand."""


def read_marked(text: str, *, as_json: bool) -> tuple[list[Marked], list[TextFault]]:
    """The documents of a text, and the faults that leave its structure readable: keys that stand
    twice (the first one counts). Raises BrokenTextError."""
    if as_json:
        _check_json(text)
        # Tabs are blanks in JSON, which has none inside of texts; YAML takes them for mistakes.
        text = text.replace("\t", " ")
    faults: list[TextFault] = []
    reader = _Reader(faults)
    documents = [reader.read(node, 0) for node in _nodes(text)]
    return documents, faults


def _check_json(text: str) -> None:
    try:
        json.loads(text, parse_float=str, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise BrokenTextError(TextFault(error.lineno, error.colno, error.msg)) from None
    except (ValueError, RecursionError) as error:
        raise BrokenTextError(TextFault(1, 1, f"not JSON: {error}")) from None


def _no_number(name: str) -> str:
    raise ValueError(f"{name} is no number")


def _nodes(text: str) -> Iterator[Any]:
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            # A document of comments alone is a null.
            if not (isinstance(node, yaml.ScalarNode) and node.value == "" and node.style is None):
                yield node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise BrokenTextError(TextFault(line, column, what or "not YAML")) from None
    except yaml.YAMLError as error:
        position = int(getattr(error, "position", 0))
        before = text[:position]
        line = before.count("\n") + 1
        raise BrokenTextError(
            TextFault(line, position - before.rfind("\n"), "a character that no text may have")
        ) from None
    except RecursionError:
        raise BrokenTextError(TextFault(1, 1, "nested too deeply")) from None


class _Reader:
    def __init__(self, faults: list[TextFault]) -> None:
        self._faults = faults
        self._left = NODES_MAX

    def read(self, node: Any, depth: int) -> Marked:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self._left -= 1
        if depth > DEPTH_MAX or self._left < 0:
            raise BrokenTextError(TextFault(line, column, "nested too deeply, or too long"))
        if isinstance(node, yaml.SequenceNode):
            return Marked([self.read(one, depth + 1) for one in node.value], line, column)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, Marked({}, line, column), depth)
        plain = node.style is None
        if plain and node.value in _NULLS:
            return Marked(None, line, column)
        return Marked(_whole(node.value), line, column, plain)

    def _mapping(self, node: Any, made: Marked, depth: int) -> Marked:
        values: dict[str, Marked] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._faults.append(TextFault(line, column, "a key must be a word"))
                continue
            key = _whole(key_node.value)
            if key in values:
                first = made.keys[key][0]
                self._faults.append(
                    TextFault(line, column, f"{key!r} stands twice: first in line {first}")
                )
                continue
            values[key] = self.read(value_node, depth + 1)
            made.keys[key] = (line, column)
        made.value = values
        return made


def _whole(text: str) -> str:
    r"""A text whose characters JSON may have written as two halves (`\ud83d\ude00`)."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
