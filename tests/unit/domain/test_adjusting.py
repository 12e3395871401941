"""streams.domain.adjusting: who may correct what, and what grants pay or get back."""

from typing import Any

import msgspec
import pytest

from schemas.errors import RejectCode, RejectError
from schemas.money import PICO
from streams.domain.invariants import check_cycle
from tests.builders import (
    DAY_US,
    NOON_US,
    cycle,
)
from tests.corrected import RULES, Books


@pytest.fixture
def books() -> Books:
    return Books()


def test_an_adjustment_changes_the_used_total_by_the_difference(books: Books) -> None:
    entry = books.use(10)
    assert (entry.cost_basis, books.used()) == ("unpriced", 10)
    found = books.adjust(entry, "2.5")
    assert found is not None
    assert (found.cost, found.provisional, found.cost_basis) == ("2.5", "-10", "adjusted")
    assert (found.adjusted_entry, found.occurred_at) == (entry.entry_id, entry.occurred_at)
    assert (found.price_version, found.was_unpriced) == ("book@2", True)
    assert books.used() == 2.5
    assert (books.account.events, books.account.used_tokens) == (1, 10)


def test_the_same_adjustment_twice_counts_once(books: Books) -> None:
    entry = books.use(10)
    assert books.adjust(entry, "2.5") is not None
    assert books.adjust(entry, "2.5") is None
    assert (books.used(), books.duplicates, books.rejected) == (2.5, 1, [])


def test_another_adjustment_of_the_same_state_is_a_conflict_and_never_counts(books: Books) -> None:
    entry = books.use(10)
    books.adjust(entry, "2.5")
    assert books.adjust(entry, "3") is None
    assert books.adjust(entry, "3", source="somebody else") is None
    assert [one.code for one in books.rejected] == [RejectCode.CONFLICT] * 2
    assert books.used() == 2.5
    again = books.adjust(
        entry,
        "3",
        event_id=f"{entry.entry_id}#2",
        old_cost="2.5",
        old_provisional="0",
        was_unpriced=False,
    )
    assert again is not None
    assert (again.cost, books.used()) == ("0.5", 3)


@pytest.mark.parametrize("number", ["", "#", "#x", "#1x", "#-1", "1", "#\u0661"])
def test_an_id_that_does_not_count_the_adjustments_is_refused(books: Books, number: str) -> None:
    entry = books.use(1)
    with pytest.raises(RejectError, match="entry_id#number"):
        books.adjustment(entry, "1", event_id=f"{entry.entry_id}{number}")


def test_an_adjustment_of_a_customer_whom_nobody_knows_is_refused(books: Books) -> None:
    entry = books.use(1)
    stranger = Books()
    stranger.entries = books.entries
    assert stranger.adjust(entry, "1") is None
    (refused,) = stranger.rejected
    assert (refused.code, refused.field) == (RejectCode.INVALID_FIELD, "customer_id")


def test_more_covered_than_charged_is_refused(books: Books) -> None:
    entry = books.use(1)
    with pytest.raises(RejectError, match="more than it cost"):
        books.adjustment(entry, "1", covered="1.000000000001")


# --- grants --------------------------------------------------------------------------------------


def test_what_no_grant_has_paid_falls_first(books: Books) -> None:
    books.grant("4")
    entry = books.use(10)
    found = books.adjust(entry, "7")  # 3 of the 6 that nothing covered
    assert found is not None
    assert (found.covered_usd, found.returned) == ("0", [])
    assert books.left() == 0


def test_the_rest_goes_back_to_the_grants_that_paid_the_last_one_first(books: Books) -> None:
    first, second = books.grant("4", priority=1), books.grant("3", priority=2)
    entry = books.use(10)
    assert books.account.grants == []
    found = books.adjust(entry, "5")
    assert found is not None
    assert found.covered_usd == "-2"
    assert [(one.grant_id, one.amount) for one in found.returned] == [(second, "2")]
    assert books.left() == 2
    more = {"old_cost": "5", "old_provisional": "0", "covered": "5", "was_unpriced": False}
    payers = [
        {"grant_id": first, "amount": "4", "priority": 1, "effective_at": NOON_US},
        {"grant_id": second, "amount": "1", "priority": 2, "effective_at": NOON_US},
    ]
    again = books.adjust(entry, "0", event_id=f"{entry.entry_id}#2", payers=payers, **more)
    assert again is not None
    assert [(one.grant_id, one.amount) for one in again.returned] == [(second, "1"), (first, "4")]
    assert [(one.grant_id, one.remaining) for one in books.account.grants] == [
        (first, 4 * PICO),
        (second, 3 * PICO),
    ]


def test_a_grant_that_is_open_gets_back_what_is_its_own(books: Books) -> None:
    books.grant("100")
    entry = books.use(10)
    assert books.left() == 90
    books.adjust(entry, "1")
    assert books.left() == 99
    assert len(books.account.grants) == 1


def test_what_belongs_to_a_grant_that_is_over_lapses(books: Books) -> None:
    books.grant("100", expires_at="2026-01-16T00:00:00Z")
    entry = books.use(10)
    books.at_us += DAY_US
    found = books.adjust(entry, "1")
    assert found is not None
    assert (found.covered_usd, found.returned) == ("-9", [])
    assert (books.left(), books.used()) == (0, 1)


@pytest.mark.parametrize(("days", "left"), [(0, 99.0), (1, 100.0)])
def test_a_grant_that_resets_gets_back_what_its_present_period_paid(
    books: Books, days: int, left: float
) -> None:
    books.grant("100", resets="day")
    entry = books.use(10)
    books.at_us += days * DAY_US
    books.adjust(entry, "1")
    assert books.left() == left


def test_a_rise_is_paid_by_grants_that_are_open_now(books: Books) -> None:
    entry = books.use(10)
    grant_id = books.grant("3")
    found = books.adjust(entry, "15")
    assert found is not None
    assert (found.covered_usd, [burn.grant_id for burn in found.burns]) == ("3", [grant_id])
    assert (books.left(), books.used()) == (0, 15)


@pytest.mark.parametrize(
    "fields",
    [
        {"covered_usd": "-9.000000000001"},  # more than it fell
        {"covered_usd": "0.5"},  # a fall covers nothing more
        {"covered_usd": "-8.5"},  # gives back more than was covered
        {"cost": "11"},  # a rise that gives back
    ],
)
def test_an_adjustment_that_covers_what_it_does_not_change_breaks_inv_3(
    books: Books, fields: dict[str, Any]
) -> None:
    books.grant("100")
    given = books.adjustment(books.use(10), "1")
    first = books.state.progress.next_sequence
    result = cycle(books.state, given, context=RULES, at_us=books.at_us)
    check_cycle(result, first, 1)
    entry: Any = result.entries[1]
    result.entries[1] = msgspec.structs.replace(entry, **fields)
    with pytest.raises(AssertionError, match="INV-3"):
        check_cycle(result, first, 1)
