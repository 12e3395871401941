"""The worker's memory over many minutes of load at a bounded rate, once a minute.

A leak shows as a line that goes on rising; caches and tables that fill show as one that flattens.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from streams.bench.books import check_books
from streams.bench.events import Workload, bench_records
from streams.bench.full_path import WorkerRun, started_worker
from streams.bench.ground import Ground
from streams.bench.loaded import Loaded, install
from streams.bench.measure import rss_bytes
from streams.bench.pace import Paced, pace
from streams.bench.report import Report, Target, at_most

MINUTE_SECONDS: Final = 60.0

GROWTH_MAX: Final = at_most(1.1)
"""Of the memory in the last quarter over that of the second: the first one fills caches."""

QUARTERS_MINUTES_MIN: Final = 4
"""Below so many minutes there are no quarters to compare."""


def growth(minutes: Sequence[float]) -> float | None:
    """The largest of the last quarter over the largest of the second one; None for less than a
    value for each quarter."""
    if len(minutes) < QUARTERS_MINUTES_MIN:
        return None
    quarter = len(minutes) // 4
    return max(minutes[-quarter:]) / max(minutes[quarter : 2 * quarter])


def run_endurance(
    ground: Ground,
    report: Report,
    workload: Workload,
    *,
    minutes: int,
    rate: float,
    memory: Target,
) -> None:
    """Adds a figure for each minute to the report.

    Raises FaultError where the books are wrong, TransientError where the worker hangs.
    """
    ground.say(f"measuring: memory over {minutes} minutes at {rate:,.0f} events/s")
    loaded = install(ground, replace(workload, count=int(rate * minutes * MINUTE_SECONDS)))
    with started_worker(loaded) as run:
        run.await_ready()
        seen, paced = asyncio.run(_watch(loaded, run, rate, minutes))
        asyncio.run(run.await_committed(loaded.settings))
    check_books(loaded, keep_ids=False)
    report.add("memory over time, rate", rate, "events/s")
    report.add("memory over time, load late by at most", paced.late_seconds_max, "s")
    for minute, rss in enumerate(seen):
        report.add(f"memory after {minute} min", rss / 2**20, "MiB", memory)
    if (grown := growth(seen)) is not None:
        report.add("memory, last quarter over second", grown, "×", GROWTH_MAX)
    loaded.drop()


async def _watch(
    loaded: Loaded, run: WorkerRun, rate: float, minutes: int
) -> tuple[list[float], Paced]:
    records = bench_records(loaded.workload, loaded.expected)
    bootstrap, partitions = loaded.ground.bootstrap, loaded.workload.partitions
    load = asyncio.create_task(pace(bootstrap, loaded.usage_topic, partitions, records, rate))
    seen = [float(rss_bytes(run.process.pid))]
    try:
        for minute in range(1, minutes + 1):
            await asyncio.wait({load}, timeout=MINUTE_SECONDS)
            run.check()
            seen.append(float(rss_bytes(run.process.pid)))
            loaded.ground.say(f"minute {minute}: {seen[-1] / 2**20:.0f} MiB")
        return seen, await load
    finally:
        load.cancel()
        with suppress(asyncio.CancelledError):
            await load
