"""Claims: who was first with an id, and what a later record with the same id is (I1 to I3)."""

import struct
from enum import Enum
from typing import Final

from schemas.structs import Value

_packed: Final = struct.Struct(">16sqq")
_keyed: Final = struct.Struct(">16s16sqq")

CLAIM_BYTES: Final = _packed.size
"""A claim in the store."""

KEYED_CLAIM_BYTES: Final = _keyed.size
"""A claim with its key in a changelog segment."""


class Verdict(Enum):
    """What the claim of its id says of a record."""

    FRESH = "fresh"
    REPLAY = "replay"
    """The very record that made the claim: read again after a fault, it changes nothing."""
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    VOID = "void"
    """A record of an owner whose lease is not the last one before it: it never counted."""
    CONTROL = "control"
    """A lease or a tick: it is about the partition, not about an account."""


class Claim(Value, frozen=True):
    """The first accepted record of an id: the hash of its billing content, when and where it
    stands."""

    body_hash: bytes
    appended_at_us: int
    offset: int


def judge(
    claim: Claim | None, body_hash: bytes, appended_at_us: int, offset: int, horizon_us: int
) -> Verdict:
    """What a record is, given the claim of its id or None.

    A claim holds while its append time is at least the record's minus the horizon, whatever a store
    still remembers: dropping old claims never decides anything (I6).
    """
    if claim is None or claim.appended_at_us < appended_at_us - horizon_us:
        return Verdict.FRESH
    if claim.body_hash != body_hash:
        return Verdict.CONFLICT
    return Verdict.REPLAY if claim.offset == offset else Verdict.DUPLICATE


def pack_claim(claim: Claim) -> bytes:
    """A claim as the store keeps it, CLAIM_BYTES long."""
    return _packed.pack(claim.body_hash, claim.appended_at_us, claim.offset)


def unpack_claim(packed: bytes) -> Claim:
    """The claim that `pack_claim` packed."""
    return Claim(*_packed.unpack(packed))


def pack_segment(claims: dict[bytes, Claim]) -> bytes:
    """Many claims as one changelog record: key and claim, one after the other."""
    pack = _keyed.pack
    return b"".join(
        [pack(key, c.body_hash, c.appended_at_us, c.offset) for key, c in claims.items()]
    )


def split_segment(segment: bytes) -> list[tuple[bytes, bytes]]:
    """The (key, packed claim) pairs of a segment, as the store wants them."""
    step, key = KEYED_CLAIM_BYTES, 16
    return [
        (segment[i : i + key], segment[i + key : i + step]) for i in range(0, len(segment), step)
    ]
