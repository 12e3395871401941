"""What a record holds stands in no log: not in our own lines, not in what our errors say, and not
in what the Kafka client writes at its finest level."""

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import streams.adapters
from tests.guard.repository import label, modules, tree

HOLDS_BYTES: Final = frozenset(
    {"value", "values", "key", "keys", "payload", "body", "record_value", "record_key", "metadata"}
)
"""Names, and attributes of whatever, that hold what a producer sent."""

HOLDS_A_RECORD: Final = frozenset(
    {"record", "records", "fact", "facts", "entry", "entries", "event", "letter", "row", "rows"}
)
"""Names that print as everything in them; their attributes are judged one by one."""

LEVELS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})

ALL: Final = modules("streams")
ON_THE_WAY: Final = [
    path
    for path in ALL
    if path.parent.name in ("agents", "adapters", "domain", "sink", "audit")
    and path.name not in ("clickhouse.py", "clickhouse_rows.py", "price_source.py")
]
"""Where records pass: what is raised there may end in a log."""


def told(expression: ast.expr) -> Iterator[str]:
    """The names in an expression whose content would be printed."""
    match expression:
        case ast.Call(func=ast.Name(id="len" | "type" | "sorted" | "set")):
            return
        case ast.Attribute(attr=attr):
            if attr in HOLDS_BYTES:
                yield attr
        case ast.Name(id=name):
            if name in HOLDS_BYTES | HOLDS_A_RECORD:
                yield name
        case _:
            for child in ast.iter_child_nodes(expression):
                if isinstance(child, ast.expr):
                    yield from told(child)


def logged(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything in the lines of a log that would print a record."""
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logger"), attr=level)) if (
                level in LEVELS
            ):
                for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                    yield from ((node.lineno, name) for name in told(argument))


def raised(module: ast.Module) -> Iterator[tuple[int, str]]:
    """The same for what errors say."""
    for node in ast.walk(module):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                yield from ((node.lineno, name) for name in told(argument))


@pytest.mark.parametrize("path", ALL, ids=label)
def test_no_line_of_a_log_prints_what_a_record_holds(path: Path) -> None:
    assert list(logged(tree(path))) == []


@pytest.mark.parametrize("path", ON_THE_WAY, ids=label)
def test_no_error_says_what_a_record_holds(path: Path) -> None:
    assert list(raised(tree(path))) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("log.warning('refused: %r', record.value)", ["value"]),
        ("log.debug('%s', record)", ["record"]),
        ("log.info(f'{fact.body}')", ["body"]),
        ("logger.exception('bad %s', repr(payload))", ["payload"]),
        ("log.error('%s', extra={'a': value})", ["value"]),
        ("log.warning('at %d of %s: %d bytes', record.offset, record.topic, len(value))", []),
        ("raise FaultError(f'no such record: {value!r}')", ["value"]),
        ("raise FaultError(f'{len(value)} bytes at {record.offset}')", []),
    ],
)
def test_a_planted_payload_is_found(line: str, found: list[str]) -> None:
    module = ast.parse(line)
    assert [name for _, name in (*logged(module), *raised(module))] == found


def test_lines_of_logs_were_found() -> None:
    calls = [node for path in ALL for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    logs = [
        call
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in ("log", "logger")
    ]
    assert len(logs) >= 10


@pytest.mark.parametrize("name", streams.adapters.PRINT_PAYLOADS)
def test_the_kafka_clients_requests_are_not_printed_at_any_level(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger=name)
    logging.getLogger(name).debug("Request 7: ProduceRequest(%s)", b"what a record holds")
    logging.getLogger(name).warning("the connection was lost")
    assert [line.getMessage() for line in caplog.records] == ["the connection was lost"]
