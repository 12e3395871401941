"""`tollgate retention`: how long what is kept, and what may go."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from streams.app.retention import KEEP_DAYS_MIN, delete, kept, plan_deletions
from streams.cli.invoice.progress import progress
from streams.cli.options import with_settings
from streams.cli.tables import console, table
from streams.settings import Settings


@click.group()
def retention() -> None:
    """How long what is kept."""


@retention.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON array.")
def show(as_json: bool) -> None:
    """List every topic and table with how long it is kept."""
    rows = kept()
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows]))
        return
    columns = [("what", False), ("name", False), ("kept", False), ("why", False)]
    console().print(table(columns, [[row.what, row.name, row.kept, row.why] for row in rows]))


@retention.command()
@with_settings("kafka_bootstrap", "topic_prefix", "app_id")
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The archive that has what is deleted.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(KEEP_DAYS_MIN, 36_500),
    default=90,
    help="Younger records stay.  [default: 90]",
)
@click.option("--yes", is_flag=True, help="Do it; without, it is only told.")
def apply(settings: Settings, archive: Path, keep_days: int, yes: bool) -> None:
    """Delete old usage and signals from Kafka that are archived and decided.

    Reads the whole archive first. Nothing is lost: a restore brings them back, and
    `tollgate audit --archive` still decides all of them again.
    """
    directory = archive.expanduser().absolute()
    deletions = plan_deletions(settings, directory, keep_days)
    if yes and deletions:
        with progress("verifying") as shown:
            delete(settings, directory, deletions, shown)
    for one in deletions:
        said = "deleted" if yes else "would delete"
        click.echo(f"{said} {one.topic}/{one.partition}, offsets {one.start} to {one.before - 1}")
    if not deletions:
        click.echo(f"nothing is archived, decided and older than {keep_days} days")
    elif not yes:
        click.echo("say --yes to do it")
