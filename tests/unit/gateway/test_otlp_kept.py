"""What is kept of a span, and what never gets anywhere: prompts, completions, keys."""

import json
from typing import Any, Final

import pytest

from streams.gateway import otlp
from streams.gateway.otlp import json_form, protobuf
from tests.gateway_fakes import World
from tests.otlp_requests import JSON, PROTOBUF, SPAN, as_json, as_protobuf, span

CHAT: Final = {
    "gen_ai.provider.name": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.usage.input_tokens": 12,
}


@pytest.fixture
def world() -> World:
    return World(otlp.ROUTES)


async def metadata(world: World, attributes: dict[str, Any]) -> dict[str, Any]:
    """The metadata of the usage of a call with these attributes."""
    body = as_protobuf([span({**CHAT, **attributes})])
    answer = await world.call("POST", "/v1/traces", body, PROTOBUF)
    assert (answer.status, answer.body) == (200, b"")
    [value] = [value for topic, _, value in world.inbound.records if topic == "usage"]
    kept: dict[str, Any] = json.loads(value)["metadata"]
    return kept


SECRETS: Final = {
    "token": "agb_secret",
    "gen_ai.prompt": "secret",
    "gen_ai.completion": "secret",
    "gen_ai.input.messages": '[{"secret": 1}]',
    "gen_ai.prompt.0.content": "secret",
    "llm.input_messages.0.message.content": "secret",
    "llm.invocation_parameters": "secret",
    "input.value": "secret",
    "output.value": "secret",
    "ai.prompt": "secret",
    "ai.response.text": "secret",
    "langchain.tool.input": "secret",
    "exception.message": "secret",
    "metadata.token": "secret",
    "metadata.api_key": "secret",
    "metadata.user.Password": "secret",
    "metadata.prompt": "secret",
    f"metadata.{'long' * 30}": "secret",
    "anything": "secret",
}


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_what_is_not_on_the_list_is_dropped_when_a_span_is_read(form: str) -> None:
    spans = [span({**SECRETS, **CHAT}, resource={"api.key": "agb_secret", **SECRETS})]
    [read] = (
        protobuf.read(as_protobuf(spans)) if form == "protobuf" else json_form.read(as_json(spans))
    )
    assert set(read.attributes) == {"external_customer_id", *CHAT}
    assert not read.resource


async def test_half_a_character_is_no_fault(world: World) -> None:
    body = as_json([span({**CHAT, "gen_ai.request.model": "MODEL", "metadata.m": "MODEL"})])
    halved = body.replace(b"MODEL", rb"m\ud800")
    assert (await world.call("POST", "/v1/traces", halved, JSON)).json == {}
    told = json.loads(world.inbound.records[0][2])
    assert (told["model"], told["metadata"]) == ("m?", {"m": "m?"})


@pytest.mark.parametrize("form", ["protobuf", "json"])
async def test_prompts_completions_and_keys_never_reach_the_log(world: World, form: str) -> None:
    spans = [
        span({**SECRETS, **CHAT}, resource={"api.key": "agb_secret", "x": "secret"}),
        span({**SECRETS, **CHAT}, span_id="a" * 16, customer=None),
        span(
            {**SECRETS, "event_name": "e", "data": '{"token": "secret", "p": {"secret": 1}}'},
            span_id=SPAN[::-1],
            name="paid.trace.signal",
        ),
    ]
    body = as_protobuf(spans) if form == "protobuf" else as_json(spans)
    answer = await world.call("POST", "/v1/traces", body, PROTOBUF if form == "protobuf" else JSON)
    assert answer.status == 200
    assert len(world.inbound.records) == 4
    assert b"secret" not in b"".join(key + value for _, key, value in world.inbound.records)


async def test_metadata_is_kept_as_short_texts(world: World) -> None:
    held = {
        "metadata.campaign": "c1",
        "metadata.count": 7,
        "metadata.ratio": 0.5,
        "metadata.on": True,
        "metadata.tags": ["x", 1, [True]],
        "metadata.long": "x" * 5_000,
    }
    assert await metadata(world, held) == {
        "campaign": "c1",
        "count": "7",
        "ratio": "0.5",
        "on": "true",
        "tags": '["x",1,"[true]"]',
        "long": "x" * 255 + "…",
    }


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        ({"anthropic": {"cacheCreationInputTokens": 40, "secret": 1}}, {"cache_write": 40}),
        ({"bedrock": {"usage": {"cacheWriteInputTokens": 7}}}, {"cache_write": 7}),
        ({"anthropic": {"cacheCreationInputTokens": None}}, {}),
        ({"anthropic": {"cacheCreationInputTokens": "40"}}, {}),
        ({"anthropic": 40}, {}),
        ([1], {}),
    ],
)
async def test_of_a_providers_metadata_the_written_cache_is_kept(
    world: World, told: Any, tokens: dict[str, int]
) -> None:
    held = {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.provider": "anthropic.messages",
        "ai.usage.inputTokens": 12,
        "ai.response.providerMetadata": json.dumps(told),
    }
    await world.call("POST", "/v1/traces", as_protobuf([span(held)]), PROTOBUF)
    value = world.inbound.records[0][2]
    assert json.loads(value)["tokens"] == {"input": 12, **tokens}
    assert b"secret" not in value


@pytest.mark.parametrize("text", ["", "{", "[" * 50_000, '{"a":' * 5_000, "x" * 40_000])
async def test_a_providers_metadata_that_cannot_be_read_is_left_out(
    world: World, text: str
) -> None:
    held = {**CHAT, "ai.operationId": "x.do", "ai.response.providerMetadata": text}
    answer = await world.call("POST", "/v1/traces", as_protobuf([span(held)]), PROTOBUF)
    assert (answer.status, answer.body) == (200, b"")
    assert json.loads(world.inbound.records[0][2])["tokens"] == {"input": 12}


async def test_metadata_beyond_what_a_record_keeps_is_left_out(world: World) -> None:
    held = {f"metadata.m{number}": "x" for number in range(40)}
    assert len(await metadata(world, held)) == 16
