"""`tollgate invoice verify`: documents made again from the log, and compared byte by byte."""

import json
from typing import Final

import click

from streams.app.invoices.verifying import Choice, Verification, verify_invoices
from streams.cli.invoice.progress import progress
from streams.cli.options import with_settings
from streams.settings import Settings

WAIT_SECONDS_MAX: Final = 3600.0

SHOWN_MAX: Final = 100
"""Differences that are printed; JSON has them all."""


@click.command()
@click.argument("numbers", metavar="[NUMBER]…", nargs=-1)
@with_settings("kafka_bootstrap", "topic_prefix", "clickhouse_url", "clickhouse_database")
@click.option("--customer", metavar="ID", help="All documents of this customer.")
@click.option("--all", "everybody", is_flag=True, help="All documents of all customers.")
@click.option("--log-alone", is_flag=True, help="Leave ClickHouse's rows out.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, WAIT_SECONDS_MAX),
    default=10.0,
    help="Seconds to wait for a sink that is behind.  [default: 10]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(
    settings: Settings,
    numbers: tuple[str, ...],
    customer: str | None,
    everybody: bool,
    log_alone: bool,
    wait_seconds: float,
    as_json: bool,
) -> int:
    """Make documents again from the log and compare them with what was issued, byte by byte.

    Then compares ClickHouse: its rows about each document, and the document that follows from its
    rows. Reads only; the installation may run. Exit code 1 where anything differs.
    """
    if sum((bool(numbers), customer is not None, everybody)) != 1:
        raise click.UsageError("name documents, or say --customer ID or --all")
    with progress("reading the ledger", counted=False) as show:
        choice = Choice(numbers, customer, not log_alone, wait_seconds)
        found = verify_invoices(settings, choice, show)
    if as_json:
        click.echo(json.dumps(verification_dict(found)))
    else:
        for line in found.differences[:SHOWN_MAX]:
            click.echo(line)
        if len(found.differences) > SHOWN_MAX:
            click.echo(f"and {len(found.differences) - SHOWN_MAX:,} more differences")
        click.echo(verdict(found))
    return 0 if found.identical else 1


def verification_dict(found: Verification) -> dict[str, object]:
    """A verification for a script."""
    return {
        "identical": found.identical,
        "documents": found.documents,
        "differing": found.differing,
        "differences": found.differences,
        "entries": found.entries,
        "unissued": found.unissued,
    }


def verdict(found: Verification) -> str:
    """A verification in a line."""
    said = f"{found.documents:,} documents made again from {found.entries:,} entries"
    if found.unissued:
        said += f", {found.unissued:,} closed and not issued"
    ends = "identical" if found.identical else f"{found.differing:,} DIFFER"
    return f"{said}: {ends}"
