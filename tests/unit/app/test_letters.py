"""What a command makes of a letter before it appends anything: the record a worker will accept, or
the reason why it would not."""

from dataclasses import replace
from typing import Any

import pytest

from schemas import codec
from schemas.errors import RejectCode
from schemas.limits import EVENT_BYTES_MAX, REPLAYED_KEY_BYTES_MAX
from schemas.partitioner import partition_of
from schemas.structs import Discard, Replay
from schemas.times import format_time
from schemas.topics import BUDGETS
from streams.app.letters import NOBODYS, Plan, plan_discard, plan_replay
from streams.domain.decoding import decode_record
from streams.domain.facts import ReplayFact, SourceRecord, UsageFact
from streams.invoicing.dead_letters import DeadLetterLine, Letter
from streams.ports import PROGRESS_KEY
from tests.builders import DAY_US, HOUR_US, NOON, NOON_US, context, grant, json_of, record, usage
from tests.nameless import nameless_usage

RULES = context()
"""Eight partitions, a horizon of 35 days."""


def letter(value: bytes | None, key: bytes | None = b"acme", **more: Any) -> Letter:
    fields: dict[str, Any] = {
        "decided_at_us": NOON_US,
        "code": "wrong_partition",
        "reason": "",
        "field": "",
        "topic": "usage",
        "partition": 3,
        "offset": 7,
        "appended_at_us": NOON_US,
        "size": 0,
        "entry_id": "1-usage-3-7-0",
        "letter_id": "1-usage-3-7-0",
        "generation": 1,
        "record_version": 1,
        "state": "open",
        "note": "",
        "resolved_at_us": None,
        "record": {},
    }
    return Letter(DeadLetterLine(**fields | more), key, value)


def body(**more: Any) -> bytes:
    value = record(usage(**more)).value
    assert value is not None
    return value


def plan(found: Letter, at_us: int = NOON_US) -> Plan:
    return plan_replay(found, RULES, at_us)


def read(planned: Plan) -> ReplayFact:
    """What a worker reads of the planned record, on the partition that the plan names."""
    source = SourceRecord(BUDGETS.name, 0, NOON_US, planned.key, planned.value)
    fact = decode_record(source, planned.partition, RULES.partitions)
    assert isinstance(fact, ReplayFact)
    return fact


def test_a_replay_is_read_as_the_original_with_its_position_and_append_time() -> None:
    value = body(units=5)
    planned = plan(letter(value, b"some other key"), NOON_US + DAY_US)
    fact = read(planned)
    assert planned.partition == partition_of(b"acme", 8)
    assert isinstance(fact.inner, UsageFact)
    assert fact.inner.record == SourceRecord("usage", 7, NOON_US, b"some other key", value)
    assert (fact.origin.generation, fact.origin.partition) == (1, 3)
    assert fact.body.letter_id == "1-usage-3-7-0"


def test_replays_of_one_letter_are_the_same_bytes_whenever_they_are_made() -> None:
    # Else the second one would be a conflict instead of a duplicate.
    assert plan(letter(body())) == plan(letter(body()), NOON_US + DAY_US)


def test_a_grant_can_be_replayed_as_well() -> None:
    value = record(grant()).value
    found = letter(value, topic="budgets", entry_id="1-budgets-3-7-0")
    assert read(plan(found)).body.topic == "budgets"


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (letter(None), RejectCode.EMPTY),
        (letter(b"{"), RejectCode.MALFORMED),
        (letter(b"x" * (EVENT_BYTES_MAX + 1)), RejectCode.OVERSIZED),
        (letter(json_of("acme", "e", {"schema_version": 2})), RejectCode.UNKNOWN_VERSION),
        (letter(json_of("acme", "e", {"units": -1})), RejectCode.INVALID_FIELD),
        (letter(json_of(PROGRESS_KEY.decode(), "e", {})), RejectCode.INVALID_FIELD),
        (letter(body(), topic="ledger"), RejectCode.INVALID_FIELD),
        (letter(body(occurred_at="2001-01-01T00:00:00Z")), RejectCode.TOO_OLD),
        (letter(body(occurred_at="2027-01-01T00:00:00Z")), RejectCode.IN_FUTURE),
    ],
)
def test_what_would_become_a_letter_again_is_refused_with_its_code(
    found: Letter, code: RejectCode
) -> None:
    planned = plan(found)
    assert planned.refused
    assert (planned.code, planned.value) == (code, b"")
    assert planned.reason


def test_an_event_from_before_the_horizon_is_refused_from_its_first_microsecond_on() -> None:
    last_us = NOON_US + 35 * DAY_US - HOUR_US
    found = letter(body(occurred_at=NOON))
    assert not plan(found, last_us).refused
    assert plan(found, last_us + 1).code == RejectCode.TOO_OLD
    timeless = letter(body(), appended_at_us=NOON_US)
    assert plan(timeless, last_us + 1).code == RejectCode.TOO_OLD


def test_lateness_is_judged_at_the_originals_append() -> None:
    late = format_time(NOON_US - 10 * DAY_US)
    assert not plan(letter(body(occurred_at=late)), NOON_US + 20 * DAY_US).refused


@pytest.mark.parametrize("key", [None, b"k" * (REPLAYED_KEY_BYTES_MAX + 1)])
def test_a_key_that_is_not_there_or_too_long_is_left_out(key: bytes | None) -> None:
    assert read(plan(letter(body(), key))).inner.record.key is None
    longest = b"k" * REPLAYED_KEY_BYTES_MAX
    assert read(plan(letter(body(), longest))).inner.record.key == longest


def test_the_largest_event_can_be_replayed() -> None:
    value = body()
    padded = value + b" " * (EVENT_BYTES_MAX - len(value))
    assert isinstance(codec.decode_budget(plan(letter(padded)).value), Replay)


# --- discards ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (b"acme", "acme"),
        ("é".encode(), "é"),
        (b"\xff", "1-usage-3-7-0"),
        (b"", "1-usage-3-7-0"),
        (None, "1-usage-3-7-0"),
        (b"k" * 129, "1-usage-3-7-0"),
        (PROGRESS_KEY, "1-usage-3-7-0"),
    ],
)
def test_a_discard_lies_under_the_letters_key_where_that_can_be_an_id(
    key: bytes | None, place: str
) -> None:
    planned = plan_discard(letter(b"{", key), "a load test", RULES)
    found = codec.decode_budget(planned.value)
    assert isinstance(found, Discard)
    assert (found.customer_id, found.reason) == (place, "a load test")
    assert planned.partition == partition_of(planned.key, 8)
    source = SourceRecord(BUDGETS.name, 0, NOON_US, planned.key, planned.value)
    assert decode_record(source, planned.partition, 8).record == source


def test_a_worker_accepts_a_discard_on_the_partition_of_its_plan() -> None:
    planned = plan_discard(letter(None, None), "why", RULES)
    source = SourceRecord(BUDGETS.name, 0, NOON_US, planned.key, planned.value)
    fact = decode_record(source, planned.partition, 8)
    assert type(fact).__name__ == "DiscardFact"


def test_partitions_are_those_of_the_catalog() -> None:
    single = replace(RULES, partitions=1)
    assert plan_replay(letter(body()), single, NOON_US).partition == 0
    assert plan_discard(letter(None), "why", single).partition == 0


def test_a_letter_of_unassigned_is_refused_with_what_to_do_instead() -> None:
    value = codec.encode(nameless_usage("t1"))
    planned = plan(letter(value, b"t1", topic="unassigned", entry_id="1-unassigned-3-7-0"))
    assert planned.refused
    assert (planned.code, planned.value) == (NOBODYS, b"")
    assert "own topic under the customer" in planned.reason
    discarded = plan_discard(letter(value, b"t1", topic="unassigned"), "nobody's", RULES)
    assert not discarded.refused
