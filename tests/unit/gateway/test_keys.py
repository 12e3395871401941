"""streams.gateway.keys: who may ask what, and what a refusal tells."""

import hmac
import itertools
import traceback
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import pytest

from streams.gateway import keys as keys_module
from streams.gateway.keys import (
    BEHIND_SECONDS_MAX,
    KeyRing,
    key_digest,
    key_text,
    state_of,
)
from streams.gateway.ports import AuthError, Keys, Scope
from streams.gateway.problems import CODES
from streams.gateway.rates import Rates
from tests.key_making import KEY_ID, NOW_US, SECRET, TEXT, MemoryKeys, StandingClock, key_record

OTHER_ID = "00000000000000b2"


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def source() -> MemoryKeys:
    return MemoryKeys()


@pytest.fixture
def ring(source: MemoryKeys, clock: StandingClock) -> KeyRing:
    return KeyRing(source, clock, Rates(clock.seconds))


def refusal(ring: Keys, presented: str | None, scope: Scope = Scope.READ, **more: Any) -> AuthError:
    with pytest.raises(AuthError) as refused:
        ring.check(presented, scope, more.get("customer_id"))
    return refused.value


def test_a_key_lets_in_whom_it_names_with_what_it_allows(ring: KeyRing, source: MemoryKeys) -> None:
    source.put(key_record(scopes=["ingest", "read"], customers=["acme"]))
    caller = ring.check(TEXT, Scope.INGEST, None)
    assert caller.key_id == KEY_ID
    assert caller.scopes == {Scope.INGEST, Scope.READ}
    assert caller.customers == frozenset({"acme"})


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_allows_itself_and_admin_allows_all(
    ring: KeyRing, source: MemoryKeys, scope: Scope
) -> None:
    for given in Scope:
        source.put(key_record(scopes=[given.value]))
        if given in (scope, Scope.ADMIN):
            assert scope in ring.check(TEXT, scope, None).scopes
        else:
            refused = refusal(ring, TEXT, scope)
            assert (refused.code, refused.status) == ("scope_missing", 403)


def test_a_bound_key_names_its_customers_and_nobody_else(ring: KeyRing, source: MemoryKeys) -> None:
    source.put(key_record(customers=["acme", "bolt"]))
    for customer in ("acme", "bolt"):
        ring.check(TEXT, Scope.READ, customer).require_customer(customer)
    refused = refusal(ring, TEXT, customer_id="crux")
    assert (refused.code, refused.status) == ("customer_not_allowed", 403)
    caller = ring.check(TEXT, Scope.READ, None)
    with pytest.raises(AuthError, match="customer_not_allowed"):
        caller.require_customer("crux")


def test_a_key_that_is_not_bound_names_any_customer(ring: KeyRing, source: MemoryKeys) -> None:
    source.put(key_record())
    ring.check(TEXT, Scope.READ, "anybody").require_unbound()


@pytest.mark.parametrize(
    "presented",
    [
        None,
        "",
        "agb_",
        "nonsense",
        TEXT[:-1],
        TEXT + "0",
        TEXT + "\n",
        " " + TEXT,
        TEXT.upper(),
        TEXT.replace("agb_", "agx_"),
        key_text(KEY_ID, SECRET[::-1]),
        key_text(OTHER_ID, SECRET),
        "agb_" + "٣" * 16 + "_" + "0" * 48,
        "\x00" * 69,
        "x" * 1_000_000,
    ],
)
def test_what_is_not_a_key_lets_nobody_in(
    ring: KeyRing, source: MemoryKeys, presented: str | None
) -> None:
    source.put(key_record())
    refused = refusal(ring, presented)
    assert (refused.code, refused.status) == ("unauthorized", 401)


def test_an_unknown_id_and_a_wrong_secret_cannot_be_told_apart(
    ring: KeyRing, source: MemoryKeys
) -> None:
    source.put(key_record())
    unknown, wrong = key_text(OTHER_ID, SECRET), key_text(KEY_ID, SECRET[::-1])
    assert str(refusal(ring, unknown)) == str(refusal(ring, wrong))


def test_every_presented_secret_is_hashed_and_compared_in_constant_time(
    ring: KeyRing, source: MemoryKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, stored: bytes) -> bool:
        compared.append((given, stored))
        return hmac.compare_digest(given, stored)

    class Watched:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(keys_module, "hmac", Watched)
    source.put(key_record())
    ring.check(TEXT, Scope.READ, None)
    refusal(ring, key_text(KEY_ID, SECRET[::-1]))
    refusal(ring, key_text(OTHER_ID, SECRET))
    assert [len(given) for given, _ in compared] == [32, 32, 32]
    assert compared[0][0] == compared[0][1]
    assert all(given != stored for given, stored in compared[1:])


def test_a_key_is_good_until_the_microsecond_at_which_it_expires(
    ring: KeyRing, source: MemoryKeys, clock: StandingClock
) -> None:
    source.put(key_record(expires_at=NOW_US + 1))
    ring.check(TEXT, Scope.READ, None)
    clock.at_us += 1
    refused = refusal(ring, TEXT)
    assert (refused.code, refused.status) == ("key_expired", 401)


def test_a_revocation_counts_with_the_next_check(ring: KeyRing, source: MemoryKeys) -> None:
    source.put(key_record())
    ring.check(TEXT, Scope.READ, None)
    source.put(key_record(version="2", revoked_at=NOW_US))
    refused = refusal(ring, TEXT)
    assert (refused.code, refused.status) == ("key_revoked", 401)


def test_new_rights_count_with_the_next_check(ring: KeyRing, source: MemoryKeys) -> None:
    source.put(key_record())
    ring.check(TEXT, Scope.READ, None)
    source.put(key_record(version="2", scopes=["ingest"]))
    assert refusal(ring, TEXT).code == "scope_missing"
    ring.check(TEXT, Scope.INGEST, None)


def test_nothing_of_a_key_is_told_to_who_has_only_its_id(ring: KeyRing, source: MemoryKeys) -> None:
    source.put(key_record(revoked_at=NOW_US, expires_at=1))
    assert refusal(ring, key_text(KEY_ID, SECRET[::-1])).code == "unauthorized"


def order_of_refusals() -> Iterator[tuple[str, dict[str, Any]]]:
    """Code and what brings it about, in the order in which they are looked for."""
    yield "key_revoked", {"revoked_at": NOW_US}
    yield "key_expired", {"expires_at": NOW_US}
    yield "rate_limited", {"requests_per_second": 1}
    yield "scope_missing", {"scopes": ["ingest"]}
    yield "customer_not_allowed", {"customers": ["acme"]}


@pytest.mark.parametrize(
    ("first", "second"),
    list(itertools.combinations(order_of_refusals(), 2)),
    ids=lambda item: item[0],
)
def test_of_two_reasons_the_earlier_one_is_told(
    first: tuple[str, dict[str, Any]], second: tuple[str, dict[str, Any]], clock: StandingClock
) -> None:
    source, rates = MemoryKeys(), Rates(clock.seconds)
    ring = KeyRing(source, clock, rates)
    source.put(key_record(**first[1] | second[1]))
    if "rate_limited" in (first[0], second[0]):
        rates.wait_seconds(KEY_ID, 1)
    assert refusal(ring, TEXT, customer_id="crux").code == first[0]


def test_a_gateway_that_may_have_missed_a_revocation_accepts_no_key(
    ring: KeyRing, source: MemoryKeys
) -> None:
    source.put(key_record())
    source.behind_seconds = BEHIND_SECONDS_MAX
    ring.check(TEXT, Scope.READ, None)
    source.behind_seconds = BEHIND_SECONDS_MAX + 0.001
    refused = refusal(ring, TEXT)
    assert (refused.code, refused.status) == ("unavailable", 503)
    assert refused.retry_after_seconds > 0


def test_too_many_requests_are_told_when_the_next_one_may_come(
    ring: KeyRing, source: MemoryKeys, clock: StandingClock
) -> None:
    source.put(key_record(requests_per_second=2))
    for _ in range(2):
        ring.check(TEXT, Scope.READ, None)
    refused = refusal(ring, TEXT)
    assert (refused.code, refused.status, refused.retry_after_seconds) == ("rate_limited", 429, 0.5)
    clock.move(refused.retry_after_seconds)
    ring.check(TEXT, Scope.READ, None)


def test_strangers_use_up_nobodys_rate_and_are_not_remembered(clock: StandingClock) -> None:
    source, rates = MemoryKeys(), Rates(clock.seconds)
    ring = KeyRing(source, clock, rates)
    source.put(key_record(requests_per_second=1))
    for number in range(100):
        refusal(ring, key_text(KEY_ID, number.to_bytes(24)))
        refusal(ring, key_text(f"{number + 1000:016x}", SECRET))
    assert len(rates) == 0
    ring.check(TEXT, Scope.READ, None)


def test_the_last_use_is_that_of_the_last_accepted_request(
    ring: KeyRing, source: MemoryKeys, clock: StandingClock
) -> None:
    source.put(key_record(customers=["acme"]))
    assert ring.used_at_us() == {}
    ring.check(TEXT, Scope.READ, "acme")
    clock.move(5)
    refusal(ring, TEXT, Scope.ADMIN)
    refusal(ring, TEXT, customer_id="crux")
    assert ring.used_at_us() == {KEY_ID: NOW_US}
    ring.check(TEXT, Scope.READ, "acme")
    assert ring.used_at_us() == {KEY_ID: NOW_US + 5_000_000}


def test_without_any_key_a_local_gateway_is_open_and_any_other_is_closed(
    source: MemoryKeys, clock: StandingClock
) -> None:
    local = KeyRing(source, clock, Rates(clock.seconds), open_until_first_key=True)
    exposed = KeyRing(source, clock, Rates(clock.seconds))
    for presented in (None, "", "agb_anything", TEXT):
        assert local.check(presented, Scope.ADMIN, "acme").key_id == "local"
        assert refusal(exposed, presented).code == "unauthorized"


@pytest.mark.parametrize("ended", [{}, {"revoked_at": 1}, {"expires_at": 1}])
def test_a_local_gateway_closes_with_the_first_key_and_never_opens_again(
    source: MemoryKeys, clock: StandingClock, ended: dict[str, Any]
) -> None:
    local = KeyRing(source, clock, Rates(clock.seconds), open_until_first_key=True)
    source.put(key_record(OTHER_ID, **ended))
    assert refusal(local, None).code == "unauthorized"
    assert refusal(local, TEXT).code == "unauthorized"


def test_only_keys_that_are_good_now_count_as_active(ring: KeyRing, source: MemoryKeys) -> None:
    assert ring.active_count() == 0
    source.put(
        key_record("1" * 16),
        key_record("2" * 16, expires_at=NOW_US + 1),
        key_record("3" * 16, expires_at=NOW_US),
        key_record("4" * 16, revoked_at=NOW_US + 10**12),
    )
    assert ring.active_count() == 2
    states = [state_of(record, NOW_US) for record in source.keys.values()]
    assert states == ["active", "active", "expired", "revoked"]


def test_no_refusal_repeats_what_was_presented(ring: KeyRing, source: MemoryKeys) -> None:
    secret = SECRET.hex()
    source.put(key_record(scopes=["ingest"], requests_per_second=1, customers=["acme"]))
    said = [
        refusal(ring, presented, scope, customer_id=customer)
        for presented in (TEXT, TEXT[:-1], TEXT + "0", f"Bearer {TEXT}", key_text(OTHER_ID, SECRET))
        for scope, customer in ((Scope.INGEST, "crux"), (Scope.ADMIN, None))
    ]
    source.put(key_record(version="2", revoked_at=1))
    said.append(refusal(ring, TEXT))
    source.put(key_record(version="3", expires_at=1))
    said.append(refusal(ring, TEXT))
    assert len({error.code for error in said}) >= 5
    for error in said:
        printed = f"{error!r} {error} {error.message} {''.join(traceback.format_exception(error))}"
        assert secret not in printed
        assert secret[:12] not in printed


def test_every_code_of_a_refusal_is_in_the_table_with_its_status(
    ring: KeyRing, source: MemoryKeys
) -> None:
    source.put(key_record(requests_per_second=1))
    ring.check(TEXT, Scope.READ, None)
    said = [refusal(ring, TEXT), refusal(ring, None)]
    source.behind_seconds = 10.0
    said.append(refusal(ring, TEXT))
    for error in said:
        assert CODES[error.code].status == error.status


def test_a_digest_belongs_to_one_id_and_is_keyed_blake2b() -> None:
    expected = blake2b(SECRET, digest_size=32, key=KEY_ID.encode(), person=b"tollgate.apikey")
    assert key_digest(KEY_ID, SECRET) == expected.digest()
    assert key_digest(KEY_ID, SECRET) != key_digest(OTHER_ID, SECRET)


def test_a_key_says_its_id_and_begins_as_agentbills_client_demands() -> None:
    assert f"agb_{KEY_ID}_{SECRET.hex()}" == TEXT
