"""uvicorn around the application, on a real socket: what slow, greedy and foreign clients get."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas import rpc
from streams.errors import SetupError
from streams.gateway import bodies, server
from streams.gateway.app import HEADER_BYTES_MAX
from streams.gateway.server import listen, make_server
from streams.tls import ServedCertificate
from tests.certificate import make_certificate
from tests.gateway_fakes import KEY, FakeOwners, World

DEADLINE_SECONDS = 20.0
"""Within which everything here has long happened."""

ASK = b'{"customer_id": "acme", "idempotency_key": "k1"}'


@asynccontextmanager
async def serving(
    world: World, certificate: ServedCertificate | None = None, **more: int
) -> AsyncIterator[int]:
    """A server on a free port of loopback."""
    bound = listen("127.0.0.1", 0)
    port = bound.getsockname()[1]
    running = make_server(world.app, certificate, **more)
    task = asyncio.create_task(running.serve(sockets=[bound]))
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not running.started:
                await asyncio.wait({task}, timeout=0.01)
            yield port
    finally:
        await running.stop()
        await task


def request(body: bytes = ASK, path: str = "/v1/preflights", extra: str = "") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    [length] = [int(line.split(":")[1]) for line in lines if line.startswith("content-length")]
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def test_a_connection_serves_one_request_after_the_other(world: World) -> None:
    async with serving(world) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(request())
            status, body = await read_answer(reader)
            assert (status, b'"approved":true' in body) == (200, True)
        writer.write(request(b"{") + request())
        assert [(await read_answer(reader))[0] for _ in range(2)] == [400, 200]
        writer.close()


async def test_headers_that_do_not_arrive_end_the_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.2)
    async with serving(world) as port:
        silent, writer = await asyncio.open_connection("127.0.0.1", port)
        dripping, dripper = await asyncio.open_connection("127.0.0.1", port)
        dripper.write(b"POST /v1/preflights HTTP/1.1\r\nhost: x\r\n")
        assert await silent.read() == b""
        assert await dripping.read() == b""
        writer.close()
        dripper.close()


async def test_the_second_request_of_a_connection_has_to_arrive_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(world) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        assert (await read_answer(reader))[0] == 200
        monkeypatch.setattr(server, "HEADER_SECONDS", 0.2)
        writer.write(request()[:40])
        assert await reader.read() == b""
        writer.close()


async def test_a_request_that_waits_behind_a_slow_one_is_not_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.1)
    asked = asyncio.Event()

    class Slow(FakeOwners):
        async def ask(self, partition: int, ask: rpc.Ask, timeout_seconds: float) -> rpc.Answer:
            await asyncio.wait_for(asked.wait(), timeout_seconds)
            return await super().ask(partition, ask, timeout_seconds)

    world.asking._owners = Slow()
    async with serving(world) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request() + request()[:40])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.4)
        # The next deadline is the rest's once it is answered: one that a busy machine can meet.
        monkeypatch.setattr(server, "HEADER_SECONDS", 30.0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        asked.set()
        assert (await read_answer(reader))[0] == 200
        writer.write(request()[40:])
        assert (await read_answer(reader))[0] == 200
        writer.close()


async def test_a_connection_that_rests_between_requests_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(world) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # The deadline of the first request is set at the connection; that of the next as it begins.
        monkeypatch.setattr(server, "HEADER_SECONDS", 0.05)
        writer.write(request())
        assert (await read_answer(reader))[0] == 200
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        monkeypatch.setattr(server, "HEADER_SECONDS", 30.0)
        writer.write(request())
        assert (await read_answer(reader))[0] == 200
        writer.close()


async def test_headers_without_end_are_refused_before_they_fill_the_memory(world: World) -> None:
    async with serving(world) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nx-long: " + b"a" * (2 * HEADER_BYTES_MAX - 1_000))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        writer.write(b"a" * 2_000)
        head = await reader.readuntil(b"\r\n")
        assert b" 431 " in head
        writer.close()


async def test_a_chunk_that_ends_in_the_headers_of_the_next_request_is_no_long_header(
    world: World,
) -> None:
    async with serving(world) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        long = b'{"customer_id": "acme", "idempotency_key": "k1"' + b" " * 60_000 + b"}"
        many = request(long) * 4
        writer.write(many + request()[:40])
        assert [(await read_answer(reader))[0] for _ in range(4)] == [200] * 4
        writer.write(request()[40:])
        assert (await read_answer(reader))[0] == 200
        writer.close()


async def test_a_body_that_does_not_arrive_is_answered_and_the_connection_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    async with serving(world) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request()[:-10])
        status, body = await read_answer(reader)
        assert (status, b'"code":"body_timeout"' in body) == (408, True)
        assert await reader.read() == b""
        writer.close()


async def test_a_body_that_is_too_long_is_refused_while_it_is_still_coming(world: World) -> None:
    async with serving(world) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            request(b" " * 10, extra="transfer-encoding: chunked\r\n").split(b"\r\n\r\n")[0]
        )
        writer.write(b"\r\n\r\n")
        status = 0
        for _ in range(1000):
            writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
            try:
                status, _ = await asyncio.wait_for(read_answer(reader), 0.01)
                break
            except TimeoutError:
                continue
        assert status in (400, 413)
        writer.close()


async def test_a_client_that_reads_nothing_is_cut(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_SECONDS", 0.2)
    async with serving(world) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        # The answers are more than the kernel's buffers on both ends hold.
        ask = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"
        writer.write(ask * 2_000)
        with pytest.raises(ConnectionError):
            await _write_on(writer, ask)
        writer.close()


async def _write_on(writer: asyncio.StreamWriter, ask: bytes) -> None:
    """Only who writes to a connection that is gone learns of it without reading."""
    while True:
        writer.write(ask)
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_more_connections_than_allowed_are_told_to_come_back(world: World) -> None:
    async with serving(world, connections_max=2) as port:
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in pairs:
            writer.write(request())
        statuses = [int((await reader.readuntil(b"\r\n")).split()[1]) for reader, _ in pairs]
        assert 503 in statuses
        for _, writer in pairs:
            writer.close()


async def test_what_is_no_http_is_answered_400(world: World) -> None:
    async with serving(world) as port:
        for junk in (b"\x16\x03\x01\x02\x00", b"GET /\xff HTTP/1.1\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(junk + b"\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
            writer.close()


async def test_https_with_a_certificate_of_ones_own(world: World, tmp_path: Path) -> None:
    certificate, private_key = tmp_path / "c.pem", tmp_path / "k.pem"
    make_certificate(certificate, private_key)
    context = ssl.create_default_context(cafile=certificate)
    async with serving(world, ServedCertificate(certificate, private_key)) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        writer.write(request())
        assert (await read_answer(reader))[0] == 200
        writer.close()


async def test_a_handshake_that_does_not_go_on_ends_the_connection(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 0.2)
    certificate, private_key = tmp_path / "c.pem", tmp_path / "k.pem"
    make_certificate(certificate, private_key)
    async with serving(world, ServedCertificate(certificate, private_key)) as port:
        silent = await asyncio.open_connection("127.0.0.1", port)
        begun = await asyncio.open_connection("127.0.0.1", port)
        begun[1].write(b"\x16\x03\x01\x02\x00\x01")  # The head of a hello of 512 bytes.
        for reader, writer in (silent, begun):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()


def test_an_address_that_is_taken_is_said_at_the_start() -> None:
    with listen("127.0.0.1", 0) as bound:
        bound.listen()
        with pytest.raises(SetupError, match="cannot listen"):
            listen("127.0.0.1", bound.getsockname()[1])


@pytest.fixture
def world() -> World:
    """The native API over fakes."""
    return World()
