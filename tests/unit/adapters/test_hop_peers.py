"""streams.adapters.hop: a peer that is none of ours is cut off, and costs nothing."""

import asyncio

import pytest

from schemas import codec
from schemas.rpc import Answer, Ask, ErrorAnswer
from streams.adapters.frames import ASK_BYTES_MAX, HEADER, HopLimits
from streams.adapters.hop import ASK_HEAD
from tests.embedded_waiting import until_async
from tests.unit.adapters.hop_desks import (
    SECONDS,
    SECRET,
    FakeDesk,
    code_of,
    lookup,
    serving,
)

IMPATIENT = HopLimits(
    greeting_seconds=0.1, frame_seconds=0.1, stalled_seconds=0.1, idle_seconds=0.1
)


async def greeted(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection after the greeting."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    length, _ = HEADER.unpack(await reader.readexactly(8))
    await reader.readexactly(length)
    writer.write(HEADER.pack(0, 0))
    await reader.readexactly(8)
    return reader, writer


async def is_ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(SECONDS):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


@pytest.mark.parametrize(
    "sent",
    [
        HEADER.pack(ASK_BYTES_MAX + 1, 1),
        HEADER.pack(3, 1) + b"abc",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["oversized", "without a head", "http"],
)
async def test_a_peer_that_breaks_the_protocol_is_cut_off(sent: bytes) -> None:
    async with serving(FakeDesk()) as (_, address):
        reader, writer = await greeted(address)
        writer.write(sent)
        assert await is_ended(reader)
        writer.close()


async def test_an_ask_that_is_no_json_is_invalid_and_the_connection_goes_on() -> None:
    async with serving(FakeDesk()) as (_, address):
        reader, writer = await greeted(address)
        for number, text in enumerate((b"{", b"[" * 10_000, b'{"kind":"nonsense"}', b"\xff")):
            payload = ASK_HEAD.pack(0, 1_000) + text
            writer.write(HEADER.pack(len(payload), number) + payload)
            length, answered = HEADER.unpack(await reader.readexactly(8))
            answer = codec.decode_answer(await reader.readexactly(length))
            assert (answered, code_of(answer)) == (number, "invalid")
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"\x05\x00\x00\x00\x01"], ids=["idle", "half a frame"])
async def test_a_peer_that_says_nothing_more_is_cut_off(sent: bytes) -> None:
    async with serving(FakeDesk(), limits=IMPATIENT) as (server, address):
        reader, writer = await greeted(address)
        writer.write(sent)
        assert await is_ended(reader)
        writer.close()
        assert not server.connections


async def test_a_peer_without_a_greeting_is_cut_off() -> None:
    async with serving(FakeDesk(), limits=IMPATIENT, secret=SECRET) as (_, address):
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(SECONDS):
            assert len(await reader.read()) > 8
        writer.close()


async def test_a_peer_that_does_not_read_is_asked_no_more_and_then_cut_off() -> None:
    async def long(_partition: int, _ask: Ask, _seconds: float) -> Answer:
        return ErrorAnswer("invalid", "x" * 100_000)

    asks = 2_000
    desk = FakeDesk(long)
    limits = HopLimits(stalled_seconds=0.5, frames_in_flight=64)
    async with serving(desk, limits=limits) as (server, address):
        _, writer = await greeted(address)
        payload = ASK_HEAD.pack(0, 1_000) + codec.encode(lookup("x" * 10_000))
        for number in range(asks):
            writer.write(HEADER.pack(len(payload), number) + payload)
        await until_async(lambda: not server.connections, "a connection that was cut", SECONDS)
        writer.close()
    # The buffers of both sockets take some megabytes of answers, and one read some asks more.
    assert 0 < len(desk.asked) < asks / 2


async def test_connections_beyond_the_limit_are_closed() -> None:
    async with serving(FakeDesk(), limits=HopLimits(connections=2)) as (server, address):
        peers = [await greeted(address) for _ in range(2)]
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await is_ended(reader)
        assert len(server.connections) == 2
        for _, each in [*peers, (reader, writer)]:
            each.close()
