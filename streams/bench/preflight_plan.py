"""What `tollgate bench preflight` measures: scenarios, on which topologies, with which targets."""

from dataclasses import dataclass
from typing import Final

from streams.bench.agents import ESTIMATE_UNITS
from streams.bench.preflight_stack import Topology
from streams.bench.report import Target, at_least, at_most

PLAN_UNITS: Final = 1_000
"""What the default plan grants each customer at first sight."""

PLENTY_UNITS: Final = 1_000_000_000
"""A budget that does not run out."""

GRANTED_PER_CENT: Final = 90
"""Of what is asked for at a given rate: the last tenth is refused."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load: so many agents on so many budgets, at a rate in requests per second (None: as fast
    as they are answered)."""

    name: str
    connections: int = 50
    rate: float | None = 1_000.0
    budgets: int = 1
    lookups: bool = False
    records: bool = False
    """Whether usage is recorded, each record answered with what is left."""
    ingest: float = 0.0
    """Events per second that other customers use meanwhile."""
    kills: bool = False
    """Whether a worker is killed in the middle."""


IN_WORKER: Final = Topology("in the worker")
OVER_HOP: Final = Topology("over a hop", hop=True)
TWO_WORKERS: Final = Topology("two workers", workers=2, hop=True)

USUAL: Final = (
    Scenario("sequential", connections=1, rate=None),
    Scenario("one budget"),
    Scenario("fifty budgets", budgets=50),
    Scenario("at most", rate=None),
    Scenario("lookups", lookups=True),
    Scenario("records, sequential", connections=1, rate=None, records=True),
    Scenario("records, ten agents", connections=10, rate=None, records=True),
    Scenario("one budget, ingesting", ingest=10_000.0),
    Scenario("lookups, ingesting", lookups=True, ingest=10_000.0),
)
KILLED: Final = (Scenario("fifty budgets, a worker killed", budgets=50, kills=True),)

PLANNED: Final = ((IN_WORKER, USUAL), (OVER_HOP, USUAL), (TWO_WORKERS, KILLED))
"""What is measured on which topology."""

NAMES: Final = tuple(topology.name for topology, _ in PLANNED)


def targets(topology: Topology, scenario: Scenario) -> dict[str, Target]:
    """What the figures of a scenario have to be."""
    if scenario.kills:
        return {}
    if scenario.lookups:
        return {"p99": at_most(5)}
    if scenario.records:
        return {"p99": at_most(300)}
    if scenario.connections == 1:
        return {"p50": at_most(4)}
    if scenario.rate is None:
        return {"per second": at_least(3_000)}
    if scenario.ingest:
        return {"p99": at_most(25)}
    return {"p99": at_most(20 if topology.hop else 10)}


def granted_units(asks: float | None, budgets: int) -> int:
    """What a budget is granted beside the default plan, so that it runs out where it is known how
    much is asked for."""
    if asks is None:
        return PLENTY_UNITS
    due = int(asks * ESTIMATE_UNITS * GRANTED_PER_CENT / 100 / budgets)
    return max(due - PLAN_UNITS, 1)
