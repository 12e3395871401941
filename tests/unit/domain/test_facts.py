"""streams.domain.facts: which content counts as the same, and which values are impossible."""

import hashlib
from typing import Any

import pytest

from schemas.budget import Denomination
from schemas.errors import RejectCode, RejectError
from streams.domain.canonical import parse_balance
from streams.domain.facts import GrantFact, SourceRecord, UsageFact
from tests.builders import (
    NOON,
    NOON_US,
    SECOND_US,
    fact,
    fact_of,
    grant,
    json_of,
    record,
    signal,
    usage,
)

FULL_USAGE: dict[str, Any] = {
    "occurred_at": NOON,
    "units": 2,
    "tokens": {"input": 3, "output": 5, "input_audio": 7},
    "cost": "0.5",
    "currency": "EUR",
    "provider": "lab",
    "model": "small",
    "agent_id": "a",
    "task_ref": "t",
    "trace_id": "tr",
    "success": False,
    "reservation_id": "r",
}


def usage_hash(**fields: Any) -> bytes:
    return fact(usage(**fields)).body_hash


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("occurred_at", "2026-01-15T12:00:00.000001Z"),
        ("units", 3),
        ("tokens", {"input": 3, "output": 5, "input_audio": 8}),
        ("tokens", {"input": 3, "output": 5}),
        ("tokens", {"input": 5, "output": 3, "input_audio": 7}),
        ("tokens", {"input": 3, "output": 5, "output_audio": 7}),
        ("cost", "0.500000000001"),
        ("currency", "USD"),
        ("provider", "other"),
        ("model", "large"),
        ("agent_id", "b"),
        ("task_ref", "b"),
        ("trace_id", "b"),
        ("success", True),
        ("reservation_id", "b"),
    ],
)
def test_every_billing_field_is_in_the_hash(field: str, other: Any) -> None:
    assert usage_hash(**FULL_USAGE | {field: other}) != usage_hash(**FULL_USAGE)


@pytest.mark.parametrize("field", sorted(FULL_USAGE.keys() - {"currency"}))
def test_a_missing_billing_field_changes_the_hash(field: str) -> None:
    less = {name: value for name, value in FULL_USAGE.items() if name != field}
    assert usage_hash(**less) != usage_hash(**FULL_USAGE)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ({"cost": "0.5"}, {"cost": "0.50"}),
        ({"cost": "5"}, {"cost": "005.0"}),
        ({"occurred_at": NOON}, {"occurred_at": "2026-01-15T13:00:00.000+01:00"}),
        ({"tokens": {}}, {}),
        ({"tokens": {"input": 0}}, {}),
        ({"currency": "EUR"}, {}),  # of no cost
        ({"success": True}, {}),
        ({"metadata": {"who": "me"}}, {}),
        ({"metadata": {"who": "me"}}, {"metadata": {"who": "you"}}),
    ],
)
def test_spelling_defaults_and_metadata_are_not_in_the_hash(one: Any, same: Any) -> None:
    assert usage_hash(**one) == usage_hash(**same)


def test_a_name_that_reads_like_the_next_field_is_not_mistaken_for_it() -> None:
    hashes = {
        usage_hash(provider="model", model="x"),
        usage_hash(provider="x", model="model"),
        usage_hash(provider="model"),
        usage_hash(model="provider"),
        usage_hash(trace_id="failed"),
        usage_hash(trace_id="failed", success=False),
        usage_hash(agent_id="task_ref"),
        usage_hash(agent_id="x', 'task_ref', 'y"),
        usage_hash(agent_id="x", task_ref="y"),
    }
    assert len(hashes) == 9


def test_a_record_without_a_time_happened_when_it_was_appended() -> None:
    assert fact(usage(), appended_at_us=NOON_US + 5).occurred_at_us == NOON_US + 5
    assert fact(usage(occurred_at=NOON), appended_at_us=NOON_US + 5).occurred_at_us == NOON_US


def test_the_hash_is_that_of_the_list_of_what_was_said() -> None:
    # Decision 002 defines it so; the code writes the text of the list without making the list.
    name = 'O\'Brien "é" \U0001f600 \\ \n'
    said: dict[str, Any] = {
        "cost": "0.25",
        "tokens": {"input": 1, "cache_read": 2, "cache_write": 3, "output": 4, "reasoning": 5}
        | {"input_audio": 6},
        "provider": name,
        "model": "small",
        "agent_id": "a'b",
        "task_ref": 'a"b',
        "trace_id": "t",
        "success": False,
        "reservation_id": "r",
        "occurred_at": NOON,
    }
    content: list[Any] = [
        NOON_US,
        1,
        "cost",
        25 * 10**10,
        "USD",
        "tokens",
        1,
        2,
        3,
        4,
        5,
        "audio",
        6,
        0,
    ]
    content += ["provider", name, "model", "small", "agent_id", "a'b", "task_ref", 'a"b']
    content += ["trace_id", "t", "failed", "reservation_id", "r"]
    for body, due in ((usage(**said), content), (usage(), [None, 1])):
        text = ascii(due).encode()
        assert fact(body).body_hash == hashlib.blake2b(text, digest_size=16).digest()


def test_the_append_time_is_not_in_the_hash() -> None:
    assert fact(usage(), 1, NOON_US).body_hash == fact(usage(), 2, NOON_US + 5).body_hash
    # …so a stated time is another content than none, even where both are the same moment.
    assert fact(usage(occurred_at=NOON)).body_hash != fact(usage()).body_hash


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("name", "meeting_booked"),
        ("quantity", 2),
        ("agent_id", "a"),
        ("trace_id", "a"),
        ("scope_id", "a"),
        ("cost_tracing", True),
        ("occurred_at", NOON),
    ],
)
def test_every_field_of_a_signal_but_its_metadata_is_in_the_hash(field: str, other: Any) -> None:
    plain = fact(signal())
    assert fact(signal(**{field: other})).body_hash != plain.body_hash
    assert fact(signal(metadata={"who": "me"})).body_hash == plain.body_hash


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("denomination", "token"),
        ("amount", "101"),
        ("priority", 1),
        ("effective_at", NOON),
        ("expires_at", NOON),
        ("reason", "because"),
        ("occurred_at", NOON),
    ],
)
def test_every_field_of_a_grant_is_in_the_hash(field: str, other: Any) -> None:
    assert fact(grant(**{field: other})).body_hash != fact(grant()).body_hash
    assert fact(grant(amount="100.0")).body_hash == fact(grant(amount="100")).body_hash


def test_hashes_are_the_same_on_every_machine() -> None:
    assert usage_hash(**FULL_USAGE).hex() == "4981154a4e5b614ed2b7c733ca617de3"
    assert fact(signal(name="é😀")).body_hash.hex() == "2509c2295ed11671eb4942c682348510"
    assert fact(grant()).body_hash.hex() == "f4eba919aa265a4a4e570956e980cf1f"


def refusal(value: bytes, topic: str) -> RejectError:
    with pytest.raises(RejectError) as caught:
        fact_of(SourceRecord(topic, 0, NOON_US, b"acme", value))
    return caught.value


@pytest.mark.parametrize(
    ("topic", "fields", "field"),
    [
        ("usage", {"occurred_at": "yesterday"}, "occurred_at"),
        ("usage", {"occurred_at": "2026-02-30T00:00:00Z"}, "occurred_at"),
        ("usage", {"cost": "NaN"}, "cost"),
        ("usage", {"cost": "-1"}, "cost"),
        ("usage", {"cost": "0.0000000000001"}, "cost"),
        ("signals", {"name": "x", "occurred_at": ""}, "occurred_at"),
        ("budgets", {"denomination": "unit", "amount": "1.5"}, "amount"),
        ("budgets", {"denomination": "token", "amount": "0.1"}, "amount"),
        ("budgets", {"denomination": "unit", "amount": "0"}, "amount"),
        ("budgets", {"denomination": "usd", "amount": "1_0"}, "amount"),
        ("budgets", {"denomination": "usd", "amount": "1", "expires_at": "never"}, "expires_at"),
        ("budgets", {"denomination": "usd", "amount": "1", "effective_at": "now"}, "effective_at"),
        (
            "budgets",
            {"denomination": "usd", "amount": "1", "effective_at": NOON, "expires_at": NOON},
            "expires_at",
        ),
    ],
)
def test_an_impossible_value_is_refused_by_its_field(
    topic: str, fields: dict[str, Any], field: str
) -> None:
    fault = refusal(json_of("acme", "e1", fields), topic)
    assert (fault.code, fault.field) == (RejectCode.INVALID_FIELD, field)


def test_a_fact_holds_exact_amounts_and_times() -> None:
    used = fact(usage(cost="0.1", occurred_at=NOON))
    assert isinstance(used, UsageFact)
    assert used.cost_pico == 10**11
    granted = fact(grant(denomination="usd", amount="1.5", expires_at="2026-01-15T12:00:01Z"))
    assert isinstance(granted, GrantFact)
    assert (granted.amount, granted.effective_at_us) == (15 * 10**11, None)
    assert granted.expires_at_us == NOON_US + SECOND_US


def test_a_balance_counts_in_the_smallest_step_of_its_denomination() -> None:
    assert parse_balance("amount", "3.0", Denomination.UNIT) == 3
    assert parse_balance("amount", "3", Denomination.TOKEN) == 3
    assert parse_balance("amount", "3", Denomination.USD) == 3 * 10**12


def test_a_record_stands_on_the_topic_of_its_kind() -> None:
    topics = [record(body).topic for body in (usage(), signal(), grant())]
    assert topics == ["usage", "signals", "budgets"]
