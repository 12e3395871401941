"""`tollgate prices`: put the price book into the catalog."""

import asyncio
import json

import click

from streams.app.installation import import_prices
from streams.cli.options import with_settings
from streams.settings import Settings


@click.group()
def prices() -> None:
    """Load price books into the catalog."""


@prices.command(name="import")
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(settings: Settings, as_json: bool) -> None:
    """Append the list prices of the installed genai-prices package, unless they are in force.

    Workers see the new version from their next cycle on; what is already rated keeps its price.
    """
    version, appended = asyncio.run(import_prices(settings))
    if as_json:
        click.echo(json.dumps({"version": version, "appended": appended}))
    else:
        click.echo(f"{'appended' if appended else 'in force already'}: {version}")
