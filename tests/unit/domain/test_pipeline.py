"""streams.domain.pipeline: what each kind of fact becomes, and in which order it is refused."""

from typing import Any

import pytest

from schemas import codec
from schemas.errors import RejectCode
from schemas.structs import GrantEntry, SignalEntry, UsageEntry
from streams.domain.context import RULES_VERSION, Context
from streams.domain.facts import Fact, Rejected, SourceRecord
from streams.domain.folding import FOLD_ORDER
from streams.domain.pipeline import evolve
from streams.domain.state import PartitionState
from tests.builders import (
    HOUR_US,
    NOON,
    NOON_US,
    SECOND_US,
    book,
    catalog_record,
    catalog_view,
    context,
    cycle,
    fact,
    grant,
    of_kind,
    own_entry,
    signal,
    state,
    usage,
)

PLAN = context([("unit", "10")])
PRICED = context(prices=book(small={"input": "3", "output": "15"}))


def usage_of(into: PartitionState, given: Fact, **more: Any) -> UsageEntry:
    """The entry of the one usage fact of a cycle."""
    (entry,) = of_kind(UsageEntry, cycle(into, given, **more).entries)
    return entry


def rejected(result: Any) -> list[tuple[RejectCode, int]]:
    return [(found.code, found.record.offset) for found in result.rejected]


# --- one entry per kind ------------------------------------------------------------------------


def test_a_usage_entry_says_what_was_used_and_where_it_comes_from() -> None:
    body = usage(
        units=2,
        tokens={"input": 10, "cache_read": 3, "output": 5, "output_audio": 1},
        agent_id="planner",
        task_ref="job",
        trace_id="t",
        provider="lab",
        model="small",
        success=False,
        occurred_at=NOON,
        metadata={"who": "secret"},
    )
    entry = usage_of(state(), fact(body, 7, NOON_US + 5), context=PRICED, at_us=NOON_US + 9)
    assert (entry.entry_id, entry.entry_index) == ("1-usage-0-7-0", 0)
    assert (entry.topic, entry.source_offset, entry.sequence, entry.cycle) == ("usage", 7, 1, 1)
    assert (entry.decided_at, entry.appended_at) == (NOON_US + 9, NOON_US + 5)
    assert (entry.occurred_at, entry.generation, entry.partition) == (NOON_US, 1, 0)
    assert (entry.customer_id, entry.source, entry.event_id) == ("acme", "crm", "e1")
    assert (entry.agent_id, entry.task_ref, entry.trace_id) == ("planner", "job", "t")
    assert (entry.provider, entry.model, entry.success) == ("lab", "small", False)
    assert (entry.units, entry.input_tokens, entry.cache_read_tokens) == (2, 10, 3)
    assert (entry.output_tokens, entry.output_audio_tokens, entry.reasoning_tokens) == (5, 1, 0)
    assert (entry.cost, entry.cost_basis) == ("0.000129", "priced")  # 13 × 3 + 6 × 15 millionths
    assert (entry.price_version, entry.priced_as) == ("test@1", "lab/small")
    assert b"secret" not in codec.encode(entry)


def test_a_signal_entry_says_what_came_of_it() -> None:
    body = signal(agent_id="a", trace_id="t", scope_id="s", quantity=3, cost_tracing=True)
    into = state()
    (entry,) = of_kind(SignalEntry, cycle(into, fact(body)).entries)
    assert (entry.signal_name, entry.quantity, entry.cost_tracing) == ("ticket_closed", 3, True)
    assert (entry.agent_id, entry.trace_id, entry.scope_id) == ("a", "t", "s")
    assert entry.entry_id == "1-signals-0-0-0"
    assert (into.accounts["acme"].signals, into.accounts["acme"].events) == (1, 0)


def test_a_grant_counts_from_its_cycle_unless_it_says_when() -> None:
    later = "2026-01-16T00:00:00Z"
    given = [fact(grant()), fact(grant(event_id="g2", effective_at=later, expires_at=None), 1)]
    first, second = of_kind(GrantEntry, cycle(state(), *given, at_us=NOON_US + 7).entries)
    assert (first.effective_at, first.expires_at, first.reason) == (NOON_US + 7, None, "")
    assert second.effective_at == NOON_US + 12 * HOUR_US
    assert (first.amount, first.priority, first.denomination) == ("100", 100, "unit")


def test_the_cycles_own_entry_stands_first_and_counts_everything() -> None:
    into = state()
    cycle(into, fact(usage()))
    poison = Rejected(
        SourceRecord("usage", 1, NOON_US, None, b"?"), RejectCode.MALFORMED, "not JSON"
    )
    result = cycle(
        into,
        poison,
        fact(usage(), 2),  # duplicate
        fact(usage(units=2), 3),  # conflict
        fact(usage(event_id="e2"), 4),
        fact(grant(), 0),
        at_us=NOON_US + SECOND_US,
        context=context(),
    )
    own = own_entry(result)
    assert (own.entry_id, own.sequence, own.cycle) == ("1-cycle-0-2", 2, 2)
    assert (own.accepted, own.duplicates, own.conflicts, own.dead_letters) == (2, 1, 1, 2)
    assert (own.dead_letter_sequence, own.catalog_offset) == (2, 2)
    assert own.rules_version == RULES_VERSION
    assert [(c.topic, c.from_offset, c.to_offset) for c in own.consumed] == [
        ("budgets", 0, 1),
        ("usage", 1, 5),
    ]
    assert rejected(result) == [(RejectCode.MALFORMED, 1), (RejectCode.CONFLICT, 3)]
    assert [entry.sequence for entry in result.entries] == [2, 3, 4]


def test_an_empty_cycle_is_one_entry() -> None:
    into = state()
    result = cycle(into)
    assert len(result.entries) == 1
    assert (into.progress.cycle, into.progress.next_sequence) == (1, 1)


def test_progress_follows_the_cycle() -> None:
    into = state()
    cycle(into, fact(usage()), context=PLAN, at_us=NOON_US + 3)
    progress = into.progress
    assert (progress.cycle, progress.next_sequence, progress.next_dead_letter) == (1, 3, 0)
    assert (progress.domain_time_us, progress.catalog_offset) == (NOON_US + 3, 2)


def test_time_that_runs_backwards_is_our_own_fault() -> None:
    into = state()
    cycle(into, at_us=NOON_US)
    with pytest.raises(AssertionError, match="backwards"):
        cycle(into, at_us=NOON_US - 1)


def test_money_is_folded_before_what_spends_it() -> None:
    assert FOLD_ORDER == ("budgets", "preflights", "transfers", "signals", "usage", "unassigned")
    entry = usage_of(state(), fact(usage()), context=context())
    assert entry.covered_units == 0
    result = cycle(state(), fact(usage(), 0), fact(grant(), 0))
    assert of_kind(UsageEntry, result.entries)[0].covered_units == 1


# --- first sight -------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [usage(units=0), signal(), grant()])
def test_the_first_accepted_fact_of_a_customer_brings_the_default_plan(body: Any) -> None:
    into = state()
    result = cycle(into, fact(body, 5), context=PLAN)
    planned, own = result.entries[1], result.entries[2]
    assert isinstance(planned, GrantEntry)
    assert (planned.amount, planned.reason, planned.effective_at) == ("10", "default plan", NOON_US)
    assert (planned.customer_id, planned.event_id) == (body.customer_id, body.event_id)
    assert {planned.entry_index, own.entry_index} == {0, 1}  # type: ignore[union-attr]
    assert [g.remaining for g in into.accounts["acme"].grants][:1] == [10]


def test_the_plan_is_granted_once_per_customer() -> None:
    into = state()
    cycle(into, fact(usage()), context=PLAN)
    more = [fact(usage(event_id="e2"), 1), fact(usage("bolt", "e3"), 2)]
    result = cycle(into, *more, context=PLAN)
    assert [g.customer_id for g in of_kind(GrantEntry, result.entries)] == ["bolt"]


def test_the_first_usage_is_covered_by_the_plan_that_it_brings() -> None:
    into = state()
    entry = usage_of(into, fact(usage(units=12)), context=PLAN)
    assert (entry.covered_units, entry.units) == (10, 12)
    assert [(b.amount, b.denomination) for b in entry.burns] == [("10", "unit")]
    assert into.accounts["acme"].grants == []


def test_the_first_usage_burns_the_plan_in_burn_order() -> None:
    plan = context([("unit", "10", 9), ("unit", "10", 1)])
    entries = cycle(state(), fact(usage(units=3)), context=plan).entries
    (first,) = [g.entry_id for g in of_kind(GrantEntry, entries) if g.priority == 1]
    (entry,) = of_kind(UsageEntry, entries)
    assert [burn.grant_id for burn in entry.burns] == [first]


def test_the_id_of_a_facts_own_entry_does_not_depend_on_being_the_first() -> None:
    # Which fact of a customer is folded first depends on how the log is cut into cycles.
    first = usage_of(state(), fact(usage(event_id="e9"), 9), context=PLAN)
    into = state()
    cycle(into, fact(usage()), context=PLAN)
    later = usage_of(into, fact(usage(event_id="e9"), 9), context=PLAN)
    assert first.entry_id == later.entry_id


def test_a_refused_first_fact_brings_no_plan() -> None:
    into = state()
    late = fact(usage(occurred_at="2025-01-01T00:00:00Z"))
    result = cycle(into, late, context=PLAN)
    assert rejected(result) == [(RejectCode.TOO_OLD, 0)]
    assert into.accounts == {}
    assert len(result.entries) == 1


# --- what usage burns --------------------------------------------------------------------------


def test_units_tokens_and_dollars_burn_grants_of_their_own() -> None:
    plan = context(
        [("unit", "10"), ("token", "100"), ("usd", "1")],
        prices=book(small={"input": "3", "output": "15"}),
    )
    body = usage(units=3, tokens={"input": 40, "output": 20}, provider="lab", model="small")
    into = state()
    entry = usage_of(into, fact(body), context=plan)
    assert (entry.covered_units, entry.covered_tokens, entry.covered_usd) == (3, 60, "0.00042")
    assert [(b.denomination.value, b.amount) for b in entry.burns] == [
        ("unit", "3"),
        ("token", "60"),
        ("usd", "0.00042"),
    ]
    assert [g.remaining for g in into.accounts["acme"].grants] == [7, 40, 10**12 - 42 * 10**7]


def test_what_grants_do_not_reach_is_charged_beyond_them() -> None:
    into = state()
    cycle(into, fact(grant(denomination="usd", amount="1")))
    entry = usage_of(into, fact(usage(cost="2.5")))
    assert (entry.cost, entry.covered_usd) == ("2.5", "1")
    assert into.accounts["acme"].used_pico_usd == 25 * 10**11


def test_unpriced_usage_burns_dollars_provisionally_and_is_flagged() -> None:
    into = state()
    cycle(into, fact(grant(denomination="usd", amount="1")))
    entry = usage_of(into, fact(usage(tokens={"input": 1000}, model="unheard-of")))
    assert (entry.cost, entry.provisional, entry.covered_usd) == ("0", "0.015", "0.015")
    assert (entry.cost_basis, entry.flags) == ("unpriced", ["unpriced"])
    assert into.accounts["acme"].used_pico_usd == 15 * 10**9


def test_another_currency_burns_no_dollars_and_is_flagged() -> None:
    into = state()
    cycle(into, fact(grant(denomination="usd", amount="1")))
    entry = usage_of(into, fact(usage(cost="0.5", currency="EUR")))
    assert (entry.cost, entry.currency, entry.covered_usd) == ("0.5", "EUR", "0")
    assert entry.flags == ["currency_without_balance"]
    assert into.accounts["acme"].used_pico_usd == 0
    assert into.accounts["acme"].used_other == {"EUR": 5 * 10**11}


def test_dollars_are_not_flagged() -> None:
    assert usage_of(state(), fact(usage(cost="0.5"))).flags == []


def test_a_grant_that_is_over_is_not_burnt() -> None:
    into = state()
    cycle(into, fact(grant(expires_at="2026-01-15T12:00:01Z")))
    before = usage_of(into, fact(usage()), at_us=NOON_US + SECOND_US - 1)
    after = usage_of(into, fact(usage(event_id="e2"), 1), at_us=NOON_US + SECOND_US)
    assert (before.covered_units, after.covered_units) == (1, 0)


def test_every_accepted_entry_can_be_read_back_whatever_its_size() -> None:
    largest = 10**12
    into = state()
    cycle(into, fact(grant(denomination="token", amount=str(7 * largest))))
    tokens = dict.fromkeys(("input", "cache_read", "output", "reasoning"), largest)
    entry = usage_of(into, fact(usage(units=largest, tokens=tokens, cost="9" * 18)))
    assert entry.covered_tokens == 4 * largest
    assert codec.decode_entry(codec.encode(entry)) == entry


def test_the_dearest_price_times_the_largest_event_is_still_an_entry() -> None:
    dear = context(prices=book(small={"input": "9" * 18}))
    body = usage(tokens={"input": 10**12}, provider="lab", model="small")
    entry = usage_of(state(), fact(body), context=dear)
    assert codec.decode_entry(codec.encode(entry)) == entry


# --- evolve ------------------------------------------------------------------------------------


def test_the_entries_of_a_cycle_make_the_state_that_the_cycle_made() -> None:
    folded = state()
    result = cycle(
        folded,
        fact(grant()),
        fact(signal()),
        fact(usage(units=7, cost="0.5")),
        fact(usage("bolt", "e2"), 1),
        context=PLAN,
    )
    rebuilt = state()
    for entry in result.entries:
        evolve(rebuilt, entry)
    assert rebuilt.accounts == folded.accounts
    assert rebuilt.progress == folded.progress
    assert rebuilt.touched == folded.touched == {"acme", "bolt"}


def test_an_account_remembers_its_last_entry() -> None:
    into = state()
    cycle(into, fact(usage()), fact(usage("bolt", "e2"), 1), context=PLAN)
    assert {c: a.last_sequence for c, a in into.accounts.items()} == {"acme": 2, "bolt": 4}


def generation_2() -> Context:
    view = catalog_view()
    second = catalog_record("generation", version="2", generation=2, partitions=8, topic_ids={})
    view.fold(2, second)
    return view.context()


def test_a_new_generation_counts_from_zero_and_keeps_balances_and_claims() -> None:
    into = state()
    cycle(into, fact(usage(units=3), offset=7))
    result = cycle(
        into,
        fact(usage(units=3), offset=0),
        fact(usage(event_id="e2"), offset=1),
        context=generation_2(),
    )
    own = own_entry(result)
    assert (own.generation, own.cycle, own.sequence) == (2, 1, 0)
    assert (own.accepted, own.duplicates) == (1, 1), "a claim outlives the topics' generation"
    (entry,) = of_kind(UsageEntry, result.entries)
    assert (entry.entry_id, entry.sequence) == ("2-usage-0-1-0", 1)
    assert into.accounts["acme"].used_units == 3 + entry.units
    assert into.progress.consumed == {"usage": 2}


def test_a_cycle_under_an_older_catalog_is_our_own_fault() -> None:
    into = state()
    cycle(into, fact(usage()), context=generation_2())
    with pytest.raises(AssertionError, match="later generation"):
        cycle(into)
