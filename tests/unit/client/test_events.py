"""Events made ready: what the contract takes, as the bytes that a worker reads the same way."""

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.client.events import ready, validated
from schemas.errors import RejectCode, RejectError
from schemas.limits import EVENT_BYTES_MAX, ID_BYTES_MAX, UNITS_MAX
from schemas.partitioner import partition_of
from schemas.signal import Signal
from schemas.usage import Usage

REQUIRED = {"event_id": "e1", "source": "test", "customer_id": "acme"}


def test_an_event_is_keyed_by_its_customer_and_lies_where_kafka_puts_it() -> None:
    found = ready(validated(Signal, {**REQUIRED, "name": "ticket_closed", "customer_id": "Zoë"}))
    assert (found.topic, found.key, found.event_id) == ("signals", "Zoë".encode(), "e1")
    assert found.partition(12) == partition_of("Zoë".encode(), 12)
    assert json.loads(found.value)["schema_version"] == 1


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"customer_id": None}, RejectCode.INVALID_FIELD, "customer_id"),
        ({"customer_id": ""}, RejectCode.INVALID_FIELD, "customer_id"),
        ({"customer_id": "é" * 65}, RejectCode.INVALID_FIELD, "customer_id"),
        ({"customer_id": "\0task"}, RejectCode.INVALID_FIELD, "customer_id"),
        ({"customer_id": "\ud800"}, RejectCode.INVALID_FIELD, "customer_id"),
        ({"units": -1}, RejectCode.INVALID_FIELD, "units"),
        ({"units": 1.0}, RejectCode.INVALID_FIELD, "units"),
        ({"cost": 0.1}, RejectCode.INVALID_FIELD, "cost"),
        ({"cost": "0.0000000000001"}, RejectCode.INVALID_FIELD, "cost"),
        ({"tokens": {"inputs": 1}}, RejectCode.UNKNOWN_FIELD, "tokens.inputs"),
        ({"unit": 1, "units": -1}, RejectCode.UNKNOWN_FIELD, "unit"),
        ({"occurred_at": "2026-01-15"}, RejectCode.INVALID_FIELD, "occurred_at"),
        ({"schema_version": 2}, RejectCode.INVALID_FIELD, "schema_version"),
        ({"quantities": {"Images": 1}}, RejectCode.INVALID_FIELD, "quantities.Images.[key]"),
        ({"conditions": {"route": ""}}, RejectCode.INVALID_FIELD, "conditions.route"),
        (
            {"tokens": {"input": 9}, "quantities": {"input_image_tokens": 10}},
            RejectCode.INVALID_FIELD,
            "quantities.input_image_tokens",
        ),
    ],
)
def test_what_the_contract_refuses_is_refused_with_the_field(
    fields: dict[str, Any], code: RejectCode, field: str
) -> None:
    with pytest.raises(RejectError) as caught:
        ready(validated(Usage, {**REQUIRED, **fields}))
    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_refusal_does_not_say_what_the_event_held() -> None:
    with pytest.raises(RejectError) as caught:
        validated(Usage, {**REQUIRED, "metadata": {"note": ["a secret"]}, "cost": "a secret"})
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_event_built_past_its_validation_is_refused_all_the_same() -> None:
    event = validated(Usage, REQUIRED).model_copy(update={"units": -1})
    with pytest.raises(RejectError, match="units"):
        ready(event)


def test_an_event_that_is_too_large_is_refused() -> None:
    # Sixteen entries of an escaped kind: the models alone would take them.
    metadata = {f"{n:02d}{'k' * 62}": "\x01" * 256 for n in range(16)}
    ids = dict.fromkeys(("agent_id", "task_ref", "trace_id"), "\x01" * 128)
    event = validated(Usage, {**REQUIRED, **ids, "metadata": metadata})
    assert len(ready(event).value) < EVENT_BYTES_MAX
    huge = event.model_copy(update={"metadata": {str(n): "x" * 256 for n in range(300)}})
    with pytest.raises(RejectError, match="may have 65536"):
        ready(huge)


TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\x1f\u2028'\"\\"), max_size=40
)
IDS = st.text(string.printable, min_size=1, max_size=ID_BYTES_MAX).filter(
    lambda text: not text.startswith("\0")
)
COUNTS = st.integers(0, UNITS_MAX)
AMOUNTS = st.from_regex(r"[0-9]{1,18}(\.[0-9]{1,12})?", fullmatch=True)
WORDS = TEXT.filter(bool)
CLASSES = ("input", "cache_read", "cache_write", "output", "reasoning", "input_audio")


@given(
    ids=st.fixed_dictionaries({"event_id": IDS, "source": IDS, "customer_id": IDS}),
    more=st.fixed_dictionaries(
        {},
        optional={
            "units": COUNTS,
            "tokens": st.dictionaries(st.sampled_from(CLASSES), COUNTS),
            "cost": AMOUNTS,
            "currency": st.sampled_from(["USD", "EUR"]),
            "model": TEXT.filter(bool),
            "success": st.booleans(),
            "trace_id": IDS,
            "quantities": st.dictionaries(st.sampled_from(["requests", "images"]), COUNTS),
            "conditions": st.dictionaries(WORDS, WORDS, max_size=3),
            "metadata": st.dictionaries(TEXT, TEXT | st.integers(-9, 9) | st.none(), max_size=5),
        },
    ),
)
def test_a_worker_reads_what_was_said(ids: dict[str, Any], more: dict[str, Any]) -> None:
    event = validated(Usage, {**ids, **more})
    read = codec.decode_usage(ready(event).value)
    assert codec.to_plain(read) == event.model_dump(exclude_defaults=True)
