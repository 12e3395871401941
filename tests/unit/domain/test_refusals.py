"""streams.domain.pipeline: repeats, conflicts, times and limits; which of two refusals is given."""

from typing import Any

import pytest

from schemas import codec
from schemas.errors import RejectCode
from streams.domain.facts import DecidedFact
from streams.domain.identity import Verdict
from streams.domain.pipeline import decide
from streams.domain.refusal import Refusal
from streams.domain.state import PartitionState
from tests.builders import (
    DAY_US,
    HOUR_US,
    NOON,
    NOON_US,
    context,
    cycle,
    fact,
    grant,
    own_entry,
    position,
    signal,
    state,
    usage,
)

PLAN = context([("unit", "10")])


def rejected(result: Any) -> list[tuple[RejectCode, int]]:
    return [(found.code, found.record.offset) for found in result.rejected]


# --- identity ----------------------------------------------------------------------------------


def test_a_repeat_is_counted_and_changes_nothing_else() -> None:
    into = state()
    cycle(into, fact(usage()), context=PLAN)
    claims, account = dict(into.claims), codec.encode(into.accounts["acme"])
    result = cycle(into, fact(usage(), 1), fact(usage(), 2), context=PLAN)
    assert (own_entry(result).duplicates, len(result.entries)) == (2, 1)
    assert into.claims == claims
    assert codec.encode(into.accounts["acme"]) == account


def test_a_repeat_inside_one_cycle_is_a_duplicate() -> None:
    result = cycle(state(), fact(usage(), 0), fact(usage(), 1))
    assert (own_entry(result).accepted, own_entry(result).duplicates) == (1, 1)


def test_a_conflict_keeps_the_claim_of_the_first() -> None:
    into = state()
    cycle(into, fact(usage()))
    result = cycle(into, fact(usage(units=2), 1))
    assert rejected(result) == [(RejectCode.CONFLICT, 1)]
    assert "e1" in result.rejected[0].reason
    # The first content is still the duplicate, the other one still the conflict.
    again = cycle(into, fact(usage(), 2), fact(usage(units=2), 3))
    assert (own_entry(again).duplicates, own_entry(again).conflicts) == (1, 1)


def test_a_refused_record_leaves_its_id_free() -> None:
    into = state()
    refused = cycle(into, fact(usage(occurred_at="2025-01-01T00:00:00Z")))
    assert rejected(refused) == [(RejectCode.TOO_OLD, 0)]
    assert into.claims == into.new_claims == {}
    corrected = cycle(into, fact(usage(occurred_at=NOON), 1))
    assert own_entry(corrected).accepted == 1


def test_the_same_id_on_another_topic_source_or_customer_is_another_event() -> None:
    given = [
        fact(usage(event_id="x")),
        fact(usage(event_id="x", source="erp"), 1),
        fact(usage("bolt", event_id="x"), 2),
        fact(signal(event_id="x")),
        fact(grant(event_id="x")),
    ]
    assert own_entry(cycle(state(), *given)).accepted == 5


def test_beyond_the_horizon_an_id_may_be_claimed_anew() -> None:
    into = state()
    cycle(into, fact(usage()))
    at_edge, beyond = NOON_US + 35 * DAY_US, NOON_US + 35 * DAY_US + 1
    assert own_entry(cycle(into, fact(usage(), 1, at_edge), at_us=at_edge)).duplicates == 1
    assert own_entry(cycle(into, fact(usage(), 2, beyond), at_us=beyond)).accepted == 1
    # The claim is now the later record's.
    assert own_entry(cycle(into, fact(usage(), 3, beyond), at_us=beyond)).duplicates == 1


def test_new_claims_are_those_of_accepted_facts() -> None:
    into = state()
    first, repeat, other = fact(usage()), fact(usage(), 1), fact(usage(event_id="e2"), 2)
    cycle(into, first, repeat, other)
    assert into.new_claims.keys() == {first.claim_key, other.claim_key}
    assert into.new_claims[first.claim_key].offset == 0


# --- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("occurred_at", "appended_at_us", "code"),
    [
        (NOON, NOON_US + 34 * DAY_US, None),
        (NOON, NOON_US + 34 * DAY_US + 1, RejectCode.TOO_OLD),
        (NOON, NOON_US - HOUR_US, None),
        (NOON, NOON_US - HOUR_US - 1, RejectCode.IN_FUTURE),
    ],
)
@pytest.mark.parametrize("make", [usage, signal, grant])
def test_an_event_is_timely_up_to_and_including_the_limits(
    make: Any, occurred_at: str, appended_at_us: int, code: RejectCode | None
) -> None:
    given = fact(make(occurred_at=occurred_at), 0, appended_at_us)
    result = cycle(state(), given, at_us=appended_at_us)
    assert rejected(result) == ([] if code is None else [(code, 0)])
    assert own_entry(result).accepted == (code is None)


def test_timeliness_goes_by_the_append_and_not_by_the_cycle() -> None:
    # A backlog that is folded a year later is not late.
    result = cycle(state(), fact(usage(occurred_at=NOON)), at_us=NOON_US + 365 * DAY_US)
    assert own_entry(result).accepted == 1


# --- the order of refusals ---------------------------------------------------------------------


def decided(into: PartitionState, given: DecidedFact, **rules: Any) -> RejectCode | Verdict | None:
    decision = decide(into, given, context(**rules), position())
    if isinstance(decision, Refusal):
        return decision.code
    return decision if isinstance(decision, Verdict) else None


def test_a_conflict_comes_before_an_impossible_time() -> None:
    into = state()
    cycle(into, fact(usage()))
    assert decided(into, fact(usage(occurred_at="2025-01-01T00:00:00Z"), 1)) is RejectCode.CONFLICT
    assert decided(into, fact(usage(occurred_at="2027-01-01T00:00:00Z"), 1)) is RejectCode.CONFLICT


def test_a_repeat_is_a_duplicate_even_when_it_has_become_too_old() -> None:
    into = state()
    cycle(into, fact(usage(occurred_at=NOON)))
    late = fact(usage(occurred_at=NOON), 1, NOON_US + 35 * DAY_US)
    assert decided(into, late) is Verdict.DUPLICATE


def test_the_record_that_made_the_claim_is_a_replay_and_counts_as_a_duplicate() -> None:
    into = state()
    cycle(into, fact(usage()))
    assert decided(into, fact(usage())) is Verdict.REPLAY
    assert own_entry(cycle(into, fact(usage()))).duplicates == 1


def test_an_impossible_time_comes_before_too_many_grants() -> None:
    into = state()
    cycle(into, fact(grant()))
    old = fact(grant(event_id="g2", occurred_at="2025-01-01T00:00:00Z"), 1)
    young = fact(grant(event_id="g2", occurred_at="2027-01-01T00:00:00Z"), 1)
    assert decided(into, old, grants_max=1) is RejectCode.TOO_OLD
    assert decided(into, young, grants_max=1) is RejectCode.IN_FUTURE
    assert decided(into, fact(grant(event_id="g2"), 1), grants_max=1) is (
        RejectCode.TOO_MANY_GRANTS
    )


def test_deciding_changes_nothing() -> None:
    into = state()
    cycle(into, fact(usage()), context=PLAN)
    before = codec.encode([into.accounts, into.progress]), dict(into.claims)
    decide(into, fact(usage(event_id="e2", units=5), 1), PLAN, position())
    decide(into, fact(grant(event_id="g2"), 1), PLAN, position())
    assert (codec.encode([into.accounts, into.progress]), dict(into.claims)) == before


# --- the limit on grants -----------------------------------------------------------------------


def test_a_customer_is_given_no_more_grants_than_the_rules_allow() -> None:
    into = state()
    three = context([("unit", "1")], grants_max=3)
    given = [fact(grant(event_id=f"g{n}"), n) for n in range(5)]
    result = cycle(into, *given, context=three)
    assert rejected(result) == [
        (RejectCode.TOO_MANY_GRANTS, 3),
        (RejectCode.TOO_MANY_GRANTS, 4),
    ]
    assert len(into.accounts["acme"].grants) == 3 + len(three.plan)


def test_a_grant_that_is_used_up_makes_no_room_since_that_depends_on_the_cut() -> None:
    into, one = state(), context(grants_max=1)
    cycle(into, fact(grant(amount="1")), fact(usage()), context=one)
    result = cycle(into, fact(grant(event_id="g2"), 1), context=one)
    assert rejected(result) == [(RejectCode.TOO_MANY_GRANTS, 1)]
