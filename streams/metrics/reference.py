"""The table of all metrics as a reader of the documentation sees it, made from the list."""

from collections.abc import Sequence
from typing import Final

from streams.metrics.gateway import GATEWAY
from streams.metrics.program import PROGRAM
from streams.metrics.registry import SCRAPE_FAULTS, Metric
from streams.metrics.sink import SINK
from streams.metrics.worker import WORKER

_HEAD: Final = """# Metrics

Made by `make docs` from `streams/metrics/`; a test compares the two, and alerts and dashboards may
name nothing else.

A worker, a sink and a gateway with a `TOLLGATE_METRICS_LISTEN` answer there, over plain HTTP and
without a key: `GET /metrics` in the text format of Prometheus, `GET /live` (200: the program
answers), `GET /ready` (200, or 503 and why it cannot work now). `tollgate probe live` and
`tollgate probe ready` ask the program that has the same settings, for health checks. Put the
address on loopback or a private network. Each program of a machine needs an address of its own.

Values of labels come from closed sets: no customer, no id and nothing that a client sends is ever
one. Units are the last word of a name; a counter ends with `_total`. What is behind, waits or lies
on a disk is looked at when it is asked for. docs/operations.md says what to watch.
"""

_PARTS: Final[tuple[tuple[str, str, Sequence[Metric]], ...]] = (
    ("Worker", "A worker with a gateway inside shows that one's too.", WORKER),
    ("Sink", "", SINK),
    ("Gateway", "", GATEWAY),
    ("Every program", "", (*PROGRAM, SCRAPE_FAULTS)),
)


def metrics_markdown() -> str:
    """Return docs/metrics.md, a function of the list alone."""
    parts = [_HEAD]
    for title, note, metrics in _PARTS:
        parts.append(f"\n## {title}\n\n")
        if note:
            parts.append(f"{note}\n\n")
        parts.append("| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n")
        parts += [_row(metric) for metric in metrics]
    return "".join(parts)


def unit(metric: Metric) -> str:
    """The unit of a metric: the last word of its name where that is one."""
    last = metric.name.removesuffix("_total").rpartition("_")[2]
    return last if last in ("seconds", "bytes", "offset") else "number"


def _row(metric: Metric) -> str:
    labels = ", ".join(metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {unit(metric)} | {labels} | {metric.help} |\n"
