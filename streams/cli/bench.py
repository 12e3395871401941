"""`tollgate bench`: figures of speed on this machine, each made only when the result was right."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from streams.bench.events import SEED
from streams.bench.ground import open_ground
from streams.bench.pipeline import NAMES, SWEEPS, PipelineOptions, run_pipeline
from streams.bench.report import FAULTY, Report
from streams.cli.main import error_text
from streams.cli.options import with_settings
from streams.embedded.supervisor import say_on_stderr
from streams.embedded.wiring import signals_as_interrupt
from streams.errors import SetupError, TollgateError
from streams.settings import Settings

EVENTS_MAX: Final = 100_000_000
ROUNDS_MAX: Final = 100
PARTITIONS_MAX: Final = 64

json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also write the figures to this file.",
)
seed_option = click.option(
    "--seed", type=int, default=SEED, show_default=True, help="Seeds the events."
)


@click.group()
def bench() -> None:
    """Measure speed on this machine.

    Runs on an embedded Kafka of its own (or on the one that TOLLGATE_KAFKA_BOOTSTRAP names, under
    topics of its own), with the contender on one core and everything else on the others. Results
    are checked before a figure is printed. Exit codes: 0 every target met, 1 a target missed, 2
    wrong usage or setup, 3 a result was wrong or could not be had: no figures.
    """


@bench.command()
@with_settings("kafka_bootstrap")
@click.option(
    "--events",
    type=click.IntRange(1_000, EVENTS_MAX),
    default=1_000_000,
    show_default=True,
    help="Records to read, one in ten a duplicate.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, ROUNDS_MAX),
    default=1,
    show_default=True,
    help="Runs of the full path; the median counts.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, PARTITIONS_MAX),
    default=8,
    show_default=True,
    help="Partitions of the topic.",
)
@click.option(
    "--only",
    type=click.Choice(list(NAMES)),
    multiple=True,
    help="Only this contender; may be repeated. Leaves the sweeps out.",
)
@click.option(
    "--sweep",
    type=click.Choice(SWEEPS),
    multiple=True,
    help="Only this sweep; may be repeated. [default: both, without --only]",
)
@seed_option
@json_option
def pipeline(
    settings: Settings,
    events: int,
    rounds: int,
    partitions: int,
    only: tuple[str, ...],
    sweep: tuple[str, ...],
    seed: int,
    json_file: Path | None,
) -> int:
    """Measure the full path: events in, decided, in the ledger.

    Beside it a bare loop that consumes and decodes, stock Faust doing the like, and orjson.loads
    alone, the anchor that tells how fast the core is. Then the full path for 1, 2, 4 and 8
    partitions and for several sizes of cycles.
    """
    options = PipelineOptions(
        events=events,
        rounds=rounds,
        partitions=partitions,
        seed=seed,
        only=frozenset(only or NAMES),
        sweeps=frozenset(sweep or (() if only else SWEEPS)),
    )
    now_us = time.time_ns() // 1_000  # noqa: TID251 - where the day of the events is chosen

    def measure() -> Report:
        with open_ground(settings, say_on_stderr) as ground:
            return run_pipeline(ground, options, now_us)

    return _shown(measure, json_file)


def _shown(measure: Callable[[], Report], json_file: Path | None) -> int:
    """Measures, shows, writes; returns the exit code."""
    try:
        with signals_as_interrupt():
            report = measure()
    except SetupError:
        raise
    except TollgateError as error:
        # Their usual exit code, 1, says here that a target was missed.
        click.echo(error_text(error), err=True)
        return FAULTY
    click.echo(report.text())
    for result in report.missed:
        click.echo(f"missed: {result.name}", err=True)
    if json_file is not None:
        report.write(json_file)
    sys.stdout.flush()
    return report.exit_code
