"""streams.bench.http_load: latency counts from when a request was due, and every request is
accounted for."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import pytest
import uvloop

from streams.bench.http_load import LOST, HttpLoad, Measured, Plan, request
from streams.bench.latency import percentile
from streams.bench.ticks import Ticks
from streams.errors import FaultError, TransientError

Message = MutableMapping[str, Any]
App = Callable[[Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]
STATED = b'{"number":%d}'


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[int]:
    """A server on a loopback port; what it still does at the end is ended."""
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(
            asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        ):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(app: App) -> AsyncIterator[int]:
    """A trivial ASGI application on a loopback port: enough HTTP/1.1 for keep-alive."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)

            async def receive(body: bytes = body) -> Message:
                return {"type": "http.request", "body": body}

            async def send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    writer.write(b"HTTP/1.1 %d X\r\n" % message["status"])
                elif message["type"] == "http.disconnect":
                    writer.transport.abort()
                else:
                    text = message["body"]
                    writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(text), text))

            await app(receive, send)

    async with talking(talk) as port:
        yield port


async def reply(send: Callable[[Message], Awaitable[None]], status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status})
    await send({"type": "http.response.body", "body": body})


async def echo(receive: Any, send: Any) -> None:
    await reply(send, 200, (await receive())["body"])


def make(number: int) -> bytes:
    return request("POST", "/", STATED % number)


async def load(
    app: App, plan: Plan, take: Callable[[int, int, bytes], None] = lambda *_: None
) -> Measured:
    async with serving(app) as port:
        return await HttpLoad("127.0.0.1", port, plan, make, take).run()


async def test_an_open_loop_sends_what_is_due_and_gives_each_answer_to_its_request() -> None:
    taken: list[int] = []

    def take(number: int, status: int, body: bytes) -> None:
        assert (status, json.loads(body)) == (200, {"number": number})
        taken.append(number)

    measured = await load(echo, Plan(4, seconds=0.4, rate=500, warm_seconds=0.1), take)
    assert measured.sent == 250
    assert sorted(taken) == list(range(250))
    assert measured.statuses == {200: 250}
    assert len(measured.latencies_ms) == 200
    assert (measured.lost, measured.unfinished) == (0, 0)
    assert 0 < measured.cpu_seconds < 5


def test_the_load_runs_on_the_loop_that_benchmarks_run_on() -> None:
    measured = uvloop.run(load(echo, Plan(4, seconds=0.2, rate=500, warm_seconds=0)))
    assert measured.statuses == {200: 100}


async def test_a_closed_loop_keeps_every_connection_busy() -> None:
    open_now, most = 0, 0

    async def counting(receive: Any, send: Any) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        open_now -= 1
        await echo(receive, send)

    measured = await load(counting, Plan(3, seconds=0.2, warm_seconds=0.05))
    assert most == 3
    assert measured.per_second > 50
    assert measured.unfinished == 0


async def test_a_server_that_stops_is_measured_from_when_requests_were_due() -> None:
    # One connection, 100 requests a second, and one answer that takes half a second: the fifty
    # requests that were due meanwhile waited as well, though none of them was on its way.
    stopped = False

    async def stopping(receive: Any, send: Any) -> None:
        nonlocal stopped
        body = (await receive())["body"]
        if not stopped and json.loads(body)["number"] == 20:
            stopped = True
            await asyncio.sleep(0.5)
        await reply(send, 200, body)

    measured = await load(stopping, Plan(1, seconds=1.0, rate=100, warm_seconds=0))
    assert len(measured.latencies_ms) == 100
    slow = [ms for ms in measured.latencies_ms if ms > 100]
    assert len(slow) >= 30
    assert percentile(measured.latencies_ms, 100) >= 450
    assert measured.silent_ms_max >= 450


async def test_what_the_load_itself_was_late_counts_as_well_and_is_told() -> None:
    blocked = False

    async def blocking(receive: Any, send: Any) -> None:
        nonlocal blocked
        body = (await receive())["body"]
        if not blocked and json.loads(body)["number"] == 20:
            blocked = True
            until = time.perf_counter() + 0.3
            while time.perf_counter() < until:
                pass
        await reply(send, 200, body)

    measured = await load(blocking, Plan(50, seconds=1.0, rate=100, warm_seconds=0))
    assert len([ms for ms in measured.latencies_ms if ms > 50]) >= 20
    assert measured.late_ms_max >= 200


async def test_answers_that_are_no_success_count_as_no_latency() -> None:
    async def refusing(_receive: Any, send: Any) -> None:
        await reply(send, 503, b"{}")

    measured = await load(refusing, Plan(2, seconds=0.2, rate=100, warm_seconds=0))
    assert measured.statuses == {503: 20}
    assert not measured.latencies_ms
    assert measured.per_second == 0


async def test_a_lost_connection_is_counted_and_opened_again() -> None:
    statuses: list[int] = []

    async def dropping(receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        if json.loads(body)["number"] % 10 == 5:
            await send({"type": "http.disconnect"})
            raise ConnectionResetError
        await reply(send, 200, body)

    measured = await load(
        dropping,
        Plan(2, seconds=0.5, rate=100, warm_seconds=0),
        lambda _number, status, _body: statuses.append(status),
    )
    assert measured.sent == 50
    assert measured.lost == statuses.count(LOST) == 5
    assert measured.statuses == {200: 45}


async def test_answers_that_never_come_are_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.bench.http_load.DRAIN_SECONDS", 0.1)

    async def silent(_receive: Any, _send: Any) -> None:
        await asyncio.Event().wait()

    measured = await load(silent, Plan(2, seconds=0.2, rate=50, warm_seconds=0))
    assert (measured.unfinished, measured.unsent) == (2, 8)
    assert measured.silent_ms_max >= 199


async def test_an_answer_in_pieces_is_one_answer() -> None:
    async def piecemeal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"}")
            for byte in b"HTTP/1.1 201 Made\r\ncontent-length: 4\r\n\r\nbody":
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

    bodies: set[bytes] = set()
    plan = Plan(1, seconds=0.2, rate=20, warm_seconds=0)
    async with talking(piecemeal) as port:
        measured = await HttpLoad(
            "127.0.0.1", port, plan, make, lambda _number, _status, body: bodies.add(body)
        ).run()
    assert (measured.statuses, bodies) == ({201: 4}, {b"body"})


async def test_what_is_no_http_ends_the_load() -> None:
    async def nonsense(_receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * 5_000_000})

    with pytest.raises(FaultError, match="usable length"):
        await load(nonsense, Plan(1, seconds=1, rate=10, warm_seconds=0))


async def test_where_nobody_listens_nothing_is_measured() -> None:
    async with serving(echo) as port:
        pass
    with pytest.raises(TransientError, match="no gateway answers"):
        await HttpLoad("127.0.0.1", port, Plan(1, 1.0), make, lambda *_: None).run()


@pytest.mark.parametrize("has_timer", [True, False])
async def test_ticks_come_until_they_are_stopped(
    has_timer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_timer:
        monkeypatch.setattr("streams.bench.ticks._timer", lambda _interval: None)
    enough = asyncio.Event()
    count = 0

    def on_tick() -> None:
        nonlocal count
        count += 1
        if count == 20:
            enough.set()

    ticks = Ticks(0.002, on_tick)
    async with asyncio.timeout(5):
        await enough.wait()
    ticks.stop()
    assert count == 20
