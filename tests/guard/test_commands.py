"""The table of commands and the modules in streams/cli tell of the same commands."""

import ast
import subprocess
import sys
from typing import Final

import click
import pytest

from streams.cli import main
from streams.cli.invoice.group import INVOICE_COMMANDS, invoice
from tests.guard.repository import ROOT, files, tree

NOT_COMMANDS: Final = {"__init__", "main", "options"}

PRESENT: Final = [
    name
    for name, (where, _) in main.COMMANDS.items()
    if (ROOT / (where.partition(":")[0].replace(".", "/") + ".py")).exists()
]


TABLES: Final = {"": main.COMMANDS, "invoice ": INVOICE_COMMANDS}
"""The tables of commands: that of the root, and those of groups that load theirs when they run."""


def test_a_module_with_commands_is_in_a_table() -> None:
    listed = {where.partition(":")[0] for table in TABLES.values() for where, _ in table.values()}
    written = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files(".py", "streams/cli")
        if path.stem not in NOT_COMMANDS and _defines_a_command(tree(path))
    }
    assert written
    assert written <= listed


@pytest.mark.parametrize("name", INVOICE_COMMANDS)
def test_a_listed_command_about_invoices_can_be_loaded_and_explains_itself(name: str) -> None:
    command = invoice.get_command(click.Context(invoice), name)
    assert command is not None
    assert command.name == name
    assert command.help, f"`tollgate invoice {name}` has no help"


@pytest.mark.parametrize("name", PRESENT)
def test_a_listed_command_can_be_loaded_and_explains_itself(name: str) -> None:
    command = main.tollgate.get_command(click.Context(main.tollgate), name)
    assert command is not None
    assert command.name == name
    assert command.help, f"`tollgate {name}` has no help"


def test_the_overview_imports_no_command_and_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from streams.cli.main import run\n"
        "code = run(['--help'])\n"
        "print(*sorted(sys.modules), sep='\\n', file=sys.stderr)\n"
        "sys.exit(code)"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert outcome.returncode == 0, outcome.stderr
    assert all(name in outcome.stdout for name in main.COMMANDS)
    loaded = set(outcome.stderr.split())
    assert "streams.cli.main" in loaded
    commands = {where.partition(":")[0] for where, _ in main.COMMANDS.values()}
    assert not loaded & (commands | {"aiokafka", "clickhouse_connect", "faust", "pydantic"})


def _defines_a_command(module: ast.Module) -> bool:
    """Whether a top-level function is decorated as `click.command` or `click.group`."""
    return any(
        ast.unparse(decorator).startswith(("click.command", "click.group"))
        for node in module.body
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
    )
