"""What a setting takes, in words made from its bounds: for the reference and for faults."""

from typing import get_args

import annotated_types
from pydantic.fields import FieldInfo


def allowed(info: FieldInfo) -> str:
    """Say in words what a field takes: its bounds, its choices or its pattern; empty where only its
    description can."""
    low: object = None
    high: object = None
    longest: object = None
    pattern: str | None = None
    for bound in info.metadata:
        if isinstance(bound, annotated_types.Ge):
            low = bound.ge
        elif isinstance(bound, annotated_types.Le):
            high = bound.le
        elif isinstance(bound, annotated_types.MaxLen):
            longest = bound.max_length
        pattern = getattr(bound, "pattern", None) or pattern
    if low is not None and high is not None:
        return f"{low} … {high}"
    choices = [str(choice) for choice in get_args(info.annotation) if isinstance(choice, str)]
    if choices:
        return ", ".join(choices)
    if pattern:
        pattern = pattern.replace("|", "\\|")
        return f"`{pattern}`" + (f", {longest} characters" if longest else "")
    if longest:
        return f"text, {longest} characters"
    return ""
