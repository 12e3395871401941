"""The root of all commands: which there are, and the one place where errors become messages.

Loads a command's module only when that command runs, so that `tollgate --help` is quick and a
missing extra stops only what needs it. Holds no rule and touches no setting.
"""

import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Final

import click

from streams.errors import SetupError, TollgateError
from streams.shipped import version

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("streams.cli.up:up", "Run everything on this machine until Ctrl-C."),
    "down": ("streams.cli.up:down", "Stop what `up` runs."),
    "demo": ("streams.cli.demo:demo", "Bill 28,185 real model calls and prove the totals."),
    "doctor": ("streams.cli.doctor:doctor", "Tell what is missing and how to get it."),
    "status": ("streams.cli.status:status", "Show the whole installation on one screen."),
    "plan": ("streams.cli.plan:plan_command", "Say what a load would need."),
    "config": ("streams.cli.config:config", "Show or check the settings."),
    "topics": ("streams.cli.topics:topics", "Create and check Kafka topics."),
    "migrate": ("streams.cli.migrate:migrate", "Bring the ClickHouse tables up to date."),
    "prices": ("streams.cli.prices:prices", "Load, list and override prices."),
    "rates": ("streams.cli.rates:rates", "Say what customers are charged."),
    "rerate": ("streams.cli.rerate:rerate", "Correct what usage cost, by adjustments."),
    "worker": ("streams.cli.worker:worker", "Run a worker: events to ledger."),
    "gateway": ("streams.cli.gateway:gateway", "Run a gateway: HTTP to the log and its owners."),
    "sink": ("streams.cli.sink:sink", "Run a sink: ledger to ClickHouse."),
    "probe": ("streams.cli.probe:probe", "Ask a program here whether it is live or ready."),
    "invoice": ("streams.cli.invoice.group:invoice", "Print the invoice of a customer."),
    "reconcile": ("streams.cli.reconcile:reconcile", "Compare a provider's costs with the ledger."),
    "budget": ("streams.cli.budget:budget", "Print what a customer has left."),
    "keys": ("streams.cli.keys:keys", "Make, list and revoke API keys."),
    "customer": ("streams.cli.customer:customer", "Forget what is personal of a customer."),
    "grants": ("streams.cli.grants:grants", "Give a customer something to spend."),
    "limits": ("streams.cli.limits:limits", "Bound what a customer may use."),
    "tasks": ("streams.cli.tasks:tasks", "Bound what the calls of a task may use."),
    "audit": ("streams.cli.audit:audit", "Decide everything again and compare."),
    "backup": ("streams.cli.backup:backup", "Archive the log; verify an archive."),
    "restore": ("streams.cli.backup:restore", "Fill an empty Kafka from an archive."),
    "retention": ("streams.cli.retention:retention", "Show what is kept; delete what is archived."),
    "rebuild": ("streams.cli.backup:rebuild", "Drop ClickHouse's tables, to be filled anew."),
    "bench": ("streams.cli.bench:bench", "Measure speed on this machine."),
    "sql": ("streams.cli.sql:sql", "Run a query in ClickHouse."),
    "analyst": ("streams.cli.analyst:analyst", "Say who may read the tables, and whose rows."),
    "trace": ("streams.cli.trace:trace", "Show what a trace cost and who carries it."),
    "signals": ("streams.cli.signals:signals", "List signals with their cost, take one back."),
    "dead-letters": ("streams.cli.dead_letters:dead_letters", "List and replay what was refused."),
}
"""Name to where the command is and its line in the overview, in the order of the overview."""

EXIT_FAILED: Final = 1
EXIT_SETUP: Final = 2
"""A wrong setup or usage; click itself uses 2 for a wrong command line."""
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells report a process that Ctrl-C ended."""
EXIT_PIPE_CLOSED: Final = 141
"""128 + SIGPIPE: whoever read our output has seen enough, as in `tollgate sql … | head`."""

OWN_PACKAGES: Final = frozenset({"streams", "schemas"})
"""A module of ours that is missing is a bug, not something that an operator could install."""

MESSAGE_COLUMNS: Final = 96
"""Width to which messages are wrapped."""


class LazyGroup(click.Group):
    """A group whose commands are named in a table and imported when they are called."""

    def __init__(self, *, table: dict[str, tuple[str, str]], **attributes: object) -> None:
        """Take `table`, name to (module:attribute, one line of help)."""
        super().__init__(**attributes)  # type: ignore[arg-type]  # click's own keywords pass through
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, which is that of first use."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, None if there is none of that name.

        Raises:
            SetupError: the command needs a package that is not installed.
        """
        if cmd_name not in self.table:
            return None
        module_name, _, attribute = self.table[cmd_name][0].partition(":")
        try:
            command = getattr(importlib.import_module(module_name), attribute)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in OWN_PACKAGES:
                raise
            raise SetupError(
                f"`tollgate {cmd_name}` needs the module {error.name}, which is not installed",
                action="Install Tollgate with what this command needs: "
                "pip install 'tollgate[embedded]'.",
            ) from error
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.table[cmd_name][0]} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview out of the table, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(version(), prog_name="tollgate")
def tollgate() -> None:
    """Bill AI agents from one replayable log.

    Data goes to stdout, messages and progress to stderr. Exit codes: 0 done, 1 failed or
    a check found a difference, 2 wrong usage, settings or setup, 3 cannot be told,
    130 interrupted.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    A command returns None or 0 for success and another integer as its exit code; it raises a
    `TollgateError` for what an operator can mend. Other exceptions are bugs and keep their
    traceback.
    """
    try:
        result = tollgate.main(args=arguments, prog_name="tollgate", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except TollgateError as error:
        click.echo(error_text(error), err=True)
        return EXIT_SETUP if isinstance(error, SetupError) else EXIT_FAILED
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    return result if isinstance(result, int) else 0


def error_text(error: TollgateError) -> str:
    """Return what happened and what to do as two aligned paragraphs."""
    return "\n".join(
        [*_paragraph("error:", error.message), *_paragraph("to do:", error.action)],
    )


def _paragraph(label: str, text: str) -> list[str]:
    """Wrap each line of `text` behind `label`, a list item behind its dash."""
    margin = " " * (len(label) + 1)
    lines: list[str] = []
    for line in text.splitlines():
        inset = " " * (len(line) - len(line.lstrip(" -")))
        lines += textwrap.wrap(
            line,
            MESSAGE_COLUMNS,
            initial_indent=margin if lines else f"{label} ",
            subsequent_indent=margin + inset,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
