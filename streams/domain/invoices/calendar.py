"""Where the periods of a customer begin: at midnight of a day of the month, in a time zone.

Asked when a period is drafted or closed; a close pins the answer, and recomputing reads it there.
Time zone rules change with the world, so nothing that must stay the same may ask for them again.

A month without the day begins on its last one. A midnight that a change of clocks leaves out is
the moment of that change; of a midnight that comes twice the first counts.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LABEL: Final = re.compile(r"([0-9]{4})-([0-9]{2})\Z")

SHORT_US: Final = 2 * 24 * 60 * 60 * 10**6
"""A rest shorter than two days after a change of zone or day is no period: the next one begins
with it. Zones are 26 hours apart at most."""


@dataclass(frozen=True, slots=True)
class CivilPeriod:
    """Event times in [from_us, to_us)."""

    label: str
    from_us: int
    to_us: int


def period_containing(time_us: int, zone: str, anchor_day: int) -> CivilPeriod:
    """The period in which a time lies.

    Raises ValueError for a zone that is not known, a day that no month has, a time beyond the
    years 1970 to 9998.
    """
    if time_us < 0:
        raise ValueError("times begin in 1970")
    try:
        local = (_EPOCH + timedelta(microseconds=time_us)).astimezone(_zone(zone))
    except OverflowError:
        raise ValueError("times end with the year 9998") from None
    month = local.year * 12 + local.month - 1
    # The day of the time and the month's first day can lie on two sides of a change of clocks, so
    # the bounds themselves are asked.
    if time_us < _begin(month, zone, anchor_day):
        month -= 1
    return _period(month, zone, anchor_day)


def period_of_label(label: str, zone: str, anchor_day: int) -> CivilPeriod:
    """The period that begins in a month such as `2026-10`.

    Raises ValueError for another text, and as `period_containing`.
    """
    match = _LABEL.match(label)
    if not match or not 1 <= int(match[2]) <= 12:
        raise ValueError(f"not a month such as 2026-10: {label[:40]!r}")
    period = _period(int(match[1]) * 12 + int(match[2]) - 1, zone, anchor_day)
    if period.from_us < 0:
        raise ValueError(f"times begin in 1970: {label}")
    return period


def following(period_to_us: int, zone: str, anchor_day: int) -> CivilPeriod:
    """The period that begins where another one ended, perhaps under another zone or day.

    It ends where the next one begins. Where zone or day have changed it is shorter or longer than
    a month, and its label is its first day there, such as `2026-10-01`.
    """
    regular = period_containing(period_to_us, zone, anchor_day)
    if regular.from_us == period_to_us:
        return regular
    end_us = regular.to_us
    if end_us - period_to_us < SHORT_US:
        end_us = period_containing(end_us, zone, anchor_day).to_us
    local = (_EPOCH + timedelta(microseconds=period_to_us)).astimezone(_zone(zone))
    return CivilPeriod(local.date().isoformat(), period_to_us, end_us)


def _period(month: int, zone: str, anchor_day: int) -> CivilPeriod:
    label = f"{month // 12:04d}-{month % 12 + 1:02d}"
    return CivilPeriod(label, _begin(month, zone, anchor_day), _begin(month + 1, zone, anchor_day))


@lru_cache(maxsize=4096)
def _begin(month: int, zone: str, anchor_day: int) -> int:
    """Where the period of a month (counted from the year 0) begins."""
    if not 1 <= anchor_day <= 31:
        raise ValueError(f"a billing day is 1 to 31, not {anchor_day}")
    year, month_of_year = month // 12, month % 12 + 1
    if not 1 <= year <= 9998:
        raise ValueError("times end with the year 9998")
    day = min(anchor_day, monthrange(year, month_of_year)[1])
    midnight = datetime(year, month_of_year, day, tzinfo=_zone(zone))
    return (midnight - _EPOCH) // _MICROSECOND


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"not a time zone of the IANA database: {name[:40]!r}; Europe/Berlin is one"
        ) from None
