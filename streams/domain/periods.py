"""Days, weeks and months: when a grant or a limit that resets begins anew.

Periods are of the calendar in UTC and half-open, [from, to): a boundary belongs to the period that
it begins. Without an anchor, days begin at midnight, weeks on Monday (ISO 8601), months on the
first; with one, some period begins at it. A month whose day does not exist begins on its last one.
Whose time decides is told in docs/domain/time.md: for balances it is domain time (M4), never a
clock.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from schemas.budget import Interval

DAY_US: Final = 86_400 * 10**6
WEEK_US: Final = 7 * DAY_US
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MONDAY_US: Final = 4 * DAY_US
"""1970-01-05, a Monday."""

MICROSECOND: Final = timedelta(microseconds=1)


def period_index(interval: str, time_us: int, anchor_us: int | None = None) -> int:
    """The number of the period in which a time lies: later ones are larger, each by one.

    `interval` is a value of Interval; times are ones that the wire can carry, from 1970 on.
    """
    if interval == Interval.DAY:
        return (time_us - (anchor_us or 0)) // DAY_US
    if interval == Interval.WEEK:
        return (time_us - (MONDAY_US if anchor_us is None else anchor_us)) // WEEK_US
    month = _month_number(time_us)
    return month - 1 if time_us < _month_begin(month, anchor_us or 0) else month


def period_begin(interval: str, index: int, anchor_us: int | None = None) -> int:
    """Where the period with a number begins, in microseconds since 1970."""
    if interval == Interval.DAY:
        return (anchor_us or 0) + index * DAY_US
    if interval == Interval.WEEK:
        return (MONDAY_US if anchor_us is None else anchor_us) + index * WEEK_US
    return _month_begin(index, anchor_us or 0)


def period_bounds(interval: str, time_us: int, anchor_us: int | None = None) -> tuple[int, int]:
    """The period [from, to) in which a time lies."""
    index = period_index(interval, time_us, anchor_us)
    return (
        period_begin(interval, index, anchor_us),
        period_begin(interval, index + 1, anchor_us),
    )


def period_start(interval: str, time_us: int, anchor_us: int | None = None) -> int:
    """The beginning of the period in which a time lies."""
    return period_begin(interval, period_index(interval, time_us, anchor_us), anchor_us)


def _month_number(time_us: int) -> int:
    return _month_of_day(time_us // DAY_US)


@lru_cache(maxsize=64)
def _month_of_day(day: int) -> int:
    moment = EPOCH + timedelta(days=day)
    return (moment.year - EPOCH.year) * 12 + moment.month - 1


@lru_cache(maxsize=1_024)
def _month_begin(month: int, anchor_us: int) -> int:
    """Where the month with this number since 1970 begins, by the day and the time of the anchor."""
    year, zero_based = divmod(month, 12)
    first = datetime(EPOCH.year + year, zero_based + 1, 1, tzinfo=UTC)
    following = (first + timedelta(days=31)).replace(day=1)
    day = (EPOCH + timedelta(days=anchor_us // DAY_US)).day
    inside = timedelta(days=min(day, (following - first).days) - 1)
    return (first + inside - EPOCH) // MICROSECOND + anchor_us % DAY_US
