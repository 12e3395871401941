"""Every metric: its name, kind, unit, labels and help; and the registry that counts them.

Units are in the names. Values of labels come from closed sets (names of routes, problem codes,
statuses), never from a request, so that nobody outside can make series. docs/http.md lists the
same metrics; a test compares the two. No client library: the text format is a few lines.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final, Literal

SERIES_MAX: Final = 2_000
"""Label values of one metric. Routes times statuses are some hundreds; more is a label that a
client can choose, which is our bug."""

SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 1.0, 3.0)
"""Upper bounds of the latency buckets: the targets (5, 10, 25, 300 ms) are among them."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured. A histogram has SECONDS_BUCKETS."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


GATEWAY_REQUESTS: Final = Metric(
    "tollgate_gateway_requests_total",
    "counter",
    "Requests answered, by route and HTTP status.",
    ("route", "status"),
)
GATEWAY_SECONDS: Final = Metric(
    "tollgate_gateway_request_seconds",
    "histogram",
    "From the request's headers to its answer, by route.",
    ("route",),
)
GATEWAY_PROBLEMS: Final = Metric(
    "tollgate_gateway_problems_total",
    "counter",
    "Requests and single events that were not accepted, by problem code.",
    ("code",),
)
GATEWAY_IN_FLIGHT: Final = Metric(
    "tollgate_gateway_requests_in_flight", "gauge", "Requests that are being answered."
)
GATEWAY_APPENDED: Final = Metric(
    "tollgate_gateway_records_appended_total",
    "counter",
    "Records that the log acknowledged, by topic.",
    ("topic",),
)
GATEWAY_ASKS: Final = Metric(
    "tollgate_gateway_asks_total",
    "counter",
    "Asks of the log answered, by kind and outcome.",
    ("kind", "outcome"),
)
GATEWAY_ASKS_AGAIN: Final = Metric(
    "tollgate_gateway_asks_again_total",
    "counter",
    "Tries at asks of the log that nobody could decide, by problem code.",
    ("code",),
)
GATEWAY_ASKS_OPEN: Final = Metric(
    "tollgate_gateway_asks_open", "gauge", "Asks of the log that were read and are not answered."
)

METRICS: Final = (
    GATEWAY_REQUESTS,
    GATEWAY_SECONDS,
    GATEWAY_PROBLEMS,
    GATEWAY_IN_FLIGHT,
    GATEWAY_APPENDED,
    GATEWAY_ASKS,
    GATEWAY_ASKS_AGAIN,
    GATEWAY_ASKS_OPEN,
)
"""All there are, in the order in which they are shown."""


class Metrics:
    """Counts. One per process; not for several threads."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {m.name: {} for m in METRICS}
        self._buckets: dict[tuple[str, tuple[str, ...]], list[int]] = {}

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Adds to a counter or gauge."""
        values = self._values[metric.name]
        assert len(labels) == len(metric.labels), f"{metric.name} has labels {metric.labels}"
        assert len(values) < SERIES_MAX, f"{metric.name} has labels without bound"
        values[labels] = values.get(labels, 0) + by

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Counts one duration into a histogram."""
        self.add(metric, *labels, by=seconds)
        buckets = self._buckets.get((metric.name, labels))
        if buckets is None:
            buckets = self._buckets[metric.name, labels] = [0] * (len(SECONDS_BUCKETS) + 1)
        buckets[bisect_left(SECONDS_BUCKETS, seconds)] += 1

    def value(self, metric: Metric, *labels: str) -> float:
        """What a series holds now: a count, or the sum of a histogram."""
        return self._values[metric.name].get(labels, 0)

    def text(self) -> str:
        """Everything in the Prometheus text format, version 0.0.4."""
        lines: list[str] = []
        for metric in METRICS:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
            for labels, value in self._values[metric.name].items():
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
        bounds = [*(str(bound) for bound in SECONDS_BUCKETS), "+Inf"]
        for bound, count in zip(bounds, self._buckets[metric.name, labels], strict=True):
            below += count
            lines.append(f"{metric.name}_bucket{_braces({**shown, 'le': bound})} {below}")
        lines.append(f"{metric.name}_sum{_braces(shown)} {total:.6f}")
        lines.append(f"{metric.name}_count{_braces(shown)} {below}")
        return lines


def _braces(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
