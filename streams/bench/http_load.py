"""HTTP load as agents make it: keep-alive connections, one request at a time on each.

An open loop sends at a constant rate whether the answers come or not, and counts the time of each
from the moment at which it was due, so that a server that stops is not measured less often while it
does (no coordinated omission). A closed loop sends the next request when the answer is there. Cheap
enough to share two cores with what it measures; says how late it was itself and what it used.
"""

import asyncio
import gc
import re
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

from streams.bench.ticks import Ticks
from streams.errors import FaultError, TransientError

DRAIN_SECONDS: Final = 5.0
"""How long answers that are still due are waited for when the last request has been sent."""

RECONNECT_SECONDS: Final = 0.05
"""Between two attempts to reach a server that has closed a connection."""

CONNECT_SECONDS_MAX: Final = 10.0
"""Until all connections stand before the load begins."""

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one answer: the open holds of a busy account are hundreds of kilobytes."""

READ_BYTES: Final = 64 * 1024
"""What is read at once: more than any answer but a list of holds."""

LOST: Final = 0
"""Stands in the place of a status where the connection was lost before the answer."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})\r\n", re.IGNORECASE)

_now: Final = time.perf_counter
"""Not the loop's time: uvloop's has milliseconds, and stands still while a callback runs."""

Make = Callable[[int], bytes]
"""The whole request of a number."""

Take = Callable[[int, int, bytes], None]
"""Takes the answer of a number: its status (or LOST) and its body."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a server is loaded: `rate` in requests per second, None for a closed loop. What is
    answered to requests of the warm seconds does not count."""

    connections: int
    seconds: float
    rate: float | None = None
    warm_seconds: float = 2.0


@dataclass(slots=True)
class Measured:
    """What came of a load. Latencies are milliseconds of requests that got an answer of 2xx. A
    request without any answer is `lost` or `unfinished`; one that never found a free connection is
    `unsent`."""

    latencies_ms: "array[float]" = field(default_factory=lambda: array("d"))
    statuses: Counter[int] = field(default_factory=Counter)
    sent: int = 0
    answered_in_time: int = 0
    """Answers of 2xx while the load was on, the warm time not counted."""
    lost: int = 0
    unfinished: int = 0
    unsent: int = 0
    seconds: float = 0.0
    """Of the load, the warm time not counted."""
    late_ms_mean: float = 0.0
    late_ms_max: float = 0.0
    """How much later than due a request was taken up by this generator: its own fault alone."""
    silent_ms_max: float = 0.0
    """The longest time without any answer of 2xx."""
    cpu_seconds: float = 0.0
    """What this process used meanwhile."""

    @property
    def per_second(self) -> float:
        """Answers of 2xx per second."""
        return self.answered_in_time / self.seconds if self.seconds else 0.0


class _Connection(asyncio.BufferedProtocol):
    """One connection of an agent: at most one request is under way."""

    def __init__(self, load: "HttpLoad") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._room = bytearray(READ_BYTES)
        self._received = b""
        self._whole = -1
        self.number = -1
        self.due_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's class, but do what it says.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, number: int, due_at: float, request: bytes) -> None:
        assert self._transport is not None, "only a connection that stands is free"
        self.number, self.due_at = number, due_at
        self._received, self._whole = b"", -1
        self._transport.write(request)

    def get_buffer(self, _size_hint: int) -> bytearray:
        return self._room

    def buffer_updated(self, size: int) -> None:
        received = bytes(memoryview(self._room)[:size])
        answer = self._received = self._received + received if self._received else received
        if self._whole < 0:
            end = answer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(answer, 0, end + 2)
            if length is None or int(length[1]) > ANSWER_BYTES_MAX:
                self._load.fail(f"an answer without a usable length: {answer[:80]!r}")
                return
            self._whole = end + 4 + int(length[1])
        if len(answer) < self._whole or self.number < 0:
            return
        head = answer.find(b"\r\n\r\n") + 4
        number, self.number = self.number, -1
        self._load.answered(self, number, int(answer[9:12]), answer[head : self._whole])

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        number, self.number = self.number, -1
        self._load.disconnected(self, number)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class HttpLoad:
    """Loads one server (`host`, `port`) as planned. `make` gives requests, `take` gets answers."""

    def __init__(self, host: str, port: int, plan: Plan, make: Make, take: Take) -> None:
        self._place = (host, port)
        self._plan = plan
        self._make = make
        self._take = take
        self._measured = Measured()
        self._open: set[_Connection] = set()
        self._free: list[_Connection] = []
        self._due: deque[float] = deque()
        self._reconnecting: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._fault = ""
        self._late_seconds = 0.0
        self._under_way = 0
        self._is_loading = False
        self._numbers_warm = 0

    async def run(self) -> Measured:
        """Loads the server and returns what came of it.

        Raises TransientError where nobody listens, FaultError for an answer that is no HTTP.
        """
        await self._connect_all()
        plan, measured = self._plan, self._measured
        gc.collect()
        gc.disable()
        cpu = time.process_time()
        self._begun = _now()
        self._counts_from = self._begun + plan.warm_seconds
        self._ends = self._counts_from + plan.seconds
        self._heard_at = self._counts_from
        self._is_loading = True
        ticks = self._begin()
        try:
            async with asyncio.timeout(plan.warm_seconds + plan.seconds + DRAIN_SECONDS):
                await self._over.wait()
        except TimeoutError:
            measured.unfinished, measured.unsent = self._under_way, len(self._due)
        finally:
            self._is_loading = False
            gc.enable()
            if ticks is not None:
                ticks.stop()
            await self._disconnect_all()
        if self._fault:
            raise FaultError(self._fault, action="Only a gateway of this release can be loaded.")
        measured.cpu_seconds = time.process_time() - cpu
        measured.seconds = plan.seconds
        measured.silent_ms_max = max(measured.silent_ms_max, (self._ends - self._heard_at) * 1e3)
        if measured.sent:
            measured.late_ms_mean = self._late_seconds / measured.sent * 1e3
        return measured

    def fail(self, why: str) -> None:
        """Ends the load: what answers is not what was meant."""
        self._fault = self._fault or why
        self._over.set()

    # --- sending ---

    def _begin(self) -> Ticks | None:
        if self._plan.rate is None:
            now = self._begun
            while self._free:
                self._send(self._free.pop(), now)
            return None
        self._numbers_due = 0
        self._numbers_warm = round(self._plan.rate * self._plan.warm_seconds)
        self._numbers_all = self._numbers_warm + round(self._plan.rate * self._plan.seconds)
        return Ticks(1 / self._plan.rate, self._on_tick)

    def _on_tick(self) -> None:
        """Sends what is due by now, each on a free connection, or lets it wait for one."""
        rate = self._plan.rate
        assert rate is not None, "only an open loop ticks"
        now = _now()
        while (due_at := self._begun + self._numbers_due / rate) <= now:
            if self._numbers_due == self._numbers_all:
                self._end_if_all_is_answered()
                return
            self._numbers_due += 1
            self._late_seconds += now - due_at
            self._measured.late_ms_max = max(self._measured.late_ms_max, (now - due_at) * 1e3)
            if self._free and not self._due:
                self._send(self._free.pop(), due_at)
            else:
                self._due.append(due_at)

    def _send(self, connection: _Connection, due_at: float) -> None:
        number = self._measured.sent
        self._measured.sent += 1
        self._under_way += 1
        connection.send(number, due_at, self._make(number))

    def _next(self, connection: _Connection, now: float) -> None:
        """Gives a connection that is free what it does next."""
        if self._plan.rate is None:
            if now < self._ends:
                self._send(connection, now)
                return
        elif self._due:
            self._send(connection, self._due.popleft())
            return
        self._free.append(connection)
        self._end_if_all_is_answered()

    def _end_if_all_is_answered(self) -> None:
        is_past = _now() >= self._ends
        if is_past and not self._under_way and not self._due:
            self._over.set()

    # --- answers ---

    def answered(self, connection: _Connection, number: int, status: int, body: bytes) -> None:
        """An answer has arrived whole."""
        now = _now()
        measured = self._measured
        self._under_way -= 1
        measured.statuses[status] += 1
        if 200 <= status < 300 and now >= self._counts_from:
            if now < self._ends:
                measured.answered_in_time += 1
                measured.silent_ms_max = max(measured.silent_ms_max, (now - self._heard_at) * 1e3)
                self._heard_at = now
            if self._counts(number, connection.due_at):
                measured.latencies_ms.append((now - connection.due_at) * 1e3)
        self._take(number, status, body)
        if self._is_loading:
            self._next(connection, now)

    def _counts(self, number: int, due_at: float) -> bool:
        """Whether a request was due after the warm time. Numbers are in the order of the times."""
        if self._plan.rate is None:
            return self._counts_from <= due_at
        return number >= self._numbers_warm

    def disconnected(self, connection: _Connection, number: int) -> None:
        """A connection was lost, with the request `number` under way unless that is negative."""
        self._open.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if not self._is_loading:
            return
        if number >= 0:
            self._under_way -= 1
            self._measured.lost += 1
            self._take(number, LOST, b"")
        task = asyncio.get_running_loop().create_task(self._reconnect())
        self._reconnecting.add(task)
        task.add_done_callback(self._reconnecting.discard)

    # --- connections ---

    async def _connect_all(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                self._free = [await self._connect() for _ in range(self._plan.connections)]
        except (OSError, TimeoutError) as error:
            await self._disconnect_all()
            raise TransientError(
                f"no gateway answers at {self._place[0]}:{self._place[1]}: {error}",
                action="Read its log, then run the benchmark again.",
            ) from error

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        connection = _Connection(self)
        await loop.create_connection(lambda: connection, *self._place)
        self._open.add(connection)
        return connection

    async def _reconnect(self) -> None:
        while self._is_loading:
            try:
                connection = await self._connect()
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                self._next(connection, _now())
                return

    async def _disconnect_all(self) -> None:
        for task in list(self._reconnecting):
            task.cancel()
        await asyncio.gather(*self._reconnecting, return_exceptions=True)
        for connection in list(self._open):
            connection.close()
        self._open.clear()
        self._free.clear()


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """A whole request with keep-alive."""
    return (
        f"{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
