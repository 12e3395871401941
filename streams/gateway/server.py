"""uvicorn around the application: one listening socket, and clients that are too slow or too many
are cut.

uvicorn bounds idle connections and concurrency. What it does not bound, `GuardedProtocol` does
(decision 033): the bytes of headers that are not complete yet, the time that headers take to
arrive, what frames a body, the rest of a body that nobody reads any more, the time that a client
takes to read its answer, and how long a connection rests while others wait.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streams.errors import SetupError
from streams.gateway.app import BODY_IS_HERE, HEADER_BYTES_MAX
from streams.gateway.quiet import SELDOM
from streams.tls import ServedCertificate

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""ASGI 3: the gateway, or what is around it."""

HEADER_SECONDS: Final = 5.0
"""Within which the headers of a request arrive, counted from the connection or from their first
byte. A slow client holds a connection and nothing else until then."""

HANDSHAKE_SECONDS: Final = 5.0
"""Within which a TLS handshake is done: two round trips. Until then a connection counts as none of
CONNECTIONS_MAX, and the loop's own bound is 60 s."""

WRITE_SECONDS: Final = 10.0
"""How long a client may leave its answer unread once the socket's buffer is full."""

IDLE_SECONDS: Final = 65
"""How long a connection may wait for its next request: longer than the 60 s of most proxies, so
that it is they who close first and no request meets a closing connection."""

REST_SECONDS: Final = 5.0
"""Within which the rest of a body arrives whose answer has been given already (a key that was
refused). It is read only so that the connection can serve another request."""

CONNECTIONS_MAX: Final = 2_000
"""Connections at once, and requests at once. Each costs some 30 KB; beyond it uvicorn answers 503
without asking the application."""

CONNECTIONS_SPARE: Final = 100
"""Connections beyond the allowed ones that are still taken, to be answered 503. More of them are
closed at once: whoever floods us must not use up the file descriptors that Kafka's connections
need."""

FRAMING_BYTES_MAX: Final = HEADER_BYTES_MAX
"""Bytes of a chunked body that are not content (sizes, extensions, trailers): as many as headers
may have, and some for each byte of content."""

FRAMING_PER_BYTE: Final = 8
"""Bytes that may frame one byte of content: a chunk of a single byte takes five."""

BACKLOG: Final = 512
"""Connections that wait to be accepted: a burst of clients that start together."""

DRAIN_SECONDS: Final = 5
"""How long requests that are under way may take when the gateway stops."""

_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)
_HEADERS: Final = [("x-content-type-options", "nosniff")]
"""With every answer, uvicorn's own ones among them."""
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
        self._content_bytes = 0
        self._framing_bytes = 0
        self._is_taken = True
        self._is_idle = True
        self._rests_since = self.loop.time()
        self._begun = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None
        # Under asyncio's name for it: transports call it by that.
        self.data_received = self._received  # type: ignore[method-assign, assignment]

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts the connection and gives it a moment for its first request."""
        if self._is_too_many():
            self._is_taken = False
            transport.abort()
            return
        # uvicorn asks no more of it than there is.
        super().connection_made(Gathering(transport, self.loop))  # type: ignore[arg-type]
        self._arm(HEADER_SECONDS)

    def _is_too_many(self) -> bool:
        """Whether there is no place for one more, after the one that rests longest made place."""
        assert self.limit_concurrency is not None, "make_server sets it"
        if len(self.connections) < self.limit_concurrency - 1:
            return False
        resting = [
            each for each in self.connections if isinstance(each, GuardedProtocol) and each.rests
        ]
        if resting:
            min(resting, key=lambda each: each._rests_since).transport.close()
        return len(self.connections) >= self.limit_concurrency + CONNECTIONS_SPARE

    @property
    def rests(self) -> bool:
        """Whether it waits for its next request: it can be closed without breaking one off."""
        # There is no cycle before the first request, whatever the attribute's type says.
        answered = getattr(self.cycle, "response_complete", False)
        return self._is_idle and answered and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the deadlines."""
        self._disarm()
        self._readable_again()
        if self._is_taken:
            super().connection_lost(exc)

    # --- what is received

    def _received(self, chunk: bytes) -> None:
        """Feeds the parser; headers that do not end are refused, as are bodies of mere frames."""
        if not self._is_taken:
            return
        was_idle, self._begun = self._is_idle, 0
        content_before, was_in_body = self._content_bytes, not (was_idle or self._in_headers)
        HttpToolsProtocol.data_received(self, chunk)
        if self.transport.is_closing():
            return
        if self._is_idle:
            self._rest_on()
        elif self._in_headers:
            # Of a chunk in which another request ends, how much belongs to this one is not known;
            # it is one read of the socket at the most.
            if not self._begun or (was_idle and self._begun == 1):
                self._header_bytes += len(chunk)
            if self._header_bytes > _PATH_AND_HEADERS_MAX:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
        elif was_in_body and not self._begun:
            self._framing_bytes += len(chunk) - (self._content_bytes - content_before)
            if self._framing_bytes > FRAMING_BYTES_MAX + FRAMING_PER_BYTE * self._content_bytes:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        self._content_bytes = self._framing_bytes = 0
        self._begun += 1
        self._is_idle = False
        self._arm(HEADER_SECONDS)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field. One after the body (a trailer) is dropped: whoever looked at the headers
        before us, to check a key or to take a field away, did not see it (RFC 9110, 6.5.1)."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its headers are there; how long the body takes is the application's to bound."""
        self._in_headers = False
        self._disarm()
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # The parser reads nothing after a request that asks for another protocol. It is
            # answered in this one (RFC 9110, 7.8), and the connection ends with it.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._content_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It is there whole."""
        self._is_idle, self._rests_since = True, self.loop.time()
        self._disarm()
        self.scope[BODY_IS_HERE] = True  # type: ignore[typeddict-unknown-key]
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request is answered. What is left of its body has until the deadline."""
        super().on_response_complete()
        self._rests_since = self.loop.time()
        if not (self._is_idle or self._in_headers) and self.cycle.response_complete:
            self._arm(REST_SECONDS)

    # --- deadlines

    def _rest_on(self) -> None:
        # uvicorn forgets its deadline at every byte, and sets it anew only after an answer: what is
        # no request (the rest of a body, empty lines) must not keep a connection for ever.
        if self.timeout_keep_alive_task is None and self.rests:
            self.timeout_keep_alive_task = self.loop.call_at(
                self._rests_since + self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def pause_writing(self) -> None:
        """The client does not read: it has until the deadline."""
        super().pause_writing()
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read on."""
        self._readable_again()
        super().resume_writing()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        # There is no cycle before the first request, whatever the attribute's type says.
        if not getattr(self.cycle, "response_complete", True):
            # A request before this one is still being answered, and nothing is read meanwhile.
            self._arm(HEADER_SECONDS)
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which gives no bound for handshakes."""
        if self.config.ssl is None or sockets is None:
            await super().startup(sockets)
            return
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                self._connection,
                sock=bound,
                ssl=self.config.ssl,
                backlog=self.config.backlog,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
            for bound in sockets
        ]
        self.started = True

    def _connection(self) -> asyncio.Protocol:
        return GuardedProtocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def stop(self) -> None:
        """Asks the server to end; `serve` returns once requests under way are answered."""
        self.should_exit = True


def make_server(
    gateway: Application,
    certificate: ServedCertificate | None = None,
    connections_max: int = CONNECTIONS_MAX,
) -> GatewayServer:
    """A server for the application; `serve(sockets=[…])` runs it until `stop`.

    With a certificate it speaks HTTPS alone.
    """
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
        headers=_HEADERS,
        limit_concurrency=connections_max,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    if certificate is not None:
        config.load()
        config.ssl = certificate.context
    logging.getLogger("uvicorn.error").addFilter(SELDOM)
    return GatewayServer(config)


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
