"""Which period of a customer is closed next, and what its close says."""

from typing import Any

import pytest

from schemas.structs import RateCard, RatePlan
from schemas.times import parse_time_us
from streams.app.invoices.plans import (
    Period,
    begins_at,
    charges,
    close_fields,
    draft_close,
    next_period,
    period_after,
    pinned,
)
from streams.domain.rate_cards import RateShelf
from streams.invoicing.billing import Billing
from tests.builders import catalog_record


def us(text: str) -> int:
    return parse_time_us(f"{text}T00:00:00Z")


def terms(**more: Any) -> dict[str, Any]:
    fields = {"kind": "terms", "plan": "", "card": "pro", "zone": "UTC", "anchor_day": 1}
    return fields | {"terms_from": 0, "occurred_at": us("2026-03-20")} | more


def close(begin: str, end: str, label: str, **more: Any) -> dict[str, Any]:
    fields = {"kind": "invoice_close", "number": f"acme-{label}", "label": label, "zone": "UTC"}
    times = {"period_from": us(begin), "period_to": us(end), "reissues": ""}
    return fields | times | {"cut_generation": 1, "cut_sequence": 9} | more


def billing(*entries: dict[str, Any]) -> Billing:
    found = Billing("acme")
    for one in entries:
        found.add(one)
    return found


def shelf(*records: RateCard | RatePlan) -> RateShelf:
    found = RateShelf()
    for record in records:
        found.fold(found.next_offset, record)
    return found


def label_of(period: Period | None) -> str:
    assert period is not None
    return period.label


def test_the_first_period_is_that_of_the_first_usage_or_of_earlier_terms() -> None:
    assert label_of(next_period(billing(), us("2026-02-10"))) == "2026-02"
    # Terms from ever begin when they were said: nobody owes fees for what was before.
    assert label_of(next_period(billing(terms()), us("2026-05-10"))) == "2026-03"
    assert label_of(next_period(billing(terms()), us("2026-02-10"))) == "2026-02"
    later = billing(terms(terms_from=us("2026-01-31")))
    assert label_of(next_period(later, None)) == "2026-01"
    assert next_period(billing(), None) is None
    assert begins_at(billing(), None) is None


def test_periods_follow_on_one_another_and_a_reissue_closes_none() -> None:
    known = billing(
        terms(),
        close("2026-03-01", "2026-04-01", "2026-03"),
        close("2026-03-01", "2026-04-01", "2026-03", reissues="acme-2026-03"),
    )
    found = next_period(known, us("2026-03-10"))
    assert found is not None
    assert (found.label, found.civil.from_us) == ("2026-04", us("2026-04-01"))
    assert period_after(known, found).civil.from_us == us("2026-05-01")
    assert found.close_id == f"close:{us('2026-04-01')}:{us('2026-05-01')}"


def test_new_terms_move_the_next_period_and_leave_no_gap() -> None:
    known = billing(
        close("2026-03-01", "2026-04-01", "2026-03"),
        terms(anchor_day=15, zone="Asia/Tokyo", terms_from=us("2026-03-25")),
    )
    found = next_period(known, None)
    assert found is not None
    assert (found.zone, found.civil.from_us) == ("Asia/Tokyo", us("2026-04-01"))
    assert found.civil.to_us == parse_time_us("2026-04-14T15:00:00Z")


def test_what_is_charged_is_pinned_by_the_plan_and_the_card_in_force() -> None:
    cards = shelf(
        catalog_record("rate_card", id="pro", version="1"),
        catalog_record("rate_card", id="pro", version="2", effective_from=us("2026-03-11")),
        catalog_record("rate_plan", id="default", version="1", card="pro"),
    )
    pieces = pinned(billing(), us("2026-03-01"), us("2026-04-01"), cards)
    assert [(one.name, one.to_us) for one in pieces] == [
        ("pro@1", us("2026-03-11")),
        ("pro@2", us("2026-04-01")),
    ]
    assert charges(pieces)
    nothing = pinned(billing(), us("2026-03-01"), us("2026-04-01"), shelf())
    assert not charges(nothing)
    period = next_period(billing(), us("2026-03-05"))
    assert period is not None
    fields = close_fields(period, pieces)
    assert (fields["label"], fields["reissues"]) == ("2026-03", "")
    assert fields["segments"][1] == {
        "card": "pro",
        "version": "2",
        "from_us": us("2026-03-11"),
        "to_us": us("2026-04-01"),
    }


@pytest.mark.parametrize(("after", "expected"), [(None, (1, 9)), ((1, 70), (1, 70))])
def test_a_draft_corrects_what_came_after_the_last_cut_unless_told_otherwise(
    after: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    known = billing(close("2026-03-01", "2026-04-01", "2026-03"))
    period = next_period(known, None)
    assert period is not None
    drawn = draft_close(known, period, [], (1, 70), after)
    assert (drawn["after_generation"], drawn["after_sequence"]) == expected
    assert (drawn["number"], drawn["cut_sequence"]) == ("", 70)
    assert "sequence" not in drawn
