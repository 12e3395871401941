"""A metric, and the registry that counts all of a program's: what it says in the text format of
Prometheus, version 0.0.4.

Values of labels come from closed sets (names of routes, codes, topics, partitions), never from a
request or a record, so that nobody outside can make series. What is only worth knowing when
somebody asks is gathered when somebody asks (`gather`): the hot path pays nothing for it. No
client library: the text format is a few lines.
"""

import logging
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

log = logging.getLogger(__name__)

SERIES_MAX: Final = 10_000
"""Label values of one metric: seven inbound topics times 256 partitions are 1,792, routes times
statuses some hundreds. More is a label that a client can choose, which is our bug."""

SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 3.0)
"""Upper bounds of the latency buckets: the targets (5, 10, 25, 300 ms) are among them."""

LONG_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 3.0, 10.0, 30.0, 60.0, 300.0)
"""The same for what waits for servers or reads tables: a planned hand-over (2 s), one after a death
(10 s), and a sink's patience (60 s) are among them."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured. The unit is the last word of the name; `labels` are closed sets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS_BUCKETS
    """Upper bounds, of a histogram alone."""


SCRAPE_FAULTS: Final = Metric(
    "tollgate_scrape_faults_total",
    "counter",
    "Values that could not be gathered for a scrape; the log says why.",
)


class Metrics:
    """Counts. One per program, made of the metrics that it may use; not for several threads."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        """Counters without labels begin at 0, so that their first step is seen."""
        self._metrics = (*metrics, SCRAPE_FAULTS)
        self._values: dict[str, dict[tuple[str, ...], float]] = {
            metric.name: {(): 0.0} if metric.kind == "counter" and not metric.labels else {}
            for metric in self._metrics
        }
        self._buckets: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        self._gatherers: list[Callable[[], None]] = []

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Adds to a counter or gauge."""
        values = self._values[metric.name]
        assert len(labels) == len(metric.labels), f"{metric.name} has labels {metric.labels}"
        assert len(values) < SERIES_MAX, f"{metric.name} has labels without bound"
        values[labels] = values.get(labels, 0) + by

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Sets a gauge, or a counter that somebody else counts."""
        self.add(metric, *labels, by=value - self._values[metric.name].get(labels, 0))

    def replace(self, metric: Metric, values: Mapping[tuple[str, ...], float]) -> None:
        """Sets all series of a gauge: those that are not named are gone."""
        self._values[metric.name] = {}
        for labels, value in values.items():
            self.add(metric, *labels, by=value)

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Counts one duration into a histogram."""
        self.add(metric, *labels, by=seconds)
        buckets = self._buckets.get((metric.name, labels))
        if buckets is None:
            buckets = self._buckets[metric.name, labels] = [0] * (len(metric.buckets) + 1)
        buckets[bisect_left(metric.buckets, seconds)] += 1

    def value(self, metric: Metric, *labels: str) -> float:
        """What a series holds now: a count, or the sum of a histogram."""
        return self._values[metric.name].get(labels, 0)

    def gather(self, gatherer: Callable[[], None]) -> None:
        """Calls this before every text, to set what nobody counts while it happens."""
        self._gatherers.append(gatherer)

    def text(self) -> str:
        """Everything that has a value, in the Prometheus text format."""
        for gatherer in self._gatherers:
            try:
                gatherer()
            except Exception:
                # What else there is to say is wanted most when something is wrong.
                self.add(SCRAPE_FAULTS)
                log.exception("values of metrics could not be gathered")
        lines: list[str] = []
        for metric in self._metrics:
            series = self._values[metric.name]
            if not series:
                continue
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
            for labels, value in series.items():
                shown = dict(zip(metric.labels, labels, strict=True))
                if metric.kind == "histogram":
                    lines += self._histogram(metric, labels, shown, value)
                else:
                    lines.append(f"{metric.name}{_braces(shown)} {_number(value)}")
        return "\n".join(lines) + "\n"

    def _histogram(
        self, metric: Metric, labels: tuple[str, ...], shown: dict[str, str], total: float
    ) -> list[str]:
        lines, below = [], 0
        bounds = [*(str(bound) for bound in metric.buckets), "+Inf"]
        for bound, count in zip(bounds, self._buckets[metric.name, labels], strict=True):
            below += count
            lines.append(f"{metric.name}_bucket{_braces({**shown, 'le': bound})} {below}")
        lines.append(f"{metric.name}_sum{_braces(shown)} {total:.6f}")
        lines.append(f"{metric.name}_count{_braces(shown)} {below}")
        return lines


def _braces(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
