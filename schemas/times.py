"""Times on the wire: RFC 3339 text in what producers send, microseconds since the epoch in what
Tollgate writes."""

import calendar
import re
from typing import Final

TIME_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
"""RFC 3339 with an upper-case T and Z, at most microseconds, and a zone: a time without one is not
a time."""

_time = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:\.([0-9]{1,6}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))\Z"
)
_DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_SECONDS_END: Final = calendar.timegm((9999, 12, 31, 23, 59, 59)) + 1

MICROSECONDS: Final = 1_000_000
"""Microseconds in a second."""

MINUTES_MAX: Final = 4_096
"""Minutes that are remembered, as text and as time. Events come in the order of their times, more
or less; the memory is emptied when somebody sends more different ones."""

_MINUTE_CHARS: Final = len("2026-01-15T12:00:")
_minutes: Final[dict[str, int]] = {}
_SECONDS: Final = {f"{second:02d}": second * MICROSECONDS for second in range(60)}
_THOUSANDTHS: Final = {f"{part:03d}": part for part in range(1000)}


def parse_time_us(text: str) -> int:
    """Microseconds since 1970-01-01T00:00:00Z of an RFC 3339 text, from the year 1970 to 9999.

    Raises ValueError for every text that is not exactly that: no zone, a leap second, a 31st of
    June, a seventh digit of the fraction.
    """
    # Most texts are UTC with milliseconds or microseconds, in a minute that was read before: four
    # look-ups, each of which finds two or three digits and nothing else.
    try:
        minute_us = _minutes[text[:_MINUTE_CHARS]]
        second_us = _SECONDS[text[17:19]]
        if text[19:] == "Z":
            return minute_us + second_us
        if text[19] == "." and text[-1] == "Z":
            if len(text) == 24:
                return minute_us + second_us + _THOUSANDTHS[text[20:23]] * 1000
            if len(text) == 27:
                millis, micros = _THOUSANDTHS[text[20:23]], _THOUSANDTHS[text[23:26]]
                return minute_us + second_us + millis * 1000 + micros
    except (KeyError, IndexError):
        pass
    time_us = _parse_time_us(text)
    if text[-1] == "Z":
        if len(_minutes) >= MINUTES_MAX:
            _minutes.clear()
        _minutes[text[:_MINUTE_CHARS]] = time_us - time_us % (60 * MICROSECONDS)
    return time_us


def _parse_time_us(text: str) -> int:
    """Every text that is a time, digit by digit."""
    match = _time.match(text)
    if not match:
        raise ValueError(f"not an RFC 3339 time with a zone: {text[:40]!r}")
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    if not (year >= 1970 and 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60):
        raise ValueError(f"no such time: {text[:40]!r}")
    days = 29 if month == 2 and calendar.isleap(year) else _DAYS_IN_MONTH[month - 1]
    if not 1 <= day <= days:
        raise ValueError(f"no such day: {text[:40]!r}")
    seconds = calendar.timegm((year, month, day, hour, minute, second))
    if match[8]:
        hours, minutes = int(match[9]), int(match[10])
        if hours > 23 or minutes > 59:
            raise ValueError(f"no such zone: {text[:40]!r}")
        offset = hours * 3600 + minutes * 60
        seconds -= offset if match[8] == "+" else -offset
    if not 0 <= seconds < _SECONDS_END:
        raise ValueError(f"no such time in UTC between 1970 and 9999: {text[:40]!r}")
    return seconds * MICROSECONDS + int((match[7] or "").ljust(6, "0"))


def format_time(time_us: int) -> str:
    """The RFC 3339 text, in UTC with six decimals, of microseconds since the epoch."""
    seconds, micros = divmod(time_us, MICROSECONDS)
    # Days to a civil date by the usual 400-year arithmetic, so that no clock or calendar module
    # with a time zone is near.
    days, rest = divmod(seconds, 86_400)
    shifted = days + 719_468
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_shifted + 2) // 5 + 1
    month = month_shifted + 3 if month_shifted < 10 else month_shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    hour, minute, second = rest // 3600, rest // 60 % 60, rest % 60
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{micros:06d}Z"
