"""`tollgate dead-letters`: what could not be accepted."""

import json
from contextlib import closing
from dataclasses import asdict
from typing import Any

import click

from schemas.errors import RejectCode
from schemas.times import format_time, parse_time_us
from streams.app.warehouse import clickhouse
from streams.cli.options import with_settings
from streams.cli.tables import console, table
from streams.invoicing.dead_letters import (
    LIST_LIMIT_MAX,
    DeadLetterFilter,
    DeadLetterLine,
    list_dead_letters,
)
from streams.settings import Settings


@click.group(name="dead-letters")
def dead_letters() -> None:
    """What could not be accepted, with the reason."""


@dead_letters.command(name="list")
@with_settings("clickhouse_url", "clickhouse_database")
@click.option("--code", type=click.Choice([code.value for code in RejectCode]), help="This reason.")
@click.option("--topic", help="Topic of the original, without prefix: usage, signals, budgets.")
@click.option("--customer", help="Customer that the original's body names, where it is JSON.")
@click.option("--since", metavar="TIME", help="Refused since, as 2026-01-31 or RFC 3339.")
@click.option(
    "--limit",
    type=click.IntRange(1, LIST_LIMIT_MAX),
    default=50,
    help="How many, the newest first.  [default: 50]",
)
@click.option("--payload", is_flag=True, help="With --json: key and value in base64 as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per dead letter.")
def list_(
    settings: Settings,
    code: str | None,
    topic: str | None,
    customer: str | None,
    since: str | None,
    limit: int,
    payload: bool,
    as_json: bool,
) -> None:
    """List what was refused: when, why, and where the original lies."""
    wanted = DeadLetterFilter(code, topic, None if since is None else parse_since(since), customer)
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        found = list_dead_letters(warehouse, wanted, limit, payload=payload and as_json)
    if as_json:
        for line in found.lines:
            click.echo(json.dumps(line_dict(line)))
        return
    if found.lines:
        titles = ("refused at", "code", "topic", "partition", "offset", "bytes", "reason")
        columns = [(title, title in ("partition", "offset", "bytes")) for title in titles]
        console().print(table(columns, [_cells(line) for line in found.lines]))
    shown, total = len(found.lines), sum(found.counts.values())
    counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.items())
    click.echo(f"{shown:,} of {total:,} dead letters" + (f": {counts}" if counts else ""))


def parse_since(text: str) -> int:
    """Microseconds since the epoch of a day (UTC) or an RFC 3339 time. Raises
    click.BadParameter."""
    try:
        return parse_time_us(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from None


def line_dict(line: DeadLetterLine) -> dict[str, Any]:
    """A dead letter for a script."""
    found = asdict(line)
    record = found.pop("record")
    found["decided_at"] = format_time(found.pop("decided_at_us"))
    found["appended_at"] = format_time(found.pop("appended_at_us"))
    return {**found, **record}


def _cells(line: DeadLetterLine) -> list[str]:
    where = [line.topic, str(line.partition), str(line.offset), f"{line.size:,}"]
    return [format_time(line.decided_at_us), line.code, *where, line.reason]
