"""streams.domain.invoices.calendar: where periods begin, in zones whose clocks change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import parse_time_us
from streams.domain.invoices.calendar import (
    SHORT_US,
    CivilPeriod,
    following,
    period_containing,
    period_of_label,
)
from streams.domain.invoices.documents import time_text

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati")


def bounds(period: CivilPeriod) -> tuple[str, str]:
    return time_text(period.from_us), time_text(period.to_us)


@pytest.mark.parametrize(
    ("label", "zone", "anchor_day", "begins", "ends"),
    [
        ("2026-10", "UTC", 1, "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ("2026-12", "UTC", 1, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        # Summer time in Berlin ends on October 25th: an hour more than 31 days.
        ("2026-10", "Europe/Berlin", 1, "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
        # It begins on March 29th.
        ("2026-03", "Europe/Berlin", 1, "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
        ("2026-03", "Europe/Berlin", 29, "2026-03-28T23:00:00Z", "2026-04-28T22:00:00Z"),
        ("2026-10", "Asia/Kolkata", 1, "2026-09-30T18:30:00Z", "2026-10-31T18:30:00Z"),
        # Newfoundland: 3:30 behind, 2:30 in summer, which begins on March 8th.
        ("2026-03", "America/St_Johns", 1, "2026-03-01T03:30:00Z", "2026-04-01T02:30:00Z"),
        ("2026-11", "America/St_Johns", 1, "2026-11-01T02:30:00Z", "2026-12-01T03:30:00Z"),
        # No 31st, no 30th, no 29th: the last day; a leap day where there is one.
        ("2026-01", "UTC", 31, "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("2026-02", "UTC", 31, "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        ("2026-03", "UTC", 31, "2026-03-31T00:00:00Z", "2026-04-30T00:00:00Z"),
        ("2028-01", "UTC", 30, "2028-01-30T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("2028-02", "UTC", 29, "2028-02-29T00:00:00Z", "2028-03-29T00:00:00Z"),
        ("2027-02", "UTC", 29, "2027-02-28T00:00:00Z", "2027-03-29T00:00:00Z"),
        # Clocks in Cairo go from 23:59:59 on April 23rd 2026 to 01:00: no such midnight.
        ("2026-04", "Africa/Cairo", 24, "2026-04-23T22:00:00Z", "2026-05-23T21:00:00Z"),
        # In Havana midnight of November 1st 2026 comes twice: the first one counts.
        ("2026-11", "America/Havana", 1, "2026-11-01T04:00:00Z", "2026-12-01T05:00:00Z"),
    ],
)
def test_a_period_begins_at_midnight_of_its_day_in_its_zone(
    label: str, zone: str, anchor_day: int, begins: str, ends: str
) -> None:
    period = period_of_label(label, zone, anchor_day)
    assert (period.label, *bounds(period)) == (label, begins, ends)
    for moment in (period.from_us, period.to_us - 1):
        assert period_containing(moment, zone, anchor_day) == period
    assert period_containing(period.from_us - 1, zone, anchor_day).to_us == period.from_us
    assert following(period.to_us, zone, anchor_day).from_us == period.to_us


@given(
    st.integers(10**15, 4 * 10**15), st.sampled_from(ZONES), st.integers(min_value=1, max_value=31)
)
def test_periods_follow_on_one_another_without_gap(
    time_us: int, zone: str, anchor_day: int
) -> None:
    period = period_containing(time_us, zone, anchor_day)
    assert period.from_us <= time_us < period.to_us
    after = following(period.to_us, zone, anchor_day)
    assert after == period_containing(period.to_us, zone, anchor_day)
    assert after == period_of_label(after.label, zone, anchor_day)


@given(
    st.integers(10**15, 4 * 10**15),
    st.sampled_from(ZONES),
    st.sampled_from(ZONES),
    st.integers(1, 31),
    st.integers(1, 31),
)
def test_after_a_change_of_terms_one_period_leads_back_to_regular_ones(
    time_us: int, zone: str, new_zone: str, day: int, new_day: int
) -> None:
    last = period_containing(time_us, zone, day)
    between = following(last.to_us, new_zone, new_day)
    assert between.from_us == last.to_us
    assert between.to_us - between.from_us >= SHORT_US
    regular = following(between.to_us, new_zone, new_day)
    assert regular == period_containing(between.to_us, new_zone, new_day)


def test_the_period_after_a_change_is_labelled_by_its_first_day() -> None:
    october = parse_time_us("2026-10-01T00:00:00Z")
    short = following(october, "UTC", 15)
    assert (short.label, bounds(short)[1]) == ("2026-10-01", "2026-10-15T00:00:00Z")
    # Four hours of September are left in New York: they go with October.
    long = following(october, "America/New_York", 1)
    assert (long.label, bounds(long)[1]) == ("2026-09-30", "2026-11-01T04:00:00Z")


@pytest.mark.parametrize("label", ["2026-13", "2026-00", "2026-1", "26-10", "", "2026-10-01"])
def test_what_is_no_month_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="not a month"):
        period_of_label(label, "UTC", 1)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "America", "/etc/localtime"])
def test_an_unknown_zone_is_named(zone: str) -> None:
    with pytest.raises(ValueError, match="not a time zone"):
        period_of_label("2026-10", zone, 1)


@pytest.mark.parametrize("anchor_day", [0, 32])
def test_a_day_that_no_month_has_is_refused(anchor_day: int) -> None:
    with pytest.raises(ValueError, match="1 to 31"):
        period_containing(10**15, "UTC", anchor_day)


def test_times_beyond_the_calendar_are_refused() -> None:
    for time_us in (-1, 300_000_000_000_000_000, 2**63):
        with pytest.raises(ValueError, match="times"):
            period_containing(time_us, "UTC", 1)
    with pytest.raises(ValueError, match="1970"):
        period_of_label("1969-12", "UTC", 1)
    assert period_of_label("1970-01", "UTC", 1).from_us == 0
