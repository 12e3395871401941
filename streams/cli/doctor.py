"""`tollgate doctor`: what this machine lacks, and how to get it."""

import json
from typing import Final

import click

from streams.cli.options import with_settings
from streams.embedded.doctor import Finding, examine
from streams.settings import Settings

COLORS: Final = {"ok": "green", "warning": "yellow", "missing": "red"}


@click.command()
@with_settings("kafka_port", "kafka_controller_port", "clickhouse_http_port", "clickhouse_tcp_port")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per finding.")
def doctor(settings: Settings, as_json: bool) -> int:
    """Check what `tollgate up` needs; exit code 1 if something is missing.

    A warning does not hinder a start. Nothing is changed and no server is started.
    """
    missing = False
    for finding in examine(settings):
        missing = missing or finding.status == "missing"
        click.echo(json.dumps(finding.as_dict()) if as_json else row(finding))
    return int(missing)


def row(finding: Finding) -> str:
    """Return a finding as one aligned row, and a second one for its remedy."""
    status = click.style(f"{finding.status:<7}", fg=COLORS[finding.status])
    lines = [f"{status}  {finding.name:<18}  {finding.found}"]
    if finding.remedy:
        lines.append(" " * 29 + f"-> {finding.remedy}")
    return "\n".join(lines)
