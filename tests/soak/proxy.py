"""A TCP proxy between sinks and ClickHouse that can do what networks and full disks do.

pass     forwards
refuse   closes every connection at once
slow     forwards, but little at a time
lose     forwards requests; closes the connection when the answer to an insert comes
full     answers inserts as a server does whose disk is full (NOT_ENOUGH_SPACE, 243)
"""

import asyncio
import contextlib
from typing import Any, Final

CHUNK_BYTES: Final = 64 * 1024
SLOW_BYTES: Final = 4 * 1024
SLOW_PAUSE_SECONDS: Final = 0.1
BODY_QUIET_SECONDS: Final = 0.3
"""After this time without a byte the whole request is taken to have arrived."""
FULL_TEXT: Final = (
    b"Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)\n"
)


class FaultProxy:
    """Listens on a port of its own; `mode` may be changed at any time from any thread."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._mode = "pass"
        self._server: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close everything."""
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def set_mode(self, mode: str) -> None:
        """Behave like this from the next byte on."""
        self._mode = mode

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if self._mode != "refuse":
                await self._forward(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        inserting = [False]
        both = (
            asyncio.ensure_future(self._requests(reader, writer, up_writer, inserting)),
            asyncio.ensure_future(self._answers(up_reader, writer, inserting)),
        )
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            up_writer.transport.abort()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamWriter,
        inserting: list[bool],
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._mode == "refuse":
                return
            if chunk.startswith(b"POST "):
                inserting[0] = b"INSERT" in chunk.split(b"\r\n", 1)[0]
                if inserting[0] and self._mode == "full":
                    await self._answer_full(reader, writer)
                    return
            await self._write(upstream, chunk)

    async def _answers(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, inserting: list[bool]
    ) -> None:
        while chunk := await upstream.read(CHUNK_BYTES):
            if self._mode == "refuse" or (self._mode == "lose" and inserting[0]):
                return
            await self._write(writer, chunk)

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        size = SLOW_BYTES if self._mode == "slow" else CHUNK_BYTES
        for start in range(0, len(chunk), size):
            writer.write(chunk[start : start + size])
            await writer.drain()
            if self._mode == "slow":
                await asyncio.sleep(SLOW_PAUSE_SECONDS)

    async def _answer_full(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(TimeoutError):
            while await asyncio.wait_for(reader.read(CHUNK_BYTES), BODY_QUIET_SECONDS):
                pass
        head = (
            "HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: 243\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(FULL_TEXT)}\r\n"
            "Connection: close\r\n\r\n"
        )
        writer.write(head.encode() + FULL_TEXT)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
