"""`tollgate backup`, `restore` and `rebuild`: the log into an archive and back, ClickHouse anew."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from streams.app.backup import back_up, verify_backup
from streams.app.restoring import RestoreResult
from streams.app.restoring import restore as restore_archive
from streams.app.warehouse import rebuild_tables
from streams.cli.invoice.progress import progress
from streams.cli.options import with_settings
from streams.settings import Settings

DIFFERENT = 1
"""The exit code where an archive is not what its manifest says."""

DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group(invoke_without_command=True)
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--to", "directory", type=DIRECTORY, help="The archive; made where there is none.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def backup(
    context: click.Context, settings: Settings, directory: Path | None, as_json: bool
) -> None:
    """Archive what the log has gained since the last backup.

    Reads only; the installation may run. Interrupted, it goes on where it stopped. The archive can
    be restored, and read by `tollgate audit --archive`.
    """
    if context.invoked_subcommand is not None:
        return
    if directory is None:
        raise click.UsageError("name the archive: --to DIR")
    with progress("archiving", counted=False) as show:
        done = back_up(settings, directory.expanduser().absolute(), show)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo(
        f"{done.records:,} records ({done.offsets:,} offsets, {done.bytes:,} bytes) added; the "
        f"archive holds {done.archive_records:,} records in {done.archive_bytes:,} bytes, as of "
        f"{done.taken_at}"
    )


@backup.command()
@click.argument("directory", type=DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(directory: Path, as_json: bool) -> int:
    """Read a whole archive and compare it with its manifest.

    Exit code 1 where a file is damaged or missing.
    """
    with progress("verifying") as show:
        found = verify_backup(directory.expanduser().absolute(), show)
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        for fault in found.faults:
            click.echo(fault)
        said = "whole" if not found.faults else f"{len(found.faults):,} faults"
        click.echo(
            f"{found.records:,} records in {found.segments:,} segments, {found.bytes:,} bytes: "
            f"{said}"
        )
    return DIFFERENT if found.faults else 0


@click.command()
@with_settings(
    "kafka_bootstrap", "topic_prefix", "partitions", "replication_factor", "clickhouse_url"
)
@click.option("--from", "directory", type=DIRECTORY, required=True, help="The archive.")
@click.option("--reason", default="restored", help="Why, for whoever reads the books later.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def restore(settings: Settings, directory: Path, reason: str, as_json: bool) -> None:
    """Fill an empty Kafka from an archive, every record at its old position.

    Refuses a target with topics in it. Nobody may write meanwhile. Afterwards start the workers:
    they decide what the archive held and no whole cycle had decided.
    """
    with progress("restoring", counted=False) as show:
        done = restore_archive(settings, directory.expanduser().absolute(), reason, show)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    _print(done)


def _print(done: RestoreResult) -> None:
    click.echo(
        f"{done.records:,} records at {done.offsets:,} offsets restored, as of {done.taken_at}"
    )
    if done.cleared:
        click.echo(f"{len(done.cleared)} topics of a restore that was cut short were removed first")
    if done.cut:
        click.echo(f"{done.cut:,} offsets of cycles that were not whole were left out")
    if done.clickhouse_ahead:
        click.echo("ClickHouse holds rows that the log does not have any more:")
        for where in done.clickhouse_ahead:
            click.echo(f"  {where}")
        click.echo("run `tollgate rebuild --yes` before a sink or worker starts")
    elif done.clickhouse_ahead is None:
        click.echo(
            "ClickHouse could not be asked: run `tollgate rebuild --yes` unless it is as old as "
            "the archive"
        )


@click.command()
@with_settings("clickhouse_url", "clickhouse_user", "clickhouse_database")
@click.option("--yes", is_flag=True, help="Do it: the database is dropped.")
def rebuild(settings: Settings, yes: bool) -> None:
    """Drop ClickHouse's database and make its tables anew.

    Sinks fill them from the log, which holds everything that they held. Stop the sinks first.
    """
    if not yes:
        raise click.UsageError(
            f"this drops the database {settings.clickhouse_database}; say --yes to do it"
        )
    rebuild_tables(settings)
    click.echo(f"{settings.clickhouse_database} is empty; start the sinks")
