"""API keys of an installation: made, listed, revoked, rotated as catalog records; and the ring of a
gateway.

A key's text exists here for a moment, between the random bytes and the caller that shows it.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from schemas import catalog, codec
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import ApiKey
from schemas.times import MICROSECONDS
from streams.adapters.catalog import append_catalog, read_catalog
from streams.adapters.clock import SystemClock
from streams.adapters.key_uses import KeyUseFile, read_key_uses
from streams.app.addresses import kafka_bootstrap
from streams.errors import SetupError
from streams.gateway.keys import (
    ID_BYTES,
    SECRET_BYTES,
    KeyRing,
    KeySource,
    key_digest,
    key_text,
    state_of,
)
from streams.gateway.rates import BUCKETS_MAX, Rates
from streams.settings import Settings

KEYS_MAX: Final = BUCKETS_MAX
"""Active keys of an installation: a gateway holds each with its bucket and its customers."""

DAY_SECONDS: Final = 86_400

USES_WRITE_SECONDS: Final = 60.0
"""How often a gateway writes when its keys were last used: what a kill loses. Whoever looks for
keys out of use asks in days."""

USES_DIRECTORY: Final = "key-uses"
"""Directory in the home of the gateways' files of last uses."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: what the catalog holds of it, and its text, which is nowhere
    else."""

    record: ApiKey
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key as a list shows it. `state` is active, expired or revoked; `used_at_us` None where no
    gateway of this home has written a use."""

    record: ApiKey
    state: str
    used_at_us: int | None


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revocation did about one id: `done`, `already` (it was revoked before) or `unknown`
    (there is no such key)."""

    key_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class KeyWish:
    """What a new key shall be. Times in microseconds since the epoch; None: no customers in
    particular, no end, the gateway's own rate."""

    label: str
    scopes: Sequence[str]
    customers: Sequence[str] | None = None
    expires_at_us: int | None = None
    requests_per_second: int | None = None


async def create_key(settings: Settings, wish: KeyWish) -> NewKey:
    """Makes a key and appends its record.

    Returns when all replicas have the record; gateways know the key as soon as they have read it.
    Raises SetupError for a wish that no key can fulfil (nothing is appended then), TransientError
    where the broker does not answer.
    """
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    view, now_us = await read_catalog(bootstrap, prefix), SystemClock().now_us()
    active = sum(state_of(record, now_us) == "active" for record in view.keys.values())
    if active >= KEYS_MAX:
        raise SetupError(
            f"there are {active} active keys, and gateways hold {KEYS_MAX}",
            action="Revoke what is not used any more: `tollgate keys list` shows last uses.",
        )
    made = new_key(wish, now_us)
    await append_catalog(bootstrap, prefix, view, [made.record])
    return made


async def list_keys(settings: Settings) -> list[KeyLine]:
    """All keys there ever were, the oldest first."""
    view = await read_catalog(kafka_bootstrap(settings), settings.topic_prefix)
    now_us, used = SystemClock().now_us(), read_key_uses(settings.home / USES_DIRECTORY)
    return [
        KeyLine(record, state_of(record, now_us), used.get(record.id))
        for record in sorted(view.keys.values(), key=lambda record: record.created_at)
    ]


async def revoke_keys(settings: Settings, ids: Sequence[str]) -> list[Revoked]:
    """Revokes keys by their ids and says what was done about each, in their order.

    Ids that are unknown hinder no other.
    """
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    view, now_us = await read_catalog(bootstrap, prefix), SystemClock().now_us()
    done: list[Revoked] = []
    records: dict[str, ApiKey] = {}
    for key_id in ids:
        record = view.keys.get(key_id)
        if record is None:
            done.append(Revoked(key_id, "unknown"))
        elif record.revoked_at is not None or key_id in records:
            done.append(Revoked(key_id, "already"))
        else:
            records[key_id] = revision(record, revoked_at=now_us)
            done.append(Revoked(key_id, "done"))
    if records:
        await append_catalog(bootstrap, prefix, view, list(records.values()))
    return done


async def rotate_key(
    settings: Settings, key_id: str, overlap_seconds: int
) -> tuple[NewKey, ApiKey]:
    """Makes a key with the rights of another, which ends `overlap_seconds` from now.

    The new key is appended first: whatever happens in between, one of the two is good. Returns the
    new key, and the old one's record as it is now. An old key that was to expire sooner still does,
    and the new one lives as long as the old one was meant to in all. Raises SetupError where there
    is no such active key.
    """
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    view, now_us = await read_catalog(bootstrap, prefix), SystemClock().now_us()
    old = view.keys.get(key_id)
    if old is None:
        raise SetupError(
            f"there is no key {key_id}", action="`tollgate keys list` shows the ids of all keys."
        )
    if state_of(old, now_us) != "active":
        raise SetupError(
            f"the key {key_id} is {state_of(old, now_us)}",
            action="Make a new key with `tollgate keys create`.",
        )
    check_not_replaced(key_id, view.keys.values())
    made = new_key(successor(old, now_us), now_us, replaces=key_id)
    ended = ending(old, now_us, overlap_seconds)
    await append_catalog(bootstrap, prefix, view, [made.record, ended])
    return made, ended


def check_not_replaced(key_id: str, records: Iterable[ApiKey]) -> None:
    """Raises SetupError where a key was rotated before: its end is no longer the one that it was
    made with, and its successor is what has to be rotated."""
    for record in records:
        if record.replaces == key_id:
            raise SetupError(
                f"the key {key_id} was replaced by {record.id} before",
                action=f"Rotate {record.id}, with --overlap-hours 0 where nobody has its text; or "
                "make a new key with `tollgate keys create`.",
            )


def successor(old: ApiKey, now_us: int) -> KeyWish:
    """What takes the place of a key: the same rights, and a life as long as its own. Pure."""
    return KeyWish(
        label=old.label,
        scopes=old.scopes,
        customers=old.customers,
        expires_at_us=None if old.expires_at is None else now_us + old.expires_at - old.created_at,
        requests_per_second=old.requests_per_second,
    )


def ending(old: ApiKey, now_us: int, overlap_seconds: int) -> ApiKey:
    """The next version of a key that is replaced: revoked where nothing shall overlap, else
    expiring then, never later than it would have. Pure but for the version's name."""
    if overlap_seconds == 0:
        return revision(old, revoked_at=now_us)
    ends_at_us = now_us + overlap_seconds * MICROSECONDS
    if old.expires_at is not None:
        ends_at_us = min(ends_at_us, old.expires_at)
    return revision(old, expires_at=ends_at_us)


def new_key(wish: KeyWish, now_us: int, *, replaces: str | None = None) -> NewKey:
    """A key of fresh random bytes and its first record. Raises SetupError for what no record can
    hold, such as an empty label."""
    if wish.expires_at_us is not None and wish.expires_at_us <= now_us:
        raise SetupError(
            "the key would have expired before anybody could use it",
            action="Give a time in the future.",
        )
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_bytes(SECRET_BYTES)
    record = _record(
        {
            "id": key_id,
            "version": "1",
            "label": wish.label,
            "digest": key_digest(key_id, secret).hex(),
            "scopes": sorted(set(wish.scopes)),
            "created_at": now_us,
            "customers": None if wish.customers is None else sorted(set(wish.customers)),
            "expires_at": wish.expires_at_us,
            "requests_per_second": wish.requests_per_second,
            "replaces": replaces,
        }
    )
    return NewKey(record, key_text(key_id, secret))


def revision(record: ApiKey, **changed: int) -> ApiKey:
    """The next version of a key with `expires_at` or `revoked_at` changed.

    Its name ends in random digits: two commands at one moment must not append one version twice,
    which would stop everybody who follows the catalog (D3).
    """
    digits = record.version.partition("-")[0]
    number = int(digits) if digits.isdecimal() else 0
    version = f"{number + 1}-{secrets.token_hex(4)}"
    return _record(codec.to_plain(record) | {"version": version} | changed)


def _record(fields: dict[str, Any]) -> ApiKey:
    """A record that the public contract accepts, through its bytes: one that it refused would stop
    whoever follows the catalog. Raises SetupError."""
    head = {"schema_version": SCHEMA_VERSION, "kind": "api_key"}
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        model = catalog.ApiKey.model_validate(head | given)
    except ValidationError as fault:
        told = "\n".join(
            f"  - {'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in fault.errors(include_url=False, include_context=False, include_input=False)
        )
        raise SetupError(
            f"there can be no such key:\n{told}",
            action="Correct what is named; nothing was appended.",
        ) from None
    record = codec.decode_catalog(model.model_dump_json(exclude_unset=True).encode())
    if not isinstance(record, ApiKey):
        raise AssertionError("a key was decoded as another kind of catalog record")
    return record


def days_from_now_us(days: int) -> int:
    """The time in so many days, in microseconds since the epoch."""
    return SystemClock().now_us() + days * DAY_SECONDS * MICROSECONDS


# --- the gateway's side -------------------------------------------------------------------------


def key_ring(source: KeySource, *, open_until_first_key: bool) -> KeyRing:
    """The ring of a gateway that follows the catalog as `source`
    (`streams.adapters.key_feed.KeyFeed`).

    `open_until_first_key` only for a gateway that listens on loopback alone.
    """
    return KeyRing(
        source,
        SystemClock(),
        Rates(asyncio.get_running_loop().time),
        open_until_first_key=open_until_first_key,
    )


def check_exposed(ring: KeyRing) -> None:
    """Raises SetupError where a gateway must not listen to strangers: no key is active, so nobody
    could be told from anybody. For a start beyond loopback, when the catalog has been read."""
    if ring.active_count() == 0:
        raise SetupError(
            "there is no active API key, and the gateway was told to listen beyond loopback",
            action="Make a key with `tollgate keys create`, or listen on 127.0.0.1.",
        )


async def keep_uses(ring: KeyRing, home: Path, name: str) -> None:
    """Writes when keys were last used, now and then and once more at the end: a task of the
    gateway, to be cancelled. `name` tells the gateways of a home apart."""
    file = KeyUseFile(home / USES_DIRECTORY, name)
    try:
        while True:
            await asyncio.sleep(USES_WRITE_SECONDS)
            await asyncio.to_thread(file.write, ring.used_at_us())
    finally:
        file.write(ring.used_at_us())
