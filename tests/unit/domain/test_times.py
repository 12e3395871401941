"""docs/domain/time.md, boundary by boundary: one microsecond before, at, and after each."""

from typing import Any

import pytest

from schemas.errors import RejectCode
from schemas.structs import UsageEntry
from schemas.times import format_time, parse_time_us
from streams.domain.drafts import draft
from streams.domain.folding import CycleResult
from streams.domain.months import month
from tests.builders import (
    DAY_US,
    HOUR_US,
    NOON_US,
    SECOND_US,
    book,
    context,
    cycle,
    fact,
    grant,
    of_kind,
    own_entry,
    span,
    state,
    usage,
)

RULES: dict[str, Any] = {"horizon_days": 35, "lateness_days": 34, "future_seconds": 3_600}
LATENESS_US, FUTURE_US, HORIZON_US = 34 * DAY_US, HOUR_US, 35 * DAY_US
BOTH_SIDES = (-1, 0, 1)


def sides(before: Any, at: Any, after: Any) -> list[tuple[int, Any]]:
    """What is expected a microsecond before a boundary, at it, and one after it."""
    return list(zip(BOTH_SIDES, (before, at, after), strict=True))


def decided(result: CycleResult) -> str:
    """What became of the one fact of a cycle."""
    own = own_entry(result)
    if own.dead_letters:
        (refused,) = result.rejected
        return refused.code.value
    return "duplicate" if own.duplicates else "accepted"


def of_one(occurred_us: int | None, appended_us: int, into: Any = None, **more: Any) -> CycleResult:
    when = {} if occurred_us is None else {"occurred_at": format_time(occurred_us)}
    event = fact(usage(**when, **more), 1, appended_us)
    return cycle(into or state(), event, context=context(**RULES), at_us=appended_us)


@pytest.mark.parametrize(("step", "expected"), sides("too_old", "accepted", "accepted"))
def test_an_event_as_old_as_the_lateness_limit_is_just_in_time(step: int, expected: str) -> None:
    assert decided(of_one(NOON_US - LATENESS_US + step, NOON_US)) == expected


@pytest.mark.parametrize(("step", "expected"), sides("accepted", "accepted", "in_future"))
def test_an_event_as_far_ahead_as_the_future_limit_is_still_taken(step: int, expected: str) -> None:
    assert decided(of_one(NOON_US + FUTURE_US + step, NOON_US)) == expected


@pytest.mark.parametrize(("step", "expected"), sides("duplicate", "duplicate", "accepted"))
def test_a_claim_holds_up_to_and_including_its_horizon(step: int, expected: str) -> None:
    into = state()
    assert decided(of_one(None, NOON_US, into)) == "accepted"
    event = fact(usage(), 2, NOON_US + HORIZON_US + step)
    again = cycle(into, event, context=context(**RULES), at_us=NOON_US + HORIZON_US + step)
    assert decided(again) == expected


@pytest.mark.parametrize("step", BOTH_SIDES)
@pytest.mark.parametrize("ahead_us", [0, FUTURE_US])
def test_an_event_with_a_time_never_counts_twice_at_the_horizon(step: int, ahead_us: int) -> None:
    """I3: by the time its claim no longer holds it is too old, however far ahead it was dated."""
    into = state()
    body = usage(occurred_at=format_time(NOON_US + ahead_us))
    first = cycle(into, fact(body, 1, NOON_US), context=context(**RULES), at_us=NOON_US)
    assert decided(first) == "accepted"
    later = NOON_US + HORIZON_US + step
    again = cycle(into, fact(body, 2, later), context=context(**RULES), at_us=later)
    assert decided(again) == ("duplicate" if step <= 0 else "too_old")


def test_an_event_of_weeks_ago_is_priced_by_its_own_time_and_paid_by_todays_balance() -> None:
    """M4: prices go by event time, balances by domain time."""
    change = NOON_US - 20 * DAY_US
    day = format_time(change)[:10]
    prices = book(small=[span(input="1"), span(day, input="9")])
    into = state()
    known = context(prices=prices, **RULES)
    money = fact(grant(denomination="usd", amount="5"), 0, NOON_US)
    late = usage(
        provider="lab",
        model="small",
        tokens={"input": 1_000_000},
        occurred_at=format_time(NOON_US - 33 * DAY_US),
    )
    result = cycle(into, money, fact(late, 1, NOON_US), context=known, at_us=NOON_US)
    (entry,) = of_kind(UsageEntry, result.entries)
    assert (entry.cost, entry.covered_usd) == ("1", "1")


@pytest.mark.parametrize(("step", "cost"), sides("1", "9", "9"))
def test_a_price_holds_from_the_midnight_of_its_day_on(step: int, cost: str) -> None:
    midnight = parse_time_us("2026-01-15T00:00:00Z")
    prices = book(small=[span(input="1"), span("2026-01-15", input="9")])
    event = usage(
        provider="lab",
        model="small",
        tokens={"input": 1_000_000},
        occurred_at=format_time(midnight + step),
    )
    result = cycle(state(), fact(event), context=context(prices=prices, **RULES))
    assert of_kind(UsageEntry, result.entries)[0].cost == cost


@pytest.mark.parametrize(("step", "covered"), sides(0, 1, 1))
def test_a_grant_counts_from_its_beginning_on(step: int, covered: int) -> None:
    begins = NOON_US + DAY_US
    assert covered_at(begins + step, effective_at=format_time(begins)) == covered


@pytest.mark.parametrize(("step", "covered"), sides(1, 0, 0))
def test_a_grant_counts_until_just_before_its_end(step: int, covered: int) -> None:
    ends = NOON_US + DAY_US
    assert covered_at(ends + step, expires_at=format_time(ends)) == covered


def covered_at(at_us: int, **more: Any) -> int:
    """How many units of an event a grant of noon covers in a cycle of this domain time."""
    into = state()
    cycle(into, fact(grant(**more), 0, NOON_US), context=context(**RULES), at_us=NOON_US)
    result = cycle(into, fact(usage(), 1, at_us), context=context(**RULES), at_us=at_us)
    return int(of_kind(UsageEntry, result.entries)[0].covered_units)


@pytest.mark.parametrize(("step", "january"), sides(1, 0, 0))
def test_an_event_of_a_months_first_moment_belongs_to_that_month(step: int, january: int) -> None:
    begins = parse_time_us("2026-02-01T00:00:00Z")
    result = of_one(begins + step, begins + DAY_US)
    months = [draft(result.entries, "acme", month(2026, number)) for number in (1, 2)]
    assert [one.totals().calls for one in months] == [january, 1 - january]


def test_an_event_that_arrives_out_of_order_is_billed_like_any_other() -> None:
    """Two orders of arrival of the same events: the same events count, at the same cost."""
    times = [NOON_US - n * DAY_US for n in (0, 30, 3, 17)]
    ids = []
    for order in (times, times[::-1]):
        into = state()
        facts = [
            fact(usage(event_id=str(time), occurred_at=format_time(time)), offset, NOON_US)
            for offset, time in enumerate(order)
        ]
        result = cycle(into, *facts, context=context(**RULES))
        ids.append({(e.event_id, e.cost, e.units) for e in of_kind(UsageEntry, result.entries)})
    assert ids[0] == ids[1]
    assert len(ids[0]) == 4


def test_events_of_one_moment_stand_in_the_order_of_the_log() -> None:
    facts = [fact(usage(event_id=f"e{n}"), n, NOON_US) for n in (3, 1, 2)]
    result = cycle(state(), *facts, context=context(**RULES))
    assert [e.event_id for e in of_kind(UsageEntry, result.entries)] == ["e1", "e2", "e3"]


def test_one_moment_in_two_zones_is_one_time() -> None:
    into = state()
    assert decided(of_one(None, NOON_US, into, occurred_at="2026-01-15T12:00:00Z")) == "accepted"
    again = usage(occurred_at="2026-01-15T13:00:00+01:00")
    assert decided(cycle(into, fact(again, 2), context=context(**RULES))) == "duplicate"


def test_a_backlog_is_not_late() -> None:
    """Decided a year after it was appended: lateness compares the record with its own append."""
    event = fact(usage(occurred_at=format_time(NOON_US)), 1, NOON_US + SECOND_US)
    result = cycle(state(), event, context=context(**RULES), at_us=NOON_US + 365 * DAY_US)
    assert decided(result) == "accepted"


def test_domain_time_never_runs_backwards() -> None:
    into = state()
    cycle(into, fact(usage(), 1, NOON_US), at_us=NOON_US)
    with pytest.raises(AssertionError, match="backwards"):
        cycle(into, fact(usage(event_id="e2"), 2, NOON_US - 1), at_us=NOON_US - 1)
    cycle(into, fact(usage(event_id="e2"), 2, NOON_US - 1), at_us=NOON_US)
    assert into.progress.domain_time_us == NOON_US


def test_the_codes_of_untimely_events_are_stable() -> None:
    assert (RejectCode.TOO_OLD.value, RejectCode.IN_FUTURE.value) == ("too_old", "in_future")
