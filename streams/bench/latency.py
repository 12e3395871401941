"""`tollgate bench latency`: from the append of a record to its committed entry in the ledger.

  1. the maximum: a full topic, read as fast as it goes            (full_path), or given
  2. for each share of it: an installation of its own, a worker that is ready, and load in an open
     loop (pace) while a `read_committed` consumer takes the ledger
  3. books checked, then p50 and p99

Both times are of one clock: the broker's append time (milliseconds) in the entry, and the arrival
of the entry at the consumer. What the consumer waits for the core is in the figure.
"""

import asyncio
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Final

from schemas import codec
from schemas.structs import UsageEntry
from schemas.topics import LEDGER
from streams.bench.books import check_books
from streams.bench.broker import follow
from streams.bench.events import SEED, BenchRecord, Workload, bench_records, yesterday_us
from streams.bench.full_path import run_full_path, started_worker
from streams.bench.ground import Ground
from streams.bench.loaded import Loaded, install, load
from streams.bench.pace import Paced, pace
from streams.bench.report import Report, machine

SHARES: Final = (25, 50, 75)
"""Per cent of the maximum."""

WARM_SECONDS: Final = 3.0
"""Customers get their grants and code gets warm; entries of records of this time do not count."""

MAXIMUM_EVENTS: Final = 300_000
"""What the maximum is measured with where none is given."""

USAGE_BEGINS: Final = b'{"kind":"usage"'
"""How an entry of usage begins: only those are decoded."""


@dataclass(frozen=True, slots=True)
class LatencyOptions:
    """`rate` is the maximum in events per second, None: measured first; `seconds` of load at each
    share, the warm ones beside them."""

    rate: float | None = None
    seconds: int = 20
    partitions: int = 8
    seed: int = SEED
    shares: Sequence[int] = SHARES


@dataclass(slots=True)
class Delays:
    """Milliseconds from append to arrival, of entries whose record was appended at `from_us` or
    later."""

    from_us: int
    found: "array[float]" = field(default_factory=lambda: array("d"))

    def take(self, _partition: int, _key: bytes | None, value: bytes, _at_ms: int) -> None:
        """Takes a record of the ledger that has arrived just now."""
        if not value.startswith(USAGE_BEGINS):
            return
        entry = codec.decode_entry(value)
        if isinstance(entry, UsageEntry) and entry.appended_at >= self.from_us:
            now_us = time.time_ns() // 1_000  # noqa: TID251 - the clock that the broker reads too
            self.found.append((now_us - entry.appended_at) / 1_000)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of these values that so many per cent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(ceil(len(ordered) * share / 100), 1) - 1]


def run_latency(ground: Ground, options: LatencyOptions, now_us: int) -> Report:
    """Measures every share.

    Raises FaultError where a worker's books are wrong, TransientError where it hangs.
    """
    workload = Workload(
        MAXIMUM_EVENTS, yesterday_us(now_us), seed=options.seed, partitions=options.partitions
    )
    rate = options.rate
    if rate is None:
        ground.say("measuring the maximum")
        loaded = load(ground, workload)
        rate = run_full_path(loaded).usage.per_second
        loaded.drop()
    report = Report(
        machine()
        | {"contender_pinned": ground.cores.pinned, "broker_pinned": ground.broker_pinned}
        | {"maximum_per_second": round(rate), "seconds": options.seconds}
        | {"partitions": options.partitions, "seed": options.seed}
    )
    report.add("maximum", rate, "events/s")
    for share in options.shares:
        part = rate * share / 100
        count = int(part * (options.seconds + WARM_SECONDS))
        ground.say(f"measuring at {share} %: {part:,.0f} events/s for {options.seconds} s")
        _measure(report, install(ground, replace(workload, count=count)), part, f"at {share} %")
    return report


def _measure(report: Report, loaded: Loaded, rate: float, name: str) -> None:
    # Drawn before: it takes more of the core than the broker can spare.
    records = list(bench_records(loaded.workload, loaded.expected))
    with started_worker(loaded) as run:
        run.await_ready()
        delays, paced = asyncio.run(_load(loaded, iter(records), rate))
        asyncio.run(run.await_committed(loaded.settings))
    cycles = check_books(loaded)
    ordered = sorted(delays.found)
    report.add(f"{name}, p50", percentile(ordered, 50), "ms")
    report.add(f"{name}, p99", percentile(ordered, 99), "ms")
    report.add(f"{name}, at most", ordered[-1], "ms")
    report.add(f"{name}, entries measured", len(ordered), "entries")
    report.add(f"{name}, records per cycle", loaded.workload.count / cycles, "records")
    report.add(f"{name}, load late by at most", max(paced.late_seconds_max, 0) * 1e3, "ms")
    loaded.drop()


async def _load(
    loaded: Loaded, records: Iterator[BenchRecord], rate: float
) -> tuple[Delays, Paced]:
    settings, partitions = loaded.settings, loaded.workload.partitions
    now_us = time.time_ns() // 1_000  # noqa: TID251 - the clock that the broker reads too
    delays = Delays(now_us + int(WARM_SECONDS * 1e6))
    ledger = LEDGER.full_name(settings.topic_prefix)
    heard = 0

    def take(partition: int, key: bytes | None, value: bytes, at_ms: int) -> None:
        nonlocal heard
        heard += value.startswith(USAGE_BEGINS)
        delays.take(partition, key, value, at_ms)

    def enough() -> bool:
        return heard >= loaded.expected.distinct

    listening = asyncio.create_task(
        follow(loaded.ground.bootstrap, ledger, partitions, take, enough)
    )
    try:
        paced = await pace(loaded.ground.bootstrap, loaded.usage_topic, partitions, records, rate)
        await listening
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
    return delays, paced
