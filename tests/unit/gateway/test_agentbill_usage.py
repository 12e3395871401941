"""An AgentBill event as a usage record: classes of tokens, what units mean, metadata."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from schemas import codec
from schemas.limits import METADATA_ENTRIES_MAX
from schemas.structs import Tokens
from streams.domain.rating import total_tokens
from streams.gateway.agentbill_bodies import EventBody, read
from streams.gateway.agentbill_usage import (
    CUT_SHORT,
    encoded,
    kept_metadata,
    reported_tokens,
    usage_of,
)
from streams.gateway.decimals import NumberText
from streams.gateway.problems import ProblemError

WRAPPED = {"input": 176, "cache_read": 1024, "cache_write": 0, "output": 345, "reasoning": 64}


def event(**changes: Any) -> EventBody:
    fields = {"customer_id": "acme", "event_type": "researcher", "idempotency_key": "k"}
    return read(EventBody, codec.encode(fields | changes))


def test_reasoning_and_audio_are_taken_out_of_what_contains_them() -> None:
    told = WRAPPED | {"cache_write": 7, "cache_write_1h": 5, "audio_input": 100, "audio_output": 40}
    assert reported_tokens({"tokens": told}) == Tokens(
        input=76,
        cache_read=1024,
        cache_write=12,
        output=241,
        reasoning=64,
        input_audio=100,
        output_audio=40,
    )


counts = st.integers(0, 10**6)


@given(
    counts,
    counts,
    st.dictionaries(
        st.sampled_from(
            [
                *("cache_read", "cache_write", "cache_write_1h"),
                *("reasoning", "audio_input", "audio_output"),
            ]
        ),
        counts,
    ),
)
def test_no_token_is_lost_or_counted_twice(
    input_tokens: int, output: int, more: dict[str, int]
) -> None:
    told = {"input": input_tokens, "output": output} | more
    tokens = reported_tokens({"tokens": told})
    assert tokens is not None
    outside = ("cache_read", "cache_write", "cache_write_1h")
    assert total_tokens(tokens) == input_tokens + output + sum(
        more.get(name, 0) for name in outside
    )


@pytest.mark.parametrize(
    "told",
    [
        None,
        12,
        {"input": 1},
        {"input": 1, "output": -1},
        {"input": 1, "output": True},
        {"input": 1, "output": NumberText("1.5")},
        {"input": 1, "output": 1, "thoughts": 1},
    ],
)
def test_tokens_of_another_form_are_metadata_and_no_more(told: object) -> None:
    assert reported_tokens({"tokens": told}) is None


def test_units_that_are_the_reported_tokens_are_no_units() -> None:
    usage = usage_of(event(units=1545, metadata={"tokens": WRAPPED, "model": "m"}), None)
    assert (usage.units, total_tokens(usage.tokens), usage.model) == (0, 1545, "m")
    assert usage.metadata == {"model": "m"}


def test_units_beside_reported_tokens_are_units() -> None:
    usage = usage_of(event(units=3, metadata={"tokens": WRAPPED}), None)
    assert (usage.units, total_tokens(usage.tokens)) == (3, 1545)


@pytest.mark.parametrize(("job", "units", "tokens"), [("unit", 30, 0), ("token", 0, 30)])
def test_a_job_says_what_units_without_tokens_are(job: str, units: int, tokens: int) -> None:
    usage = usage_of(event(units=30, metadata={"provider": "lab", "model": "small"}), job)
    assert (usage.units, total_tokens(usage.tokens)) == (units, tokens)
    # Tokens of no known class have no price, rather than a wrong one.
    assert usage.model == (None if tokens else "small")


def test_a_failed_event_charges_nothing_and_frees_its_hold() -> None:
    body = event(
        units=12,
        success=False,
        usage_missing=True,
        reservation_id="1-2-3",
        metadata={"tokens": WRAPPED},
    )
    usage = usage_of(body, "token")
    assert (usage.units, usage.tokens, usage.usage_missing) == (0, None, False)
    assert (usage.success, usage.reservation_id, usage.settles_oldest) == (False, "1-2-3", False)


def test_an_event_without_a_reservation_settles_the_oldest() -> None:
    assert usage_of(event(), None).settles_oldest
    assert usage_of(event(), None).units == 1


def test_metadata_is_kept_short_flat_and_marked_where_it_was_cut() -> None:
    given_metadata = {
        "float": NumberText("0.10"),
        "big": 2**60,
        "nested": {"a": [NumberText("1.5")]},
        "none": None,
        "yes": True,
        "lone": "\ud800",
    }
    assert kept_metadata(given_metadata) == {
        "float": "0.10",
        "big": str(2**60),
        "nested": '{"a": ["1.5"]}',
        "none": None,
        "yes": True,
        "lone": "?",
    }
    many = {f"k{number}": number for number in range(100)}
    kept = kept_metadata(many)
    assert len(kept) == METADATA_ENTRIES_MAX
    assert kept[CUT_SHORT] is True
    assert kept_metadata({"k" * 100: "v" * 1_000})[CUT_SHORT] is True


values = st.recursive(st.text() | st.booleans() | st.none(), st.lists, max_leaves=4)


@given(st.dictionaries(st.text(), values, max_size=20))
def test_whatever_the_metadata_the_record_is_one(metadata: dict[str, Any]) -> None:
    body = EventBody(event_type="a", idempotency_key="k", metadata=metadata)
    assert codec.decode_usage(encoded(usage_of(body, None))).customer_id == "default"


def test_what_the_log_would_refuse_is_refused_at_the_door() -> None:
    with pytest.raises(ProblemError) as refused:
        read(EventBody, codec.encode({"event_type": "a", "idempotency_key": "é" * 65}))
    assert (refused.value.code, refused.value.field) == ("invalid_field", "idempotency_key")
