"""An authority of one's own, and the certificates that it signs: for servers and clients of a test.

With the curve and the DER of `tests.certificate`. Keys are PKCS#8, which Java wants.
"""

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streams.adapters.clock import SystemClock
from tests.builders import DAY_US
from tests.certificate import (
    BOOLEAN,
    OCTETS,
    SEQUENCE,
    SET,
    UTF8,
    G,
    N,
    _bits,
    _der,
    _extension,
    _integer,
    _oid,
    _sign,
    _time,
    _times,
    _write,
)

_SIGNED_WITH: Final = _der(SEQUENCE, _oid("1.2.840.10045.4.3.2"))
_KEY_KIND: Final = _der(SEQUENCE, _oid("1.2.840.10045.2.1"), _oid("1.2.840.10045.3.1.7"))
LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class _Pair:
    """A secret number and what belongs to it."""

    secret: int = field(default_factory=lambda: 1 + secrets.randbelow(N - 1), repr=False)

    @property
    def public(self) -> bytes:
        return b"\x04" + b"".join(part.to_bytes(32, "big") for part in _times(self.secret, G))

    @property
    def pkcs8(self) -> bytes:
        key = _der(
            SEQUENCE,
            _integer(1),
            _der(OCTETS, self.secret.to_bytes(32, "big")),
            _der(0xA1, _bits(self.public)),
        )
        return _der(SEQUENCE, _integer(0), _KEY_KIND, _der(OCTETS, key))


class Authority:
    """Signs certificates that are good for a day; its own is `certificate`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        """Writes its own certificate into a folder that exists."""
        self._folder = folder
        self._name = name
        self._pair = _Pair()
        self.certificate = folder / f"{name}.pem"
        _write(self.certificate, "CERTIFICATE", self._signed(name, self._pair.public, ()))

    def issue(self, name: str, *hosts: str, days: tuple[int, int] = (-1, 1)) -> tuple[Path, Path]:
        """The files of a certificate of this common name, good for these hosts, and its key; `days`
        are from when and until when, counted from now."""
        pair = _Pair()
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        _write(certificate, "CERTIFICATE", self._signed(name, pair.public, hosts, days))
        _write(key, "PRIVATE KEY", pair.pkcs8)
        return certificate, key

    def _signed(
        self,
        name: str,
        public: bytes,
        hosts: tuple[str, ...],
        days: tuple[int, int] = (-1, 1),
    ) -> bytes:
        now_us = SystemClock().now_us()
        own = _der(OCTETS, hashlib.sha1(public, usedforsecurity=False).digest())
        signer = hashlib.sha1(self._pair.public, usedforsecurity=False).digest()
        is_authority = public == self._pair.public
        constraints = _der(SEQUENCE, *([_der(BOOLEAN, b"\xff")] if is_authority else []))
        extensions = [
            _extension("2.5.29.14", own),
            _extension("2.5.29.35", _der(SEQUENCE, _der(0x80, signer))),
            _extension("2.5.29.19", constraints, critical=True),
        ]
        if is_authority:
            # Bit 5, keyCertSign: two unused bits in the one octet.
            extensions.append(_extension("2.5.29.15", b"\x03\x02\x02\x04", critical=True))
        if hosts:
            extensions.append(_extension("2.5.29.17", _der(SEQUENCE, *map(_host, hosts))))
        signed = _der(
            SEQUENCE,
            _der(0xA0, _integer(2)),
            _integer(1 + secrets.randbits(64)),
            _SIGNED_WITH,
            _named(self._name),
            _der(SEQUENCE, *(_time(now_us + count * DAY_US) for count in days)),
            _named(name),
            _der(SEQUENCE, _KEY_KIND, _bits(public)),
            _der(0xA3, _der(SEQUENCE, *extensions)),
        )
        signature = _sign(self._pair.secret, hashlib.sha256(signed).digest())
        return _der(SEQUENCE, signed, _SIGNED_WITH, _bits(signature))


def _named(name: str) -> bytes:
    attribute = _der(SEQUENCE, _oid("2.5.4.3"), _der(UTF8, name.encode()))
    return _der(SEQUENCE, _der(SET, attribute))


def _host(host: str) -> bytes:
    try:
        return _der(0x87, ipaddress.ip_address(host).packed)
    except ValueError:
        return _der(0x82, host.encode())
