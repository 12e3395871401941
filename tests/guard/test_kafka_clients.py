"""Every client of Kafka is told how to get in by the one function that knows."""

import ast
from pathlib import Path
from typing import Final

import pytest

from tests.guard.repository import files, label, tree

CLIENTS: Final = {"AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient"}

ALONE: Final = {"streams/bench/contenders/decode.py"}
"""What is measured beside ours speaks plain text."""

WITH_CLIENTS: Final = [
    path
    for folder in ("streams", "schemas", "bench")
    for path in files(".py", folder)
    if "AIOKafka" in path.read_text("utf-8") and label(path) not in ALONE
]


def clients_without_a_way_in(module: ast.Module) -> list[int]:
    """Lines that make a client of servers alone; where the module does not know
    `client_options`, all that make one."""
    known = any(
        isinstance(node, ast.Name) and node.id == "client_options" for node in ast.walk(module)
    )
    return [
        node.lineno
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in CLIENTS
        and not (known and any(keyword.arg is None for keyword in node.keywords))
    ]


def test_there_are_clients() -> None:
    assert len(WITH_CLIENTS) > 15


@pytest.mark.parametrize("path", WITH_CLIENTS, ids=label)
def test_a_client_of_kafka_is_told_how_to_get_in(path: Path) -> None:
    assert clients_without_a_way_in(tree(path)) == []


def test_a_client_that_knows_servers_alone_is_found() -> None:
    planted = "a = AIOKafkaConsumer(bootstrap_servers=b)\nb = AIOKafkaProducer(**c)\n"
    assert clients_without_a_way_in(ast.parse(planted)) == [1, 2]
    assert clients_without_a_way_in(ast.parse(planted + "c = client_options(b)")) == [1]
