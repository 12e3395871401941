"""streams.domain.periods and the grants that reset: whole again at each boundary, exactly there."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from schemas import codec
from schemas.structs import GrantEntry, UsageEntry
from schemas.times import format_time, parse_time_us
from streams.domain.budget import Account, available
from streams.domain.months import month_containing
from streams.domain.periods import period_bounds, period_start
from streams.domain.replay import accounts_digest, fold_entries
from tests.builders import DAY_US, context, cycle, fact, grant, of_kind, state, usage

BOUNDARIES = {
    # Each begins a period: an ordinary one, after a leap day, across a year.
    "day": ["2026-01-16T00:00:00Z", "2028-03-01T00:00:00Z", "2027-01-01T00:00:00Z"],
    "week": ["2026-01-19T00:00:00Z", "2027-01-04T00:00:00Z", "2028-02-28T00:00:00Z"],
    "month": ["2026-02-01T00:00:00Z", "2028-03-01T00:00:00Z", "2027-01-01T00:00:00Z"],
}
EVERY = [(interval, time) for interval, times in BOUNDARIES.items() for time in times]


@pytest.mark.parametrize(("interval", "time"), EVERY)
def test_a_boundary_belongs_to_the_period_that_it_begins(interval: str, time: str) -> None:
    boundary = parse_time_us(time)
    before, after = period_bounds(interval, boundary - 1), period_bounds(interval, boundary)
    assert before[1] == boundary == after[0]
    assert period_bounds(interval, boundary + 1) == after
    assert period_bounds(interval, after[1] - 1) == after
    assert period_bounds(interval, before[0]) == before


def test_periods_are_those_of_the_standard_librarys_calendar() -> None:
    """Every day of 30 years, at its first and last microsecond."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    day = date(2019, 12, 30)
    while day < date(2050, 1, 5):
        first_us = (datetime(day.year, day.month, day.day, tzinfo=UTC) - epoch) // timedelta(
            microseconds=1
        )
        monday = day - timedelta(days=day.isoweekday() - 1)
        for time_us in (first_us, first_us + DAY_US - 1):
            assert period_start("day", time_us) == first_us
            assert period_start("week", time_us) == first_us - (day - monday).days * DAY_US
            assert period_start("month", time_us) == first_us - (day.day - 1) * DAY_US
            month = month_containing(time_us)
            assert period_bounds("month", time_us) == (month.from_us, month.to_us)
        day += timedelta(days=1)


def spend(into: Any, units: int, at_us: int, offset: int) -> int:
    """Uses units in a cycle of this domain time, and returns how many of them were covered."""
    event = fact(usage(event_id=f"e{offset}", units=units), offset, at_us)
    (entry,) = of_kind(UsageEntry, cycle(into, event, context=context(), at_us=at_us).entries)
    return int(entry.covered_units)


def granted(at_us: int, **more: Any) -> Any:
    """A state in which acme has 100 units that reset."""
    into = state()
    cycle(into, fact(grant(amount="100", **more), 0, at_us), context=context(), at_us=at_us)
    return into


@pytest.mark.parametrize(("interval", "time"), EVERY)
@pytest.mark.parametrize(("step", "covered"), [(-1, 0), (0, 100), (1, 100)])
def test_a_grant_is_whole_again_at_its_boundary_and_not_before(
    interval: str, time: str, step: int, covered: int
) -> None:
    boundary = parse_time_us(time)
    into = granted(boundary - 2, resets=interval)
    assert spend(into, 150, boundary - 2, 1) == 100
    assert spend(into, 150, boundary + step, 2) == covered


def test_nothing_rolls_over_however_many_periods_pass() -> None:
    start = parse_time_us("2026-01-05T00:00:00Z")
    into = granted(start, resets="week")
    assert spend(into, 30, start, 1) == 30
    assert available(into.accounts["acme"], "unit", start) == 70
    later = start + 7 * 7 * DAY_US
    assert available(into.accounts["acme"], "unit", later) == 100
    assert spend(into, 250, later, 2) == 100
    assert spend(into, 1, later + 7 * DAY_US - 1, 3) == 0


def test_asking_for_a_balance_changes_nothing() -> None:
    start = parse_time_us("2026-01-05T00:00:00Z")
    into = granted(start, resets="day")
    spend(into, 40, start, 1)
    before = accounts_digest(into)
    assert available(into.accounts["acme"], "unit", start + DAY_US) == 100
    assert accounts_digest(into) == before


@pytest.mark.parametrize(("step", "covered"), [(-1, 10), (0, 0), (1, 0)])
def test_a_grant_that_resets_ends_where_it_expires(step: int, covered: int) -> None:
    start, end = parse_time_us("2026-01-05T00:00:00Z"), parse_time_us("2026-01-08T12:00:00Z")
    into = granted(start, resets="day", expires_at=format_time(end))
    assert spend(into, 100, start, 1) == 100
    assert spend(into, 10, end + step, 2) == covered


@pytest.mark.parametrize(("step", "covered"), [(-1, 0), (0, 10), (1, 10)])
def test_a_grant_that_resets_begins_in_the_middle_of_a_period_with_its_whole_amount(
    step: int, covered: int
) -> None:
    start, begin = parse_time_us("2026-01-05T00:00:00Z"), parse_time_us("2026-02-10T12:00:00Z")
    into = granted(start, resets="month", effective_at=format_time(begin))
    assert spend(into, 10, begin + step, 1) == covered
    assert spend(into, 200, begin + 2, 2) == 100 - covered
    assert spend(into, 200, parse_time_us("2026-03-01T00:00:00Z"), 3) == 100


def test_a_grant_dated_back_begins_whole_in_the_period_of_the_decision() -> None:
    start = parse_time_us("2026-01-05T00:00:00Z")
    into = granted(start, resets="month", effective_at="2025-11-20T00:00:00Z")
    assert spend(into, 150, start, 1) == 100
    assert spend(into, 1, parse_time_us("2026-02-01T00:00:00Z") - 1, 2) == 0


def test_it_is_domain_time_that_resets_and_not_the_time_of_the_event() -> None:
    """M4: an event of yesterday that is decided today burns the amount of today."""
    midnight = parse_time_us("2026-01-16T00:00:00Z")
    into = granted(midnight - DAY_US, resets="day")
    assert spend(into, 100, midnight - 1, 1) == 100
    late = usage(event_id="late", units=60, occurred_at=format_time(midnight - 1))
    result = cycle(into, fact(late, 2, midnight), context=context(), at_us=midnight)
    (entry,) = of_kind(UsageEntry, result.entries)
    assert entry.covered_units == 60
    assert spend(into, 60, midnight + 1, 3) == 40


def test_a_planned_grant_resets_as_well() -> None:
    start = parse_time_us("2026-01-15T12:00:00Z")
    rules = context(default_plan=[{"denomination": "unit", "amount": "5", "resets": "day"}])
    into = state()
    first = cycle(
        into, fact(usage(event_id="first", units=9), 0, start), context=rules, at_us=start
    )
    (plan,) = of_kind(GrantEntry, first.entries)
    assert plan.resets == "day"
    assert of_kind(UsageEntry, first.entries)[0].covered_units == 5
    assert spend(into, 9, start + DAY_US, 1) == 5


def test_the_ledger_alone_gives_the_same_accounts_and_the_store_keeps_them() -> None:
    start = parse_time_us("2026-01-15T12:00:00Z")
    into, entries = state(), []
    for day in range(5):
        at_us = start + day * DAY_US
        facts = [fact(usage(event_id=f"e{day}", units=70 + day), day, at_us)]
        if day == 0:
            facts.insert(0, fact(grant(resets="day"), 0, at_us))
            facts.insert(1, fact(grant(event_id="g2", amount="6", priority=500), 1, at_us))
        entries += cycle(into, *facts, context=context(), at_us=at_us).entries
    assert accounts_digest(fold_entries(entries)) == accounts_digest(into)
    encode, decode = codec.state_codec(Account)
    assert decode(encode(into.accounts["acme"])) == into.accounts["acme"]


def test_a_grant_that_resets_stays_when_it_is_used_up_and_another_one_goes() -> None:
    start = parse_time_us("2026-01-15T12:00:00Z")
    into = granted(start, resets="day")
    cycle(into, fact(grant(event_id="once", amount="10"), 1, start), context=context(), at_us=start)
    assert spend(into, 110, start, 2) == 110
    assert [one.remaining for one in into.accounts["acme"].grants] == [0]


def test_when_it_resets_is_part_of_what_a_grant_says() -> None:
    hashes = {fact(grant(**more)).body_hash for more in ({}, *({"resets": i} for i in BOUNDARIES))}
    assert len(hashes) == 4


@pytest.mark.parametrize("resets", ["", "year", "Day", 1])
def test_an_unknown_period_is_refused(resets: Any) -> None:
    with pytest.raises(Exception, match="resets"):
        grant(resets=resets)
