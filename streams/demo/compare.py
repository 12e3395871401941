"""Whether what came out is what went in: per customer to the pico-dollar, and every count."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from streams.demo.events import DemoRecord, Outcome
from streams.demo.observe import Counts
from streams.demo.totals import CustomerTotals

DIFFERENCES_SHOWN = 10
"""The first few tell what is wrong; the rest would push them off the screen."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that is not as it must be."""

    what: str
    expected: object
    found: object

    def __str__(self) -> str:
        """One line."""
        return f"{self.what}: expected {self.expected}, found {self.found}"


def expected_counts(records: Iterable[DemoRecord], accepted_before: int, calls: int) -> Counts:
    """What must become of a run's records where `accepted_before` of its `calls` are in already."""
    outcomes: Counter[Outcome] = Counter()
    codes: Counter[str] = Counter()
    for record in records:
        outcomes[record.outcome] += 1
        if record.code:
            codes[record.code] += 1
    accepted = calls - accepted_before
    return Counts(
        accepted=accepted,
        duplicates=outcomes[Outcome.ACCEPTED] + outcomes[Outcome.DUPLICATE] - accepted,
        conflicts=codes["conflict"],
        dead_letters=outcomes[Outcome.DEAD_LETTER],
        by_code=dict(sorted(codes.items())),
    )


def compare_counts(expected: Counts, found: Counts) -> list[Difference]:
    """All counts that differ."""
    differences = [
        Difference(name.replace("_", " "), getattr(expected, name), getattr(found, name))
        for name in ("accepted", "duplicates", "conflicts", "dead_letters")
        if getattr(expected, name) != getattr(found, name)
    ]
    for code in sorted(expected.by_code.keys() | found.by_code.keys()):
        due, there = expected.by_code.get(code, 0), found.by_code.get(code, 0)
        if due != there:
            differences.append(Difference(f"dead letters `{code}`", due, there))
    return differences


def compare_customers(
    expected: Mapping[str, CustomerTotals], found: Mapping[str, CustomerTotals]
) -> list[Difference]:
    """All figures of all customers that differ; who is missing on a side has zeros there."""
    return [
        Difference(f"{customer}, {field.name}", due, there)
        for customer in sorted(expected.keys() | found.keys())
        for field in fields(CustomerTotals)
        for due, there in [
            (
                getattr(expected.get(customer, CustomerTotals()), field.name),
                getattr(found.get(customer, CustomerTotals()), field.name),
            )
        ]
        if due != there
    ]
