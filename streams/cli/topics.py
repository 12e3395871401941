"""`tollgate topics`: create what is missing, and say what there is."""

import asyncio
import json
from collections import Counter
from dataclasses import asdict

import click

from schemas.topics import TOPICS
from streams.app.carry.over import carry_over
from streams.app.generations import begin_generation, compare_generation
from streams.app.installation import create_topics
from streams.app.rights import ROLES, Role, acls, carry_acls, command_lines, give
from streams.cli.carry_texts import print_report, report_dict
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


@topics.command()
@with_settings("kafka_bootstrap", "topic_prefix", "partitions")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def generation(settings: Settings, as_json: bool) -> None:
    """Show the recorded generation, and whether the topics are still the recorded ones.

    Exit status 1 where they are not: workers and sinks refuse to run then.
    """
    state = asyncio.run(compare_generation(settings))
    record = state.record
    if as_json:
        shown = {
            "generation": record.generation,
            "partitions": record.partitions,
            "reason": record.reason,
            "topic_ids": record.topic_ids,
            "differences": state.differences,
        }
        click.echo(json.dumps(shown))
    else:
        click.echo(f"generation {record.generation}, {record.partitions} partitions")
        click.echo(f"began because: {record.reason}")
        for line in state.differences:
            click.echo(f"differs   {line}")
        if not state.differences:
            click.echo(f"the {len(record.topic_ids)} topics are the recorded ones")
    if state.differences:
        raise SystemExit(1)


@topics.command(name="new-generation")
@with_settings("kafka_bootstrap", "topic_prefix", "partitions", "replication_factor", "app_id")
@click.option("--reason", required=True, help="Why, for whoever reads the books later.")
def new_generation(settings: Settings, reason: str) -> None:
    """Go on with topics that were made anew.

    For topics that were deleted, restored or recreated: creates what is missing and records the
    topics as they are now as the next generation. Balances and claims stay; positions and
    sequences count from zero again. Workers and sinks have to be stopped.
    """
    record = asyncio.run(begin_generation(settings, reason))
    click.echo(f"generation {record.generation} begins; start the workers and sinks")


@topics.command(name="carry-over")
@with_settings("kafka_bootstrap", "topic_prefix", "partitions", "app_id")
@click.option("--from-prefix", required=True, help="TOLLGATE_TOPIC_PREFIX of the old installation.")
@click.option("--from-app-id", required=True, help="TOLLGATE_APP_ID of the old installation.")
@click.option("--dry-run", is_flag=True, help="Write nothing; print the same.")
@click.option(
    "--invoices-later",
    is_flag=True,
    help="Periods that are over may be closed in the old installation afterwards; repeat then.",
)
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0),
    default=60.0,
    help="Seconds to wait for new workers that run.  [default: 60]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def carry(
    settings: Settings,
    from_prefix: str,
    from_app_id: str,
    dry_run: bool,
    invoices_later: bool,
    wait_seconds: float,
    as_json: bool,
) -> int:
    """Carry what customers have left over from an installation under another topic prefix.

    Give it with the settings of the new installation, whose topics are made and whose workers do
    not run yet; then start its workers and give it again, which compares. It refuses, and lists,
    what is still open in the old one. Repeated, every figure counts once.

    Exit code 1 where something is open or differs.
    """
    report = carry_over(
        settings,
        from_prefix,
        from_app_id,
        _show_progress,
        dry_run=dry_run,
        invoices_later=invoices_later,
        wait_seconds=wait_seconds,
    )
    if as_json:
        click.echo(json.dumps(report_dict(report), indent=2))
    else:
        print_report(report)
    return 1 if report.state in ("open", "differs") else 0


def _show_progress(done: int, total: int) -> None:
    click.echo(f"read {done} of {total} partitions", err=True)


@topics.command(name="acls")
@with_settings("kafka_bootstrap", "topic_prefix", "app_id")
@click.option("--role", "roles", multiple=True, type=click.Choice(ROLES), help="Only this role.")
@click.option(
    "--user", help="User of Kafka that gets the rights of one role. [default: tollgate-ROLE]"
)
@click.option("--from-prefix", help="The operator may also carry over from this topic prefix.")
@click.option("--from-app-id", help="TOLLGATE_APP_ID of the installation under that prefix.")
@click.option("--apply", "applying", is_flag=True, help="Give the rights on the broker.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def show_acls(
    settings: Settings,
    roles: tuple[Role, ...],
    user: str | None,
    from_prefix: str | None,
    from_app_id: str | None,
    applying: bool,
    as_json: bool,
) -> None:
    """Print the least that each role needs on Kafka, as lines for kafka-acls.sh.

    With --apply they are given on the broker, by a user who may do that; nothing is taken away.
    Without it the broker is not asked.
    """
    if user is not None and len(roles) != 1:
        raise click.UsageError("--user goes with exactly one --role")
    given = tuple(
        acl for role in roles or ROLES for acl in acls(settings, role, user or f"tollgate-{role}")
    )
    if from_prefix is not None or from_app_id is not None:
        if from_prefix is None or from_app_id is None or roles != ("operator",):
            raise click.UsageError("--from-prefix and --from-app-id go with --role operator alone")
        given += carry_acls(settings, user or "tollgate-operator", from_prefix, from_app_id)
    if applying:
        asyncio.run(give(settings, given))
    if as_json:
        click.echo(json.dumps([asdict(acl) for acl in given]))
    elif applying:
        for principal, count in Counter(acl.principal for acl in given).items():
            click.echo(f"{principal} has the {count} rights of its role")
    else:
        for line in command_lines(given, settings.kafka_bootstrap or "localhost:9092"):
            click.echo(line)
