"""streams.adapters.frames: whole frames however they arrive, bounds, and a greeting that only a
holder of the secret passes."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from streams.adapters.frames import (
    ASK_BYTES_MAX,
    GREETING,
    HEADER,
    AcceptingEnd,
    ConnectingEnd,
    Framed,
    HopLimits,
    check_secret,
    join_address,
    split_address,
)
from streams.errors import SetupError

SECRET = b"0123456789abcdef"


class Pipe(asyncio.Transport):
    """A transport that keeps what is written and remembers how it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.ended = ""

    def write(self, chunk: Any) -> None:
        self.writes.append(bytes(chunk))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        self.ended = "aborted"

    def close(self) -> None:
        self.ended = "closed"


class Taking(Framed):
    """Keeps the frames it is given; needs no greeting."""

    def __init__(self, bytes_max: int = 1_000) -> None:
        super().__init__(bytes_max, None)
        self.is_greeted = True
        self.frames: list[tuple[int, bytes]] = []

    def greeting_received(self, payload: bytes) -> None:
        raise AssertionError("it is greeted already")

    def frame_received(self, number: int, payload: bytes) -> None:
        self.frames.append((number, payload))


class Accepting(AcceptingEnd):
    """An owner's side that only greets."""

    def frame_received(self, number: int, payload: bytes) -> None:
        raise AssertionError("nobody sends a frame here")


class Connecting(ConnectingEnd):
    """A gateway's side that only greets."""

    def frame_received(self, number: int, payload: bytes) -> None:
        raise AssertionError("nobody sends a frame here")


def connected(end: Framed) -> Pipe:
    pipe = Pipe()
    end.connection_made(pipe)
    return pipe


def frame(number: int, payload: bytes) -> bytes:
    return HEADER.pack(len(payload), number) + payload


FRAMES = [(7, b"one"), (1, b""), (4_294_967_295, b"x" * 900), (2, b"two")]
STREAM = b"".join(frame(*each) for each in FRAMES)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 64, len(STREAM)])
async def test_frames_are_whole_however_the_stream_is_cut(size: int) -> None:
    end = Taking()
    connected(end)
    for at in range(0, len(STREAM), size):
        end.received(STREAM[at : at + size])
    assert end.frames == FRAMES
    assert end.partial_since is None


async def test_frames_are_whole_at_random_cuts() -> None:
    rng = random.Random(6)  # a seed of its own: the cuts are the same in every run
    for _ in range(200):
        end = Taking()
        connected(end)
        cuts = sorted(rng.sample(range(1, len(STREAM)), rng.randrange(1, 12)))
        for begin, stop in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
            end.received(STREAM[begin:stop])
        assert end.frames == FRAMES


async def test_an_oversized_frame_ends_the_connection_before_its_bytes_arrive() -> None:
    end = Taking(bytes_max=100)
    pipe = connected(end)
    end.received(frame(1, b"fine") + HEADER.pack(101, 2))
    assert end.frames == [(1, b"fine")]
    assert pipe.ended == "aborted"
    assert "101 bytes" in end.fault
    assert not end.is_open


async def test_an_oversized_length_that_arrives_in_pieces_is_noticed_as_well() -> None:
    end = Taking(bytes_max=100)
    pipe = connected(end)
    for byte in HEADER.pack(101, 2):
        end.received(bytes([byte]))
    assert pipe.ended == "aborted"


async def test_everything_sent_in_one_turn_of_the_loop_is_one_write() -> None:
    end = Taking()
    pipe = connected(end)
    end.send(1, b"a")
    end.send(2, b"b")
    await asyncio.sleep(0)
    end.send(3, b"c")
    await asyncio.sleep(0)
    assert pipe.writes == [frame(1, b"a") + frame(2, b"b"), frame(3, b"c")]


async def test_what_was_sent_is_written_before_the_connection_is_closed() -> None:
    end = Taking()
    pipe = connected(end)
    end.send(1, b"last")
    end.close()
    assert (pipe.writes, pipe.ended) == ([frame(1, b"last")], "closed")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda end: end.received(b"\x01"), "did not arrive"),
        (lambda end: end.pause_writing(), "nothing was read"),
    ],
    ids=["half a frame", "a peer that does not read"],
)
async def test_a_peer_that_keeps_us_waiting_is_overdue(
    spoil: Callable[[Framed], None], why: str
) -> None:
    end, limits = Taking(), HopLimits()
    connected(end)
    now = asyncio.get_running_loop().time()
    assert not end.overdue(limits, now + 60)
    spoil(end)
    assert not end.overdue(limits, now + 1)
    assert why in end.overdue(limits, now + 60)


async def test_a_frame_that_trickles_in_beside_whole_ones_is_still_overdue() -> None:
    end, limits = Taking(), HopLimits(frame_seconds=5)
    connected(end)
    end.received(frame(1, b"whole") + b"\x09")
    begun = end.partial_since
    assert begun is not None
    for byte in b"\x00\x00\x00\x02":
        end.received(bytes([byte]))
    assert end.partial_since == begun
    assert end.overdue(limits, begun + 5.1)


async def test_the_patience_for_a_frame_begins_with_that_frame() -> None:
    end = Taking()
    connected(end)
    end.received(frame(1, b"whole")[:-1])
    end.partial_since = 0.0  # it has waited long
    end.received(b"e" + b"\x09")
    assert end.frames == [(1, b"whole")]
    assert end.partial_since


# --- the greeting -------------------------------------------------------------------------------


def exchange(accepting: AcceptingEnd, connecting: ConnectingEnd) -> None:
    """Carries everything that both ends write, until neither writes any more."""
    pipes = (connected(accepting), connected(connecting))
    ends = (accepting, connecting)
    moved = True
    while moved:
        moved = False
        for end in ends:
            if end._writing:
                end._flush()
        for pipe, other in zip(pipes, reversed(ends), strict=True):
            chunks, pipe.writes = pipe.writes, []
            for chunk in chunks:
                moved = True
                if other.is_open:
                    other.received(chunk)


@pytest.mark.parametrize("secret", [None, SECRET])
async def test_two_ends_with_the_same_secret_greet_each_other(secret: bytes | None) -> None:
    accepting, connecting = Accepting(100, secret), Connecting(100, secret)
    exchange(accepting, connecting)
    assert (accepting.is_greeted, connecting.is_greeted) == (True, True)


@pytest.mark.parametrize(
    ("owner", "gateway", "why"),
    [
        (SECRET, SECRET + b"!", "does not know the secret"),
        (SECRET, None, "demands a secret"),
        (None, SECRET, "has no secret"),
    ],
)
async def test_ends_that_do_not_share_the_secret_exchange_no_frame(
    owner: bytes | None, gateway: bytes | None, why: str
) -> None:
    accepting, connecting = Accepting(100, owner), Connecting(100, gateway)
    exchange(accepting, connecting)
    assert (accepting.is_greeted, connecting.is_greeted) == (False, False)
    assert why in accepting.fault + connecting.fault


async def test_an_owner_that_cannot_prove_the_secret_is_left() -> None:
    connecting = Connecting(100, SECRET)
    pipe = connected(connecting)
    connecting.received(frame(0, GREETING + b"hmac" + bytes(32)))
    connecting.received(frame(0, bytes(32)))
    assert pipe.ended == "aborted"
    assert "does not know the secret" in connecting.fault


async def test_a_recorded_proof_is_worth_nothing_for_another_connection() -> None:
    recorded = Connecting(100, SECRET)
    pipe = connected(recorded)
    first = Accepting(100, SECRET)
    recorded.received(frame(0, GREETING + b"hmac" + first._challenge))
    recorded._flush()
    second = Accepting(100, SECRET)
    connected(second)
    second.received(pipe.writes[0])
    assert not second.is_greeted
    assert "does not know the secret" in second.fault


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", frame(0, b"junk"), frame(9, b"")])
async def test_junk_is_no_greeting(junk: bytes) -> None:
    for end in (Accepting(ASK_BYTES_MAX, SECRET), Connecting(ASK_BYTES_MAX, SECRET)):
        pipe = connected(end)
        end.received(junk)
        assert pipe.ended == "aborted"
        assert not end.is_greeted


async def test_without_a_greeting_a_connection_is_overdue() -> None:
    end, limits = Accepting(100, None), HopLimits()
    connected(end)
    now = asyncio.get_running_loop().time()
    assert "no greeting" in end.overdue(limits, now + limits.greeting_seconds + 1)


def test_a_short_secret_is_refused() -> None:
    check_secret(None)
    check_secret(SECRET)
    with pytest.raises(SetupError, match="15 bytes"):
        check_secret(SECRET[:15])


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:8080", ("::1", 8080)),
        ("owner.internal:0", ("owner.internal", 0)),
    ],
)
def test_an_address_is_split_and_joined(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts
    assert join_address(*parts) == address


@pytest.mark.parametrize(
    "address", ["", "localhost", ":80", "host:", "host:65536", "host:x", "h:²"]
)
def test_what_is_no_address_is_said_so(address: str) -> None:
    with pytest.raises(SetupError, match="no address"):
        split_address(address)
