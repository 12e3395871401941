"""`tollgate bench pipeline`: the full path beside a bare loop, stock Faust and the anchor.

  1. start a broker                                      (ground)
  2. for each round: anchor, full path, anchor           (loaded, full_path, outsiders)
  3. the bare loop, stock Faust, each between anchors
  4. the full path once more for each number of partitions and for each size of cycles
  5. figures and targets                                 (report)

Every contender's result is checked before the next step; a wrong one ends the run without any
figure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final, TypeVar

from streams.bench.events import SEED, Workload, yesterday_us
from streams.bench.full_path import FullPath, run_full_path
from streams.bench.ground import Ground
from streams.bench.loaded import load
from streams.bench.measure import Usage
from streams.bench.outsiders import run_anchor, run_decode, run_faust
from streams.bench.report import Report, Target, at_least, at_most, machine

FULL: Final = "full path"
DECODE: Final = "consume and decode"
FAUST: Final = "stock Faust"
ANCHOR: Final = "orjson.loads"

NAMES: Final = {"full": FULL, "decode": DECODE, "faust": FAUST, "anchor": ANCHOR}
"""What the command line calls the contenders."""

PARTITIONS: Final = "partitions"
CYCLE: Final = "cycle"
SWEEPS: Final = (PARTITIONS, CYCLE)

SWEEP_PARTITIONS: Final = (1, 2, 4, 8)
SWEEP_CYCLE_RECORDS: Final = (500, 2_000, 5_000, 20_000)

FAUST_EVENTS_MAX: Final = 20_000
"""Stock Faust takes half a minute for them; more would only take longer."""

SWEEP_EVENTS_MAX: Final = 250_000
"""Some seconds for each point: eight points are a trend, not a record."""

TIMES_FAUST_MIN: Final = at_least(30)
TIMES_ANCHOR_MAX: Final = at_most(5)
"""Per CPU second, everything on."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """What a run measures: `only` names contenders (keys of NAMES), `sweeps` are of SWEEPS."""

    events: int
    rounds: int = 1
    partitions: int = 8
    seed: int = SEED
    only: frozenset[str] = frozenset(NAMES)
    sweeps: frozenset[str] = frozenset(SWEEPS)

    def workload(self, now_us: int) -> Workload:
        """The records that every contender reads."""
        return Workload(
            count=self.events,
            begins_at_us=yesterday_us(now_us),
            seed=self.seed,
            partitions=self.partitions,
        )


@dataclass(slots=True)
class Measured:
    """What has been measured so far. `anchors` are CPU seconds per record, one list per pass of a
    run of the anchor around the contender of that name."""

    full: list[FullPath] = field(default_factory=list)
    decode: list[Usage] = field(default_factory=list)
    faust: list[Usage] = field(default_factory=list)
    anchors: dict[str, list[list[float]]] = field(default_factory=dict)
    swept: list[tuple[str, FullPath]] = field(default_factory=list)


def run_pipeline(ground: Ground, options: PipelineOptions, now_us: int) -> Report:
    """Measures everything that the options name.

    Raises FaultError where a result is wrong, TransientError where a contender hangs.
    """
    workload = options.workload(now_us)
    measured = Measured()
    for number in range(options.rounds):
        _round(ground, options, workload, measured, last=number == options.rounds - 1)
    if "faust" in options.only:
        part = replace(workload, count=min(workload.count, FAUST_EVENTS_MAX))
        used = _anchored(FAUST, ground, workload, measured, lambda: run_faust(ground, part))
        measured.faust.append(used)
    _sweep(ground, options, workload, measured)
    return _report(ground, options, measured)


def _round(
    ground: Ground, options: PipelineOptions, workload: Workload, measured: Measured, *, last: bool
) -> None:
    if not options.only & {"full", "decode"}:
        if "anchor" in options.only:
            measured.anchors.setdefault(ANCHOR, []).append(run_anchor(ground, workload))
        return
    loaded = load(ground, workload)
    if "full" in options.only:
        run = _anchored(FULL, ground, workload, measured, lambda: run_full_path(loaded))
        measured.full.append(run)
    if "decode" in options.only and last:
        used = _anchored(DECODE, ground, workload, measured, lambda: run_decode(loaded))
        measured.decode.append(used)
    loaded.drop()


def _anchored(
    name: str,
    ground: Ground,
    workload: Workload,
    measured: Measured,
    run: Callable[[], T],
) -> T:
    """Runs a contender between two runs of the anchor: the core may change its speed any time."""
    passes = run_anchor(ground, workload)
    ground.say(f"measuring: {name}")
    result = run()
    passes += run_anchor(ground, workload)
    measured.anchors.setdefault(name, []).append(passes)
    return result


def _sweep(
    ground: Ground, options: PipelineOptions, workload: Workload, measured: Measured
) -> None:
    part = replace(workload, count=min(workload.count, SWEEP_EVENTS_MAX))
    points: list[tuple[str, Workload, dict[str, int]]] = []
    if PARTITIONS in options.sweeps:
        points += [
            (f"{number} partitions", replace(part, partitions=number), {})
            for number in SWEEP_PARTITIONS
        ]
    if CYCLE in options.sweeps:
        points += [
            (f"cycles of {records:,}", part, {"cycle_records_max": records})
            for records in SWEEP_CYCLE_RECORDS
        ]
    for name, point, chosen in points:
        ground.say(f"measuring: {FULL}, {name}")
        loaded = load(ground, point, **chosen)
        measured.swept.append((name, run_full_path(loaded)))
        loaded.drop()


def _report(ground: Ground, options: PipelineOptions, measured: Measured) -> Report:
    report = Report(
        machine()
        | {
            "contender_pinned": ground.cores.pinned,
            "broker_pinned": ground.broker_pinned,
            "events": options.events,
            "partitions": options.partitions,
            "rounds": options.rounds,
            "seed": options.seed,
        }
    )
    ours = [run.usage for run in measured.full]
    for name, runs in ((FULL, ours), (DECODE, measured.decode), (FAUST, measured.faust)):
        if runs:
            target = TIMES_ANCHOR_MAX if name == FULL else None
            _add_contender(report, name, runs, measured.anchors.get(name, []), target)
    if ours and measured.faust:
        times = _mid(ours, "per_cpu_second") / _mid(measured.faust, "per_cpu_second")
        report.add(f"{FULL}, times {FAUST} per CPU second", times, "×", TIMES_FAUST_MIN)
    if ours:
        size = median(run.records_per_cycle for run in measured.full)
        report.add(f"{FULL}, records per cycle", size, "records")
    anchors = [seconds for runs in measured.anchors.values() for run in runs for seconds in run]
    if anchors:
        report.add(f"{ANCHOR}, events per CPU second", 1 / median(anchors), "events/CPU s")
    for name, run in measured.swept:
        report.add(f"{FULL}, {name}: events per second", run.usage.per_second, "events/s")
        per_cpu = run.usage.per_cpu_second
        report.add(f"{FULL}, {name}: events per CPU second", per_cpu, "events/CPU s")
        report.add(f"{FULL}, {name}: records per cycle", run.records_per_cycle, "records")
    return report


def _add_contender(
    report: Report,
    name: str,
    runs: Sequence[Usage],
    anchors: Sequence[Sequence[float]],
    target: Target | None,
) -> None:
    report.add(f"{name}, events per second", _mid(runs, "per_second"), "events/s")
    per_cpu = _mid(runs, "per_cpu_second")
    report.add(f"{name}, events per CPU second", per_cpu, "events/CPU s")
    if len(runs) > 1:
        slowest = min(run.per_cpu_second for run in runs)
        fastest = max(run.per_cpu_second for run in runs)
        report.add(f"{name}, events per CPU second, slowest round", slowest, "events/CPU s")
        report.add(f"{name}, events per CPU second, fastest round", fastest, "events/CPU s")
    if anchors:
        multiples = [
            run.cpu_seconds / run.records / median(passes)
            for run, passes in zip(runs, anchors, strict=True)
        ]
        multiple = median(multiples)
        report.add(f"{name}, CPU per event over {ANCHOR}", multiple, "× anchor", target)
    peak = max(run.rss_bytes_max for run in runs)
    report.add(f"{name}, memory at most", peak / 2**20, "MiB")


def _mid(runs: Sequence[Usage], what: str) -> float:
    return float(median(getattr(run, what) for run in runs))
