"""`tollgate config`: what the settings are, and whether they can be used."""

import json

import click
from pydantic import SecretStr

from streams.cli.options import with_settings
from streams.settings import Settings, environment_name
from streams.settings.reference import reference_markdown

HIDDEN = "(hidden)"


@click.group()
def config() -> None:
    """Show or check the settings."""


@config.command()
@with_settings()
@click.option("--json", "as_json", is_flag=True, help="One JSON object, names as in the code.")
def show(settings: Settings, as_json: bool) -> None:
    """Print every setting as it is in force; secrets stay hidden."""
    values = {field: _shown(getattr(settings, field)) for field in Settings.model_fields}
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(len(environment_name(field)) for field in values)
    for field, value in values.items():
        text = "(not given)" if value is None else str(value)
        click.echo(f"{environment_name(field):{width}}  {text}")


@config.command()
@with_settings()
def check(settings: Settings) -> None:
    """Read all settings, report every fault, connect to nothing."""
    kafka = "embedded" if settings.embedded_kafka else settings.kafka_bootstrap
    clickhouse = "embedded" if settings.embedded_clickhouse else settings.clickhouse_url
    click.echo(f"settings are valid: Kafka {kafka}, ClickHouse {clickhouse}", err=True)


@config.command()
def reference() -> None:
    """Print the table of all settings as Markdown (docs/settings.md)."""
    click.echo(reference_markdown(), nl=False)


def _shown(value: object) -> str | int | float | None:
    if isinstance(value, SecretStr):
        return HIDDEN
    return value if isinstance(value, str | int | float) or value is None else str(value)
