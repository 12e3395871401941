"""The gateway on a real socket, spoken to in raw bytes, for what no client of HTTP sends."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from streams.gateway.server import GatewayServer, listen, make_server
from tests.gateway_fakes import KEY, World

DEADLINE_SECONDS = 30.0
"""Within which everything here has long happened."""

ASK = b'{"customer_id": "acme", "idempotency_key": "k1"}'
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
"""After it the server closes the connection, so that a test knows that it has seen everything."""

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass
class Serving:
    """A server that runs: its port, and its connections."""

    port: int
    server: GatewayServer

    @property
    def connections(self) -> int:
        """How many it holds."""
        return len(self.server.server_state.connections)


@asynccontextmanager
async def serving(world: World, **more: int) -> AsyncIterator[Serving]:
    """A server on a free port of loopback."""
    bound = listen("127.0.0.1", 0)
    port = bound.getsockname()[1]
    running = make_server(world.app, None, **more)
    task = asyncio.create_task(running.serve(sockets=[bound]))
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not running.started:
                await asyncio.wait({task}, timeout=0.01)
            yield Serving(port, running)
    finally:
        await running.stop()
        await task


def post(fields: str, body: bytes = b"", key: str = KEY, version: str = "1.1") -> bytes:
    """A preflight with these header fields (each ended by CR LF) and these bytes after them."""
    head = (
        f"POST /v1/preflights HTTP/{version}\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\n{fields}\r\n"
    )
    return head.encode("latin-1") + body


def chunked(body: bytes = ASK, end: bytes = b"0\r\n\r\n") -> bytes:
    """A body as one chunk."""
    return b"%x\r\n%s\r\n%s" % (len(body), body, end)


async def answers(port: int, *sent: bytes) -> tuple[list[int], bytes]:
    """The statuses of all answers to what is sent, and all of their bytes, once the server has
    closed the connection: it does so after an error, and after LAST."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
        told = await asyncio.wait_for(reader.read(), DEADLINE_SECONDS)
    finally:
        writer.close()
    return [int(status) for status in _STATUS.findall(told)], told
