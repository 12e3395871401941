"""As of when a report is, for a script and for a person."""

from typing import Any

from schemas.times import format_time
from streams.invoicing.asof import Mark


def as_of_dicts(marks: tuple[Mark, ...]) -> list[dict[str, Any]]:
    """The as-of of a report for a script."""
    return [
        {
            "generation": mark.generation,
            "partition": mark.partition,
            "sequence": mark.sequence,
            "decided_at": format_time(mark.decided_at_us),
        }
        for mark in marks
    ]


def as_of_line(marks: tuple[Mark, ...]) -> str:
    """The as-of of a report for a person."""
    places = ", ".join(
        f"partition {mark.partition} up to entry {mark.sequence} "
        f"({format_time(mark.decided_at_us)})"
        for mark in marks
    )
    return f"as of {places}; what the sink has not delivered yet is missing"
