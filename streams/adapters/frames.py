"""Frames on a TCP connection between a gateway and an owner: `u32 length, u32 number, payload`,
little-endian, in both directions, answers in any order.

Owns cutting the stream into frames, joining what is written in one turn of the loop into one write,
the bounds of a frame, and the greeting with which both sides prove that they share a secret. What
the payloads say is for `hop` and `remote_owners`.

The greeting, numbers 0: the accepting side says version, whether it has a secret and a challenge;
the connecting side answers with its own challenge and the HMAC of both; the accepting side closes
or proves the same. It authenticates the two ends; it does not encrypt, so beyond a trusted network
it belongs into a tunnel.
"""

import asyncio
import hmac
import secrets
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, cast

from streams.errors import SetupError

HEADER: Final = struct.Struct("<II")
"""Length of the payload and number of the frame."""

GREETING: Final = b"tollgate-hop/1 "
"""Begins the first frame of the accepting side; both ends are of one release."""

CHALLENGE_BYTES: Final = 32
PROOF_BYTES: Final = 32
"""Of SHA-256."""

SECRET_BYTES_MIN: Final = 16
"""128 bits, the least that nobody guesses."""

ASK_BYTES_MAX: Final = 16 * 1024
"""An ask: eight ids of at most 128 bytes, each of which JSON may write with six times as many, and
some amounts."""

ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
"""An answer: 10,000 open holds (`Rules.holds_max` at its most) with two long ids each."""

READ_BYTES: Final = 64 * 1024
"""What is read at once: some hundred asks."""

WRITE_BYTES_HIGH: Final = 1024 * 1024
"""Bytes that wait for a peer who does not read before it is given no more."""

_OPEN: Final = b"open"
_SEALED: Final = b"hmac"


@dataclass(frozen=True, slots=True)
class HopLimits:
    """How patient one end is with the other. The defaults suit processes of one installation."""

    frames_in_flight: int = 4_096
    """Asks of one connection without an answer: two seconds of the most that an owner decides."""
    connections: int = 256
    """Gateways and their reconnects; each costs a buffer and a descriptor."""
    greeting_seconds: float = 3.0
    """Until both sides know each other: a round trip, and a busy loop's worst pause."""
    frame_seconds: float = 5.0
    """For the rest of a frame that has begun to arrive: 16 MiB at 30 Mbit/s."""
    stalled_seconds: float = 5.0
    """How long a peer may leave more than WRITE_BYTES_HIGH unread."""
    idle_seconds: float = 120.0
    """Without a frame in either direction a connection is closed; the next ask opens another."""

    @property
    def sweep_seconds(self) -> float:
        """Between two looks at the connections."""
        patience = (
            self.greeting_seconds,
            self.frame_seconds,
            self.stalled_seconds,
            self.idle_seconds,
        )
        return min(patience) / 4


class FrameError(Exception):
    """The peer does not keep to the protocol: its connection is closed."""


def check_secret(secret: bytes | None) -> None:
    """Raises SetupError for a secret that could be guessed."""
    if secret is not None and len(secret) < SECRET_BYTES_MIN:
        raise SetupError(
            f"the secret of the hop has {len(secret)} bytes; {SECRET_BYTES_MIN} are the least",
            action="Give every gateway and worker the same random secret, for example what "
            "`openssl rand -hex 32` prints.",
        )


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` (IPv6 in brackets). Raises SetupError."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise SetupError(
            f"{address!r} is no address",
            action="Write it as host:port, an IPv6 host in brackets.",
        )
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """`host:port`, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Framed(asyncio.BufferedProtocol, ABC):
    """One end of a connection. `AcceptingEnd` and `ConnectingEnd` give the greeting; a subclass of
    theirs gives `frame_received` and may extend `greeted` and `connection_lost`.

    Frames are received only after the greeting. Whatever breaks the protocol closes the connection
    at once; `fault` then says what it was.
    """

    def __init__(self, bytes_max: int, secret: bytes | None) -> None:
        """`bytes_max` bounds the payloads that this end takes."""
        self.loop = asyncio.get_running_loop()
        self.bytes_max = bytes_max
        self.fault = ""
        self.is_greeted = False
        self.stalled_since: float | None = None
        self.partial_since: float | None = None
        self.heard_at = self.loop.time()
        self._secret = secret
        self._challenge = secrets.token_bytes(CHALLENGE_BYTES)
        self._transport: asyncio.Transport | None = None
        self._room = bytearray(READ_BYTES)
        self._rest = bytearray()
        self._writing: list[bytes] = []

    # --- what a subclass is told ---

    @abstractmethod
    def greeting_received(self, payload: bytes) -> None:
        """A frame before the greeting is over. Raises FrameError."""

    @abstractmethod
    def frame_received(self, number: int, payload: bytes) -> None:
        """A frame of the peer. Raises FrameError."""

    def greeted(self) -> None:
        """Both ends know each other: frames may be sent."""
        self.is_greeted = True

    # --- reading ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BufferedProtocol."""
        # uvloop's transports are not of asyncio's class, but do what it says.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES_HIGH)

    def get_buffer(self, _size_hint: int) -> bytearray:
        """See asyncio.BufferedProtocol."""
        return self._room

    def buffer_updated(self, size: int) -> None:
        """See asyncio.BufferedProtocol."""
        self.received(bytes(memoryview(self._room)[:size]))

    def received(self, received: bytes) -> None:
        """Takes what has arrived: parts of a frame, one, or several."""
        rest = self._rest
        try:
            if not rest:
                taken = self._take_frames(received)
                if taken < len(received) and self._transport is not None:
                    rest += memoryview(received)[taken:]
            else:
                rest += received
                # Only a whole frame is copied: what trickles in is not looked through each time.
                if len(rest) >= HEADER.size + self._check_header(rest, 0)[0]:
                    taken = self._take_frames(bytes(rest))
                    del rest[:taken]
        except FrameError as fault:
            self.break_off(str(fault))
            return
        if not rest:
            self.partial_since = None
        elif self.partial_since is None:
            self.partial_since = self.loop.time()

    def _take_frames(self, received: bytes) -> int:
        """Gives whole frames on; returns how many bytes they were."""
        at, end = 0, len(received)
        while end - at >= HEADER.size and self._transport is not None:
            length, number = self._check_header(received, at)
            begins = at + HEADER.size
            if end - begins < length:
                break
            at = begins + length
            self.partial_since = None
            self.heard_at = self.loop.time()
            payload = received[begins:at]
            if self.is_greeted:
                self.frame_received(number, payload)
            else:
                self.greeting_received(payload)
        return at

    def _check_header(self, received: bytes | bytearray, at: int) -> tuple[int, int]:
        if len(received) - at < HEADER.size:
            return 0, 0
        length, number = HEADER.unpack_from(received, at)
        if length > self.bytes_max:
            raise FrameError(f"a frame of {length} bytes; {self.bytes_max} are allowed")
        return length, number

    # --- writing ---

    def send(self, number: int, payload: bytes) -> None:
        """Sends a frame with everything else that is sent in this turn of the loop."""
        if self._transport is None:
            return
        if not self._writing:
            self.loop.call_soon(self._flush)
        self._writing.append(HEADER.pack(len(payload), number))
        self._writing.append(payload)

    def _flush(self) -> None:
        writing, self._writing = self._writing, []
        if self._transport is not None:
            self._transport.write(b"".join(writing))

    def pause_writing(self) -> None:
        """See asyncio.BufferedProtocol: the peer reads too slowly."""
        self.stalled_since = self.loop.time()

    def resume_writing(self) -> None:
        """See asyncio.BufferedProtocol."""
        self.stalled_since = None

    # --- the end ---

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as this end knows."""
        return self._transport is not None

    def break_off(self, why: str) -> None:
        """Closes at once; what has not been written is lost."""
        if self._transport is not None:
            self.fault = self.fault or why
            transport, self._transport = self._transport, None
            transport.abort()

    def close(self) -> None:
        """Closes once everything sent has been written."""
        if self._transport is not None:
            if self._writing:
                self._flush()
            transport, self._transport = self._transport, None
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.BufferedProtocol."""
        self._transport = None
        self._rest.clear()
        self._writing.clear()
        if error is not None and not self.fault:
            self.fault = f"{type(error).__name__}: {error}"

    def overdue(self, limits: HopLimits, now: float) -> str:
        """Why this connection is to be closed now; empty where it may go on."""
        if not self.is_greeted and now - self.heard_at > limits.greeting_seconds:
            return f"no greeting within {limits.greeting_seconds:g} s"
        if self.partial_since is not None and now - self.partial_since > limits.frame_seconds:
            return f"a frame did not arrive within {limits.frame_seconds:g} s"
        if self.stalled_since is not None and now - self.stalled_since > limits.stalled_seconds:
            return f"nothing was read for {limits.stalled_seconds:g} s"
        return ""


class AcceptingEnd(Framed):
    """The greeting as the owner's side gives it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BufferedProtocol."""
        super().connection_made(transport)
        kind = _OPEN if self._secret is None else _SEALED
        self.send(0, GREETING + kind + self._challenge)

    def greeting_received(self, payload: bytes) -> None:
        """See Framed."""
        challenge, proof = payload[:CHALLENGE_BYTES], payload[CHALLENGE_BYTES:]
        if self._secret is None:
            if payload:
                raise FrameError("proof of a secret, where there is none")
            self.send(0, b"")
        else:
            both = self._challenge + challenge
            due = prove(self._secret, b"gateway", both)
            if len(challenge) != CHALLENGE_BYTES or not hmac.compare_digest(due, proof):
                raise FrameError("the gateway does not know the secret")
            self.send(0, prove(self._secret, b"owner", both))
        self.greeted()


class ConnectingEnd(Framed):
    """The greeting as the gateway's side gives it."""

    def __init__(self, bytes_max: int, secret: bytes | None) -> None:
        """See Framed."""
        super().__init__(bytes_max, secret)
        self._due: bytes | None = None

    def greeting_received(self, payload: bytes) -> None:
        """See Framed."""
        if self._due is not None:
            if not hmac.compare_digest(self._due, payload):
                raise FrameError("the owner does not know the secret")
            self.greeted()
            return
        kind, challenge = payload[len(GREETING) :][:4], payload[len(GREETING) + 4 :]
        if not payload.startswith(GREETING) or len(challenge) != CHALLENGE_BYTES:
            raise FrameError("what answers there is no owner of this release")
        if self._secret is None:
            if kind != _OPEN:
                raise FrameError("the owner demands a secret, and none is set here")
            self._due = b""
            self.send(0, b"")
        else:
            if kind != _SEALED:
                raise FrameError("the owner has no secret, and one is set here")
            both = challenge + self._challenge
            self._due = prove(self._secret, b"owner", both)
            self.send(0, self._challenge + prove(self._secret, b"gateway", both))


def prove(secret: bytes, who: bytes, challenges: bytes) -> bytes:
    """That whoever is `who` knows the secret, for these challenges alone."""
    return hmac.digest(secret, GREETING + who + b" " + challenges, "sha256")
