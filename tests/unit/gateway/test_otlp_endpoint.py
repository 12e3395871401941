"""`POST …/v1/traces` as an exporter sees it: forms, keys, bounds, what is worth a repeat."""

import gzip
import json
import logging
import zlib
from collections.abc import Callable
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from streams.gateway import otlp
from streams.gateway.otlp import limits
from streams.gateway.ports import AuthError
from tests.gateway_fakes import KEY, Answer, World
from tests.otlp_requests import JSON, PROTOBUF, as_json, as_protobuf, span

CHAT: Final = {
    "gen_ai.provider.name": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.usage.input_tokens": 12,
}
GOOD: Final = span(CHAT)
BAD: Final = span({**CHAT, "gen_ai.usage.input_tokens": -1}, span_id="b" * 16)
KEYLESS: Final = {"authorization": ""}


@pytest.fixture
def world() -> World:
    return World(otlp.ROUTES)


def status_of(answer: Answer) -> tuple[int, str]:
    """The code and message of a `google.rpc.Status`."""
    if answer.headers["content-type"] == "application/json":
        return answer.json["code"], answer.json["message"]
    assert answer.headers["content-type"] == "application/x-protobuf"
    # Fields 1 (a number below 128) and 2 (a text whose length is one or two bytes).
    assert (answer.body[0], answer.body[2]) == (0x08, 0x12)
    at, length = 4, answer.body[3]
    if length > 0x7F:
        at, length = 5, (length & 0x7F) + (answer.body[4] << 7)
    assert len(answer.body) == at + length
    return answer.body[1], answer.body[at:].decode()


# --- forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/traces", "/api/v2/v1/traces", "/otlp/v1/traces"])
@pytest.mark.parametrize("form", ["protobuf", "json"])
async def test_spans_are_taken_under_every_prefix_in_both_forms(
    world: World, path: str, form: str
) -> None:
    body, headers = (
        (as_protobuf([GOOD]), PROTOBUF) if form == "protobuf" else (as_json([GOOD]), JSON)
    )
    answer = await world.call("POST", path, body, headers)
    assert answer.status == 200
    assert answer.headers["content-type"] == headers["content-type"]
    assert [topic for topic, _, _ in world.inbound.records] == ["usage", "unassigned"]


async def test_partial_success_is_told_in_protobuf(world: World) -> None:
    answer = await world.call("POST", "/v1/traces", as_protobuf([GOOD, BAD]), PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert (answer.status, partial.rejected_spans) == (200, 1)
    assert "gen_ai.usage.input_tokens: -1" in partial.error_message
    assert len([topic for topic, _, _ in world.inbound.records if topic == "usage"]) == 1


async def test_partial_success_is_told_in_json(world: World) -> None:
    answer = await world.call("POST", "/v1/traces", as_json([BAD, GOOD, BAD]), JSON)
    partial = answer.json["partialSuccess"]
    assert partial["rejectedSpans"] == "2"
    assert partial["errorMessage"].endswith("(2 spans)")


async def test_many_reasons_are_told_shortly(world: World) -> None:
    spans = [span({**CHAT, "gen_ai.usage.input_tokens": -n}) for n in range(1, 40)]
    partial = (await world.call("POST", "/v1/traces", as_json(spans), JSON)).json["partialSuccess"]
    assert partial["rejectedSpans"] == "39"
    assert "and 34 other reasons" in partial["errorMessage"]
    assert len(partial["errorMessage"]) <= limits.REASON_CHARS_MAX


@pytest.mark.parametrize("body", [b"", as_protobuf([])])
async def test_an_export_without_spans_is_taken(world: World, body: bytes) -> None:
    assert (await world.call("POST", "/v1/traces", body, PROTOBUF)).status == 200
    assert (await world.call("POST", "/v1/traces", b"{}", JSON)).json == {}


async def test_without_a_media_type_the_body_says_what_it_is(world: World) -> None:
    for body in (as_json([GOOD]), as_protobuf([GOOD])):
        answer = await world.call("POST", "/v1/traces", body, {"content-type": ""})
        assert answer.status == 200
    assert len(world.inbound.records) == 3


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_compressed_export_counts_by_what_is_in_it(
    world: World, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    headers = {**PROTOBUF, "content-encoding": encoding}
    answer = await world.call("POST", "/v1/traces", pack(as_protobuf([GOOD])), headers)
    assert answer.status == 200
    assert world.inbound.records
    bomb = pack(bytes(limits.BODY_BYTES_MAX + 1))
    assert len(bomb) < 100_000
    answer = await world.call("POST", "/v1/traces", bomb, headers)
    assert (answer.status, status_of(answer)[0]) == (413, 3)


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["protobuf", "json"])
async def test_older_sdks_send_their_key_inside(world: World, form: str) -> None:
    spans = [span(CHAT, resource={"api.key": KEY}), GOOD]
    body = as_protobuf(spans) if form == "protobuf" else as_json(spans)
    headers = {**(PROTOBUF if form == "protobuf" else JSON), **KEYLESS}
    assert (await world.call("POST", "/v1/traces", body, headers)).status == 200
    assert world.inbound.records
    assert KEY.encode() not in b"".join(value for _, _, value in world.inbound.records)


async def test_a_key_inside_is_never_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world.inbound.down = True
    for key in (KEY, "agb_wrong"):
        body = as_protobuf([span(CHAT, resource={"api.key": key})])
        answer = await world.call("POST", "/v1/traces", body, {**PROTOBUF, **KEYLESS})
        assert answer.status in (401, 503)
        assert key.encode() not in answer.body
        assert key not in caplog.text


@pytest.mark.parametrize(
    "spans",
    [
        [GOOD],
        [span(CHAT, resource={"api.key": "agb_wrong"})],
        [span(CHAT, resource={"api.key": ""})],
        [span(CHAT, resource={"api.key": KEY}), span(CHAT, resource={"api.key": "agb_other"})],
    ],
)
@pytest.mark.parametrize("form", ["protobuf", "json"])
async def test_without_a_key_that_counts_nothing_is_taken(
    world: World, form: str, spans: list[Any]
) -> None:
    body = as_protobuf(spans) if form == "protobuf" else as_json(spans)
    headers = {**(PROTOBUF if form == "protobuf" else JSON), **KEYLESS}
    answer = await world.call("POST", "/v1/traces", body, headers)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert status_of(answer)[0] == 16
    assert not world.inbound.records


async def test_a_key_in_the_header_counts_before_one_inside(world: World) -> None:
    body = as_protobuf([span(CHAT, resource={"api.key": "agb_wrong"})])
    assert (await world.call("POST", "/v1/traces", body, PROTOBUF)).status == 200
    headers = {**PROTOBUF, "authorization": "Bearer agb_wrong"}
    body = as_protobuf([span(CHAT, resource={"api.key": KEY})])
    assert (await world.call("POST", "/v1/traces", body, headers)).status == 401


async def test_who_shows_no_key_may_send_less(world: World) -> None:
    large = as_protobuf([span({**CHAT, "input.value": "x" * limits.KEYLESS_BYTES_MAX})])
    assert (await world.call("POST", "/v1/traces", large, PROTOBUF)).status == 200
    answer = await world.call("POST", "/v1/traces", large, {**PROTOBUF, **KEYLESS})
    assert (answer.status, answer.headers["connection"]) == (413, "close")


# --- what is worth sending again ------------------------------------------------------------------


@pytest.mark.parametrize("form", ["protobuf", "json"])
async def test_what_was_not_acknowledged_is_asked_for_again(world: World, form: str) -> None:
    body = as_protobuf([GOOD, BAD]) if form == "protobuf" else as_json([GOOD, BAD])
    headers = PROTOBUF if form == "protobuf" else JSON
    world.inbound.losing = {1}
    answer = await world.call("POST", "/v1/traces", body, headers)
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert status_of(answer)[0] == 14
    answer = await world.call("POST", "/v1/traces", body, headers)
    assert answer.status == 200
    usage = [value for topic, _, value in world.inbound.records if topic == "usage"]
    assert usage[0] == usage[1]


async def test_an_overloaded_log_is_told_before_anything_is_said_to_be_there(world: World) -> None:
    world.inbound.down = True
    answer = await world.call("POST", "/v1/traces", as_protobuf([GOOD]), PROTOBUF)
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")


async def test_a_key_that_sends_too_much_is_told_when_to_come_back(world: World) -> None:
    world.keys.refuse = AuthError("rate_limited", "slower", 429, retry_after_seconds=3.2)
    answer = await world.call("POST", "/v1/traces", as_protobuf([GOOD]), PROTOBUF)
    assert (answer.status, answer.headers["retry-after"]) == (429, "4")
    assert status_of(answer) == (8, "rate_limited: slower")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xff\xff\xff", PROTOBUF),
        (as_protobuf([GOOD])[:-3], PROTOBUF),
        (as_json([GOOD]), PROTOBUF),
        (b"", JSON),
        (b"[]", JSON),
        (b"{", JSON),
        (b'{"resourceSpans": 1}', JSON),
        (b'{"resourceSpans": [1]}', JSON),
        (b'{"resourceSpans": [{"resource": []}]}', JSON),
        (b'{"resourceSpans": [{"scopeSpans": [{"scope": {"name": 1}, "spans": [{}]}]}]}', JSON),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": 7}]}]}]}', JSON),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"endTimeUnixNano": "x"}]}]}]}', JSON),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"endTimeUnixNano": -1}]}]}]}', JSON),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, JSON),
        (b'{"resourceSpans": NaN}', JSON),
        (b'{"\xff": 1}', JSON),
    ],
)
async def test_what_cannot_be_read_is_refused_for_good(
    world: World, body: bytes, headers: dict[str, str]
) -> None:
    answer = await world.call("POST", "/v1/traces", body, headers)
    assert answer.status == 400
    assert "retry-after" not in answer.headers
    assert answer.headers["content-type"] == headers["content-type"]
    code, message = status_of(answer)
    assert code == 3
    assert message.startswith(("malformed: ", "empty: "))
    assert not world.inbound.records


async def test_another_media_type_is_refused(world: World) -> None:
    answer = await world.call("POST", "/v1/traces", b"x", {"content-type": "text/plain"})
    assert answer.status == 415


# --- bounds ---------------------------------------------------------------------------------------


def in_bulk(spans: int, scopes: int = 1, resources: int = 1) -> bytes:
    one_scope: dict[str, Any] = {"spans": [{}] * spans}
    return json.dumps(
        {"resourceSpans": [{"scopeSpans": [one_scope] * scopes}] * resources}
    ).encode()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (in_bulk(limits.SPANS_MAX + 1), "spans"),
        (in_bulk(0, limits.SCOPES_MAX + 1), "scopes"),
        (in_bulk(0, 0, limits.RESOURCES_MAX + 1), "resources"),
    ],
)
async def test_an_export_has_so_many_spans_at_most(world: World, body: bytes, what: str) -> None:
    answer = await world.call("POST", "/v1/traces", body, JSON)
    assert answer.status == 413
    assert what in status_of(answer)[1]


async def test_a_span_with_too_many_attributes_is_refused_alone(world: World) -> None:
    many = {f"a{number}": 1 for number in range(limits.ATTRIBUTES_MAX)}
    for body, headers in (
        (as_protobuf([span({**CHAT, **many}, span_id="c" * 16), GOOD]), PROTOBUF),
        (as_json([span({**CHAT, **many}, span_id="c" * 16), GOOD]), JSON),
    ):
        answer = await world.call("POST", "/v1/traces", body, headers)
        assert answer.status == 200
        assert str(limits.ATTRIBUTES_MAX).encode() in answer.body
    usage = [value for topic, _, value in world.inbound.records if topic == "usage"]
    assert len(set(usage)) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("traceId", ""),
        ("traceId", "0" * 32),
        ("traceId", "5b8efff798038103d269b633813fc60"),
        ("traceId", "z" * 32),
        ("spanId", ""),
        ("spanId", "0" * 16),
        ("spanId", "5b8efff798038103d269b633813fc60c"),
        ("parentSpanId", "12"),
    ],
)
async def test_a_span_without_proper_ids_is_refused_alone(
    world: World, field: str, value: str
) -> None:
    made = json.loads(as_json([GOOD, GOOD]))
    made["resourceSpans"][0]["scopeSpans"][0]["spans"][0][field] = value
    answer = await world.call("POST", "/v1/traces", json.dumps(made).encode(), JSON)
    partial = answer.json["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert partial["errorMessage"].startswith(f"{field}: ")
    assert len([topic for topic, _, _ in world.inbound.records if topic == "usage"]) == 1


async def test_ids_in_json_may_be_in_capitals(world: World) -> None:
    body = as_json([GOOD])
    shouted = body.replace(GOOD["traceId"].encode(), GOOD["traceId"].upper().encode())
    assert shouted != body
    await world.call("POST", "/v1/traces", shouted, JSON)
    await world.call("POST", "/v1/traces", body, JSON)
    assert len({value for topic, _, value in world.inbound.records if topic == "usage"}) == 1


async def test_a_span_without_times_has_none(world: World) -> None:
    timeless = {**GOOD, "start": "0", "end": "0"}
    begun = {**GOOD, "end": "0", "spanId": "c" * 16}
    await world.call("POST", "/v1/traces", as_protobuf([timeless, begun]), PROTOBUF)
    times = [json.loads(v).get("occurred_at") for t, _, v in world.inbound.records if t == "usage"]
    assert times == [None, "2026-11-20T15:31:40.564789Z"]
