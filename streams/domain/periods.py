"""Days, weeks and months: when a grant that resets has its whole amount again.

Periods are of the calendar in UTC and half-open, [from, to): a boundary belongs to the period that
it begins. Weeks begin on Monday (ISO 8601). Whose time decides is told in docs/domain/time.md: for
balances it is domain time (M4), never a clock.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from schemas.budget import Interval

DAY_US: Final = 86_400 * 10**6
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday: the fourth day of its week."""

MICROSECOND: Final = timedelta(microseconds=1)


def period_bounds(interval: str, time_us: int) -> tuple[int, int]:
    """The period [from, to) in which a time lies, in microseconds since 1970.

    `interval` is a value of Interval; the time is one that the wire can carry, from 1970 on.
    """
    day = time_us // DAY_US
    if interval == Interval.DAY:
        return day * DAY_US, (day + 1) * DAY_US
    if interval == Interval.WEEK:
        monday = day - (day + EPOCH_WEEKDAY) % 7
        return monday * DAY_US, (monday + 7) * DAY_US
    return _month(day)


def period_start(interval: str, time_us: int) -> int:
    """The beginning of the period in which a time lies."""
    return period_bounds(interval, time_us)[0]


@lru_cache(maxsize=64)
def _month(day: int) -> tuple[int, int]:
    moment = EPOCH + timedelta(days=day)
    first = moment.replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return (first - EPOCH) // MICROSECOND, (following - EPOCH) // MICROSECOND
