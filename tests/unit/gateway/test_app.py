"""What the application does with every request, whatever its route."""

import gzip
import logging

import cramjam
import pytest

from schemas import rpc
from streams.gateway import bodies
from streams.gateway.ports import AuthError, Caller, Scope
from streams.gateway.problems import CODES
from tests.gateway_fakes import KEY, World, account, approved

ASK = {"customer_id": "acme", "idempotency_key": "k1"}


async def test_an_unknown_path_is_a_problem_document(world: World) -> None:
    answer = await world.call("GET", "/nowhere")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["code"] == "not_found"
    assert answer.json["type"] == "urn:tollgate:problem:not_found"


async def test_another_method_is_told_which_there_are(world: World) -> None:
    answer = await world.call("GET", "/v1/preflights")
    assert (answer.status, answer.json["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_without_a_key_nothing_is_read_and_nobody_asked(world: World) -> None:
    answer = await world.call(
        "POST", "/v1/preflights", ASK, headers={"authorization": "Basic x"}, parts=[]
    )
    assert (answer.status, answer.json["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not world.owners.asked


async def test_a_key_without_the_scope_is_refused(world: World) -> None:
    world.keys.caller = Caller("k1", frozenset({Scope.READ}))
    answer = await world.call("POST", "/v1/preflights", ASK)
    assert (answer.status, answer.json["code"]) == (403, "scope_missing")


async def test_a_rate_limit_says_when_to_come_back(world: World) -> None:
    world.keys.refuse = AuthError("rate_limited", "100 requests a second", 429, 2.3)
    answer = await world.call("POST", "/v1/preflights", ASK)
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/v1/preflights", ASK),
        ("POST", "/v1/preflights/1-3-9/release", {"customer_id": "acme"}),
        ("POST", "/v1/preflights/1-3-9/extend", {"customer_id": "acme", "ttl_seconds": 60}),
        ("GET", "/v1/customers/acme/budget", None),
        ("GET", "/v1/customers/acme/holds", None),
        ("POST", "/v1/customers/acme/grants", {"event_id": "g"}),
        ("PUT", "/v1/customers/acme/limits", {"denomination": "unit"}),
        ("GET", "/v1/tasks/t1", None),
        ("PUT", "/v1/tasks/t1/ceiling", {"denomination": "unit", "amount": "1"}),
        (
            "POST",
            "/v1/records",
            {"schema_version": 1, "event_id": "e", "source": "s", "customer_id": "acme"},
        ),
    ],
)
async def test_a_key_of_other_customers_reaches_no_owner_and_no_log(
    world: World, method: str, target: str, body: object
) -> None:
    world.keys.caller = Caller("k1", frozenset(Scope), frozenset({"other"}))
    answer = await world.call(method, target, body)
    assert (answer.status, answer.json["code"]) == (403, "customer_not_allowed")
    assert not world.owners.asked
    assert not world.inbound.records


# --- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("zstd", lambda raw: bytes(cramjam.zstd.compress(raw)))],
)
async def test_a_compressed_body_counts_by_what_is_in_it(
    world: World, encoding: str, pack: "type[bytes]"
) -> None:
    packed = pack(b'{"customer_id": "acme", "idempotency_key": "k1"}')
    answer = await world.call("POST", "/v1/preflights", packed, {"content-encoding": encoding})
    assert answer.status == 200
    bomb = pack(b" " * 70_000)
    assert len(bomb) < 1_000
    answer = await world.call("POST", "/v1/preflights", bomb, {"content-encoding": encoding})
    assert (answer.status, answer.json["code"]) == (413, "oversized")


@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        ("gzip", b"no gzip", "bad_encoding"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-4], "bad_encoding"),
        ("gzip", gzip.compress(b"{}", mtime=0) * 2, "bad_encoding"),
        ("zstd", b"no zstd", "bad_encoding"),
        ("zstd", bytes(cramjam.zstd.compress(b"{}"))[:-2], "bad_encoding"),
        ("br", b"x", "unsupported_encoding"),
        ("gzip, gzip", b"x", "unsupported_encoding"),
    ],
)
async def test_a_body_that_does_not_decompress_is_refused(
    world: World, encoding: str, body: bytes, code: str
) -> None:
    answer = await world.call("POST", "/v1/preflights", body, {"content-encoding": encoding})
    assert (answer.status, answer.json["code"]) == (CODES[code].status, code)


async def test_a_body_is_refused_once_it_is_too_long_wherever_it_is_cut(world: World) -> None:
    parts = [b" " * 30_000] * 3
    answer = await world.call("POST", "/v1/preflights", parts=parts)
    assert (answer.status, answer.json["code"]) == (413, "oversized")
    assert answer.headers["connection"] == "close"


async def test_a_declared_length_beyond_the_limit_is_refused_before_anything_is_read(
    world: World,
) -> None:
    answer = await world.call("POST", "/v1/preflights", headers={"content-length": "9" * 30})
    assert answer.json["code"] == "oversized"


async def test_a_body_that_does_not_arrive_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never() -> None:
        raise TimeoutError

    monkeypatch.setattr(bodies, "_read", lambda *_: never())
    answer = await world.call("POST", "/v1/preflights")
    assert (answer.status, answer.json["code"]) == (408, "body_timeout")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"{", "malformed"),
        (b"[]", "malformed"),
        (b"\xff", "malformed"),
        (b'{"customer_id": "\\ud800", "idempotency_key": "k"}', "malformed"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "too_deep"),
        (b'{"customer_id": "acme"}', "invalid_field"),
        (b'{"customer_id": "\\u0000a", "idempotency_key": "k"}', "invalid_field"),
        (b'{"customer_id": "a", "idempotency_key": "k", "x": 1}', "unknown_field"),
        (b'{"customer_id": "a", "idempotency_key": "k", "estimate": 1.5}', "invalid_field"),
        (b'{"customer_id": "a", "idempotency_key": "k", "estimate": "-1"}', "invalid_field"),
        (b'{"customer_id": "a", "idempotency_key": "k", "ttl_seconds": 0}', "invalid_field"),
    ],
)
async def test_a_body_that_is_none_says_what_is_wrong(world: World, body: bytes, code: str) -> None:
    answer = await world.call("POST", "/v1/preflights", body)
    assert (answer.status, answer.json["code"]) == (CODES[code].status, code)
    assert not world.owners.asked


async def test_brackets_inside_texts_are_not_depth(world: World) -> None:
    body = {"customer_id": "acme", "idempotency_key": '\\"' + "[{" * 50}
    assert (await world.call("POST", "/v1/preflights", body)).status == 200


async def test_another_media_type_is_refused(world: World) -> None:
    answer = await world.call("POST", "/v1/preflights", b"a=1", {"content-type": "text/plain"})
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")


async def test_a_client_that_went_away_is_answered_nothing(world: World) -> None:
    with pytest.raises(ValueError, match="unpack"):
        await world.call("POST", "/v1/preflights", parts=[])


# --- limits ---------------------------------------------------------------------------------------


async def test_long_paths_and_queries_are_refused(world: World) -> None:
    for target in (f"/v1/tasks/{'x' * 2048}", f"/healthz?{'x' * 2049}"):
        answer = await world.call("GET", target)
        assert (answer.status, answer.json["code"]) == (414, "path_too_long")


async def test_many_or_long_headers_are_refused(world: World) -> None:
    for headers in ({f"x-{n}": "1" for n in range(64)}, {"x-long": "1" * 16_384}):
        answer = await world.call("GET", "/healthz", headers=headers)
        assert (answer.status, answer.json["code"]) == (431, "headers_too_large")


async def test_an_id_in_a_path_is_percent_decoded_and_bounded(world: World) -> None:
    world.owners.otherwise = lambda _p, ask: account(account_id=ask.account_id)
    answer = await world.call("GET", "/v1/customers/a%2Fb%20%C3%A9/budget")
    assert answer.json["customer_id"] == "a/b é"
    for bad in ("%00a", "x" * 129):
        answer = await world.call("GET", f"/v1/customers/{bad}/budget")
        assert (answer.status, answer.json["code"]) == (422, "invalid_field")
    assert (await world.call("GET", "/v1/customers/%FF/budget")).status == 404


async def test_a_request_id_comes_back_if_it_is_one(world: World) -> None:
    answer = await world.call("GET", "/healthz", headers={"x-request-id": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
    answer = await world.call("GET", "/healthz", headers={"x-request-id": "a b\r\n"})
    assert answer.headers["x-request-id"] == "id-1"


# --- faults ---------------------------------------------------------------------------------------


async def test_a_fault_is_logged_without_what_the_client_sent(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_partition: int, ask: rpc.Ask) -> rpc.Answer:
        raise KeyError(f"{ask.account_id} {KEY}")

    world.owners.otherwise = fail
    answer = await world.call("POST", "/v1/preflights", ASK)
    assert (answer.status, answer.json["code"]) == (500, "internal")
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "KeyError" in line
    assert "postPreflight" in line
    assert "acme" not in line + answer.body.decode()
    assert KEY not in line + answer.body.decode()


async def test_problems_and_answers_are_counted_by_route(world: World) -> None:
    world.owners.queued.append(approved())
    await world.call("POST", "/v1/preflights", ASK)
    await world.call("POST", "/v1/preflights", b"{")
    text = (await world.call("GET", "/metrics")).body.decode()
    assert 'tollgate_gateway_requests_total{route="postPreflight",status="200"} 1\n' in text
    assert 'tollgate_gateway_requests_total{route="postPreflight",status="400"} 1\n' in text
    assert 'tollgate_gateway_problems_total{code="malformed"} 1\n' in text
    assert 'tollgate_gateway_request_seconds_count{route="postPreflight"} 2\n' in text
    assert "tollgate_gateway_requests_in_flight 1\n" in text


async def test_readiness_says_what_is_missing(world: World) -> None:
    assert (await world.call("GET", "/readyz")).status == 200
    world.missing = "the catalog has not been read"
    answer = await world.call("GET", "/readyz")
    assert (answer.status, answer.json["detail"]) == (503, "the catalog has not been read")
    assert answer.headers["retry-after"]
    assert (await world.call("GET", "/healthz")).status == 200
