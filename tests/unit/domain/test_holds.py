"""Holds: placed by an approval, ended once, and never more than there is."""

from typing import Any

import pytest

from schemas.structs import (
    ClosingEntry,
    DecisionEntry,
    Expiry,
    Extension,
    LedgerEntry,
    Release,
    SettlementEntry,
    UsageEntry,
)
from streams.domain.decisions import CEILING_REQUIRED, UNIT_MISMATCH, InvalidAskError
from streams.domain.facts import closed_key
from streams.domain.holds import closed_as, hold_id, parse_hold_id
from tests.builders import HOUR_US, context, grant, usage
from tests.owned_account import Owned

FIRST = "1-0-1"
"""The lease lies at offset 0."""


def closings(entries: list[LedgerEntry]) -> list[tuple[str, str, str]]:
    return [
        (e.reservation_id, e.closed_as, e.released) for e in entries if isinstance(e, ClosingEntry)
    ]


def of_usage(owned: Owned) -> UsageEntry:
    return next(e for e in reversed(owned.entries) if isinstance(e, UsageEntry))


def test_an_approval_holds_from_its_append_and_not_from_its_fold() -> None:
    owned = Owned()
    assert owned.ask("k1", estimate="700").approved
    again = owned.ask("k2", estimate="400")
    assert (again.approved, again.reason, again.remaining) == (False, "budget_exhausted", 300)
    owned.fold()
    assert not owned.ask("k3", estimate="400").approved
    assert owned.ask("k4", estimate="300").remaining == 0


def test_a_settlement_by_id_charges_what_was_used_and_gives_back_the_rest() -> None:
    owned = Owned()
    owned.ask(estimate="300")
    owned.give(usage(units=120, reservation_id=FIRST))
    owned.fold()
    assert closings(owned.entries) == [(FIRST, "settled", "180")]
    entry = of_usage(owned)
    assert (entry.units, entry.settlement, [p.amount for p in entry.holds]) == (
        120,
        "settled",
        ["120"],
    )
    assert owned.account.holds == {}
    assert owned.ask("k2", estimate="880").approved


def test_usage_beyond_its_hold_is_charged_and_shown_and_never_refused() -> None:
    owned = Owned()
    owned.ask(estimate="10")
    owned.give(usage(units=25, reservation_id=FIRST))
    owned.fold()
    entry = of_usage(owned)
    assert (entry.units, [p.amount for p in entry.holds]) == (25, ["10"])
    assert closings(owned.entries) == [(FIRST, "settled", "0")]


def test_a_hold_is_settled_once_and_the_second_time_says_so() -> None:
    owned = Owned()
    owned.ask(estimate="10")
    owned.give(usage(event_id="e1", units=4, reservation_id=FIRST))
    owned.give(usage(event_id="e2", units=4, reservation_id=FIRST))
    owned.give(usage(event_id="e3", units=1, reservation_id="1-0-99"))
    owned.fold()
    said = [e.settlement for e in owned.entries if isinstance(e, UsageEntry)]
    assert said == ["settled", "already_closed", "not_found"]
    assert len(closings(owned.entries)) == 1


def test_a_hold_that_ended_in_an_earlier_cycle_is_remembered() -> None:
    owned = Owned()
    owned.ask(estimate="10")
    owned.about(Release, FIRST)
    owned.fold()
    claim = owned.state.claims[closed_key("customer", "acme", FIRST)]
    assert closed_as(claim) == "released"
    owned.give(usage(units=4, reservation_id=FIRST))
    owned.fold()
    assert of_usage(owned).settlement == "already_closed"


def test_the_oldest_holds_of_the_same_task_are_reduced_in_order() -> None:
    owned = Owned()
    owned.ask("k1", estimate="10", task_ref="job")
    owned.ask("k2", estimate="10")
    owned.ask("k3", estimate="10", task_ref="job")
    owned.give(usage(units=14, task_ref="job", settles_oldest=True))
    owned.fold()
    assert closings(owned.entries) == [(FIRST, "used_up", "0")]
    assert [(h.reservation_id, h.open) for h in owned.account.holds.values()] == [
        ("1-0-2", 10),
        ("1-0-3", 6),
    ]


def test_a_failed_call_gives_its_hold_back_and_charges_nothing() -> None:
    owned = Owned()
    owned.ask(estimate="10")
    owned.give(usage(units=0, success=False, reservation_id=FIRST))
    owned.fold()
    assert closings(owned.entries) == [(FIRST, "released", "10")]
    assert owned.account.used_units == 0


@pytest.mark.parametrize(
    ("denomination", "told", "charged"),
    [("unit", {"units": 3}, 10), ("token", {"tokens": {"input": 3}}, 10)],
)
def test_unknown_usage_charges_at_least_what_was_held(
    denomination: str, told: dict[str, Any], charged: int
) -> None:
    owned = Owned()
    owned.ask(estimate="10", denomination=denomination)
    owned.give(usage(**({"units": 0} | told), usage_missing=True, reservation_id=FIRST))
    owned.fold()
    account = owned.account
    assert {"unit": account.used_units, "token": account.used_tokens}[denomination] == charged


def test_an_event_without_a_price_charges_the_larger_of_hold_and_estimate() -> None:
    owned = Owned()
    owned.give(grant(denomination="usd", amount="5"))
    owned.fold()
    owned.ask(estimate="2", denomination="usd")
    owned.give(usage(units=0, model="unknown", tokens={"input": 10}, reservation_id=FIRST))
    owned.fold()
    assert (of_usage(owned).cost_basis, of_usage(owned).provisional) == ("unpriced", "2")


def test_an_extension_moves_the_end_and_an_older_expiry_does_nothing() -> None:
    owned = Owned()
    owned.ask(estimate="10")
    owned.fold()
    end = next(iter(owned.account.holds.values())).expires_at_us
    owned.about(Extension, FIRST, expires_at=end + HOUR_US)
    owned.now_us = end
    owned.about(Expiry, FIRST)
    owned.fold()
    assert [h.expires_at_us for h in owned.account.holds.values()] == [end + HOUR_US]
    owned.now_us = end + HOUR_US
    owned.about(Expiry, FIRST)
    owned.fold()
    assert closings(owned.entries) == [(FIRST, "expired", "10")]


def test_what_another_lease_came_before_is_void_and_frees_nothing() -> None:
    owned = Owned()
    owned.ask(estimate="10")
    owned.fold()
    stale = Release(
        schema_version=1,
        lease=7,
        nonce="f" * 16,
        decided_at=owned.now_us,
        account_kind="customer",
        account_id="acme",
        reservation_id=FIRST,
    )
    owned.append(stale)
    result = owned.fold()
    assert result.entries[0].void == 1  # type: ignore[union-attr]
    assert [h.reservation_id for h in owned.account.holds.values()] == [FIRST]


def test_a_decision_with_a_key_that_decided_before_counts_once() -> None:
    owned = Owned()
    owned.ask("same", estimate="10")
    owned.ask("same", estimate="10")
    owned.fold()
    assert len([e for e in owned.entries if isinstance(e, DecisionEntry)]) == 1
    assert len(owned.account.holds) == 1


def test_a_task_counts_what_all_its_customers_use_and_its_holds_end_with_theirs() -> None:
    owned = Owned()
    task = owned.ask("t1", account_kind="task", account_id="job", estimate="10", task_ceiling="30")
    assert (task.approved, task.ceiling, task.remaining) == (True, 30, 20)
    owned.ask("c1", estimate="10", task_ref="job", task_reservation_id=FIRST)
    owned.give(usage(units=6, task_ref="job", agent_id="bot", reservation_id="1-0-2"))
    owned.give(usage(customer="other", units=5, task_ref="job", agent_id="bot"))
    owned.settle()
    job = owned.state.tasks["job"]
    assert (job.used_units, job.holds, job.breakdown) == (11, {}, {"bot": 11})
    assert [e.units for e in owned.entries if isinstance(e, SettlementEntry)] == [6, 5]
    refused = owned.ask("t2", account_kind="task", account_id="job", estimate="20")
    assert (refused.reason, refused.used, refused.remaining) == ("task_ceiling_exceeded", 11, 19)


def test_a_release_of_the_customers_hold_ends_that_of_the_task() -> None:
    owned = Owned()
    owned.ask("t1", account_kind="task", account_id="job", estimate="10", task_ceiling="30")
    owned.ask("c1", estimate="10", task_ref="job", task_reservation_id=FIRST)
    owned.about(Release, "1-0-2")
    owned.settle()
    assert owned.state.tasks["job"].holds == {}
    assert closings(owned.entries) == [("1-0-2", "released", "10"), (FIRST, "released", "10")]


def test_the_first_call_of_a_task_names_its_ceiling_and_all_count_alike() -> None:
    owned = Owned()
    with pytest.raises(InvalidAskError) as missing:
        owned.ask(account_kind="task", account_id="job")
    assert missing.value.code == CEILING_REQUIRED
    owned.ask("k2", account_kind="task", account_id="job", task_ceiling="5")
    with pytest.raises(InvalidAskError) as other:
        owned.ask("k3", account_kind="task", account_id="job", denomination="token")
    assert other.value.code == UNIT_MISMATCH


def test_an_account_has_no_more_open_holds_than_the_rules_allow() -> None:
    owned = Owned(context([("unit", "1000")], holds_max=2))
    owned.ask("k1")
    owned.ask("k2")
    with pytest.raises(InvalidAskError, match="2 open holds"):
        owned.ask("k3")


def test_an_id_of_a_hold_says_where_its_decision_lies() -> None:
    assert parse_hold_id(hold_id(3, 7, 12)) == (3, 7, 12)
    for other in ("", "1-2", "1-2-x", "1-2-3-4", "١-2-3"):
        assert parse_hold_id(other) is None
