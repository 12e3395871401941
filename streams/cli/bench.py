"""`tollgate bench`: figures of speed on this machine, each made only when the result was right."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from streams.bench.events import SEED, yesterday_us
from streams.bench.flatness import SCENARIOS, FlatnessOptions, run_flatness
from streams.bench.ground import Ground, open_ground
from streams.bench.latency import LatencyOptions, run_latency
from streams.bench.otlp import FORMS, OtlpOptions, run_otlp
from streams.bench.pipeline import NAMES, SWEEPS, PipelineOptions, run_pipeline
from streams.bench.preflight import PreflightOptions, run_preflight
from streams.bench.preflight_plan import KILLED, USUAL
from streams.bench.preflight_plan import NAMES as TOPOLOGIES
from streams.bench.recovery import CUSTOMERS, run_recovery
from streams.bench.report import FAULTY, Report
from streams.bench.traces import EVENTS as TRACE_EVENTS
from streams.bench.traces import run_traces
from streams.cli.bench_invoices import invoices
from streams.cli.main import error_text
from streams.cli.options import with_settings
from streams.embedded.supervisor import say_on_stderr
from streams.embedded.wiring import signals_as_interrupt
from streams.errors import SetupError, TollgateError
from streams.settings import Settings

EVENTS_MAX: Final = 100_000_000
ROUNDS_MAX: Final = 100
PARTITIONS_MAX: Final = 64
CLAIMS_MAX: Final = 1_000_000_000
RATE_MAX: Final = 1_000_000
CUSTOMERS_MAX: Final = 9_999_999

json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also write the figures to this file.",
)
partitions_option = click.option(
    "--partitions",
    type=click.IntRange(1, PARTITIONS_MAX),
    default=8,
    show_default=True,
    help="Partitions of the topic.",
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
@partitions_option
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
    return _measured(
        settings, lambda ground, now_us: run_pipeline(ground, options, now_us), json_file
    )


@bench.command()
@with_settings("kafka_bootstrap")
@click.option(
    "--customers",
    type=click.IntRange(1, CUSTOMERS_MAX),
    default=CUSTOMERS,
    show_default=True,
    help="Accounts in the changelog.",
)
@partitions_option
@seed_option
@json_option
def recovery(
    settings: Settings, customers: int, partitions: int, seed: int, json_file: Path | None
) -> int:
    """Measure how long a worker takes to recover its tables, and to start again with them.

    From the assignment of its partitions to its first fetch; the group's own time stands beside it.
    """
    return _measured(
        settings,
        lambda ground, now_us: run_recovery(
            ground, now_us, customers=customers, partitions=partitions, seed=seed
        ),
        json_file,
    )


@bench.command()
@click.option(
    "--events",
    type=click.IntRange(1_000, EVENTS_MAX),
    default=TRACE_EVENTS,
    show_default=True,
    help="Calls and signals of the day.",
)
@seed_option
@json_option
def traces(events: int, seed: int, json_file: Path | None) -> int:
    """Measure how fast costs and signals are joined, and what an open trace takes.

    In this process alone, without Kafka; beside it the same day without traces.
    """
    now_us = time.time_ns() // 1_000  # noqa: TID251 - where the day of the events is chosen
    return _told(run_traces(yesterday_us(now_us), events=events, seed=seed), json_file)


@bench.command()
@with_settings("kafka_bootstrap")
@click.option(
    "--only",
    type=click.Choice(SCENARIOS),
    multiple=True,
    help="Only this scenario; may be repeated.",
)
@click.option(
    "--events",
    type=click.IntRange(1_000, EVENTS_MAX),
    default=500_000,
    show_default=True,
    help="Records to read in each scenario but `memory`.",
)
@click.option(
    "--claims",
    type=click.IntRange(1, CLAIMS_MAX),
    default=10_000_000,
    show_default=True,
    help="Claims that are there already, of `claims`.",
)
@click.option(
    "--customers",
    type=click.IntRange(1, CUSTOMERS_MAX),
    default=CUSTOMERS,
    show_default=True,
    help="Customers of `customers`.",
)
@click.option(
    "--minutes",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="How long `memory` takes.",
)
@click.option(
    "--rate",
    type=click.FloatRange(1, RATE_MAX),
    default=5_000,
    show_default=True,
    help="Events per second of `memory`.",
)
@partitions_option
@seed_option
@json_option
def flatness(
    settings: Settings, /, only: tuple[str, ...], json_file: Path | None, **chosen: Any
) -> int:
    """Measure whether an event costs the same when there is more of everything.

    Ten million claims in the store, a million customers, one customer with half of all events,
    events of 4 KB: each beside a plain run before and after it. Then the memory over minutes of
    steady load.
    """
    options = FlatnessOptions(only=frozenset(only or SCENARIOS), **chosen)
    return _measured(
        settings, lambda ground, now_us: run_flatness(ground, options, now_us), json_file
    )


@bench.command()
@with_settings("kafka_bootstrap")
@click.option(
    "--rate",
    type=click.FloatRange(100, RATE_MAX),
    help="The maximum, in events per second. [default: measured first]",
)
@click.option(
    "--seconds",
    type=click.IntRange(1, 3_600),
    default=20,
    show_default=True,
    help="Load at each share of the maximum.",
)
@partitions_option
@seed_option
@json_option
def latency(
    settings: Settings,
    rate: float | None,
    seconds: int,
    partitions: int,
    seed: int,
    json_file: Path | None,
) -> int:
    """Measure the time from the append of a record to its entry in the ledger.

    Under load in an open loop at 25, 50 and 75 % of the maximum.
    """
    options = LatencyOptions(rate=rate, seconds=seconds, partitions=partitions, seed=seed)
    return _measured(
        settings, lambda ground, now_us: run_latency(ground, options, now_us), json_file
    )


@bench.command()
@with_settings("kafka_bootstrap")
@click.option(
    "--seconds",
    type=click.IntRange(1, 3_600),
    default=20,
    show_default=True,
    help="Load of each scenario.",
)
@click.option(
    "--only",
    type=click.Choice(TOPOLOGIES),
    multiple=True,
    help="Only this topology; may be repeated.",
)
@click.option(
    "--scenario",
    type=click.Choice([scenario.name for scenario in (*USUAL, *KILLED)]),
    multiple=True,
    help="Only this scenario; may be repeated.",
)
@click.option(
    "--ingest",
    type=click.FloatRange(1, RATE_MAX),
    help="Events per second beside the load, where there are any. [default: 10,000]",
)
@partitions_option
@seed_option
@json_option
def preflight(
    settings: Settings,
    seconds: int,
    only: tuple[str, ...],
    scenario: tuple[str, ...],
    ingest: float | None,
    partitions: int,
    seed: int,
    json_file: Path | None,
) -> int:
    """Measure how fast a preflight is answered, and that nothing is overspent.

    Through the gateway, inside the worker and over a hop: one agent after the other; 50 agents on
    one budget and on 50, at 1,000 a second; as many as there can be; lookups; records, each
    answered with what is left; the same while 10,000 events a second are ingested; and with one of
    two workers killed. Latency counts from the time at which a request was due. Afterwards the
    ledger is read for overspend and leaked holds. Nothing is pinned to cores.
    """
    options = PreflightOptions(
        seconds=seconds,
        partitions=partitions,
        seed=seed,
        topologies=frozenset(only or TOPOLOGIES),
        scenarios=frozenset(scenario),
        ingest=ingest,
    )
    return _measured(
        settings,
        lambda ground, now_us: run_preflight(ground, options, now_us),
        json_file,
        pinned=False,
    )


@bench.command()
@with_settings("kafka_bootstrap")
@click.option(
    "--seconds",
    type=click.IntRange(1, 3_600),
    default=10,
    show_default=True,
    help="Load in each form.",
)
@click.option(
    "--only", type=click.Choice(FORMS), multiple=True, help="Only this form; may be repeated."
)
@partitions_option
@json_option
def otlp(
    settings: Settings,
    seconds: int,
    only: tuple[str, ...],
    partitions: int,
    json_file: Path | None,
) -> int:
    """Measure how many spans a gateway takes over OTLP.

    Exports of 512 spans from four exporters at a time, in protobuf and in JSON; a figure per second
    of the gateway's CPU. Afterwards the log is read: every call and every signal stands there once.
    Nothing is pinned to cores.
    """
    options = OtlpOptions(seconds=seconds, partitions=partitions, forms=frozenset(only or FORMS))
    return _measured(
        settings, lambda ground, now_us: run_otlp(ground, options, now_us), json_file, pinned=False
    )


bench.command()(invoices)


def _measured(
    settings: Settings,
    measure: Callable[[Ground, int], Report],
    json_file: Path | None,
    *,
    pinned: bool = True,
) -> int:
    """Measures on a ground of its own, shows, writes; returns the exit code. `measure` is told the
    time from which on its events lie."""
    try:
        with signals_as_interrupt(), open_ground(settings, say_on_stderr, pinned=pinned) as ground:
            now_us = time.time_ns() // 1_000  # noqa: TID251 - where the day of the events is chosen
            report = measure(ground, now_us)
    except SetupError:
        raise
    except TollgateError as error:
        # Their usual exit code, 1, says here that a target was missed.
        click.echo(error_text(error), err=True)
        return FAULTY
    return _told(report, json_file)


def _told(report: Report, json_file: Path | None) -> int:
    """Shows and writes the figures; returns the exit code."""
    click.echo(report.text())
    for result in report.missed:
        click.echo(f"missed: {result.name}", err=True)
    if json_file is not None:
        report.write(json_file)
    sys.stdout.flush()
    return report.exit_code
