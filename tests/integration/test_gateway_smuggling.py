"""Requests that a proxy and the gateway could read in two ways, in raw bytes over a real socket:
each is refused, or read in the one way that RFC 9112 leaves."""

import pytest

from tests.gateway_fakes import KEY, World
from tests.integration.gateway_wire import ASK, HEALTH, LAST, answers, chunked, post, serving

LENGTH = f"content-length: {len(ASK)}\r\n"
CHUNKED = "transfer-encoding: chunked\r\n"
UPGRADE = "upgrade: h2c\r\nconnection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAA\r\n"

REFUSED = {
    "two lengths": post(LENGTH + "content-length: 0\r\n", ASK),
    "two lengths that agree": post(LENGTH * 2, ASK),
    "a list of lengths": post(f"content-length: {len(ASK)}, {len(ASK)}\r\n", ASK),
    "a negative length": post("content-length: -1\r\n", ASK),
    "a length with a plus": post(f"content-length: +{len(ASK)}\r\n", ASK),
    "a hexadecimal length": post(f"content-length: 0x{len(ASK):x}\r\n", ASK),
    "a length beyond 64 bits": post("content-length: 18446744073709551664\r\n", ASK),
    "an empty length": post("content-length: \r\n", ASK),
    "a length in two parts": post("content-length: 4 8\r\n", ASK),
    "a length, then chunks": post(LENGTH + CHUNKED, chunked()),
    "chunks, then a length": post(CHUNKED + LENGTH, chunked()),
    "chunks and another coding": post("transfer-encoding: gzip, chunked\r\n", chunked()),
    "chunks, not at the end": post("transfer-encoding: chunked, identity\r\n", chunked()),
    "chunks named twice": post(CHUNKED * 2, chunked()),
    "chunks, and no chunks": post(CHUNKED + "transfer-encoding: identity\r\n", chunked()),
    "nearly chunks": post("transfer-encoding: xchunked\r\n", chunked()),
    "quoted chunks": post('transfer-encoding: "chunked"\r\n', chunked()),
    "chunks behind a vertical tab": post("transfer-encoding:\x0bchunked\r\n", chunked()),
    "chunks before a spaced colon": post("transfer-encoding : chunked\r\n", chunked()),
    "chunks of an old version": post(
        CHUNKED + "connection: keep-alive\r\n", chunked(), version="1.0"
    ),
    "lines that end with LF alone": post(LENGTH).replace(b"\r\n", b"\n") + ASK,
    "one field that ends with LF alone": post("x: y\n" + LENGTH, ASK),
    "one field that ends with CR alone": post("x: y\r" + LENGTH, ASK),
    "a folded field": post("x: y\r\n z\r\n" + LENGTH, ASK),
    "a nul in a field": post("x: a\0b\r\n" + LENGTH, ASK),
    "a field without a name": post(": y\r\n" + LENGTH, ASK),
    "a field without a colon": post("xy\r\n" + LENGTH, ASK),
    "a negative chunk": post(CHUNKED, b"-1\r\n" + ASK + b"\r\n0\r\n\r\n"),
    "a chunk in C's notation": post(CHUNKED, b"0x" + chunked()),
    "a chunk beyond 64 bits": post(CHUNKED, b"f" * 17 + b"\r\n" + ASK + b"\r\n0\r\n\r\n"),
    "a spaced chunk": post(CHUNKED, chunked().replace(b"\r\n", b" \r\n", 1)),
    "a chunk's size that ends with LF": post(CHUNKED, chunked().replace(b"\r\n", b"\n", 1)),
    "a chunk's extension that ends with LF": post(CHUNKED, chunked().replace(b"\r\n", b";a\n", 1)),
    "a chunk longer than its size": post(CHUNKED, b"2\r\n" + ASK + b"\r\n0\r\n\r\n"),
    "two keys": post(LENGTH + "authorization: Bearer other\r\n", ASK),
    "two hosts": post(LENGTH + "host: y\r\n", ASK),
    "two media types": post(LENGTH + "content-type: text/plain\r\n", ASK),
    "a body beside an upgrade": post(LENGTH + UPGRADE, ASK),
    "chunks beside an upgrade": post(CHUNKED + UPGRADE, chunked()),
}


async def test_what_could_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(
    world: World,
) -> None:
    async with serving(world) as on:
        for name, sent in REFUSED.items():
            statuses, told = await answers(on.port, sent + HEALTH)
            assert (name, statuses) == (name, [400])
            assert b"connection: close" in told, name
            assert not world.owners.asked, name


async def test_a_request_without_a_host_or_of_no_version_is_refused(world: World) -> None:
    async with serving(world) as on:
        for sent in (
            b"GET /healthz HTTP/1.1\r\n\r\n",
            b"GET /healthz\r\n\r\n",
            b"GET /healthz HTTP/2.0\r\nhost: x\r\n\r\n",
            b"GET /healthz HTTP/9.9\r\nhost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n",
        ):
            assert (await answers(on.port, sent))[0] == [400], sent


SERVED = {
    "chunks": post(CHUNKED, chunked()),
    "chunks in capitals": post("Transfer-Encoding:\tCHUNKED\r\n", chunked()),
    "an extension": post(CHUNKED, chunked().replace(b"\r\n", b";a=b\r\n", 1)),
    "chunks of one byte": post(
        CHUNKED, b"".join(b"1\r\n%c\r\n" % byte for byte in ASK) + b"0\r\n\r\n"
    ),
    "a length": post(LENGTH, ASK),
}


async def test_what_has_one_meaning_is_served_and_so_is_what_follows(world: World) -> None:
    async with serving(world) as on:
        for name, sent in SERVED.items():
            assert (name, (await answers(on.port, sent + LAST))[0]) == (name, [200, 200])
    assert len(world.owners.asked) == len(SERVED)


async def test_a_field_after_the_body_is_no_header(world: World) -> None:
    stranger = post(CHUNKED, key="nobody")
    trailing = chunked(end=b"0\r\nauthorization: Bearer %s\r\n\r\n" % KEY.encode())
    own = post(CHUNKED, chunked(end=b"0\r\nauthorization: Bearer nobody\r\n\r\n"))
    async with serving(world) as on:
        assert (await answers(on.port, stranger + trailing + LAST))[0] == [401, 200]
        assert (await answers(on.port, own + LAST))[0] == [200, 200]


async def test_the_body_of_a_refused_request_is_no_request(world: World) -> None:
    inner = post(LENGTH, ASK)
    async with serving(world) as on:
        for refused in (
            post(f"content-length: {len(inner)}\r\n", inner, key="nobody"),
            b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(inner) + inner,
            b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(inner) + inner,
        ):
            statuses, _ = await answers(on.port, refused + LAST)
            assert len(statuses) == 2
    assert not world.owners.asked


async def test_a_request_after_one_whose_end_is_unknown_is_not_read(world: World) -> None:
    async with serving(world) as on:
        statuses, _ = await answers(on.port, post("content-length: 99999999\r\n", HEALTH))
    assert statuses == [413]


async def test_an_offer_of_another_protocol_is_passed_over_and_ends_the_connection(
    world: World,
) -> None:
    for fields in (UPGRADE, "upgrade: websocket\r\nconnection: upgrade\r\n"):
        async with serving(world) as on:
            sent = HEALTH[:-2] + fields.encode() + b"\r\n"
            statuses, told = await answers(on.port, sent + HEALTH)
        assert statuses == [200]
        assert b"connection: close" in told


TARGETS = {
    "//healthz": 404,
    "/./healthz": 404,
    "/v1/../healthz": 404,
    "/v1/%2e%2e/healthz": 404,
    "/%2e/healthz": 404,
    "/%68ealthz": 404,
    "/healthz/": 404,
    "/healthz;x=1": 404,
    "/healthz%00": 404,
    "/healthz%0d%0aset-cookie:%20a": 404,
    "/HEALTHZ": 404,
    "/v1\\healthz": 404,
    "/..%2f..%2fetc/passwd": 404,
    "/v1/customers//budget": 404,
    "/v1/customers/acme/../globex/budget": 404,
    "/v1/customers/%ff/budget": 404,
    # What needs a key needs it in every spelling that leads there.
    "/metrics": 401,
    "http://elsewhere/metrics": 401,
    "/metrics?key=1": 401,
    "/v1/customers/..%2fglobex/budget": 401,
    "/v1/tasks/..": 401,
    # A whole URI is taken for its path (RFC 9112, 3.2.2), whatever host it names.
    "http://elsewhere/healthz": 200,
}


async def test_a_path_has_one_spelling(world: World) -> None:
    async with serving(world) as on:
        for target, status in TARGETS.items():
            sent = f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
            statuses, told = await answers(on.port, sent)
            assert (target, statuses) == (target, [status])
            assert b"set-cookie" not in told
    assert not world.owners.asked


@pytest.fixture
def world() -> World:
    """The native API over fakes."""
    return World()
