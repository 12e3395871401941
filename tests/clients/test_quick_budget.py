"""The examples of docs/quick-budget.md run as they stand, against the whole installation."""

import sys
from pathlib import Path
from typing import Any

from tests.clients.node import program
from tests.clients.test_docs import blocks, run
from tests.clients.whole import Target, get
from tests.embedded_waiting import until

DOCUMENT = "quick-budget.md"
USED_BY_EACH = 8


def unit_balance(target: Target) -> Any:
    """Of the customer that the examples name."""
    balances = get(target, "/v1/customers/acme/budget").json()["balances"]
    return next(one for one in balances if one["denomination"] == "unit")


def uses_and_holds_nothing_more(target: Target, command: list[str], folder: Path) -> str:
    """Runs an example; what it used is counted once, and nothing stays held by it."""
    before = unit_balance(target)
    told = run(command, target, folder)
    due = {
        "used": str(int(before["used"]) + USED_BY_EACH),
        "held": before["held"],
    }

    def counted() -> bool:
        now = unit_balance(target)
        return {name: now[name] for name in due} == due

    until(counted, f"{due} after {before}: {told}", 30)
    return told


def test_the_python_examples_hold_and_settle(target: Target, tmp_path: Path) -> None:
    with_client, with_http = blocks(DOCUMENT, "python")
    told = uses_and_holds_nothing_more(target, [sys.executable, "-c", with_client], tmp_path)
    assert told == "held 12\n"
    told = uses_and_holds_nothing_more(target, [sys.executable, "-c", with_http], tmp_path)
    assert told == "accepted\n"


def test_the_node_example_holds_and_settles(target: Target, tmp_path: Path) -> None:
    [example] = blocks(DOCUMENT, "javascript")
    (tmp_path / "example.mjs").write_text(example, encoding="utf-8")
    told = uses_and_holds_nothing_more(target, [program("node"), "example.mjs"], tmp_path)
    assert told == "accepted\n"


def test_the_curl_example_holds_and_settles(target: Target, tmp_path: Path) -> None:
    [example] = blocks(DOCUMENT, "sh")
    told = uses_and_holds_nothing_more(target, ["sh", "-c", example], tmp_path)
    assert '"status":"accepted"' in told
    assert '"status":"settled"' in told
