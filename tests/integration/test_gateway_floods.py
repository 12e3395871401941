"""Clients that hold connections, memory or the log of the gateway without asking for anything:
what each of them gets, over a real socket."""

import asyncio
import gzip
import logging
import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import pytest

from streams.gateway import quiet, server
from streams.gateway.app import HEADER_BYTES_MAX, HEADERS_MAX
from streams.gateway.server import FRAMING_BYTES_MAX
from tests.gateway_fakes import World
from tests.integration.gateway_wire import (
    ASK,
    DEADLINE_SECONDS,
    HEALTH,
    LAST,
    answers,
    chunked,
    post,
    serving,
)

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(port: int) -> Pair:
    return await asyncio.open_connection("127.0.0.1", port)


async def asked(pair: Pair, sent: bytes = HEALTH) -> int:
    """The status of the answer to a request on a connection that stays."""
    reader, writer = pair
    writer.write(sent)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_SECONDS)
    [length] = [
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-len")
    ]
    await asyncio.wait_for(reader.readexactly(length), DEADLINE_SECONDS)
    return int(head.split()[1])


async def closed(pair: Pair) -> bool:
    """Whether the server ends a connection, however it does that."""
    try:
        return await asyncio.wait_for(pair[0].read(), DEADLINE_SECONDS) == b""
    except ConnectionError:
        return True
    finally:
        pair[1].close()


# --- slow ones -----------------------------------------------------------------------------------


async def test_headers_that_come_byte_by_byte_are_cut_at_the_deadline_of_all_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)
    async with serving(world) as on:
        reader, writer = await connected(on.port)

        async def drip() -> None:
            while not writer.is_closing():
                writer.write(b"a")
                await asyncio.sleep(0.01)

        writer.write(b"GET /healthz HTTP/1.1\r\nx: ")
        dripping = asyncio.create_task(drip())
        assert await closed((reader, writer))
        await dripping


@pytest.mark.parametrize("rest", [b"", b" "], ids=["nothing", "a byte now and then"])
async def test_the_rest_of_a_body_whose_answer_was_given_has_a_deadline(
    world: World, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr(server, "REST_SECONDS", 0.3)
    async with serving(world) as on:
        pair = await connected(on.port)
        assert await asked(pair, post("content-length: 1000\r\n", key="nobody")) == 401

        async def drip() -> None:
            while not pair[1].is_closing():
                pair[1].write(rest)
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert await closed(pair)
        await dripping


@pytest.mark.parametrize(
    ("before", "kept"),
    [(HEALTH, b"\r\n"), (post("content-length: 2\r\n", key="nobody"), b"{}")],
    ids=["empty lines", "the rest of a body"],
)
async def test_what_is_no_request_keeps_no_connection(
    world: World, monkeypatch: pytest.MonkeyPatch, before: bytes, kept: bytes
) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 1)
    async with serving(world) as on:
        pair = await connected(on.port)
        assert await asked(pair, before) in (200, 401)
        pair[1].write(kept)
        assert await closed(pair)


async def test_one_that_goes_on_after_the_rest_of_a_body_is_served(world: World) -> None:
    async with serving(world) as on:
        pair = await connected(on.port)
        assert await asked(pair, post("content-length: 2\r\n", key="nobody")) == 401
        assert await asked(pair, b"{}" + HEALTH) == 200
        pair[1].close()


# --- many of them --------------------------------------------------------------------------------


async def test_the_connection_that_rests_longest_makes_place(world: World) -> None:
    async with serving(world, connections_max=4) as on:
        resting = [await connected(on.port) for _ in range(3)]
        for pair in resting:
            assert await asked(pair) == 200
        # The first one asks again: the second has rested longest now.
        assert await asked(resting[0]) == 200
        newcomer = await connected(on.port)
        assert await asked(newcomer) == 200
        assert await closed(resting[1])
        assert await asked(resting[0]) == 200
        assert await asked(resting[2]) == 200
        for pair in (*resting, newcomer):
            pair[1].close()


async def test_a_flood_of_connections_that_say_nothing_is_closed_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", DEADLINE_SECONDS)
    monkeypatch.setattr(server, "CONNECTIONS_SPARE", 20)
    allowed = 2
    async with serving(world, connections_max=allowed) as on:
        silent = [await connected(on.port) for _ in range(allowed + 20)]
        for pair in silent:
            # None rests, or it would make place for another: of each there is half a request.
            pair[1].write(HEALTH[:-2])
        more = [await connected(on.port) for _ in range(5)]
        assert [await closed(pair) for pair in more] == [True] * 5
        assert on.connections == allowed + 20
        assert await asked(silent[0], b"\r\n") == 503
        for _, writer in silent:
            writer.close()


# --- large ones ----------------------------------------------------------------------------------


async def test_header_fields_are_counted_and_weighed(world: World) -> None:
    async def status(fields: list[bytes]) -> list[int]:
        head = b"".join(field + b"\r\n" for field in fields)
        return (await answers(on.port, LAST[:-2] + head + b"\r\n"))[0]

    async with serving(world) as on:
        # The host and the connection are fields too.
        few = [b"x-%d: a" % number for number in range(HEADERS_MAX - 2)]
        assert await status(few) == [200]
        assert await status([*few, b"x: one more"]) == [431]
        assert await status([b"x: " + b"a" * HEADER_BYTES_MAX]) == [431]


async def test_lines_are_bounded_in_length(world: World) -> None:
    end = b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with serving(world) as on:
        assert (await answers(on.port, b"GET /" + b"a" * 2_048 + end))[0] == [414]
        assert (await answers(on.port, b"GET /healthz?" + b"a" * 2_049 + end))[0] == [414]
        assert (await answers(on.port, b"GET /" + b"a" * 3 * HEADER_BYTES_MAX))[0] == [431]


@pytest.mark.parametrize("framing", [b"0\r\nx: ", b"0\r\n", b"1;"], ids=str)
async def test_what_frames_a_body_is_bounded(world: World, framing: bytes) -> None:
    async with serving(world) as on:
        pair = await connected(on.port)
        pair[1].write(post("transfer-encoding: chunked\r\n"))
        await asyncio.sleep(0)
        try:
            pair[1].write(framing)
            for number in range(64):
                line = b"a: %d\r\n" % number if framing == b"0\r\n" else b""
                pair[1].write((line or b"a" * 8) * (FRAMING_BYTES_MAX // 32))
                await pair[1].drain()
            assert await closed(pair)
        except ConnectionError:
            pair[1].close()
        assert not world.owners.asked


async def test_a_body_without_end_is_answered_and_cut(world: World) -> None:
    async with serving(world) as on:
        for fields, part in (
            ("content-length: 999999999\r\n", b" " * 4_096),
            ("transfer-encoding: chunked\r\n", chunked(b" " * 4_096, b"")),
        ):
            reader, writer = await connected(on.port)
            writer.write(post(fields) + part * 17)
            assert b" 413 " in await asyncio.wait_for(reader.readuntil(b"\r\n"), DEADLINE_SECONDS)
            writer.close()


BOMBS = {
    "gzip": gzip.compress(b" " * 50_000_000, 9),
    "deflate": zlib.compress(b" " * 50_000_000, 9),
    "zstd": bytes(cramjam.zstd.compress(b" " * 50_000_000)),
}


@pytest.mark.parametrize("coding", BOMBS)
async def test_a_small_body_that_unpacks_to_much_is_refused(world: World, coding: str) -> None:
    bomb = BOMBS[coding]
    assert len(bomb) < 60_000
    pack: dict[str, Callable[[bytes], Any]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": cramjam.zstd.compress,
    }
    twice = bytes(pack[coding](bomb))
    async with serving(world) as on:
        for body, named, status in (
            (bomb, coding, 413),
            (twice, f"{coding}, {coding}", 415),
            # Unpacked once it is no JSON; nobody unpacks it again.
            (twice, coding, 400),
            (bomb, "br", 415),
        ):
            fields = f"content-encoding: {named}\r\ncontent-length: {len(body)}\r\n"
            head = post(fields, body).replace(b"host: x\r\n", b"host: x\r\nconnection: close\r\n")
            assert (named, (await answers(on.port, head))[0]) == (named, [status])
    assert not world.owners.asked


async def test_json_that_costs_more_than_it_says_is_refused_quickly(world: World) -> None:
    ask = b'{"customer_id": "acme", "idempotency_key": "k1", "estimate": %s}'
    async with serving(world) as on:
        for value in (
            b"[" * 30_000,
            b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
            b"9" * 60_000,
            b"1e999999999",
            b'"1e999999999"',
            b'"%s"' % (b"9" * 60_000),
            b"-0",
            b"NaN",
            b"Infinity",
            b'"\\ud800"',
            b'"\\u0000"',
            b'"\xed\xa0\x80"',
        ):
            body = ask % value
            sent = post(f"content-length: {len(body)}\r\nconnection: close\r\n", body)
            statuses, _ = await answers(on.port, sent)
            assert statuses[0] in (400, 413, 422), value[:20]
    assert not world.owners.asked


# --- what strangers make us say ------------------------------------------------------------------


async def test_junk_fills_no_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    quiet.SELDOM._said.clear()
    with caplog.at_level(logging.WARNING):
        async with serving(world) as on:
            for _ in range(20):
                assert (await answers(on.port, b"junk\r\n\r\n"))[0] == [400]
    assert [record.msg for record in caplog.records] == ["Invalid HTTP request received."]


async def test_answers_say_nothing_of_the_server_and_are_not_kept_or_guessed_at(
    world: World,
) -> None:
    ask = post(f"content-length: {len(ASK)}\r\nconnection: close\r\n", ASK)
    async with serving(world) as on:
        for sent in (ask, LAST, LAST.replace(b"healthz", b"nowhere"), b"junk\r\n\r\n"):
            _, told = await answers(on.port, sent)
            head = told.partition(b"\r\n\r\n")[0].lower()
            assert b"x-content-type-options: nosniff" in head
            assert b"\r\nserver:" not in head
            assert b"uvicorn" not in told.lower()
            assert b"cache-control: no-store" in head or sent == b"junk\r\n\r\n"


@pytest.fixture
def world() -> World:
    """The native API over fakes."""
    return World()
