"""Whether what a contender made of a workload is right: no figure before that.

Compares sums by customer; what they were read from is for the contender's own module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streams.bench.events import Expected
from streams.errors import FaultError

DIFFERENCES_SHOWN: Final = 5
"""The first ones show what kind of fault it is; the others would only hide that."""


@dataclass(slots=True)
class Found:
    """What a contender's output adds up to, by customer. A sum that a contender does not make is
    None."""

    name: str
    distinct: int
    events: Mapping[str, int] | None = None
    tokens: Mapping[str, int] | None = None
    cost_pico: Mapping[str, int] | None = None
    rated_pico: Mapping[str, int] | None = None
    faults: list[str] = field(default_factory=list)
    """What was wrong already while it was read."""


def check(expected: Expected, found: Found) -> None:
    """Raises FaultError that names the first differences, where there are any."""
    wrong = list(found.faults)
    if found.distinct != expected.distinct:
        wrong.append(f"{found.distinct:,} distinct events instead of {expected.distinct:,}")
    for what in ("events", "tokens", "cost_pico", "rated_pico"):
        sums = getattr(found, what)
        if sums is not None:
            wrong += _differences(what, getattr(expected, what), sums)
    if wrong:
        more = len(wrong) - DIFFERENCES_SHOWN
        shown = wrong[:DIFFERENCES_SHOWN] + ([f"and {more:,} more"] if more > 0 else [])
        raise FaultError(
            f"the result of {found.name} is wrong, so there is no figure:\n"
            + "\n".join(f"- {line}" for line in shown),
            action="Run it again with the same seed. What differs again is a fault: of the "
            "contender where it is ours, else of the benchmark.",
        )


def _differences(what: str, expected: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    return [
        f"{what} of {customer}: {found.get(customer, 'none')} "
        f"instead of {expected.get(customer, 'none')}"
        for customer in sorted(expected.keys() | found.keys())
        if expected.get(customer) != found.get(customer)
    ]
