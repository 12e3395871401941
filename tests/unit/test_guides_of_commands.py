"""The guides name what the commands have: options and scopes of keys, the words of budgets."""

from pathlib import Path

import click
import pytest

from streams.cli.keys import SCOPES, keys
from streams.cli.limits import limits
from streams.cli.tasks import tasks

DOCS = Path(__file__).parents[2] / "docs"
COMMON = {"--home", "--env-file", "--kafka-bootstrap", "--topic-prefix", "--clickhouse-url"}


def options(command: click.Command) -> set[str]:
    """The flags of a command that are its own."""
    flags = {flag for parameter in command.params for flag in parameter.opts if flag[:2] == "--"}
    return flags - COMMON


@pytest.mark.parametrize("name", sorted(keys.commands))
def test_the_guide_of_keys_names_every_command_and_option(name: str) -> None:
    text = (DOCS / "keys.md").read_text("utf-8")
    assert f"tollgate keys {name}" in text
    assert options(keys.commands[name])
    missing = {flag for flag in options(keys.commands[name]) if flag not in text}
    assert not missing


def test_the_guide_of_keys_names_every_scope() -> None:
    text = (DOCS / "keys.md").read_text("utf-8")
    assert all(f"| `{scope}` |" in text for scope in SCOPES)


def test_the_guide_of_budgets_names_every_command_about_tasks() -> None:
    text = (DOCS / "domain" / "budget.md").read_text("utf-8")
    flat = " ".join(text.split())
    assert all(f"tollgate tasks {name}" in flat for name in tasks.commands)
    assert set(limits.commands) == {"set", "lift"}
