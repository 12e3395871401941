"""`tollgate bench flatness`: whether an event costs the same when there is more of everything.

Each scenario is the full path of `full_path` on an installation of its own, beside a plain one:

  plain      nothing there before
  claims     so many claims in the store already
  customers  so many customers, each of whom has an account
  hot        one customer with half of all events
  large      events of 4 KB
  memory     a bounded rate for so many minutes, the memory once a minute

Plain runs stand before and after the others, because a core changes its speed; their mean is the
measure. Books are checked as everywhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from streams.bench.earlier import earlier_accounts, earlier_claims
from streams.bench.endurance import run_endurance
from streams.bench.events import SEED, Workload, yesterday_us
from streams.bench.full_path import FullPath, run_full_path
from streams.bench.ground import Ground
from streams.bench.loaded import Loaded, install
from streams.bench.report import Report, at_least, at_most, machine

PLAIN: Final = "plain"
CLAIMS: Final = "claims"
CUSTOMERS: Final = "customers"
HOT: Final = "hot"
LARGE: Final = "large"
MEMORY: Final = "memory"

SCENARIOS: Final = (CLAIMS, CUSTOMERS, HOT, LARGE, MEMORY)

RATE_KEPT_MIN: Final = at_least(0.8)
"""Of the plain rate."""

MEMORY_MIB_MAX: Final = at_most(500)
"""Of a worker, whatever it has to remember."""

LARGE_METADATA_CHARS: Final = 3_600
"""Makes bodies of 4 KB."""

LARGE_EVENTS_MAX: Final = 200_000
"""800 MB of log."""

READY_SECONDS_MAX: Final = 900.0
"""Ten million claims have to be recovered first."""


@dataclass(frozen=True, slots=True)
class FlatnessOptions:
    """What a run measures: `only` names scenarios, `minutes` and `rate` are those of `memory`."""

    events: int = 500_000
    claims: int = 10_000_000
    customers: int = 1_000_000
    minutes: int = 20
    rate: float = 5_000
    partitions: int = 8
    seed: int = SEED
    only: frozenset[str] = frozenset(SCENARIOS)


def run_flatness(ground: Ground, options: FlatnessOptions, now_us: int) -> Report:
    """Measures every scenario that the options name.

    Raises FaultError where a worker's books are wrong, TransientError where it hangs.
    """
    report = Report(
        machine()
        | {"contender_pinned": ground.cores.pinned, "broker_pinned": ground.broker_pinned}
        | {"events": options.events, "claims": options.claims, "customers": options.customers}
        | {"partitions": options.partitions, "seed": options.seed}
    )
    workload = Workload(
        options.events, yesterday_us(now_us), seed=options.seed, partitions=options.partitions
    )
    for name in (CLAIMS, CUSTOMERS, HOT, LARGE):
        if name in options.only:
            before, runs = _scenario(ground, name, workload, options)
            _add(report, name, before, runs)
    if MEMORY in options.only:
        run_endurance(
            ground,
            report,
            workload,
            minutes=options.minutes,
            rate=options.rate,
            memory=MEMORY_MIB_MAX,
        )
    return report


def _scenario(
    ground: Ground, name: str, workload: Workload, options: FlatnessOptions
) -> tuple[str, list[FullPath]]:
    """What the scenario has, in words, and its runs: plain, itself, plain."""
    has, changed, prepare = _setting(name, workload, options)
    # Large events cost more than small ones by right: they are compared with nothing.
    around = [] if name == LARGE else [replace(changed, largest_one_in=0, customers=10_000)]
    order: Iterator[tuple[str, Workload]] = iter(
        [*((PLAIN, plain) for plain in around), (name, changed), *((PLAIN, p) for p in around)]
    )
    runs = []
    for what, part in order:
        ground.say(f"measuring: {what if what == PLAIN else has}")
        loaded = install(ground, part)
        known = prepare(loaded) if what == name else False
        loaded.fill_up()
        runs.append(
            run_full_path(
                loaded, ready_seconds_max=READY_SECONDS_MAX, plan_grants=0 if known else None
            )
        )
        loaded.drop()
    return has, runs


def _setting(
    name: str, workload: Workload, options: FlatnessOptions
) -> tuple[str, Workload, Callable[[Loaded], bool]]:
    """A scenario in words, its workload, and what stands in the installation before; that says
    whether every customer has an account then."""

    def claims(loaded: Loaded) -> bool:
        earlier_claims(loaded, options.claims)
        return False

    def accounts(loaded: Loaded) -> bool:
        earlier_accounts(loaded)
        return True

    def nothing(_loaded: Loaded) -> bool:
        return False

    large = replace(
        workload,
        count=min(workload.count, LARGE_EVENTS_MAX),
        metadata_chars=LARGE_METADATA_CHARS,
    )
    many = replace(workload, customers=options.customers)
    return {
        CLAIMS: (f"{options.claims:,} claims in the store", workload, claims),
        CUSTOMERS: (f"{options.customers:,} customers", many, accounts),
        HOT: ("half of all events of one customer", replace(workload, largest_one_in=2), nothing),
        LARGE: ("events of 4 KB", large, nothing),
    }[name]


def _add(report: Report, name: str, has: str, runs: list[FullPath]) -> None:
    usages = [run.usage for run in runs]
    plain, own = (usages[0], usages[-1]), usages[len(usages) // 2]
    if name != LARGE:
        rate = fmean(usage.per_second for usage in plain)
        per_cpu = fmean(usage.per_cpu_second for usage in plain)
        peak = max(usage.rss_bytes_max for usage in plain)
        report.add(f"plain beside {name}, events per second", rate, "events/s")
        report.add(f"plain beside {name}, memory at most", peak / 2**20, "MiB", MEMORY_MIB_MAX)
        report.add(f"{has}, rate over plain", own.per_second / rate, "×", RATE_KEPT_MIN)
        report.add(f"{has}, per CPU second over plain", own.per_cpu_second / per_cpu, "×")
    report.add(f"{has}, events per second", own.per_second, "events/s")
    report.add(f"{has}, events per CPU second", own.per_cpu_second, "events/CPU s")
    report.add(f"{has}, memory at most", own.rss_bytes_max / 2**20, "MiB", MEMORY_MIB_MAX)
