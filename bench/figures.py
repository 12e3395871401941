"""From runs to figures: medians, spread, and the ratio to each peer round by round. Pure.

The ratio is taken within a round and only then the median, because what shares the machine changes
from minute to minute: two runs of one round have more in common than two of different rounds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from streams.bench.report import Report, Target, aligned, at_least, figure

OURS: Final = "tollgate"
RIVAL: Final = "kafka-streams"

RATIO_TARGET: Final = at_least(1.5)
"""Times Kafka Streams exactly-once, events per CPU second."""


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured of one contender in one round; its result has been found right by then.

    `half_seconds` and `half_cpu_seconds` are of the later half of its outputs: without most of what
    a just-in-time compiler costs. The anchor is decodes per CPU second of the same core before and
    after, which tells how fast the machine was at the time.
    """

    contender: str
    round: int
    events: int
    seconds: float
    cpu_seconds: float
    half_seconds: float
    half_cpu_seconds: float
    rss_mb: float
    broker_cpu_seconds: float
    anchor_before: float
    anchor_after: float

    @property
    def rate(self) -> float:
        """Input records per second, duplicates among them."""
        return self.events / self.seconds

    @property
    def rate_per_cpu(self) -> float:
        """Input records per second of processor time of the contender's processes."""
        return self.events / self.cpu_seconds

    @property
    def later_rate(self) -> float:
        """`rate` of the later half."""
        return self.events / 2 / self.half_seconds

    @property
    def later_rate_per_cpu(self) -> float:
        """`rate_per_cpu` of the later half."""
        return self.events / 2 / self.half_cpu_seconds

    @property
    def anchor(self) -> float:
        """Decodes per CPU second around this run."""
        return (self.anchor_before + self.anchor_after) / 2

    @property
    def anchors(self) -> float:
        """CPU per event as a multiple of a bare decode, which a slower core does not change."""
        return self.anchor / self.rate_per_cpu


FIGURES: Final[tuple[tuple[str, str, Callable[[Run], float]], ...]] = (
    ("events per second", "1/s", lambda run: run.rate),
    ("events per CPU second", "1/s", lambda run: run.rate_per_cpu),
    ("later half: events per second", "1/s", lambda run: run.later_rate),
    ("later half: events per CPU second", "1/s", lambda run: run.later_rate_per_cpu),
    ("CPU per event, in bare decodes", "x", lambda run: run.anchors),
    ("memory", "MB", lambda run: run.rss_mb),
    ("broker CPU", "s", lambda run: run.broker_cpu_seconds),
    ("anchor around it", "1/s", lambda run: run.anchor),
)
"""Name, unit and value of what is reported of every contender."""


def ratios(
    runs: Iterable[Run], ours: str, other: str, of: Callable[[Run], float]
) -> dict[int, float]:
    """Ours over the other's, for each round that has both."""
    by_round: dict[int, dict[str, float]] = {}
    for run in runs:
        by_round.setdefault(run.round, {})[run.contender] = of(run)
    return {
        number: found[ours] / found[other]
        for number, found in sorted(by_round.items())
        if ours in found and other in found
    }


def contenders_of(runs: Iterable[Run]) -> list[str]:
    """Their names in the order in which they first ran."""
    return list(dict.fromkeys(run.contender for run in runs))


def report(runs: Sequence[Run], machine: dict[str, Any]) -> Report:
    """All figures in the form of every benchmark; each median with its smallest and largest."""
    made = Report(machine)
    for name in contenders_of(runs):
        own = [run for run in runs if run.contender == name]
        for what, unit, of in FIGURES:
            _add_spread(made, f"{name}: {what}", unit, [of(run) for run in own])
    for other in contenders_of(runs):
        if other == OURS:
            continue
        for what, of, target in (
            ("events per CPU second", _rate_per_cpu, RATIO_TARGET if other == RIVAL else None),
            ("later half: events per CPU second", _later_rate_per_cpu, None),
            ("events per second", _rate, None),
        ):
            found = ratios(runs, OURS, other, of)
            for number, ratio in found.items():
                made.add(f"{OURS} / {other}, {what}, round {number}", ratio, "x")
            if found:
                _add_spread(made, f"{OURS} / {other}, {what}", "x", list(found.values()), target)
    return made


def table(runs: Sequence[Run]) -> str:
    """The figures for a person: a line for each of them, a column for each contender."""
    names = contenders_of(runs)
    rows = [["median (smallest to largest)", *names]]
    for what, unit, of in FIGURES:
        cells = [_spread([of(run) for run in runs if run.contender == name]) for name in names]
        rows.append([f"{what} [{unit}]", *cells])
    return aligned(rows, right=range(1, len(names) + 1))


def ratio_lines(runs: Sequence[Run]) -> list[str]:
    """Ours against each peer per CPU second: every round, then the median and the verdict."""
    lines = []
    for other in contenders_of(runs):
        found = ratios(runs, OURS, other, _rate_per_cpu)
        if other == OURS or not found:
            continue
        middle = median(found.values())
        rounds = ", ".join(f"{ratio:.2f}" for ratio in found.values())
        verdict = f" (target {RATIO_TARGET}: {_met(middle)})" if other == RIVAL else ""
        lines.append(
            f"{OURS} / {other} per CPU second: {rounds} by rounds; median {middle:.2f}{verdict}"
        )
    return lines


def _add_spread(
    made: Report, name: str, unit: str, values: Sequence[float], target: Target | None = None
) -> None:
    made.add(f"{name}, median", median(values), unit, target)
    made.add(f"{name}, smallest", min(values), unit)
    made.add(f"{name}, largest", max(values), unit)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return figure(values[0])
    return f"{figure(median(values))} ({figure(min(values))} to {figure(max(values))})"


def _met(value: float) -> str:
    return "met" if RATIO_TARGET.met(value) else "MISSED"


def _rate(run: Run) -> float:
    return run.rate


def _rate_per_cpu(run: Run) -> float:
    return run.rate_per_cpu


def _later_rate_per_cpu(run: Run) -> float:
    return run.later_rate_per_cpu
