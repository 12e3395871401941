"""Which signal carries what of which cost, in whatever order they come."""

from typing import Any

import pytest

from schemas.structs import (
    Attribution,
    Signal,
    SignalEntry,
    Tick,
    Usage,
    UsageEntry,
    VoidEntry,
    replace,
)
from schemas.structs import Void as VoidRecord
from schemas.times import MICROSECONDS
from streams.domain.facts import LeaseFact, SourceRecord
from streams.domain.windows import SEGMENT_KEYS_MAX, shares, split
from tests.builders import context, record, signal, usage
from tests.windowed import MINUTE_US, QUIET_US, Windowed

TRACE = "a" * 32


def cost(event_id: str, amount: str = "1", **more: Any) -> Usage:
    """A call that cost so many dollars."""
    return usage("acme", event_id, **({"trace_id": TRACE, "cost": amount} | more))


def claim(event_id: str, **more: Any) -> Signal:
    """An outcome that asks for the cost of its trace."""
    return signal("acme", event_id, **({"trace_id": TRACE, "cost_tracing": True} | more))


def entry_of(books: Windowed, event_id: str) -> str:
    """The id of the entry of an event."""
    kinds = UsageEntry | SignalEntry
    (found,) = [e for e in books.entries if isinstance(e, kinds) and e.event_id == event_id]
    return found.entry_id


def carried(books: Windowed, event_id: str) -> int:
    """What a signal carries by now, in pico-dollars; of '' what nobody does."""
    whose = entry_of(books, event_id) if event_id else ""
    return sum(
        amount for (_, signal_entry), amount in books.carried().items() if signal_entry == whose
    )


def flags(rows: list[Attribution]) -> list[list[str]]:
    return [row.flags for row in rows]


def taken_back(books: Windowed, event_id: str, **more: Any) -> VoidRecord:
    """The void of an accepted signal."""
    (entry,) = [e for e in books.entries if isinstance(e, SignalEntry) and e.event_id == event_id]
    return VoidRecord(
        schema_version=1,
        event_id=f"void {event_id}",
        source="admin",
        customer_id="acme",
        signal_source=entry.source,
        signal_event_id=event_id,
        signal_entry=entry.entry_id,
        signal_decided_at=entry.decided_at,
        signal_name=entry.signal_name,
        trace_id=entry.trace_id or None,
        scope_id=entry.scope_id or None,
        **more,
    )


USD = 10**12


@pytest.fixture(params=[True, False], ids=["loaded", "in memory"])
def books(request: pytest.FixtureRequest) -> Windowed:
    return Windowed(loaded=request.param)


def test_all_calls_of_a_trace_land_on_its_one_signal(books: Windowed) -> None:
    assert not books.cycle(cost("e1", "0.1"), cost("e2", "0.02"), claim("s1"))
    assert not books.cycle(cost("e3", "0.003"))
    rows = books.quiet()
    assert [row.amount for row in rows] == ["0.1", "0.02", "0.003"]
    assert {row.signal_entry for row in rows} == {entry_of(books, "s1")}
    assert flags(rows) == [[], [], []]
    assert [row.sequence for row in books.rows] == [0, 1, 2]


def test_a_window_waits_for_lateness_and_grace_after_its_last_event(books: Windowed) -> None:
    books.cycle(cost("e1"))
    books.cycle(cost("e2"), after_us=QUIET_US - MINUTE_US)
    assert not books.quiet(QUIET_US - MINUTE_US)
    assert len(books.quiet(MINUTE_US)) == 2


def test_a_cost_that_comes_after_the_closing_lands_on_the_signal_too(books: Windowed) -> None:
    books.cycle(claim("s1"), cost("e1"))
    books.quiet()
    rows = books.cycle(cost("e2", "0.5"))
    assert [(row.amount, row.flags) for row in rows] == [("0.5", ["late"])]
    assert carried(books, "s1") == 15 * USD // 10


def test_a_signal_that_comes_after_the_closing_takes_over_what_was_nobodys(books: Windowed) -> None:
    books.cycle(cost("e1"))
    (row,) = books.quiet()
    assert (row.role, row.signal_entry) == ("unattributed", "")
    rows = books.cycle(claim("s1"))
    assert [(row.role, row.amount) for row in rows] == [("unattributed", "-1"), ("share", "1")]
    assert carried(books, "s1") == USD
    assert carried(books, "") == 0
    assert {row.cause for row in rows} == {entry_of(books, "s1")}


def test_two_claiming_signals_share_a_cost_to_the_last_pico_dollar(books: Windowed) -> None:
    books.cycle(cost("e1", "0.000000000010"), claim("s1"), claim("s2", weight=2))
    rows = books.quiet()
    assert [row.amount for row in rows] == ["0.000000000004", "0.000000000006"]
    assert flags(rows) == [["split_between_signals"]] * 2


def test_a_signal_that_does_not_ask_carries_nothing(books: Windowed) -> None:
    books.cycle(cost("e1"), claim("s1"), claim("s2", cost_tracing=False))
    books.quiet()
    assert carried(books, "s1") == USD
    assert carried(books, "s2") == 0


def test_a_signal_of_a_scope_claims_it_before_any_of_its_costs(books: Windowed) -> None:
    books.cycle(claim("s1", trace_id=None, scope_id="7"))
    books.quiet()
    books.cycle(cost("e1", scope_id="7"), cost("e2", "2", scope_id="8"))
    books.quiet()
    assert carried(books, "s1") == USD
    assert carried(books, "") == 2 * USD


def test_a_late_signal_of_a_scope_claims_its_costs_in_all_traces(books: Windowed) -> None:
    books.cycle(cost("e1", scope_id="7"), cost("e2", trace_id="b" * 32, scope_id="7"))
    books.cycle(cost("e3", trace_id=None, scope_id="7"), cost("e4"))
    books.quiet()
    books.cycle(claim("s1", trace_id=None, scope_id="7"))
    assert carried(books, "s1") == 3 * USD
    assert carried(books, "") == USD


def test_a_signal_of_the_trace_shares_with_one_of_the_scope(books: Windowed) -> None:
    books.cycle(cost("e1", scope_id="7"), claim("s1"))
    books.quiet()
    books.cycle(claim("s2", trace_id=None, scope_id="7"))
    assert carried(books, "s1") == carried(books, "s2") == USD // 2
    # One that names both claims once.
    books.cycle(claim("s3", scope_id="7", weight=2))
    assert carried(books, "s3") == USD // 2


def test_a_signal_without_cost_says_why(books: Windowed) -> None:
    books.cycle(claim("s1"), claim("s2", trace_id=None))
    books.cycle(cost("e1", trace_id="b" * 32), claim("s3", trace_id="b" * 32, cost_tracing=False))
    books.quiet()
    told = {row.signal_entry: row.flags for row in books.rows if row.role == "signal"}
    assert told == {
        entry_of(books, "s1"): ["no_cost"],
        entry_of(books, "s2"): ["no_trace"],
        entry_of(books, "s3"): ["cost_tracing_off"],
    }


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_what_a_signal_carried_is_nobodys_once_it_is_taken_back(
    books: Windowed, closed: bool
) -> None:
    books.cycle(cost("e1"), claim("s1"), claim("s2"))
    if closed:
        books.quiet()
    books.cycle(taken_back(books, "s1"))
    books.quiet()
    assert (carried(books, "s1"), carried(books, "s2"), carried(books, "")) == (
        0,
        USD // 2,
        USD // 2,
    )


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_what_a_signal_carried_moves_to_the_others_where_that_is_asked(
    books: Windowed, closed: bool
) -> None:
    books.cycle(cost("e1"), claim("s1"), claim("s2"))
    if closed:
        books.quiet()
    books.cycle(taken_back(books, "s1", cost="move"))
    books.quiet()
    assert (carried(books, "s1"), carried(books, "s2")) == (0, USD)
    books.cycle(taken_back(books, "s2", cost="move"))
    assert carried(books, "") == USD


def test_a_signal_is_taken_back_once_whoever_says_it(books: Windowed) -> None:
    books.cycle(claim("s1"))
    first = taken_back(books, "s1")
    books.cycle(first)
    books.cycle(taken_back(books, "s1", reason="again"))
    assert len([e for e in books.entries if isinstance(e, VoidEntry)]) == 1
    assert not books.rejected
    assert books.state.accounts["acme"].signals == 0


def test_a_signal_that_nobody_sent_cannot_be_taken_back(books: Windowed) -> None:
    books.cycle(claim("s1"))
    void = taken_back(books, "s1")
    books.cycle(replace(void, signal_event_id="s2"))
    (refused,) = books.rejected
    assert refused.field == "signal_event_id"


def test_what_is_beyond_a_full_window_is_nobodys_and_says_so() -> None:
    books = Windowed(context(window_costs_max=2, window_signals_max=1))
    books.cycle(*(cost(f"e{n}") for n in range(3)), claim("s1"), claim("s2"))
    rows = [*books.rows, *books.quiet()]
    assert [row.role for row in rows if row.flags == ["window_full"]] == ["signal", "unattributed"]
    assert carried(books, "s1") == 2 * USD
    assert carried(books, "") == USD


def test_a_customer_with_too_many_open_windows_has_its_next_ones_closed_at_once() -> None:
    books = Windowed(context(windows_open_max=1))
    (row,) = books.cycle(cost("e1"), cost("e2", trace_id="b" * 32))
    assert row.trace_id == "b" * 32
    books.quiet()
    assert books.state.accounts["acme"].windows == 0
    assert sum(books.carried().values()) == 2 * USD


def test_a_window_is_forgotten_after_its_days(books: Windowed) -> None:
    day_us = 86_400 * MICROSECONDS
    books.cycle(cost("e1", scope_id="7"), claim("s1"))
    books.quiet()
    books.quiet(60 * day_us)
    books.cycle(cost("e2"))
    books.quiet(60 * day_us)  # the late cost has kept the trace
    books.cycle(cost("e3"))
    assert [row.signal_entry for row in books.rows[-2:]] == [entry_of(books, "s1")] * 2
    for _ in range(3):
        books.quiet(101 * day_us)
    assert not books.table
    assert not books.state.windows.rows
    books.cycle(taken_back(books, "s1"))
    assert books.rows[-1].flags == ["window_gone"]


def test_a_scope_is_kept_as_long_as_one_of_its_traces(books: Windowed) -> None:
    day_us = 86_400 * MICROSECONDS
    books.cycle(cost("e1", scope_id="7"), claim("s1", trace_id=None, scope_id="7"))
    books.quiet()
    books.quiet(60 * day_us)
    books.cycle(cost("e2"))
    books.quiet(60 * day_us)  # the scope has been quiet for 120 days, the trace has not
    books.cycle(claim("s2"))
    assert carried(books, "s1") == USD // 2
    books.cycle(taken_back(books, "s2"))
    assert (carried(books, "s1"), carried(books, "s2")) == (USD // 2, 0)


def test_a_span_is_not_counted_where_the_call_inside_it_was(books: Windowed) -> None:
    books.cycle(cost("e1", span_id="call", parent_span_id="agent"))
    books.cycle(cost("e2", span_id="agent", parent_span_id="chain"))
    books.cycle(cost("e3", span_id="chain", parent_span_id="root", outer=True))
    books.quiet()
    assert sum(books.carried().values()) == USD
    entries = [e for e in books.entries if isinstance(e, UsageEntry) and e.trace_id]
    assert [e.flags for e in entries] == [[], ["outer_span"], ["outer_span"]]
    assert books.state.accounts["acme"].used_pico_usd == USD


def test_a_call_is_not_counted_where_the_span_around_it_was(books: Windowed) -> None:
    books.cycle(cost("e1", span_id="agent"))
    books.cycle(cost("e2", span_id="call", parent_span_id="agent"))
    books.cycle(cost("e3", span_id="retry", parent_span_id="other"))
    books.quiet()
    assert sum(books.carried().values()) == 2 * USD


def test_a_call_that_told_no_usage_takes_it_from_no_other_span(books: Windowed) -> None:
    silent: dict[str, Any] = dict.fromkeys(("tokens", "cost"))
    books.cycle(cost("e1", span_id="call", parent_span_id="agent", usage_missing=True, **silent))
    books.cycle(cost("e2", span_id="agent", parent_span_id="chain"))
    books.cycle(cost("e3", span_id="failed", parent_span_id="wrapped", success=False, **silent))
    books.cycle(cost("e4", span_id="inside", parent_span_id="failed"))
    books.quiet()
    assert sum(books.carried().values()) == 2 * USD


def test_many_windows_close_in_the_order_in_which_they_were_opened(books: Windowed) -> None:
    count = 5 * SEGMENT_KEYS_MAX
    books.cycle(*(cost(f"e{n}", trace_id=f"{n:032x}") for n in range(count)))
    books.quiet()
    assert 0 < len(books.rows) < count
    books.cycle()
    assert [row.trace_id for row in books.rows] == [f"{n:032x}" for n in range(count)]


def tick(books: Windowed, lease: int, end: int) -> LeaseFact:
    """The owner lets time pass, having seen this end of `usage`."""
    body = Tick(
        schema_version=1,
        lease=lease,
        nonce="0" * 16,
        decided_at=books.now_us,
        end_offsets={"usage": end},
    )
    return LeaseFact(SourceRecord("preflights", 9, books.now_us, None, b""), body, books.now_us)


@pytest.mark.parametrize(
    ("lease", "end", "closes"),
    [(4, 1, True), (4, 2, False), (3, 1, False)],
    ids=["all folded", "something not folded", "another's lease"],
)
def test_a_tick_closes_windows_once_everything_it_saw_is_folded(
    books: Windowed, lease: int, end: int, closes: bool
) -> None:
    books.cycle(cost("e1"))
    progress = books.state.progress
    progress.lease, progress.nonce = 4, "0" * 16
    books.now_us += 2 * QUIET_US
    assert bool(books.fold([tick(books, lease, end)])) is closes


def test_event_time_does_not_run_ahead_of_the_append_by_more_than_the_limit() -> None:
    books = Windowed(context(future_seconds=60))
    ahead = record(usage("acme", "e1"), 0)
    assert ahead.appended_at_us
    books.cycle(cost("e1", occurred_at="2026-01-15T12:00:30Z"))
    assert books.state.progress.event_time_us <= books.now_us + 60 * MICROSECONDS


def test_parts_sum_to_the_whole_also_where_it_is_taken_back() -> None:
    assert split(10, [1, 1, 1]) == [4, 3, 3]
    assert split(-10, [1, 1, 1]) == [-4, -3, -3]
    assert split(0, [5, 1]) == [0, 0]
    assert shares(7, []) == {"": 7}
