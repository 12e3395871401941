"""`tollgate migrate`: bring the ClickHouse tables up to date."""

import json

import click

from streams.app.warehouse import run_migrations
from streams.cli.options import with_settings
from streams.settings import Settings


@click.command()
@with_settings("clickhouse_url", "clickhouse_user", "clickhouse_tls_ca", "clickhouse_database")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: known and applied.")
def migrate(settings: Settings, as_json: bool) -> None:
    """Bring the ClickHouse tables up to date.

    Applies the numbered migrations that the database lacks and records each with its digest.
    Refuses a database that has one this release does not know, or knows with other content.
    Running it twice, or twice at once, does no harm.
    """
    result = run_migrations(settings)
    if as_json:
        found = {
            "database": settings.clickhouse_database,
            "known": [str(migration) for migration in result.known],
            "applied": [str(migration) for migration in result.applied],
        }
        click.echo(json.dumps(found))
        return
    for migration in result.applied:
        click.echo(f"applied {migration}")
    if not result.applied:
        count = len(result.known)
        click.echo(f"nothing to do: all {count} migrations are applied", err=True)
