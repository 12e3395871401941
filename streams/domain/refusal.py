"""Why a fact is not accepted."""

from dataclasses import dataclass

from schemas.errors import RejectCode


@dataclass(frozen=True, slots=True)
class Refusal:
    """A fact that is not accepted, and why."""

    code: RejectCode
    reason: str
    field: str = ""
