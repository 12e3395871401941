"""`tollgate config`: what the settings are, where each was given, and whether they can be used."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click
from pydantic import SecretStr

from streams.cli.options import with_reading
from streams.settings import Reading, Settings, environment_name
from streams.settings.given import Fault
from streams.settings.reference import reference_markdown
from streams.settings.together import remarks

HIDDEN = "(hidden)"
NOT_GIVEN = "(not given)"
EXIT_FAULTS = 2
"""As every command ends whose settings cannot be used."""


@click.group()
def config() -> None:
    """Show or check the settings."""


@config.command()
@with_reading
@click.option("--json", "as_json", is_flag=True, help="One JSON object, names as in the code.")
def show(reading: Reading, as_json: bool) -> None:
    """Print every setting as it is in force, and where it was given; secrets stay hidden.

    Takes the flags of all commands, to see what they would change.
    """
    settings = reading.in_force()
    values = {field: _shown(getattr(settings, field)) for field in Settings.model_fields}
    if as_json:
        click.echo(
            json.dumps({name: _told(reading, name, values[name]) for name in values}, indent=2)
        )
        return
    texts = {
        field: "(not given)" if value is None else str(value) for field, value in values.items()
    }
    width = max(len(environment_name(field)) for field in texts)
    wide = max(len(text) for text in texts.values())
    for field, text in texts.items():
        click.echo(f"{environment_name(field):{width}}  {text:{wide}}  {reading.origins[field]}")


@config.command()
@with_reading
@click.option("--connect", is_flag=True, help="Try both servers, and the gateway's certificate.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: faults, warnings, tried.")
def check(reading: Reading, connect: bool, as_json: bool) -> int:
    """Read all settings and report every fault; connect to nothing without --connect.

    Exit code 2 where the settings cannot be used, 1 where a connection fails, 0 else.
    """
    tried: list[dict[str, str]] = []
    if connect and reading.settings is not None:
        # Loaded here: the clients of both servers are most of all modules.
        from streams.app.connecting import try_connections

        tried = [asdict(one) for one in try_connections(reading.settings)]
    failed = any(one["todo"] for one in tried)
    warnings = list(reading.warnings)
    if reading.settings is not None:
        warnings += remarks(reading.settings, reading.origins)
    if as_json:
        told = {
            "usable": reading.settings is not None,
            "faults": [asdict(fault) for fault in reading.faults],
            "warnings": [asdict(fault) for fault in warnings],
            "tried": tried,
        }
        click.echo(json.dumps(told, indent=2))
        return EXIT_FAULTS if reading.faults else int(failed)
    _warn(warnings)
    settings = reading.in_force()
    kafka = "embedded" if settings.embedded_kafka else settings.kafka_bootstrap
    clickhouse = "embedded" if settings.embedded_clickhouse else settings.clickhouse_url
    click.echo(f"settings are valid: Kafka {kafka}, ClickHouse {clickhouse}", err=True)
    for one in tried:
        mark = click.style("failed", fg="red") if one["todo"] else click.style("ok    ", fg="green")
        click.echo(f"{mark}  {one['name']}: {one['found']}")
        if one["todo"]:
            click.echo(f"        -> {one['todo']}")
    return int(failed)


@config.command()
def reference() -> None:
    """Print the table of all settings as Markdown (docs/settings.md)."""
    click.echo(reference_markdown(), nl=False)


def _warn(warnings: Iterable[Fault]) -> None:
    for warning in warnings:
        click.echo(f"{click.style('warning', fg='yellow')}: {warning}", err=True)


def _told(reading: Reading, field: str, value: object) -> dict[str, Any]:
    origin = reading.origins[field]
    return {"value": value, "source": origin.kind, "place": str(origin)}


def _shown(value: object) -> str | int | float | None:
    if isinstance(value, SecretStr):
        return HIDDEN
    return value if isinstance(value, str | int | float) or value is None else str(value)
