"""streams.app.keys: what a new key is, what becomes of an old one, who may listen."""

from typing import Any

import pytest

from schemas import codec
from schemas.times import MICROSECONDS
from streams.app.keys import (
    KeyWish,
    check_exposed,
    check_not_replaced,
    ending,
    new_key,
    revision,
    successor,
)
from streams.errors import SetupError
from streams.gateway.keys import KeyRing, state_of
from streams.gateway.ports import Scope
from streams.gateway.rates import Rates
from tests.key_making import KEY_ID, NOW_US, MemoryKeys, StandingClock, key_record

HOUR_US = 3600 * MICROSECONDS


def wish(**fields: Any) -> KeyWish:
    return KeyWish(**{"label": "a test", "scopes": ["read"]} | fields)


def test_a_new_key_opens_what_was_wished_and_its_record_does_not_hold_it() -> None:
    made = new_key(
        wish(scopes=["read", "ingest", "read"], customers=["b", "a", "b"], requests_per_second=7),
        NOW_US,
    )
    source, clock = MemoryKeys(), StandingClock()
    source.put(made.record)
    caller = KeyRing(source, clock, Rates(clock.seconds)).check(made.text, Scope.INGEST, "a")
    assert (made.record.scopes, made.record.customers) == (["ingest", "read"], ["a", "b"])
    assert made.record.requests_per_second == 7
    assert caller.key_id == made.record.id
    secret = made.text.rpartition("_")[2]
    stored = codec.encode(made.record)
    assert secret.encode() not in stored
    assert bytes.fromhex(secret) not in stored
    assert secret not in repr(made)


def test_no_two_keys_are_alike() -> None:
    made = [new_key(wish(), NOW_US) for _ in range(50)]
    assert len({one.text for one in made}) == len({one.record.id for one in made}) == 50
    assert len({one.record.digest for one in made}) == 50


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"label": ""}, "label"),
        ({"label": "x" * 129}, "label"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"customers": []}, "customers"),
        ({"customers": ["é" * 65]}, "customers"),
        ({"customers": [f"c{n}" for n in range(101)]}, "customers"),
        ({"requests_per_second": 0}, "requests_per_second"),
        ({"expires_at_us": NOW_US}, "expired"),
    ],
)
def test_a_key_that_no_record_can_hold_is_refused_by_name(wrong: Any, named: str) -> None:
    with pytest.raises(SetupError, match=named):
        new_key(wish(**wrong), NOW_US)


def test_a_revision_keeps_all_but_what_changes_and_is_never_named_twice() -> None:
    first = key_record(customers=["acme"], requests_per_second=9)
    twice = [revision(first, revoked_at=NOW_US) for _ in range(20)]
    assert len({one.version for one in twice}) == 20
    assert all(one.version.startswith("2-") for one in twice)
    assert revision(twice[0], expires_at=5).version.startswith("3-")
    changed = {"version": twice[0].version, "revoked_at": NOW_US}
    assert codec.to_plain(twice[0]) == codec.to_plain(first) | changed


def test_a_version_that_somebody_else_named_can_be_followed() -> None:
    assert revision(key_record(version="spring"), revoked_at=1).version.startswith("1-")


def test_a_successor_has_the_rights_and_the_life_of_its_predecessor() -> None:
    old = key_record(
        scopes=["ingest"],
        customers=["acme"],
        created_at=NOW_US - HOUR_US,
        expires_at=NOW_US + HOUR_US,
        requests_per_second=3,
    )
    assert successor(old, NOW_US) == KeyWish(
        label="a test",
        scopes=["ingest"],
        customers=["acme"],
        expires_at_us=NOW_US + 2 * HOUR_US,
        requests_per_second=3,
    )
    assert successor(key_record(), NOW_US).expires_at_us is None


def test_a_replaced_key_ends_after_the_overlap_and_never_later_than_it_would_have() -> None:
    assert ending(key_record(), NOW_US, 3600).expires_at == NOW_US + HOUR_US
    sooner = key_record(expires_at=NOW_US + 5)
    assert ending(sooner, NOW_US, 3600).expires_at == NOW_US + 5
    later = key_record(expires_at=NOW_US + 9 * HOUR_US)
    assert ending(later, NOW_US, 3600).expires_at == NOW_US + HOUR_US
    assert state_of(ending(key_record(), NOW_US, 0), NOW_US) == "revoked"


@pytest.mark.parametrize("fields", [{}, {"revoked_at": 1}])
def test_a_key_is_rotated_once_and_then_its_successor_is(fields: dict[str, Any]) -> None:
    newer = key_record("b" * 16, replaces=KEY_ID, **fields)
    with pytest.raises(SetupError, match="b" * 16):
        check_not_replaced(KEY_ID, [key_record(), newer])
    check_not_replaced(newer.id, [key_record(), newer])


@pytest.mark.parametrize("fields", [{"revoked_at": 1}, {"expires_at": NOW_US}])
def test_nobody_listens_to_strangers_without_an_active_key(fields: dict[str, Any]) -> None:
    source, clock = MemoryKeys(), StandingClock()
    ring = KeyRing(source, clock, Rates(clock.seconds))
    with pytest.raises(SetupError, match="no active API key"):
        check_exposed(ring)
    source.put(key_record(**fields))
    with pytest.raises(SetupError, match="no active API key"):
        check_exposed(ring)
    source.put(key_record("b" * 16))
    check_exposed(ring)
