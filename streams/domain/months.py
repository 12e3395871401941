"""Calendar months in UTC: the partitions of ClickHouse's tables and the months of drafts.

Owns no billing period: those have a time zone and a day of their own
(`streams.domain.invoices.calendar`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """A calendar month in UTC: event times in [from_us, to_us)."""

    year: int
    month: int
    from_us: int
    to_us: int

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


def month(year: int, month_of_year: int) -> Period:
    """The period of a month. Raises ValueError for a month that does not exist or precedes 1970."""
    first = datetime(year, month_of_year, 1, tzinfo=UTC)
    if first < _EPOCH:
        raise ValueError("a period begins in 1970 at the earliest")
    following = datetime(year + month_of_year // 12, month_of_year % 12 + 1, 1, tzinfo=UTC)
    return Period(
        year, month_of_year, (first - _EPOCH) // _MICROSECOND, (following - _EPOCH) // _MICROSECOND
    )


def month_containing(time_us: int) -> Period:
    """The period in which a time lies."""
    moment = _EPOCH + timedelta(microseconds=time_us)
    return month(moment.year, moment.month)
