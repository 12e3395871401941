"""`tollgate customer`: what is personal of a customer."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from streams.app.backup import back_up
from streams.app.forgetting import forget as forget_customer
from streams.cli.invoice.progress import progress
from streams.cli.options import with_settings
from streams.settings import Settings


@click.group()
def customer() -> None:
    """What is personal of a customer."""


@customer.command()
@click.argument("customer_id")
@with_settings("kafka_bootstrap", "topic_prefix", "clickhouse_url", "clickhouse_database")
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The archive that is kept of this installation.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def forget(settings: Settings, customer_id: str, archive: Path, as_json: bool) -> None:
    """Take the metadata of CUSTOMER_ID out of the archive and of ClickHouse.

    The archive is brought up to date first. No sum, balance, invoice or audit changes: nothing that
    is decided looks at metadata. Kafka's own records go by a restore of the archive, or when they
    are deleted as archived. The id itself stays in the books: give customers ids that name nobody.
    """
    directory = archive.expanduser().absolute()
    with progress("archiving", counted=False) as show:
        back_up(settings, directory, show)
    with progress("searching") as show:
        found = forget_customer(settings, directory, customer_id, show)
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    for topic, count in sorted(found.records.items()):
        click.echo(f"{topic}: {count:,} records without metadata")
    click.echo(f"ClickHouse dead_letters: {found.rows:,} rows without metadata")
    for place in found.left:
        click.echo(f"cannot be read, look at it yourself: {place}")
    click.echo("Kafka still holds them: see docs/backup.md, Personal data")
