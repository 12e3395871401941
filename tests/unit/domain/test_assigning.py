"""Events without a customer: whose they become, how long they wait, what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from schemas import codec
from schemas.errors import RejectCode
from schemas.structs import Signal, Usage
from schemas.times import MICROSECONDS
from schemas.topics import SIGNALS, UNASSIGNED, USAGE
from streams.domain.decoding import decode_record
from streams.domain.facts import Rejected, SourceRecord
from streams.domain.folding import fold_recorded
from streams.domain.nameless import forward_of
from streams.domain.state import PartitionState, Progress
from tests.builders import DAY_US, NOON_US, SECOND_US, context, usage
from tests.nameless import (
    Nameless,
    binding,
    event_of,
    nameless_signal,
    nameless_usage,
    waiting,
)

WAIT_US = 86_400 * MICROSECONDS


def ruled(**rules: Any) -> Nameless:
    return Nameless(replace(context(**rules), partitions=1))


# --- whose it is -------------------------------------------------------------------------------


def test_an_event_of_a_bound_trace_is_passed_on_at_once() -> None:
    books = Nameless()
    books.cycle(binding("t1", "acme"))
    (forward,) = books.cycle(nameless_usage("t1", "e1", units=7))
    assert (forward.topic, forward.key) == (USAGE.name, b"acme")
    event = event_of(forward)
    assert isinstance(event, Usage)
    assert (event.customer_id, event.event_id, event.source, event.units) == (
        *("acme", "e1", "crm"), 7,
    )  # fmt: skip
    assert books.owns[-1].forwarded == 1
    assert books.owns[-1].waiting == 0


def test_an_event_waits_for_the_binding_of_its_trace() -> None:
    books = Nameless()
    assert books.cycle(nameless_usage("t1", "e1"), nameless_signal("t1", "s1")) == []
    assert (books.owns[-1].waiting, books.owns[-1].forwarded) == (2, 0)
    assert books.cycle(binding("t2", "zeta")) == []
    first, second = books.cycle(binding("t1", "acme"))
    assert (first.topic, second.topic) == (USAGE.name, SIGNALS.name)
    assert isinstance(event_of(second), Signal)
    assert (books.owns[-1].bindings, books.owns[-1].forwarded, books.owns[-1].waiting) == (1, 2, 0)
    assert books.rejected == []


def test_an_event_is_passed_on_with_all_that_it_says_and_with_its_own_time() -> None:
    told = usage(
        "nobody",
        "t:s",
        occurred_at="2026-01-15T11:59:00Z",
        tokens={"input": 3, "output": 4},
        cost="0.25",
        trace_id="t1",
        span_id="0123456789abcdef",
        metadata={"who": "é"},
    )
    (forward,) = [
        *Nameless().cycle(waiting("t1", told), binding("t1", "acme")),
    ]
    due = codec.to_plain(told) | {"customer_id": "acme"}
    assert codec.to_plain(event_of(forward)) == due


def test_the_first_binding_by_offset_counts_and_another_customer_is_refused() -> None:
    books = Nameless()
    books.cycle(binding("t1", "acme"), binding("t1", "zeta"))
    books.cycle(nameless_usage("t1"))
    books.cycle(binding("t1", "zeta"))
    assert books.passed_on() == [("acme", "e1")]
    assert books.refused() == [("other_customer", 1), ("other_customer", 3)]


def test_a_binding_that_is_repeated_is_counted_and_changes_nothing() -> None:
    books = Nameless()
    books.cycle(binding("t1", "acme"), binding("t1", "acme"))
    assert (books.owns[-1].bindings, books.rejected) == (2, [])


def test_traces_are_apart() -> None:
    books = Nameless()
    books.cycle(nameless_usage("t1", "e1"), nameless_usage("t2", "e2"), binding("t2", "zeta"))
    assert books.passed_on() == [("zeta", "e2")]
    books.cycle(binding("t1", "acme"))
    assert books.passed_on() == [("zeta", "e2"), ("acme", "e1")]


def test_a_repeat_is_passed_on_as_the_same_bytes() -> None:
    # The claim of its id, where it goes, tells that it is one.
    books = Nameless()
    books.cycle(nameless_usage("t1"), binding("t1", "acme"), nameless_usage("t1"))
    assert len(books.forwards) == 2
    assert len(set(books.forwards)) == 1


# --- how long it waits -------------------------------------------------------------------------


def test_what_waits_in_vain_is_a_dead_letter_with_its_own_bytes() -> None:
    books = Nameless()
    books.cycle(nameless_usage("t1", "é"))
    books.cycle(binding("t2", "zeta"), after_us=WAIT_US - 1)
    assert books.rejected == []
    books.cycle(binding("t2", "zeta"), after_us=1)
    (letter,) = books.rejected
    assert letter.code is RejectCode.NO_CUSTOMER
    assert letter.record == books.records[0]
    own = books.owns[-1]
    assert (own.timed_out, own.dead_letters, own.waiting) == (1, 1, 0)
    books.cycle(binding("t1", "acme"))
    assert books.forwards == []


def test_time_ends_events_each_after_its_own_wait() -> None:
    books = Nameless()
    books.cycle(nameless_usage("t1", "e1"))
    books.cycle(nameless_usage("t1", "e2"), after_us=WAIT_US // 2)
    books.cycle(binding("t2", "zeta"), after_us=WAIT_US // 2)
    assert books.refused() == [("no_customer", 0)]
    books.cycle(binding("t1", "acme"))
    assert books.passed_on() == [("acme", "e2")]


@pytest.mark.parametrize("alone", [True, False])
def test_a_binding_counts_for_what_has_not_waited_its_time(alone: bool) -> None:
    # In a cycle of its own or in that of the events: neither makes it late nor timely.
    books = Nameless()
    books.append(nameless_usage("t1", "e1"))
    books.append(nameless_usage("t1", "e2"), after_us=1)
    if alone:
        books.cycle()
    books.cycle(binding("t1", "acme"), after_us=WAIT_US - 1)
    assert books.passed_on() == [("acme", "e2")]
    assert books.refused() == [("no_customer", 0)]
    own = books.owns[-1]
    assert (own.bindings, own.forwarded, own.timed_out, own.waiting) == (1, 1, 1, 0)


def test_what_has_waited_its_time_takes_no_place() -> None:
    books = ruled(unassigned_max=1)
    books.append(nameless_usage("t1", "e1"))
    books.append(nameless_usage("t1", "e2"), after_us=WAIT_US - 1)
    books.append(nameless_usage("t1", "e3"), after_us=1)
    books.cycle()
    assert books.refused() == [("too_many_waiting", 1)]


@pytest.mark.parametrize("alone", [True, False])
def test_a_trace_that_was_long_forgotten_is_whose_it_is_named_next(alone: bool) -> None:
    books = ruled(window_days=1)
    books.append(binding("t1", "acme"))
    books.append(nameless_usage("t1", "e1"), after_us=DAY_US - 1)
    if alone:
        books.cycle()
    books.append(nameless_usage("t1", "e2"), after_us=DAY_US)
    books.append(binding("t1", "zeta"))
    books.cycle()
    assert books.passed_on() == [("acme", "e1"), ("zeta", "e2")]
    assert books.rejected == []


def test_a_tick_ends_what_waits_where_nothing_else_comes() -> None:
    books = Nameless()
    books.cycle(nameless_usage("t1"))
    due_us = books.state.progress.waiting_due_us
    assert due_us == books.now_us + WAIT_US
    books.tick(end=1, after_us=WAIT_US)
    assert books.refused() == [("no_customer", 0)]
    assert books.state.progress.waiting_due_us == 0


@pytest.mark.parametrize("end", [2, None])
def test_a_tick_that_saw_more_than_is_folded_ends_nothing(end: int | None) -> None:
    books = Nameless()
    books.cycle(nameless_usage("t1"))
    books.append(binding("t1", "acme"))
    books.tick(end, after_us=2 * WAIT_US)
    assert books.rejected == []
    books.cycle()
    assert books.passed_on() == [("acme", "e1")]


def test_time_of_other_topics_ends_nothing() -> None:
    books = Nameless()
    books.cycle(nameless_usage("t1"))
    books.now_us += 2 * WAIT_US
    books.cycle()
    assert books.rejected == []


def test_a_customer_is_known_as_long_as_the_trace_is_heard_of_and_the_window_after_it() -> None:
    books = ruled(window_days=1)
    books.cycle(binding("t1", "acme"))
    books.cycle(nameless_usage("t1", "e1"), after_us=DAY_US // 2)
    books.cycle(binding("t2", "zeta"), after_us=DAY_US // 2)
    books.cycle(nameless_usage("t1", "e2"))
    assert books.passed_on() == [("acme", "e1"), ("acme", "e2")]
    books.cycle(binding("t2", "zeta"), after_us=2 * DAY_US)
    assert [key for key in books.state.unbound.traces if "t1" in key] == []
    books.cycle(binding("t1", "zeta"), nameless_usage("t1", "e3"))
    assert books.passed_on()[-1] == ("zeta", "e3")


def test_nothing_is_left_of_what_is_over() -> None:
    books = ruled(window_days=1)
    books.cycle(nameless_usage("t1"), nameless_usage("t2"), binding("t2", "zeta"))
    for _ in range(3):
        books.tick(end=len(books.records), after_us=3 * DAY_US)
    assert books.table == {}


# --- bounds ------------------------------------------------------------------------------------


def test_as_many_events_of_a_trace_wait_as_the_rules_allow() -> None:
    books = ruled(unassigned_max=2)
    books.cycle(*(nameless_usage("t1", f"e{n}") for n in range(3)), nameless_usage("t2", "e9"))
    assert books.refused() == [("too_many_waiting", 2)]
    assert books.owns[-1].waiting == 3
    books.cycle(binding("t1", "acme"))
    books.cycle(nameless_usage("t1", "e3"), nameless_usage("t1", "e4"), nameless_usage("t1", "e5"))
    assert [event for _, event in books.passed_on()] == ["e0", "e1", "e3", "e4", "e5"]


def test_one_cycle_ends_a_thousand_events_and_the_next_one_goes_on() -> None:
    books = ruled(unassigned_max=1_000)
    books.append(*(nameless_usage(f"t{n % 30}", f"e{n}") for n in range(1_300)), after_us=0)
    books.cycle()
    books.tick(end=1_300, after_us=2 * WAIT_US)
    assert len(books.rejected) == 1_024
    assert 0 < books.state.progress.waiting_due_us <= books.now_us
    books.tick(end=1_300, after_us=SECOND_US)
    assert sorted(offset for _, offset in books.refused()) == list(range(1_300))
    assert books.table == {}


# --- what is no fact ---------------------------------------------------------------------------


def refused(told: dict[str, Any], **record: Any) -> tuple[str, str]:
    head = {"schema_version": 1, "trace_id": "t1", "source": "crm", "event_id": "e1"}
    given = {"key": b"t1", "value": codec.encode(head | told)} | record
    found = decode_record(SourceRecord(UNASSIGNED.name, 0, NOON_US, **given), 0, 1)
    assert isinstance(found, Rejected), found
    return found.code.value, found.field


EVENT = {"schema_version": 1, "source": "crm", "event_id": "e1", "units": 1}


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({}, "customer_id"),
        ({"customer_id": "acme", "usage": EVENT}, "customer_id"),
        ({"usage": EVENT, "signal": EVENT | {"name": "x"}}, "signal.units"),
        ({"customer_id": "\0acme"}, "customer_id"),
        ({"usage": EVENT | {"event_id": "e2"}}, "event_id"),
        ({"usage": EVENT | {"source": "erp"}}, "source"),
        ({"usage": EVENT | {"customer_id": "acme"}}, "usage.customer_id"),
        ({"usage": EVENT | {"occurred_at": "2026-02-30T00:00:00Z"}}, "usage.occurred_at"),
        ({"usage": EVENT | {"trace_id": "é" * 100}}, "usage.trace_id"),
        ({"usage": EVENT | {"quantities": {"input_image_tokens": 3}}}, "usage.quantities"),
    ],
)
def test_a_record_that_can_never_count_is_refused_where_it_came(
    told: dict[str, Any], field: str
) -> None:
    code, place = refused(told)
    assert code in ("invalid_field", "unknown_field")
    assert place.startswith(field), place


def test_the_key_is_the_trace_and_murmur2_tells_its_partition() -> None:
    assert refused({"customer_id": "acme"}, key=b"acme") == ("wrong_key", "key")
    head = codec.encode(
        {"schema_version": 1, "trace_id": "t1", "source": "s", "event_id": "e", "customer_id": "c"}
    )
    found = [
        decode_record(SourceRecord(UNASSIGNED.name, 0, NOON_US, b"t1", head), at, 8)
        for at in range(8)
    ]
    assert sum(isinstance(one, Rejected) for one in found) == 7


# --- cycles that were recorded -----------------------------------------------------------------


def test_a_recorded_cycle_leaves_the_same_rows() -> None:
    books = Nameless(loaded=False)
    other = PartitionState(Progress())
    for bodies in (
        [nameless_usage("t1", "e1"), nameless_usage("t2", "e2")],
        [binding("t1", "acme"), binding("t1", "zeta")],
    ):
        books.append(*bodies)
        facts = list(books.waiting)
        books.cycle()
        fold_recorded(other, [books.owns[-1]], books.context, facts)
        other.unbound.touched.clear()
    books.tick(end=4, after_us=2 * WAIT_US)
    fold_recorded(other, [books.owns[-1]], books.context)
    other.unbound.touched.clear()
    assert other.unbound == books.state.unbound
    ignored = ("next_sequence", "next_dead_letter", "lease", "nonce", "consumed")
    for name in Progress.__struct_fields__:
        if name not in ignored:
            assert getattr(other.progress, name) == getattr(books.state.progress, name), name


def test_what_is_passed_on_depends_on_the_record_and_the_customer_alone() -> None:
    body = nameless_usage("t1", "e1")
    assert forward_of(body, "acme") == forward_of(
        codec.decode_unassigned(codec.encode(body)), "acme"
    )
