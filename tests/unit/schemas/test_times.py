"""schemas.times: RFC 3339 with a zone, and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import times
from schemas.times import format_time, parse_time_us

LAST_US = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("2026-01-15T12:00:00Z", 1_768_478_400_000_000),
        ("2026-01-15T12:00:00.5Z", 1_768_478_400_500_000),
        ("2026-01-15T14:30:00+02:30", 1_768_478_400_000_000),
        ("2026-01-15T02:00:00-10:00", 1_768_478_400_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ("9999-12-31T23:59:59.999999Z", LAST_US),
    ],
)
def test_a_time_is_read_to_the_microsecond(text: str, time_us: int) -> None:
    assert parse_time_us(text) == time_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1700000000",
        "2026-01-15",
        "2026-01-15T12:00:00",  # no zone
        "2026-01-15 12:00:00Z",
        "2026-01-15t12:00:00z",
        "2026-01-15T12:00Z",
        "2026-01-15T12:00:00,5Z",
        "2026-01-15T12:00:00.1234567Z",  # a seventh digit
        "2026-01-15T12:00:00.Z",
        "2026-01-15T12:00:00Z\n",
        "2026-01-15T12:00:00+0230",
        "2026-01-15T12:00:00+24:00",
        "2026-01-15T12:00:00+01:60",
        "2026-01-15T24:00:00Z",
        "2026-01-15T12:60:00Z",
        "2026-12-31T23:59:60Z",  # a leap second
        "2026-06-31T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-00-15T00:00:00Z",
        "2026-13-15T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",  # a minute before 1970
        "9999-12-31T23:59:59-23:59",  # in the year 10000
        "٢٠26-01-15T12:00:00Z",
    ],
)
def test_what_is_not_exactly_a_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no such|not an RFC 3339|before 1970|9999"):
        parse_time_us(text)


@given(st.integers(0, LAST_US))
def test_the_text_of_a_time_gives_the_time_back(time_us: int) -> None:
    assert parse_time_us(format_time(time_us)) == time_us


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)), st.integers(-1439, 1439))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_a_time_in_any_zone_agrees_with_the_standard_library(naive: datetime, minutes: int) -> None:
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    text = f"{naive.isoformat(timespec='microseconds')}{sign}{hours:02d}:{rest:02d}"
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = (naive.replace(tzinfo=UTC) - timedelta(minutes=minutes) - epoch) // timedelta(
        microseconds=1
    )
    assert parse_time_us(text) == expected


@given(st.integers(0, LAST_US))
def test_the_text_of_a_time_agrees_with_the_standard_library(time_us: int) -> None:
    known = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    expected = known.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    assert format_time(time_us) == expected


@pytest.mark.parametrize(
    "text", ["2026-01-15T12:00:07Z", "2026-01-15T12:00:07.250Z", "2026-01-15T12:00:07.250125Z"]
)
def test_a_minute_that_is_remembered_makes_no_text_a_time_that_was_none(text: str) -> None:
    parse_time_us(text)
    for place in range(len(text) + 1):
        for other in ("", "0", "9", "6", ":", ".", "Z", "+", "-", " ", "\n", "\u0663", "00"):
            for changed in (text[:place] + other + text[place + 1 :], text[:place] + other):
                try:
                    due: int | None = times._parse_time_us(changed)
                except ValueError:
                    due = None
                try:
                    found: int | None = parse_time_us(changed)
                except ValueError:
                    found = None
                assert found == due, changed


def test_more_minutes_than_are_remembered_are_still_read() -> None:
    for minute in range(times.MINUTES_MAX + 2):
        time_us = minute * 60_000_000 + 1
        assert parse_time_us(format_time(time_us)) == time_us
    assert len(times._minutes) <= times.MINUTES_MAX
