"""uvicorn around the application: one listening socket, and clients that are too slow or too many
are cut.

uvicorn bounds idle connections and concurrency. What it does not bound, `GuardedProtocol` does:
the bytes of headers that are not complete yet, the time that headers take to arrive, and the time
that a client takes to read its answer.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streams.errors import SetupError
from streams.gateway.app import BODY_IS_HERE, HEADER_BYTES_MAX, Gateway

HEADER_SECONDS: Final = 5.0
"""Within which the headers of a request arrive, counted from the connection or from their first
byte. A slow client holds a connection and nothing else until then."""

WRITE_SECONDS: Final = 10.0
"""How long a client may leave its answer unread once the socket's buffer is full."""

IDLE_SECONDS: Final = 65
"""How long a connection may wait for its next request: longer than the 60 s of most proxies, so
that it is they who close first and no request meets a closing connection."""

CONNECTIONS_MAX: Final = 2_000
"""Connections at once, and requests at once. Each costs some 30 KB; beyond it uvicorn answers 503
without asking the application."""

BACKLOG: Final = 512
"""Connections that wait to be accepted: a burst of clients that start together."""

DRAIN_SECONDS: Final = 5
"""How long requests that are under way may take when the gateway stops."""

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)
_PATH_AND_HEADERS_MAX: Final = 2 * HEADER_BYTES_MAX
"""Bytes before the end of the headers. The application knows the exact bounds of each part; this
one only keeps a client from filling the memory before it is asked."""


class Gathering:
    """A transport that sends together what is written in one turn of the loop.

    uvicorn writes an answer's headers and its body one after the other, and uvloop sends each write
    at once: a system call more for every answer, and two packets.
    """

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> None:
        """Sends a part at the end of this turn, in the order of the writes."""
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(part)

    def close(self) -> None:
        """Ends the connection once everything written is sent."""
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the transport's own affair."""
        return getattr(self._transport, name)

    def _send(self) -> None:
        parts, self._parts = self._parts, []
        # The connection may have been lost in this very turn.
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))


class GuardedProtocol(HttpToolsProtocol):
    """A connection whose client has to keep moving."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_headers = False
        self._header_bytes = 0
        self._is_idle = True
        self._begun = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        # Under asyncio's name for it: transports call it by that.
        self.data_received = self._received  # type: ignore[method-assign, assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection and gives it a moment for its first request."""
        # uvicorn asks no more of it than there is.
        super().connection_made(Gathering(transport, self.loop))  # type: ignore[arg-type]
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the deadlines."""
        self._disarm()
        self._readable_again()
        super().connection_lost(exc)

    def _received(self, chunk: bytes) -> None:
        """Feeds the parser; headers that do not end are refused."""
        was_idle, self._begun = self._is_idle, 0
        HttpToolsProtocol.data_received(self, chunk)
        if not self._in_headers or self.transport.is_closing():
            return
        # Of a chunk in which another request ends, how much belongs to this one is not known; it is
        # one read of the socket at the most.
        if not self._begun or (was_idle and self._begun == 1):
            self._header_bytes += len(chunk)
        if self._header_bytes > _PATH_AND_HEADERS_MAX:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        self._begun += 1
        self._is_idle = False
        self._arm()

    def on_headers_complete(self) -> None:
        """Its headers are there; how long the body takes is the application's to bound."""
        self._in_headers = False
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It is there whole."""
        self._is_idle = True
        self.scope[BODY_IS_HERE] = True  # type: ignore[typeddict-unknown-key]
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client does not read: it has until the deadline."""
        super().pause_writing()
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read on."""
        self._readable_again()
        super().resume_writing()

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._late)

    def _late(self) -> None:
        # There is no cycle before the first request, whatever the attribute's type says.
        if not getattr(self.cycle, "response_complete", True):
            # A request before this one is still being answered, and nothing is read meanwhile.
            self._arm()
        else:
            self.transport.close()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _readable_again(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None


class GatewayServer(uvicorn.Server):
    """A server that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures nothing: inside a worker the signals are Faust's, else those of the command."""
        yield

    async def stop(self) -> None:
        """Asks the server to end; `serve` returns once requests under way are answered."""
        self.should_exit = True


def make_server(
    gateway: Gateway,
    certificate: Path | None = None,
    private_key: Path | None = None,
    connections_max: int = CONNECTIONS_MAX,
) -> GatewayServer:
    """A server for the application; `serve(sockets=[…])` runs it until `stop`.

    With a certificate (PEM, with its chain) and its private key it speaks HTTPS alone. Raises
    SetupError where they cannot be used.
    """
    tls: dict[str, Any] = {}
    if certificate is not None:
        _check_tls(certificate, private_key)
        tls = {
            "ssl_certfile": str(certificate),
            "ssl_keyfile": None if private_key is None else str(private_key),
        }
    config = uvicorn.Config(
        gateway,
        http=GuardedProtocol,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=connections_max,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        **tls,
    )
    return GatewayServer(config)


def _check_tls(certificate: Path, private_key: Path | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, private_key)
    except (OSError, ssl.SSLError) as error:
        raise SetupError(
            f"the certificate {certificate} and its private key cannot be used: {error}",
            action="Give a PEM certificate with its chain and the private key that belongs to it.",
        ) from error


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address, not accepting yet. Raises SetupError."""
    bound: socket.socket | None = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        if bound is not None:
            bound.close()
        raise SetupError(
            f"the gateway cannot listen on {host}:{port}: {error}",
            action="Choose another TOLLGATE_GATEWAY_LISTEN, or end what uses the port.",
        ) from error
    bound.setblocking(False)
    return bound
