"""What is personal is taken out of a record where it stands, and nothing else changes."""

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.topics import BUDGETS, DEAD_LETTERS, SIGNALS, UNASSIGNED, USAGE
from streams.domain.personal import member, without_personal

JANE = {"email": "jane@example.com", "age": 41, "of": None}


def carried(value: bytes) -> str:
    return b64encode(value).decode()


def test_metadata_goes_and_every_other_byte_stays() -> None:
    value = b'{"units": 1.50, "metadata" : {"email":"jane@example.com"} ,"cost":"0.10"}'
    due = b'{"units": 1.50, "metadata" : {} ,"cost":"0.10"}'
    assert without_personal(USAGE.name, value) == due
    assert without_personal(SIGNALS.name, due) == due
    assert without_personal(BUDGETS.name, value) == value


def test_every_metadata_goes_where_a_name_stands_twice() -> None:
    value = b'{"metadata":{"a":"jane"},"metadata":{"b":"jane"}}'
    assert without_personal(USAGE.name, value) == b'{"metadata":{},"metadata":{}}'


def test_what_waits_for_a_customer_and_what_letters_and_replays_carry_is_searched() -> None:
    inner = json.dumps({"usage": {"units": 1, "metadata": JANE}, "metadata": "no such member"})
    blank = inner.replace(json.dumps(JANE), "{}")
    assert without_personal(UNASSIGNED.name, inner.encode()) == blank.encode()
    for topic, of in ((DEAD_LETTERS.name, UNASSIGNED.name), (BUDGETS.name, UNASSIGNED.name)):
        letter = {"record_value": carried(inner.encode()), "topic": of, "reason": "x"}
        found = json.loads(without_personal(topic, json.dumps(letter).encode()))
        assert b64decode(found.pop("record_value")) == blank.encode()
        assert found == {"topic": of, "reason": "x"}


def test_shaped_keeps_names_and_lengths() -> None:
    value = json.dumps({"metadata": JANE | {"more": ["jane", True]}}).encode()
    found = json.loads(without_personal(USAGE.name, value, shaped=True))["metadata"]
    assert found == {"email": "x" * 16, "age": 0, "of": None, "more": ["xxxx", True]}


@pytest.mark.parametrize(
    "value", [b"", b"nonsense", b"[1]", b'{"a":1', b'{"a" 1}', b"{1:2}", b"\xff", b'{"a":1 "b":2}']
)
def test_what_is_no_object_is_said(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        without_personal(USAGE.name, value)


members = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    ),
    max_size=6,
)


@given(body=members, metadata=members, indent=st.none() | st.integers(0, 3))
def test_of_any_object_all_but_metadata_is_read_as_before(
    body: dict[str, Any], metadata: dict[str, Any], indent: int | None
) -> None:
    value = json.dumps(body | {"metadata": metadata}, indent=indent).encode()
    found = json.loads(without_personal(USAGE.name, value))
    assert found == body | {"metadata": {}}
    assert all(member(value, name) == held for name, held in found.items() if name != "metadata")
