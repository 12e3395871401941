"""What becomes of dead letters: a replay decides the original as it was, and never twice."""

from dataclasses import replace
from typing import Any

import pytest

from schemas import codec
from schemas.errors import RejectCode, RejectError
from schemas.structs import CycleEntry, GrantEntry, ResolutionEntry, UsageEntry
from schemas.times import format_time
from streams.domain import canonical, decoding, folding, pipeline, usage_entries
from streams.domain.facts import Rejected, ReplayFact, SourceRecord, claim_keys
from streams.domain.folding import CycleResult
from streams.domain.invariants import check_cycle
from streams.domain.pipeline import evolve
from streams.domain.replay import fold_entries
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
    json_of,
    of_kind,
    own_entry,
    record,
    replay,
    signal,
    state,
    usage,
)

PLAN = context([("unit", "10")])
ASTRAY = record(usage(units=4, occurred_at=NOON), offset=7)
"""A record that lay on partition 3 and was refused there."""


def replayed(original: SourceRecord = ASTRAY, at_us: int = NOON_US, **more: Any) -> Any:
    """The fact of a replay of a record of partition 3, at offset 0 of `budgets`."""
    offset = more.pop("offset", 0)
    return fact(replay(original, partition=3, **more), offset, at_us)


def discard(letter_id: str = "1-usage-3-7-0", **more: Any) -> Any:
    body = {"kind": "discard", "letter_id": letter_id, "reason": "a test record"} | more
    return codec.decode_budget(json_of("acme", f"discard-{letter_id}", body))


def resolutions(result: CycleResult) -> list[tuple[str, str]]:
    return [(e.letter_id, e.resolution) for e in of_kind(ResolutionEntry, result.entries)]


def codes(result: CycleResult) -> list[tuple[str, int, RejectCode]]:
    return [(r.record.topic, r.record.offset, r.code) for r in result.rejected]


def fold(into: PartitionState, *given: Any, at_us: int = NOON_US) -> CycleResult:
    first = into.progress.next_sequence
    result = cycle(into, *given, context=PLAN, at_us=at_us)
    check_cycle(result, first, len(given))
    return result


# --- what a replay does --------------------------------------------------------------------------


def test_a_replayed_letter_is_billed_as_if_it_had_been_accepted_where_it_lay() -> None:
    into = state()
    result = fold(into, replayed(at_us=NOON_US + DAY_US), at_us=NOON_US + DAY_US)
    assert resolutions(result) == [("1-usage-3-7-0", "replayed")]
    (entry,) = of_kind(UsageEntry, result.entries)
    (plan,) = of_kind(GrantEntry, result.entries)
    assert entry.entry_id == "1-usage-3-7-0", "called by where the original lay"
    assert plan.entry_id == "1-usage-3-7-1"
    assert (entry.topic, entry.source_offset, entry.partition) == ("usage", 7, 0)
    assert (entry.appended_at, entry.decided_at) == (NOON_US, NOON_US + DAY_US)
    assert (entry.event_id, entry.source, entry.units) == ("e1", "crm", 4)
    assert into.accounts["acme"].used_units == 4
    assert own_entry(result).accepted == 1


def test_the_entries_of_a_replay_fold_back_into_the_state() -> None:
    into = state()
    entries = fold(into, replayed(), fact(usage(event_id="e2"), 3)).entries
    again = fold_entries(codec.decode_entry(codec.encode(entry)) for entry in entries)
    assert again.accounts == into.accounts
    assert again.progress == into.progress


def test_the_generation_of_the_original_stays_in_the_ids_of_its_entries() -> None:
    result = fold(state(), replayed(generation=4))
    (entry,) = of_kind(UsageEntry, result.entries)
    assert (entry.entry_id, entry.generation) == ("4-usage-3-7-0", 1)


@pytest.mark.parametrize("body", [signal(), grant(event_id="g2")])
def test_letters_of_every_topic_can_be_replayed(body: Any) -> None:
    into = state()
    result = fold(into, replayed(record(body, 5)))
    assert own_entry(result).accepted == 1
    account = into.accounts["acme"]
    assert account.signals + account.granted == 1


# --- never twice ---------------------------------------------------------------------------------


def test_a_second_replay_of_a_letter_is_a_duplicate() -> None:
    into = state()
    fold(into, replayed())
    again = fold(into, replayed(offset=1))
    assert own_entry(again).duplicates == 1
    assert len(again.entries) == 1
    assert into.accounts["acme"].events == 1


def test_a_retry_after_the_replay_is_a_duplicate() -> None:
    into = state()
    fold(into, replayed())
    later = fold(into, fact(usage(units=4, occurred_at=NOON), 9, NOON_US + HOUR_US))
    assert own_entry(later).duplicates == 1
    assert into.accounts["acme"].used_units == 4


def test_a_replay_after_the_producers_own_retry_resolves_the_letter_and_counts_nothing() -> None:
    into = state()
    fold(into, fact(usage(units=4, occurred_at=NOON), 9, NOON_US + HOUR_US))
    result = fold(into, replayed())
    assert resolutions(result) == [("1-usage-3-7-0", "duplicate")]
    assert of_kind(UsageEntry, result.entries) == []
    assert into.accounts["acme"].used_units == 4
    assert own_entry(fold(into, replayed(offset=1))).duplicates == 1


def test_a_replay_after_a_corrected_record_of_the_id_is_a_conflict() -> None:
    into = state()
    fold(into, fact(usage(units=5), 9))
    result = fold(into, replayed())
    assert codes(result) == [("budgets", 0, RejectCode.CONFLICT)]
    assert own_entry(result).conflicts == 1
    assert into.accounts["acme"].used_units == 5


def test_two_letters_of_one_event_count_once() -> None:
    into = state()
    other = replace(ASTRAY, offset=8)
    result = fold(into, replayed(), replayed(other, offset=1))
    assert resolutions(result) == [
        ("1-usage-3-7-0", "replayed"),
        ("1-usage-3-8-0", "duplicate"),
    ]
    assert into.accounts["acme"].events == 1


def test_the_claim_of_a_replayed_event_carries_the_originals_append_time() -> None:
    into = state()
    claim = into.claims
    fold(into, replayed(at_us=NOON_US + 5 * DAY_US), at_us=NOON_US + 5 * DAY_US)
    inner = fact(usage(units=4, occurred_at=NOON), 7)
    assert claim[inner.claim_key].appended_at_us == NOON_US
    assert claim[inner.claim_key].offset == 7


def test_everything_that_a_replay_asks_for_is_among_its_keys() -> None:
    # Else a worker would not load the claim of the original, and it would count again.
    inner = fact(usage(units=4, occurred_at=NOON), 7)
    assert inner.claim_key in claim_keys(replayed())
    assert len(claim_keys(replayed())) == 2


# --- times ---------------------------------------------------------------------------------------


def test_lateness_is_measured_at_the_originals_append() -> None:
    into = state()
    thirty_days = NOON_US + 30 * DAY_US
    event = usage(units=4, occurred_at=format_time(NOON_US - 3 * DAY_US))
    result = fold(into, replayed(record(event, 7), thirty_days), at_us=thirty_days)
    assert resolutions(result) == [("1-usage-3-7-0", "replayed")]
    late = usage(event_id="e2", occurred_at=format_time(NOON_US - 35 * DAY_US))
    assert codes(
        fold(into, replayed(record(late, 8), thirty_days, offset=1), at_us=thirty_days)
    ) == [("budgets", 1, RejectCode.TOO_OLD)]


@pytest.mark.parametrize("occurred_at", [NOON, None])
def test_an_event_from_before_the_horizon_is_refused_at_its_first_microsecond(
    occurred_at: str | None,
) -> None:
    # 35 days of horizon less an hour for events from the future: below it claims may be gone.
    last_us = NOON_US + 35 * DAY_US - HOUR_US
    event = record(usage(units=4, **({"occurred_at": occurred_at} if occurred_at else {})), 7)
    held = fold(state(), replayed(event, last_us), at_us=last_us)
    assert resolutions(held) == [("1-usage-3-7-0", "replayed")]
    over = fold(state(), replayed(event, last_us + 1), at_us=last_us + 1)
    assert codes(over) == [("budgets", 0, RejectCode.TOO_OLD)]


def test_a_claim_that_may_be_gone_decides_nothing() -> None:
    # Whether the store still has it or not: the decision is the same.
    late_us = NOON_US + 36 * DAY_US
    event = record(usage(units=4, occurred_at=NOON), 7, NOON_US + 30 * DAY_US)
    with_claim, without = state(), state()
    fold(with_claim, fact(usage(units=4, occurred_at=NOON), 2))
    outcomes = [
        codes(fold(into, replayed(event, late_us), at_us=late_us)) for into in (with_claim, without)
    ]
    assert outcomes[0] == outcomes[1] == [("budgets", 0, RejectCode.TOO_OLD)]


# --- what is refused -----------------------------------------------------------------------------


def test_bytes_that_are_still_refused_make_the_replay_a_letter_with_the_same_code() -> None:
    into = state()
    unknown = SourceRecord("usage", 7, NOON_US, b"acme", b'{"schema_version":2}')
    result = fold(into, replayed(unknown))
    assert codes(result) == [("budgets", 0, RejectCode.UNKNOWN_VERSION)]
    assert into.accounts == {}
    # Refused, it claimed nothing: with a release that knows version 2 the same replay is decided.
    assert into.claims == {}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"customer_id": "bolt"}, "customer_id"),
        ({"record_value": "?"}, "record_value"),
        ({"record_key": "?"}, "record_key"),
        ({"topic": "ledger"}, "topic"),
    ],
)
def test_a_replay_that_contradicts_itself_is_refused(more: dict[str, Any], field: str) -> None:
    with pytest.raises(RejectError) as caught:
        fact(replay(ASTRAY, **more))
    assert (caught.value.code, caught.value.field) == (RejectCode.INVALID_FIELD, field)


def test_a_replay_of_a_replay_is_refused_for_the_first_letter_is_what_counts() -> None:
    first = record(replay(ASTRAY), 3)
    found = fact(replay(first))
    assert isinstance(found, ReplayFact)
    assert isinstance(found.inner, Rejected)
    assert found.inner.field == "record_value"


# --- discards ------------------------------------------------------------------------------------


def test_a_discard_is_an_entry_that_touches_no_account() -> None:
    into = state()
    result = fold(into, fact(discard()))
    (entry,) = of_kind(ResolutionEntry, result.entries)
    assert (entry.resolution, entry.note) == ("discarded", "a test record")
    assert into.accounts == {}
    assert into.touched == set()
    assert into.progress.next_sequence == 2


def test_a_letter_is_discarded_once_and_may_still_be_replayed() -> None:
    into = state()
    result = fold(into, fact(discard(), 0), fact(discard(), 1), replayed(offset=2))
    assert own_entry(result).duplicates == 1
    assert resolutions(result) == [
        ("1-usage-3-7-0", "discarded"),
        ("1-usage-3-7-0", "replayed"),
    ]


# --- our own faults ------------------------------------------------------------------------------


def test_a_fault_of_our_own_while_deciding_refuses_that_record_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rated = usage_entries.usage_entry

    def stumbles(found: Any, *rest: Any) -> Any:
        if found.body.event_id == "poison":
            raise ZeroDivisionError("customer acme owes 7 secret dollars")
        return rated(found, *rest)

    monkeypatch.setattr(pipeline, "usage_entry", stumbles)
    into = state()
    result = fold(
        into,
        fact(usage(event_id="a"), 0),
        fact(usage(event_id="poison"), 1),
        fact(usage(event_id="b"), 2),
    )
    assert codes(result) == [("usage", 1, RejectCode.INTERNAL)]
    reason = result.rejected[0].reason
    assert "ZeroDivisionError" in reason
    assert "stumbles" in reason
    assert "secret" not in reason, "the message of an exception may quote the record"
    assert into.accounts["acme"].events == 2
    monkeypatch.undo()
    poison = result.rejected[0].record
    assert resolutions(fold(into, replayed(poison))) == [("1-usage-3-1-0", "replayed")]


def test_a_fault_while_folding_stops_the_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    # evolve may have changed half of the state: nobody can go on from there.
    def breaks(into: PartitionState, entry: Any) -> None:
        if not isinstance(entry, CycleEntry):
            raise AssertionError("a grant was burnt beyond its amount")
        evolve(into, entry)

    monkeypatch.setattr(folding, "evolve", breaks)
    with pytest.raises(AssertionError, match="beyond its amount"):
        cycle(state(), fact(usage()))


def test_a_fault_of_our_own_while_decoding_refuses_that_record_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumbles(value: bytes | None) -> Any:
        if value == b"poison":
            raise KeyError("secret")
        return codec.decode_usage(value)

    monkeypatch.setitem(decoding._DECODERS, "usage", (stumbles, canonical.usage_fact))
    poison = SourceRecord("usage", 1, NOON_US, b"acme", b"poison")
    found = decoding.decode_records([record(usage()), poison, record(usage(), 2)], 0, 1)
    assert [getattr(one, "code", None) for one in found] == [None, RejectCode.INTERNAL, None]
    assert isinstance(found[1], Rejected)
    assert "KeyError in tests" in found[1].reason
    assert "secret" not in found[1].reason


def test_running_out_of_memory_is_no_fault_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_given: Any) -> Any:
        raise MemoryError

    monkeypatch.setitem(decoding._DECODERS, "usage", (exhausted, canonical.usage_fact))
    monkeypatch.setattr(pipeline, "usage_entry", exhausted)
    found = fact(usage())
    with pytest.raises(MemoryError):
        decoding.decode_record(found.record, 0, 1)
    with pytest.raises(MemoryError):
        cycle(state(), found)
