"""Strangers on the port of the hop: what is no frame, no greeting or no ask ends their own
connection, and disturbs nobody else's."""

import asyncio
import os
import random

import pytest

from schemas import codec
from schemas.rpc import Answer
from streams.adapters.frames import ASK_BYTES_MAX, GREETING, HEADER, HopLimits
from streams.adapters.hop import ASK_HEAD, HopServer, RemoteOwners
from streams.errors import SetupError
from tests.unit.adapters.hop_desks import (
    SECONDS,
    SECRET,
    FakeBook,
    FakeDesk,
    asking,
    code_of,
    lookup,
    serving,
    told,
)

DEADLINE_SECONDS = 30.0
SEED = 20261122
"""Of the garbage: the same in every run."""

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def frame(number: int, payload: bytes) -> bytes:
    return HEADER.pack(len(payload), number) + payload


async def stranger(address: str) -> Pair:
    host, port = address.split(":")
    return await asyncio.open_connection(host, int(port))


async def ended(pair: Pair) -> bool:
    """Whether the owner ends a stranger's connection."""
    try:
        while await asyncio.wait_for(pair[0].read(65_536), DEADLINE_SECONDS):
            pass
    except ConnectionError:
        pass
    finally:
        pair[1].close()
    return True


async def greeted(address: str) -> Pair:
    """A connection to an owner without a secret, after its greeting."""
    reader, writer = await stranger(address)
    size, number = HEADER.unpack(await reader.readexactly(HEADER.size))
    assert (number, (await reader.readexactly(size)).startswith(GREETING)) == (0, True)
    writer.write(frame(0, b""))
    size, number = HEADER.unpack(await reader.readexactly(HEADER.size))
    await reader.readexactly(size)
    return reader, writer


ASK = ASK_HEAD.pack(0, 5_000) + codec.encode(lookup())


@pytest.mark.parametrize("secret", [None, SECRET], ids=["open", "secret"])
async def test_garbage_reaches_no_desk_and_hurts_no_neighbour(secret: bytes | None) -> None:
    rng = random.Random(SEED)
    desk = FakeDesk()
    junk = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        HEADER.pack(0xFFFFFFFF, 0),
        HEADER.pack(ASK_BYTES_MAX + 1, 7),
        frame(0, GREETING + b"hmac" + bytes(32)),
        frame(0, bytes(32)) + frame(1, ASK),
        frame(1, ASK),
        *(rng.randbytes(rng.randrange(8, 400)) for _ in range(100)),
    ]
    limits = HopLimits(greeting_seconds=0.5)
    async with (
        serving(desk, secret=secret, limits=limits) as (_, address),
        asking(FakeBook(address), secret=secret) as owners,
    ):
        assert await owners.ask(0, lookup(), SECONDS) == told(lookup())
        pairs = [await stranger(address) for _ in junk]
        for (_, writer), sent in zip(pairs, junk, strict=True):
            writer.write(sent)
        assert all(await asyncio.gather(*(ended(pair) for pair in pairs)))
        assert await owners.ask(0, lookup(), SECONDS) == told(lookup())
    assert len(desk.asked) == 2


async def test_what_a_greeted_peer_sends_is_an_ask_or_its_end() -> None:
    rng = random.Random(SEED)
    desk = FakeDesk()
    async with serving(desk) as (_, address):
        reader, writer = await greeted(address)
        for number in range(1, 101):
            writer.write(frame(number, ASK_HEAD.pack(0, 5_000) + rng.randbytes(100)))
        for _ in range(100):
            size, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
            answer = codec.decode_answer(await reader.readexactly(size))
            assert code_of(answer) == "invalid"
        nested = b'{"a":' * 50_000
        writer.write(frame(101, ASK_HEAD.pack(0, 5_000) + nested[: ASK_BYTES_MAX - 8]))
        size, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
        assert code_of(codec.decode_answer(await reader.readexactly(size))) == "invalid"
        writer.write(frame(102, b"short"))
        assert await ended((reader, writer))
    assert not desk.asked


async def test_connections_that_fell_silent_are_swept_away() -> None:
    desk = FakeDesk()
    limits = HopLimits(greeting_seconds=0.3, frame_seconds=0.3, idle_seconds=0.3)
    async with serving(desk, limits=limits) as (server, address):
        silent, half, idle = (
            await stranger(address),
            await greeted(address),
            await greeted(address),
        )
        half[1].write(frame(1, ASK)[:-1])
        assert all(await asyncio.gather(*(ended(pair) for pair in (silent, half, idle))))
        assert not server.connections
    assert not desk.asked


async def test_more_connections_than_allowed_are_ended_and_the_first_ones_stay() -> None:
    async with serving(FakeDesk(), limits=HopLimits(connections=2)) as (_, address):
        first = [await greeted(address) for _ in range(2)]
        assert await ended(await stranger(address))
        for reader, writer in first:
            writer.write(frame(1, ASK))
            size, number = HEADER.unpack(await reader.readexactly(HEADER.size))
            answer: Answer = codec.decode_answer(await reader.readexactly(size))
            assert (number, answer) == (1, told(lookup()))
            writer.close()


async def test_an_owner_that_sends_garbage_is_an_unknown_outcome_and_no_fault() -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(os.urandom(64))
        await reader.read()
        writer.close()

    liar = await asyncio.start_server(lie, "127.0.0.1", 0)
    address = f"127.0.0.1:{liar.sockets[0].getsockname()[1]}"
    async with asking(FakeBook(address)) as owners:
        answer = await owners.ask(0, lookup(), SECONDS)
    assert code_of(answer) in ("not_mine", "unknown_outcome")
    liar.close()
    await liar.wait_closed()


def test_a_secret_that_could_be_guessed_starts_nothing() -> None:
    with pytest.raises(SetupError, match="bytes"):
        HopServer("127.0.0.1:0", FakeDesk(), secret=b"short")
    with pytest.raises(SetupError, match="bytes"):
        RemoteOwners(FakeBook(), secret=b"short")
