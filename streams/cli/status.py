"""`tollgate status`: the whole installation on one screen."""

import asyncio
import contextlib
from typing import Final

import click
from rich.console import Console
from rich.live import Live

from streams.app.status import INTERVAL_SECONDS_MIN, Asked, one_report, reports
from streams.cli.options import with_settings
from streams.cli.status_screen import screen
from streams.cli.tables import console
from streams.settings import Settings
from streams.status.report import Report

EXITS: Final = {"well": 0, "attention": 1, "unreachable": 2}


@click.command()
@with_settings("kafka_bootstrap", "clickhouse_url", "topic_prefix", "app_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (docs/status.md).")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option("--partitions", is_flag=True, help="Also a line for each partition.")
@click.option(
    "--interval",
    type=click.FloatRange(min=INTERVAL_SECONDS_MIN, max=3_600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks; rates are taken over it.",
)
@click.option(
    "--metrics",
    multiple=True,
    metavar="HOST:PORT",
    help="Where a worker serves its metrics; once for each worker. Tells of open holds.",
)
def status(
    settings: Settings,
    as_json: bool,
    watch: bool,
    partitions: bool,
    interval: float,
    metrics: tuple[str, ...],
) -> int:
    """Show servers, workers, lag, decisions and what needs attention.

    Asks the log itself and ClickHouse, so it tells of processes that are gone as well. It joins no
    group and changes nothing. Exit code 0: all is well; 1: something needs attention; 2: Kafka
    cannot be asked.
    """
    asked = Asked(interval, metrics)
    if not watch:
        report = asyncio.run(one_report(settings, asked))
        if as_json:
            click.echo(report.model_dump_json(indent=2))
        else:
            console().print(screen(report, partitions=partitions))
        return EXITS[report.verdict]
    shown: list[Report] = []
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(settings, asked, shown, as_json=as_json, partitions=partitions))
    return EXITS[shown[-1].verdict] if shown else 0


async def _watch(
    settings: Settings, asked: Asked, shown: list[Report], *, as_json: bool, partitions: bool
) -> None:
    async with contextlib.aclosing(reports(settings, asked)) as found:
        if as_json:
            async for report in found:
                shown[:] = [report]
                click.echo(report.model_dump_json())
            return
        with Live(console=Console(highlight=False, emoji=False), auto_refresh=False) as live:
            async for report in found:
                shown[:] = [report]
                live.update(screen(report, partitions=partitions), refresh=True)
