"""`tollgate bench invoices`: its options, and what it prints. `streams.cli.bench` makes it a
command."""

import sys
from pathlib import Path
from typing import Final

import click

from streams.bench.invoices import CUSTOMERS, ROUNDS, ROWS, InvoiceOptions, run_invoices
from streams.bench.report import FAULTY
from streams.cli.main import error_text
from streams.cli.options import with_settings
from streams.embedded.supervisor import say_on_stderr
from streams.embedded.wiring import signals_as_interrupt
from streams.errors import SetupError, TollgateError
from streams.settings import Settings

ROWS_MAX: Final = 1_000_000_000
CUSTOMERS_MAX: Final = 1_000_000
ROUNDS_MAX: Final = 100


@with_settings("clickhouse_url")
@click.option(
    "--rows",
    type=click.IntRange(1, ROWS_MAX),
    default=ROWS,
    show_default=True,
    help="Rows of the ledger, twelve months of them.",
)
@click.option(
    "--customers",
    type=click.IntRange(1, CUSTOMERS_MAX),
    default=CUSTOMERS,
    show_default=True,
    help="Customers that they are of.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, ROUNDS_MAX),
    default=ROUNDS,
    show_default=True,
    help="Rounds of each figure; the median counts.",
)
@click.option("--no-final", is_flag=True, help="Leave out the same with FINAL.")
@click.option("--keep", is_flag=True, help="Keep the databases, and say where they are.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also write the figures to this file.",
)
def invoices(
    settings: Settings,
    rows: int,
    customers: int,
    rounds: int,
    no_final: bool,
    keep: bool,
    json_file: Path | None,
) -> int:
    """Measure drafts, margins and closing over a year of rows.

    ClickHouse makes the rows itself, in a database of its own that is dropped afterwards: of an
    embedded server that is started for it, or of the one that TOLLGATE_CLICKHOUSE_URL names. Beside
    each figure stands the same over the same rows in a table that deduplicates at query time
    (ReplacingMergeTree with FINAL), which must say the same. 100 million rows take some 10 GB of
    disk, and ten minutes.
    """
    options = InvoiceOptions(rows, customers, rounds, final=not no_final, keep=keep)
    try:
        with signals_as_interrupt():
            report = run_invoices(settings, options, say_on_stderr)
    except SetupError:
        raise
    except TollgateError as error:
        # Their usual exit code, 1, says here that a target was missed.
        click.echo(error_text(error), err=True)
        return FAULTY
    click.echo(report.text())
    for result in report.missed:
        click.echo(f"missed: {result.name}", err=True)
    if json_file is not None:
        report.write(json_file)
    sys.stdout.flush()
    return report.exit_code
