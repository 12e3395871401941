"""The demo run, in numbered steps, from nothing running to proved totals.

  1. start what is not running                       (installation)
  2. wait until nothing is on its way any more, count what is there
  3. send every record, wait until all of it is in ClickHouse   (sequence, load)
  4. count again, compare with what the CSV files say           (observe, totals, compare)
  5. where asked for: close the month, prove the invoices       (invoices)

Worker and sink may be killed during step 3 without any figure changing; `kill` does it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from streams.demo.compare import (
    Difference,
    compare_counts,
    compare_customers,
    expected_counts,
)
from streams.demo.events import Scenario
from streams.demo.installation import Installation, open_installation
from streams.demo.invoices import closable_day, run_invoices
from streams.demo.load import Load
from streams.demo.observe import Counts, Observer
from streams.demo.progress import Bars
from streams.demo.remembered import Remembered, load_remembered, same_demo, save_remembered
from streams.demo.report import DemoResult
from streams.demo.sequence import build_records
from streams.demo.stages import Stages
from streams.demo.totals import expected_totals
from streams.demo.trace import read_calls
from streams.embedded.supervisor import say_on_stderr
from streams.embedded.wiring import PrepareStep
from streams.errors import SetupError
from streams.settings import Settings

DAYS_MAX = 33
"""Older demos cannot be sent again: their events near the lateness limit (34 days), beyond which a
repeat could not be told from a new event."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a run does. `rows` None means all calls; `kill` kills worker and sink in mid-load."""

    customers: int
    rows: int | None = None
    kill: bool = False
    keep_running: bool = False
    command: str = "tollgate"
    invoices: bool = False
    """Lays the calls into the latest month that can be closed, closes it, and proves the
    invoices."""


def run_demo(
    settings: Settings,
    options: DemoOptions,
    prepare_steps: Sequence[PrepareStep],
    show: Callable[[DemoResult], None],
    say: Callable[[str], None] = say_on_stderr,
) -> DemoResult:
    """Runs the demo, gives its result to `show`, and returns it.

    With `keep_running` it then blocks until somebody interrupts. Raises SetupError and
    TransientError; a figure that differs is in the result, never an exception.
    """
    stages = Stages(say)
    with open_installation(settings, prepare_steps, stages, say) as installation:
        result = _on(installation, options, stages, say)
        show(result)
        if options.keep_running and installation.started_here:
            say("everything goes on running until Ctrl-C")
            with contextlib.suppress(KeyboardInterrupt):
                installation.wait(None)
    return result


def _on(
    installation: Installation,
    options: DemoOptions,
    stages: Stages,
    say: Callable[[str], None],
) -> DemoResult:
    settings = installation.settings
    observer = Observer(installation.query(), installation.generation())
    remembered = _remember(settings, options, observer, say)
    calls = read_calls(remembered.rows)
    scenario = Scenario(remembered.date, remembered.customers, settings.partitions)
    if options.invoices and not installation.started_here:
        installation.rebuild()
    records = build_records(calls, scenario)
    with stages.timed("send, decide, store in ClickHouse"), Bars() as bars:
        load = Load(installation, observer, records, bars.show, say)
        before, counts = asyncio.run(_load(installation, load, kill=options.kill))
    with stages.timed("compare with the CSV files"):
        found = observer.customers()
        differences = [
            *compare_counts(expected_counts(records, before, len(calls)), counts),
            *compare_customers(expected_totals(remembered.customers, remembered.rows), found),
            *_row_faults(observer),
        ]
    invoices = None
    if options.invoices:
        with Bars() as bars:
            day, bills = remembered.date, expected_totals(remembered.customers, remembered.rows)
            invoices = run_invoices(installation, load, bills, day, stages, bars.show)
        differences += invoices.differences
    endpoints = installation.endpoints()
    return DemoResult(
        day=remembered.day,
        sent=len(records),
        counts=counts,
        customers=found,
        differences=differences,
        stages=stages.seconds,
        kafka=endpoints.kafka_bootstrap,
        clickhouse=endpoints.clickhouse_url,
        home=str(settings.home),
        logs=str(installation.logs),
        command=options.command,
        kept_running=options.keep_running or not installation.started_here,
        invoices=invoices,
    )


async def _load(installation: Installation, load: Load, *, kill: bool) -> tuple[int, Counts]:
    async with installation.positions() as positions, installation.producer() as producer:
        return await load.run(producer, positions, kill=kill)


def _remember(
    settings: Settings,
    options: DemoOptions,
    observer: Observer,
    say: Callable[[str], None],
) -> Remembered:
    """What this home's demo is, written down before anything of it is sent."""
    today = observer.today()
    before = load_remembered(settings.home)
    day = closable_day(today) if options.invoices else today - timedelta(days=1)
    rows = len(read_calls(options.rows))
    remembered = same_demo(before, day.isoformat(), options.customers, rows)
    if options.invoices and remembered.date > closable_day(today):
        raise SetupError(
            f"the demo of this home is of {remembered.day}, whose month cannot be closed yet",
            action="Use a new home directory: --home DIR.",
        )
    age = (today - remembered.date).days
    if age > DAYS_MAX:
        raise SetupError(
            f"the demo of this home is {age} days old; its events cannot be sent again, they would "
            "be refused as too old",
            action="Use a new home directory: --home DIR.",
        )
    if before is not None:
        say(
            f"this home has seen the demo of {remembered.day} before: its events are sent once "
            "more and must all turn out to be duplicates"
        )
    if remembered.rows > rows:
        say(f"all its {remembered.rows:,} calls are sent, not only {rows:,}")
    save_remembered(settings.home, remembered)
    return remembered


def _row_faults(observer: Observer) -> list[Difference]:
    faults = [Difference("rows", "a dense sequence", text) for text in observer.sequence_faults()]
    unpriced = observer.not_priced()
    if unpriced:
        faults.append(Difference("calls without a price of the book", 0, unpriced))
    return faults
