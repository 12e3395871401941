"""What a contender's process is told on its command line, as JSON."""

import json
from dataclasses import asdict

from streams.bench.events import Workload


def tell_workload(workload: Workload) -> str:
    """A workload as an argument."""
    return json.dumps(asdict(workload))


def told_workload(argument: str) -> Workload:
    """The workload that an argument tells."""
    return Workload(**json.loads(argument))
