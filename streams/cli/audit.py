"""`tollgate audit`: everything decided again from the log, and compared with what is there."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from schemas.money import format_amount
from schemas.times import parse_time_us
from streams.app.audit import AuditOptions, AuditResult, run_audit
from streams.audit.replay import Scope
from streams.audit.report import CANNOT_TELL, EQUAL, PartitionReport, as_plain, exit_code
from streams.cli.invoice.verify import verdict, verification_dict
from streams.cli.main import error_text
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, counts, table
from streams.errors import SetupError, TollgateError
from streams.settings import Settings

WAIT_SECONDS_MAX: Final = 3600.0
JOBS_MAX: Final = 256

DIFFERENT: Final = 1
"""The exit code where something differs."""


@click.command()
@with_settings(
    "kafka_bootstrap", "topic_prefix", "partitions", "clickhouse_url", "clickhouse_database"
)
@click.option("--since", metavar="TIME", help="Only what was decided since then (RFC 3339).")
@click.option("--until", metavar="TIME", help="Only what was decided before then (RFC 3339).")
@click.option("--customer", metavar="ID", help="Only what concerns this customer.")
@click.option(
    "--state-dir",
    "state_dirs",
    multiple=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Also compare the local tables of a worker; may be repeated.",
)
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    help="Read the log from this archive instead of Kafka.",
)
@click.option("--no-clickhouse", is_flag=True, help="Leave ClickHouse out.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, WAIT_SECONDS_MAX),
    default=10.0,
    help="Seconds to wait for a sink that is behind.  [default: 10]",
)
@click.option(
    "--jobs", type=click.IntRange(1, JOBS_MAX), help="Processes.  [default: one per core]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def audit(
    settings: Settings,
    since: str | None,
    until: str | None,
    customer: str | None,
    state_dirs: tuple[Path, ...],
    archive: Path | None,
    no_clickhouse: bool,
    wait_seconds: float,
    jobs: int | None,
    as_json: bool,
) -> int:
    """Decide everything again from the log, and compare it with what is there.

    Compares the ledger, the dead letters and the transfers record by record, each preflight with
    what its owner saw, the tables and ClickHouse's rows. Reads only; the installation may run. Exit
    codes: 0 all equal, 1 something differs, 2 wrong usage or setup, 3 it cannot be told (the report
    says why).
    """
    options = AuditOptions(
        Scope(_time("--since", since), _time("--until", until), customer),
        tuple(path.expanduser().absolute() for path in state_dirs),
        not no_clickhouse,
        wait_seconds,
        jobs or _cores(),
        None if archive is None else archive.expanduser().absolute(),
    )
    try:
        with _bar() as show:
            result = run_audit(settings, options, show)
    except SetupError:
        raise
    except TollgateError as error:
        # Their usual exit code, 1, says here that something differs.
        click.echo(error_text(error), err=True)
        return CANNOT_TELL
    code = exit_code(result.partitions)
    if code == EQUAL and result.invoices is not None and not result.invoices.identical:
        code = DIFFERENT
    if as_json:
        click.echo(json.dumps(_plain(result, code)))
    else:
        _print(result, code)
    return code


def _time(option: str, text: str | None) -> int | None:
    try:
        return None if text is None else parse_time_us(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from error


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bar() -> AbstractContextManager[Callable[[int, int], None]]:
    """A progress bar on stderr where somebody looks at it."""
    screen = Console(stderr=True)
    return _Bar(screen) if screen.is_terminal else nullcontext(lambda _done, _total: None)


class _Bar(AbstractContextManager[Callable[[int, int], None]]):
    def __init__(self, screen: Console) -> None:
        self._progress = Progress(
            TextColumn("deciding again"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=screen,
            transient=True,
        )
        self._task = self._progress.add_task("ledger", total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self._progress.start()
        return lambda done, total: self._progress.update(self._task, completed=done, total=total)

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()


def _print(result: AuditResult, code: int) -> None:
    reports = result.partitions
    costs = [report.cost_pico.get("USD", 0) for report in reports]
    columns = [
        ("partition", True), ("cycles", True), ("records", True), ("accepted", True),
        ("duplicates", True), ("dead letters", True), ("entries", True), ("units", True),
        ("cost USD", True), ("ClickHouse", True), ("differences", True),
    ]  # fmt: skip
    figures = [_figures(report) for report in reports]
    totals = [sum(column) for column in zip(*figures, strict=True)]
    money = amounts([*costs, sum(costs)])
    rows = [
        [name, *counts(line[:-2]), money[at], _rows_text(line[-2], reports), *counts(line[-1:])]
        for at, (name, line) in enumerate(
            zip([*(str(r.partition) for r in reports), "all"], [*figures, totals], strict=True)
        )
    ]
    console().print(table(columns, rows, total=True))
    for report in reports:
        for difference in report.differences:
            click.echo(difference.text(report.partition))
        more = report.differences_total - len(report.differences)
        if more:
            click.echo(f"partition {report.partition}: {more:,} more differences")
        for note in (*report.notes, *([report.cannot_tell] if report.cannot_tell else [])):
            click.echo(f"partition {report.partition}: {note}")
    if result.invoices is not None and (result.invoices.documents or result.invoices.unissued):
        for line in result.invoices.differences:
            click.echo(f"invoice {line}")
        click.echo(f"invoices: {verdict(result.invoices)}")
    click.echo(_verdict(result, code))


def _figures(report: PartitionReport) -> list[int]:
    held = sum(figures.rows for figures in report.rows if figures.table == "ledger")
    return [
        report.cycles,
        report.records,
        report.accepted,
        report.duplicates,
        report.refused,
        report.entries,
        report.units,
        held,
        report.differences_total,
    ]


def _rows_text(rows: int, reports: list[PartitionReport]) -> str:
    return f"{rows:,}" if any(report.rows for report in reports) else "not read"


def _verdict(result: AuditResult, code: int) -> str:
    reports = result.partitions
    records = sum(report.records for report in reports)
    decisions = sum(report.decisions for report in reports)
    unseen = sum(report.decisions_given for report in reports)
    given = sum(report.given for report in reports)
    internal = sum(report.internal for report in reports)
    waiting = sum(report.waiting for report in reports)
    tables = sum(len(report.tables) for report in reports)
    rate = f"{records / result.seconds:,.0f}/s" if result.seconds else ""
    said = [f"{records:,} records decided again in {result.seconds:.1f} s ({rate})"]
    if decisions:
        said.append(f"{decisions:,} preflights decided again on what they saw")
    if unseen:
        said.append(f"{unseen:,} preflights taken as recorded")
    said.append(f"{tables:,} tables compared")
    if given:
        said.append(f"{given:,} cycles taken as recorded")
    if internal:
        said.append(f"{internal:,} refusals by our own fault taken as recorded")
    if waiting:
        said.append(f"{waiting:,} inbound offsets not yet decided")
    differences = sum(report.differences_total for report in reports)
    ends = {EQUAL: "equal", 1: f"{differences:,} differences"}
    return "; ".join(said) + f": {ends.get(code, 'it cannot be told')}"


def _plain(result: AuditResult, code: int) -> dict[str, Any]:
    return {
        "verdict": {0: "equal", 1: "different"}.get(code, "cannot tell"),
        "seconds": round(result.seconds, 3),
        "invoices": None if result.invoices is None else verification_dict(result.invoices),
        "partitions": [
            as_plain(report)
            | {
                "cost": {c: format_amount(pico) for c, pico in sorted(report.cost_pico.items())},
                "clickhouse": [
                    {
                        "table": figures.table,
                        "generation": figures.generation,
                        "rows": figures.rows,
                        "last_sequence": figures.last_sequence,
                        "units": figures.units,
                        "cost": format_amount(figures.cost_pico),
                    }
                    for figures in report.rows
                ],
            }
            for report in result.partitions
        ],
    }
