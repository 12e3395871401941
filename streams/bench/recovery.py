"""`tollgate bench recovery`: how long a worker takes from its assignment to its first fetch.

  1. accounts of so many customers stand in the changelog               (earlier)
  2. a worker with an empty state directory recovers them: first figure
  3. it decides a small workload, and its books must show that it knew every customer
  4. it is stopped and started again on its intact tables: second figure

The group's own time, from the start of the process to its assignment, stands beside each figure and
is in none of them. Moments are those of the worker's own log.
"""

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streams.bench.books import check_books
from streams.bench.earlier import earlier_accounts
from streams.bench.events import SEED, Workload, yesterday_us
from streams.bench.full_path import READY, started_worker
from streams.bench.ground import Ground
from streams.bench.loaded import Loaded, install
from streams.bench.measure import rss_bytes
from streams.bench.report import Report, at_most, machine
from streams.errors import FaultError

ASSIGNED: Final = "assigned partitions"
FENCED: Final = "fenced partitions"

CUSTOMERS: Final = 1_000_000
RECOVERED_SECONDS: Final = at_most(3)
RESTARTED_SECONDS: Final = at_most(1)

CHECK_EVENTS: Final = 10_000
"""Thousands of customers have one: enough to see whether accounts are there."""

READY_SECONDS_MAX: Final = 600.0

_MOMENT: Final = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ")


@dataclass(frozen=True, slots=True)
class Moments:
    """A start of a worker: seconds until it had its partitions, from there until it could fetch,
    and how much of that fencing took."""

    joined_seconds: float
    own_seconds: float
    fenced_seconds: float


def moments(log: str) -> Moments:
    """The moments of the last start in a worker's log. Raises FaultError where one is missing."""
    found: dict[str, float] = {}
    for line in log.splitlines():
        if (match := _MOMENT.match(line)) is None:
            continue
        at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC).timestamp()
        if "[^Worker]: Starting" in line:
            found = {"started": at}
        for mark in (ASSIGNED, FENCED, READY):
            if mark in line:
                found.setdefault(mark, at)
    try:
        return Moments(
            found[ASSIGNED] - found["started"],
            found[READY] - found[ASSIGNED],
            found[FENCED] - found[ASSIGNED],
        )
    except KeyError as missing:
        raise FaultError(
            f"the worker's log does not say when it was {missing}",
            action="The wording of the worker's log has changed, or its level is above info: bring "
            "streams/bench/recovery.py up to date.",
        ) from None


def run_recovery(
    ground: Ground,
    now_us: int,
    *,
    customers: int = CUSTOMERS,
    partitions: int = 8,
    seed: int = SEED,
) -> Report:
    """Measures a recovery and a restart.

    Raises FaultError where the recovered tables are not what they should be, TransientError where
    the worker hangs.
    """
    workload = Workload(
        CHECK_EVENTS, yesterday_us(now_us), seed=seed, partitions=partitions, customers=customers
    )
    loaded = install(ground, workload)
    earlier_accounts(loaded)
    recovered, rss = _recover(loaded)
    check_books(loaded, plan_grants=0)
    restarted = _restart(loaded)
    report = Report(
        machine()
        | {"contender_pinned": ground.cores.pinned, "broker_pinned": ground.broker_pinned}
        | {"customers": customers, "partitions": partitions, "seed": seed}
    )
    size = sum(path.stat().st_size for path in _files(loaded))
    for name, seen, target in (
        ("recovery into empty tables", recovered, RECOVERED_SECONDS),
        ("restart with intact tables", restarted, RESTARTED_SECONDS),
    ):
        report.add(name, seen.own_seconds, "s", target)
        report.add(f"{name}, of which fencing", seen.fenced_seconds, "s")
        report.add(f"{name}, the group's own time before", seen.joined_seconds, "s")
    report.add("memory when recovered", rss / 2**20, "MiB", at_most(500))
    report.add("tables on the disk", size / 2**20, "MiB")
    loaded.drop()
    return report


def _recover(loaded: Loaded) -> tuple[Moments, int]:
    loaded.ground.say("recovering")
    with started_worker(loaded) as run:
        run.await_ready(READY_SECONDS_MAX)
        rss = rss_bytes(run.process.pid)
        seen = moments(run.log.read_text("utf-8", "replace"))
        loaded.fill_up()
        asyncio.run(run.await_committed(loaded.settings))
    return seen, rss


def _restart(loaded: Loaded) -> Moments:
    loaded.ground.say("starting again")
    log = loaded.ground.folder / f"{loaded.settings.app_id}.log"
    log.unlink()  # a log of its own: readiness of the first start must not be taken for this one's
    with started_worker(loaded) as run:
        run.await_ready()
        return moments(run.log.read_text("utf-8", "replace"))


def _files(loaded: Loaded) -> list[Path]:
    assert loaded.settings.state_dir is not None, "an installation of a benchmark has its own"
    return [path for path in loaded.settings.state_dir.rglob("*") if path.is_file()]
