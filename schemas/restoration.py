"""Restoration, version 1: topics that were filled from an archive. Topic `catalog`."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Name, Record


class Restoration(Record):
    """The topics of a generation were made anew and filled from an archive, every record at the
    offset that it had (K6): positions mean what they meant, and the generation goes on."""

    kind: Literal["restoration"] = "restoration"
    id: Name
    version: Name
    generation: Annotated[int, Field(ge=1)]
    topic_ids: dict[str, str]
    """The broker's ids of the topics that were made anew, by logical name."""
    reason: str = ""
    """What was lost and which archive it came from, for a person."""
