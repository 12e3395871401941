"""Which month the demo closes, and what its invoices must come to."""

from datetime import date

import pytest

from streams.demo.invoices import closable_day, compare_invoices
from streams.demo.totals import PICO, CustomerTotals


@pytest.mark.parametrize(
    ("today", "day"),
    [
        (date(2026, 11, 21), date(2026, 10, 31)),
        (date(2026, 11, 2), date(2026, 10, 31)),
        (date(2026, 11, 1), date(2026, 9, 30)),
        (date(2027, 1, 31), date(2026, 12, 31)),
        (date(2028, 3, 1), date(2028, 1, 31)),
    ],
)
def test_the_month_has_ended_a_day_of_grace_ago_and_not_longer_than_events_may_be_old(
    today: date, day: date
) -> None:
    assert closable_day(today) == day
    assert (today - day).days <= 33


def test_an_invoice_is_the_fee_the_calls_beyond_and_the_cost_with_its_markup() -> None:
    bills = {"a": CustomerTotals(calls=1_251, covered_units=1_000, cost_pico_usd=PICO * 22 // 10)}
    # 251 calls at 0.002 are 0.502, and 2.20 with a markup of 25 % are 2.75.
    assert compare_invoices(bills, {"a": "23.25"}) == []
    (difference,) = compare_invoices(bills, {"a": "23.26"})
    assert (difference.expected, difference.found) == ("23.25", "23.26")
    assert [one.found for one in compare_invoices(bills, {})] == ["none"]
    assert [one.expected for one in compare_invoices({}, {"b": "1"})] == ["none"]
