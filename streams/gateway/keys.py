"""API keys: their text, what is stored of it, and the check that every request goes through.

A key is `agb_<id>_<secret>`: 16 hex digits that name it and 48 that prove it. The catalog holds the
digest of the secret (`schemas.catalog.ApiKey`) and never the key; `streams.app.keys` makes keys and
says where the catalog is read. This module reads and writes nothing.

One fast hash suffices. A slow one (scrypt, argon2) makes guessing dear where a secret can be
guessed: a password. Nobody guesses 192 random bits, however fast; a slow hash would only cost every
request its milliseconds. The hash is keyed with the id, so that a digest proves nothing under
another id. There is no secret pepper: whoever can read the catalog learns nothing from digests,
and whoever can write it needs no key.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol

from schemas.structs import ApiKey
from schemas.times import format_time
from streams.gateway.ports import AuthError, Caller, Scope
from streams.gateway.rates import REQUESTS_PER_SECOND_DEFAULT, Rates
from streams.ports import Clock

PREFIX: Final = "agb_"
"""Begins every key: AgentBill's client takes no other, and scanners for leaked secrets find it."""

ID_BYTES: Final = 8
"""Random bytes of an id: among 10,000 keys two alike are a chance of one in 10^11."""

SECRET_BYTES: Final = 24
"""Random bytes of a secret: 192 bits, half as many again as nobody can ever search (128)."""

DIGEST_BYTES: Final = 32
"""Bytes of a digest: longer than the secret, so that hashing loses nothing."""

BEHIND_SECONDS_MAX: Final = 4.0
"""A gateway that has not heard from the catalog for so long accepts no key: one may have been
revoked. A revocation is promised to count within 5 s; a second of them is for its way here."""

_SHAPE: Final = re.compile(r"agb_([0-9a-f]{16})_([0-9a-f]{48})")
_IN_BODY: Final = re.compile(rb"(agb_([0-9a-f]{16})_)([0-9a-f]{48})")
_DOMAIN: Final = b"tollgate.apikey"
_NOBODY: Final = bytes(DIGEST_BYTES)
_BLANK: Final = b"0" * 2 * SECRET_BYTES

UNKNOWN: Final = "there is no such key"
"""The same for an unknown id and a wrong secret: nothing is told to who guesses."""


class KeySource(Protocol):
    """Where the keys come from: a catalog that is being followed."""

    @property
    def keys(self) -> Mapping[str, ApiKey]:
        """The latest version of each key, by id. May change between two calls."""
        ...

    def seconds_behind(self) -> float:
        """How long ago `keys` was certainly all that there is; infinite before the first time."""
        ...


def key_text(key_id: str, secret: bytes) -> str:
    """The key as its user gets it: shown once, kept nowhere."""
    return f"{PREFIX}{key_id}_{secret.hex()}"


def key_digest(key_id: str, secret: bytes) -> bytes:
    """What is stored of a secret: a function of both, so that it is worth nothing elsewhere."""
    return blake2b(
        secret, digest_size=DIGEST_BYTES, key=key_id.encode("ascii"), person=_DOMAIN
    ).digest()


def blank_keys(body: bytes) -> tuple[bytes, list[str]]:
    """The body with zeros for the secret of every key in it, and the ids of those keys.

    As long as it was, so that it stays what it is, JSON or protobuf, and the same body sent again
    becomes the same one again.
    """
    ids = sorted({found[2].decode() for found in _IN_BODY.finditer(body) if found[3] != _BLANK})
    return (_IN_BODY.sub(rb"\g<1>" + _BLANK, body), ids) if ids else (body, ids)


def state_of(record: ApiKey, now_us: int) -> str:
    """`active`, `expired` or `revoked`. From `expires_at` on a key is expired."""
    if record.revoked_at is not None:
        return "revoked"
    if record.expires_at is not None and now_us >= record.expires_at:
        return "expired"
    return "active"


@dataclass(frozen=True, slots=True)
class _Ready:
    """A key made ready for checks: `record` is the version that it was made from."""

    record: ApiKey
    digest: bytes
    caller: Caller
    per_second: int


def _made_ready(record: ApiKey) -> _Ready:
    scopes = frozenset(Scope(name) for name in record.scopes)
    customers = None if record.customers is None else frozenset(record.customers)
    return _Ready(
        record=record,
        digest=bytes.fromhex(record.digest),
        caller=Caller(record.id, frozenset(Scope) if Scope.ADMIN in scopes else scopes, customers),
        per_second=record.requests_per_second or REQUESTS_PER_SECOND_DEFAULT,
    )


LOCAL: Final = Caller("local", frozenset(Scope))
"""Who asks an installation that has no key yet, on its own machine."""


class KeyRing:
    """The keys in force, and when each was last used: `Keys` of `streams.gateway.ports`.

    With `open_until_first_key` everybody may do everything until the catalog holds a first key,
    revoked or not: for a gateway that listens on loopback alone. Memory is bounded by the number of
    keys: of strangers nothing is remembered.
    """

    def __init__(
        self, source: KeySource, clock: Clock, rates: Rates, *, open_until_first_key: bool = False
    ) -> None:
        self._source = source
        self._clock = clock
        self._rates = rates
        self._open_until_first_key = open_until_first_key
        self._made: dict[str, _Ready] = {}
        self._used_at_us: dict[str, int] = {}

    def check(self, presented: str | None, scope: Scope, customer_id: str | None) -> Caller:
        """The caller behind a presented key; see `streams.gateway.ports.Keys`.

        Raises AuthError, in this order: unavailable (503: the catalog has not been heard from),
        unauthorized, key_revoked, key_expired, rate_limited, scope_missing, customer_not_allowed.
        Why a key is refused is told only to who has it.
        """
        behind_seconds = self._source.seconds_behind()
        if behind_seconds > BEHIND_SECONDS_MAX:
            raise AuthError(
                "unavailable",
                "the gateway cannot see at the moment which keys are revoked",
                503,
                retry_after_seconds=1.0,
            )
        keys = self._source.keys
        if self._open_until_first_key and not keys:
            return LOCAL
        ready = self._find(keys, presented)
        now_us = self._clock.now_us()
        _refuse_ended(ready.record, now_us)
        wait_seconds = self._rates.wait_seconds(ready.record.id, ready.per_second)
        if wait_seconds > 0:
            raise AuthError(
                "rate_limited",
                f"the key may send {ready.per_second} requests a second to this gateway",
                429,
                retry_after_seconds=wait_seconds,
            )
        caller = ready.caller
        if scope not in caller.scopes:
            raise AuthError("scope_missing", f"the key has not the scope {scope.value!r}", 403)
        if customer_id is not None:
            caller.require_customer(customer_id)
        self._used_at_us[caller.key_id] = now_us
        return caller

    def _find(self, keys: Mapping[str, ApiKey], presented: str | None) -> _Ready:
        if not presented:
            raise AuthError("unauthorized", "send a key: Authorization: Bearer agb_…", 401)
        shape = _SHAPE.fullmatch(presented)
        if shape is None:
            raise AuthError("unauthorized", UNKNOWN, 401)
        key_id, secret = shape[1], bytes.fromhex(shape[2])
        record = keys.get(key_id)
        ready = None if record is None else self._ready(record)
        # An unknown id costs the same hash and comparison as a known one with a wrong secret.
        digest = _NOBODY if ready is None else ready.digest
        same = hmac.compare_digest(key_digest(key_id, secret), digest)
        if ready is None or not same:
            raise AuthError("unauthorized", UNKNOWN, 401)
        return ready

    def _ready(self, record: ApiKey) -> _Ready:
        ready = self._made.get(record.id)
        if ready is None or ready.record is not record:
            ready = self._made[record.id] = _made_ready(record)
        return ready

    def active_count(self) -> int:
        """How many keys are neither revoked nor expired: without one a gateway that strangers can
        reach must not listen."""
        now_us = self._clock.now_us()
        return sum(state_of(record, now_us) == "active" for record in self._source.keys.values())

    def used_at_us(self) -> dict[str, int]:
        """When each key that was accepted here was last, by id: a copy."""
        return dict(self._used_at_us)


def _refuse_ended(record: ApiKey, now_us: int) -> None:
    state = state_of(record, now_us)
    if state == "revoked":
        raise AuthError("key_revoked", f"the key {record.id} was revoked", 401)
    if state == "expired" and record.expires_at is not None:
        ended = format_time(record.expires_at)
        raise AuthError("key_expired", f"the key {record.id} expired at {ended}", 401)
