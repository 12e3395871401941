"""A certificate of one's own for `localhost`, made without any program or package: a machine that
runs the tests need not have them. The key signs itself once and is of no use to anybody.

ECDSA on P-256 by the book (SEC 1), in the DER of RFC 5280 and RFC 5915.
"""

import base64
import hashlib
import secrets
from pathlib import Path
from typing import Final

from schemas.times import format_time
from streams.adapters.clock import SystemClock
from tests.builders import DAY_US

# P-256: the prime of its field, its order, its base point. Its first coefficient is -3.
P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G: Final = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

Point = tuple[int, int]

SEQUENCE, SET, INTEGER, BITS, OCTETS, OID, UTF8 = 0x30, 0x31, 0x02, 0x03, 0x04, 0x06, 0x0C
TIME, BOOLEAN = 0x18, 0x01


def make_certificate(certificate: Path, private_key: Path) -> None:
    """Writes a certificate for `localhost`, good for a day, and its key, both in PEM."""
    secret = 1 + secrets.randbelow(N - 1)
    public = b"\x04" + b"".join(part.to_bytes(32, "big") for part in _times(secret, G))
    signed = _to_be_signed(public)
    signature = _sign(secret, hashlib.sha256(signed).digest())
    algorithm = _der(SEQUENCE, _oid("1.2.840.10045.4.3.2"))
    _write(certificate, "CERTIFICATE", _der(SEQUENCE, signed, algorithm, _bits(signature)))
    key = _der(
        SEQUENCE,
        _integer(1),
        _der(OCTETS, secret.to_bytes(32, "big")),
        _der(0xA0, _oid("1.2.840.10045.3.1.7")),
        _der(0xA1, _bits(public)),
    )
    _write(private_key, "EC PRIVATE KEY", key)


def _to_be_signed(public: bytes) -> bytes:
    name = _der(SEQUENCE, _der(SET, _der(SEQUENCE, _oid("2.5.4.3"), _der(UTF8, b"localhost"))))
    now_us = SystemClock().now_us()
    span = [_time(now_us - DAY_US), _time(now_us + DAY_US)]
    key_kind = _der(SEQUENCE, _oid("1.2.840.10045.2.1"), _oid("1.2.840.10045.3.1.7"))
    key_name = hashlib.sha1(public, usedforsecurity=False).digest()
    extensions = _der(
        SEQUENCE,
        _extension("2.5.29.14", _der(OCTETS, key_name)),
        _extension("2.5.29.35", _der(SEQUENCE, _der(0x80, key_name))),
        _extension("2.5.29.19", _der(SEQUENCE, _der(BOOLEAN, b"\xff")), critical=True),
        _extension("2.5.29.17", _der(SEQUENCE, _der(0x82, b"localhost"))),
    )
    return _der(
        SEQUENCE,
        _der(0xA0, _integer(2)),
        _integer(1 + secrets.randbits(64)),
        _der(SEQUENCE, _oid("1.2.840.10045.4.3.2")),
        name,
        _der(SEQUENCE, *span),
        name,
        _der(SEQUENCE, key_kind, _bits(public)),
        _der(0xA3, extensions),
    )


# --- DER --------------------------------------------------------------------------------------


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _integer(number: int) -> bytes:
    return _der(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _bits(content: bytes) -> bytes:
    return _der(BITS, b"\0" + content)


def _oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = bytearray([40 * first + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        content += bytes(reversed(groups))
    return _der(OID, bytes(content))


def _extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    flag = [_der(BOOLEAN, b"\xff")] if critical else []
    return _der(SEQUENCE, _oid(dotted), *flag, _der(OCTETS, value))


def _time(time_us: int) -> bytes:
    digits = "".join(sign for sign in format_time(time_us)[:19] if sign.isdigit())
    return _der(TIME, f"{digits}Z".encode())


def _write(path: Path, label: str, content: bytes) -> None:
    text = base64.encodebytes(content).decode()
    path.write_text(f"-----BEGIN {label}-----\n{text}-----END {label}-----\n", encoding="ascii")


# --- the curve --------------------------------------------------------------------------------


def _add(one: Point | None, other: Point | None) -> Point | None:
    """The sum of two points; None is the point at infinity."""
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (
        (3 * x1 * x1 - 3) * pow(2 * y1, -1, P) if one == other else (y2 - y1) * pow(x2 - x1, -1, P)
    )
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def _times(factor: int, point: Point) -> Point:
    total: Point | None = None
    power = point
    while factor:
        if factor & 1:
            total = _add(total, power)
        doubled = _add(power, power)
        assert doubled is not None, "the order is odd: no doubling ends at infinity"
        power, factor = doubled, factor >> 1
    assert total is not None, "a factor between 1 and the order"
    return total


def _sign(secret: int, digest: bytes) -> bytes:
    nonce = 1 + secrets.randbelow(N - 1)
    r = _times(nonce, G)[0] % N
    s = pow(nonce, -1, N) * (int.from_bytes(digest, "big") + r * secret) % N
    return _der(SEQUENCE, _integer(r), _integer(s))
