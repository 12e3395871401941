"""Every metric: its name, kind, unit, labels and help, in one list; and the registry that counts.

Units are in the names. docs/metrics.md is made from `METRICS`; alerts and dashboards may name
nothing else, which tests check.
"""

from typing import Final, Literal

from streams.metrics.gateway import (
    GATEWAY,
    GATEWAY_APPENDED,
    GATEWAY_ASKS,
    GATEWAY_ASKS_AGAIN,
    GATEWAY_ASKS_OPEN,
    GATEWAY_CATALOG_BEHIND,
    GATEWAY_CERTIFICATE_ENDS,
    GATEWAY_IN_FLIGHT,
    GATEWAY_PROBLEMS,
    GATEWAY_REQUESTS,
    GATEWAY_SECONDS,
)
from streams.metrics.program import PROGRAM
from streams.metrics.registry import SCRAPE_FAULTS, Metric, Metrics
from streams.metrics.sink import SINK
from streams.metrics.worker import WORKER

Role = Literal["worker", "sink", "gateway"]

METRICS: Final = (*WORKER, *SINK, *GATEWAY, *PROGRAM, SCRAPE_FAULTS)
"""All there are, in the order in which they are documented."""


def metrics_of(role: Role, *, with_gateway: bool = False) -> Metrics:
    """The registry of a program, which shows what it has and nothing else: a sink that says how
    many partitions it owns would make every sum wrong. A worker may have a gateway inside."""
    own = {"worker": WORKER, "sink": SINK, "gateway": GATEWAY}[role]
    return Metrics((*own, *(GATEWAY if with_gateway else ()), *PROGRAM))


__all__ = [
    "GATEWAY",
    "GATEWAY_APPENDED",
    "GATEWAY_ASKS",
    "GATEWAY_ASKS_AGAIN",
    "GATEWAY_ASKS_OPEN",
    "GATEWAY_CATALOG_BEHIND",
    "GATEWAY_CERTIFICATE_ENDS",
    "GATEWAY_IN_FLIGHT",
    "GATEWAY_PROBLEMS",
    "GATEWAY_REQUESTS",
    "GATEWAY_SECONDS",
    "METRICS",
    "PROGRAM",
    "SINK",
    "WORKER",
    "Metric",
    "Metrics",
    "Role",
    "metrics_of",
]
