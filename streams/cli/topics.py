"""`tollgate topics`: create what is missing, and say what there is."""

import asyncio
import json

import click

from schemas.topics import TOPICS
from streams.app.installation import create_topics
from streams.cli.options import with_settings
from streams.settings import Settings


@click.group()
def topics() -> None:
    """Create and check Kafka topics."""


@topics.command()
@with_settings("kafka_bootstrap", "topic_prefix", "partitions", "replication_factor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def create(settings: Settings, as_json: bool) -> None:
    """Create what is missing; compare what exists.

    May be run again at any time. A topic that exists with other settings is an error that names
    the difference; nothing is changed then.
    """
    report = asyncio.run(create_topics(settings))
    if as_json:
        click.echo(json.dumps({"created": report.created, "existing": report.existing}))
        return
    for name in report.created:
        click.echo(f"created   {settings.topic_prefix}{name}")
    for name in report.existing:
        click.echo(f"as it is  {settings.topic_prefix}{name}")


@topics.command(name="list")
@with_settings("topic_prefix", "partitions")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_topics(settings: Settings, as_json: bool) -> None:
    """List the topics of an installation with these settings; the broker is not asked."""
    rows = [
        {
            "topic": topic.full_name(settings.topic_prefix),
            "partitions": topic.partitions or settings.partitions,
            "cleanup": topic.cleanup,
            "key": topic.key,
            "value": topic.value,
            "purpose": topic.purpose,
        }
        for topic in TOPICS
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    width = max(len(str(row["topic"])) for row in rows)
    for row in rows:
        click.echo(
            f"{row['topic']:<{width}}  {row['partitions']:>3}  "
            f"{row['cleanup']:<7}  {row['purpose']}"
        )
