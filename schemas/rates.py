"""Rate cards and plans as their authors write them, in YAML or JSON: the catalog's records without
what is assigned when they are applied, and with times that a person can read.

The same models make the JSON Schema that editors check such files with (docs/schemas/rates.json).
"""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from schemas.catalog import CardTerms
from schemas.envelope import Name, Part
from schemas.times import TIME_PATTERN, parse_time_us

DAY_OR_TIME_PATTERN: Final = (
    rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}({TIME_PATTERN[TIME_PATTERN.index('T') : -1]})?$"
)
"""A day, which begins at midnight UTC, or an RFC 3339 time with a zone."""

_day = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


def effective_time_us(text: str) -> int:
    """Microseconds since the epoch of a day or a time. Raises ValueError for what is neither."""
    return parse_time_us(f"{text}T00:00:00Z" if _day.match(text) else text)


def _is_effective_time(text: str) -> str:
    effective_time_us(text)
    return text


DayOrTime = Annotated[str, Field(pattern=DAY_OR_TIME_PATTERN), AfterValidator(_is_effective_time)]


class RateCardFile(CardTerms):
    """A rate card in a file."""

    kind: Literal["rate_card"]
    id: Name
    """Of the card; each new content under it becomes its next version."""
    effective_from: DayOrTime | None = None
    """From when on this content is in force; from ever where it is missing."""


class RatePlanFile(Part):
    """A plan in a file: a name that points to a rate card."""

    kind: Literal["rate_plan"]
    id: Name
    """Of the plan; `default` is the plan of customers who were assigned none."""
    card: Name
    """The id of the card."""
    effective_from: DayOrTime | None = None
    """From when on it points there; from ever where it is missing."""


RATE_FILES: Final[dict[str, type[RateCardFile] | type[RatePlanFile]]] = {
    "rate_card": RateCardFile,
    "rate_plan": RatePlanFile,
}
"""The documents of a file, by `kind`."""


def catalog_fields(document: dict[str, Any], version: str, schema_version: int) -> dict[str, Any]:
    """The catalog record of a document that its model has found to be right, as plain values."""
    record = {**document, "schema_version": schema_version, "version": version}
    if record.get("effective_from") is not None:
        record["effective_from"] = effective_time_us(record["effective_from"])
    return record
