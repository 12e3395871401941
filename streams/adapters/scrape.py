"""Where a program answers about itself: `/metrics`, `/live` and `/ready` over plain HTTP/1.1.

For Prometheus and for health checks, on an address of its own that is not meant for strangers: it
has no keys, so it belongs on loopback or a private network. A request is one line and headers that
nobody reads; each connection answers one and is closed. It runs in the program's own event loop,
so that a loop that stands still does not call itself alive.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from streams.errors import SetupError

REQUEST_BYTES_MAX: Final = 8 * 1024
"""Request line and headers: those of Prometheus and of kubelets are some hundred bytes."""

REQUEST_SECONDS: Final = 5.0
"""Within which a request arrives and its answer is taken: health checks give up earlier."""

CONNECTIONS_MAX: Final = 32
"""At once: a few scrapers, health checks and people."""

BACKLOG: Final = 32
"""Connections that wait to be accepted."""

METRICS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
PLAIN_TEXT: Final = "text/plain; charset=utf-8"

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class ScrapeServer:
    """Listens from the moment it is made; answers once `start` has been called."""

    def __init__(
        self, host: str, port: int, metrics: Callable[[], str], not_ready: Callable[[], str]
    ) -> None:
        """`not_ready` says in one line why the program cannot do its work now, '' where it can.

        Raises SetupError for an address that cannot be had."""
        self._metrics = metrics
        self._not_ready = not_ready
        self._socket = _bound(host, port)
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Begins to answer."""
        self._server = await asyncio.start_server(
            self._connected, sock=self._socket, limit=REQUEST_BYTES_MAX, backlog=BACKLOG
        )

    async def stop(self) -> None:
        """Listens no more. May be called at any time."""
        if self._server is not None:
            self._server.close()
        self._socket.close()
        ending = {task for task in self._connections.values() if task is not None}
        for writer in self._connections:
            writer.transport.abort()
        if ending:
            await asyncio.wait(ending, timeout=REQUEST_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.current_task()
        try:
            if len(self._connections) <= CONNECTIONS_MAX:
                async with asyncio.timeout(REQUEST_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head.partition(b"\r\n")[0]))
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass  # Whoever asked has gone, or is too slow.
        except asyncio.LimitOverrunError:
            writer.write(_response(400, PLAIN_TEXT, "the headers are too long\n"))
        finally:
            del self._connections[writer]
            with contextlib.suppress(ConnectionError):
                writer.close()

    def _answer(self, line: bytes) -> bytes:
        words = line.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _response(400, PLAIN_TEXT, "this is no request of HTTP/1.1\n")
        if words[0] != b"GET":
            return _response(405, PLAIN_TEXT, "only GET is answered\n")
        match words[1].partition(b"?")[0]:
            case b"/metrics":
                return _response(200, METRICS_TEXT, self._metrics())
            case b"/live":
                return _response(200, PLAIN_TEXT, "live\n")
            case b"/ready":
                why = self._not_ready()
                if why:
                    return _response(503, PLAIN_TEXT, f"not ready: {why}\n")
                return _response(200, PLAIN_TEXT, "ready\n")
        return _response(404, PLAIN_TEXT, "there are /metrics, /live and /ready\n")


def _response(status: int, media_type: str, text: str) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        f"Content-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _bound(host: str, port: int) -> socket.socket:
    bound: socket.socket | None = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        if bound is not None:
            bound.close()
        raise SetupError(
            f"metrics cannot be served on {host}:{port}: {error}",
            action="Choose another TOLLGATE_METRICS_LISTEN, one for each program of this machine, "
            "or end what uses the port.",
        ) from error
    bound.setblocking(False)
    return bound
