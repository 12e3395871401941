"""Where a program answers about itself: what it says, and what strangers cannot do there."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from streams.adapters import scrape
from streams.adapters.scrape import ScrapeServer
from streams.errors import SetupError


class Program:
    """A server with words put into its mouth."""

    def __init__(self) -> None:
        self.why = ""
        self.server = ScrapeServer("127.0.0.1", 0, lambda: "x_total 1\n", lambda: self.why)

    async def send(self, request: bytes) -> str:
        """Everything that is answered until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(request)
        try:
            async with asyncio.timeout(30):
                return (await reader.read()).decode()
        except ConnectionResetError:
            return ""  # What the server had not read yet makes a reset of its end.
        finally:
            writer.close()

    async def get(self, path: str) -> tuple[int, str]:
        answer = await self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = answer.partition("\r\n\r\n")
        assert f"Content-Length: {len(body)}\r\n" in head
        return int(head.split(" ")[1]), body


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    made = Program()
    await made.server.start()
    yield made
    await made.server.stop()


async def test_metrics_and_health_are_answered(program: Program) -> None:
    assert await program.get("/metrics") == (200, "x_total 1\n")
    assert await program.get("/live?probe=1") == (200, "live\n")
    assert await program.get("/ready") == (200, "ready\n")


async def test_a_program_that_cannot_work_is_live_and_says_why_it_is_not_ready(
    program: Program,
) -> None:
    program.why = "ClickHouse does not answer"
    assert await program.get("/ready") == (503, "not ready: ClickHouse does not answer\n")
    assert (await program.get("/live"))[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
    ],
)
async def test_what_is_no_question_is_refused(
    program: Program, request_: bytes, status: int
) -> None:
    assert (await program.send(request_)).startswith(f"HTTP/1.1 {status} ")
    assert (await program.get("/live"))[0] == 200


async def test_headers_without_end_are_not_kept(program: Program) -> None:
    answer = await program.send(b"GET /live HTTP/1.1\r\n" + b"x: y\r\n" * 50_000)
    assert not answer or answer.startswith("HTTP/1.1 400 ")
    assert (await program.get("/live"))[0] == 200


async def test_one_connection_answers_one_question(program: Program) -> None:
    twice = b"GET /live HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n"
    assert (await program.send(twice)).count("HTTP/1.1 ") == 1


async def test_who_does_not_ask_is_cut(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "REQUEST_SECONDS", 0.05)
    assert await program.send(b"GET /met") == ""


async def test_connections_beyond_the_limit_are_closed_and_the_others_are_served(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape, "CONNECTIONS_MAX", 1)
    _, waiting = await asyncio.open_connection("127.0.0.1", program.server.port)
    assert await program.send(b"GET /live HTTP/1.1\r\n\r\n") == ""
    waiting.close()
    await waiting.wait_closed()


async def test_an_address_that_is_taken_is_a_setup_that_says_what_to_do(program: Program) -> None:
    with pytest.raises(SetupError) as caught:
        ScrapeServer("127.0.0.1", program.server.port, str, str)
    assert "TOLLGATE_METRICS_LISTEN" in caught.value.action
