"""What Paid's SDK and OpenInference were recorded to export: the exact tokens of every span, and
what stands in the log of it."""

import json
from typing import Any, Final

import pytest

from schemas import codec
from schemas.usage import Usage
from streams.gateway import otlp
from tests.gateway_fakes import World
from tests.otlp_requests import JSON, PROTOBUF, as_json, as_protobuf, hex_id, recorded_exports

RECORDING: Final = "paid-traces.jsonl"
EXPORTS: Final = recorded_exports(RECORDING)

CHAT: Final = {"input": 176, "cache_read": 1024, "output": 281, "reasoning": 64}
RESPONSES: Final = {"input": 644, "cache_read": 256, "output": 82, "reasoning": 128}
ANTHROPIC: Final = {"input": 410, "cache_read": 3000, "cache_write": 1500, "output": 222}
GEMINI: Final = {"input": 188, "cache_read": 512, "output": 120, "reasoning": 80}

IMAGES: Final = {"quantities": {"images": 1}, "conditions": {"size": "1024x1024", "quality": "hd"}}
MISSING: Final = {"usage_missing": True}

GPT_4O_MINI: Final = ("openai", "gpt-4o-mini-2024-07-18")
EMBEDDING: Final = ("openai", "text-embedding-3-small")
SONNET: Final = ("anthropic", "claude-sonnet-4-5-20250929")
FLASH: Final = ("google", "gemini-2.5-flash")
HAIKU_ON_BEDROCK: Final = ("aws", "anthropic.claude-3-5-sonnet-20241022-v2:0")

USED: Final[list[list[tuple[str, tuple[str, str | None], dict[str, Any]]]]] = [
    [
        ("openai.chat.completions.create", GPT_4O_MINI, {"tokens": CHAT}),
        ("openai.responses.create", ("openai", "gpt-5-mini-2025-08-07"), {"tokens": RESPONSES}),
        (
            "openai.embeddings.create",
            ("openai", "text-embedding-3-small"),
            {"tokens": {"input": 8}},
        ),
        ("openai.images.generate", ("openai", "dall-e-3"), IMAGES),
    ],
    [
        # The wrapper could not read how long the recording lasts.
        ("openai.audio.transcriptions.create", ("openai", "whisper-1"), MISSING),
        ("anthropic.messages.create", SONNET, {"tokens": ANTHROPIC}),
        # Refused by the provider, which names no model.
        ("openai.chat.completions.create", ("openai", None), {"success": False}),
        # Streamed without `include_usage`: nobody knows what it used.
        ("openai.chat.completions.create", ("openai", None), MISSING),
        ("openai.chat.completions.create", GPT_4O_MINI, {"tokens": CHAT}),
        ("anthropic.messages.create", SONNET, {"tokens": ANTHROPIC}),
        ("signal", ("v", "m"), {"cost": "0.002", "currency": "USD"}),
    ],
    [
        (
            "mistral.ocr.process",
            ("mistral", "mistral-ocr-2505-completion"),
            {"quantities": {"input_document_pages": 3}},
        )
    ],
    [
        ("gemini.models.generate_content", FLASH, {"tokens": GEMINI}),
        (
            "bedrock.converse",
            HAIKU_ON_BEDROCK,
            {"tokens": {"input": 50, "cache_read": 30, "cache_write": 10, "output": 20}},
        ),
    ],
    [("trace.chat gpt-4o-mini", GPT_4O_MINI, {"tokens": {"input": 1200, "output": 345}})],
    [],
    [
        ("GenerateContent", FLASH, {"tokens": GEMINI}),
        ("ChatCompletion", GPT_4O_MINI, {"tokens": CHAT}),
        ("ChatCompletion", GPT_4O_MINI, {"tokens": CHAT}),
        # Repeats the ChatCompletion inside it.
        ("generation", ("openai", "gpt-4o-mini"), {"outer": True}),
    ],
    [],
]
"""Of each export: the span, its provider and model, and what it used."""

SIGNALS: Final = [
    [],
    [("email_opened", False), ("email_sent", True), ("manual", True)],
    [],
    [],
    [],
    [("done", True)],
    [("done", True)],
    [],
]
"""Of each export: the signals, and whether they ask for cost."""

OF_EVERY_USAGE: Final = frozenset(
    (
        *("schema_version", "event_id", "source", "customer_id", "occurred_at", "agent_id"),
        *("trace_id", "scope_id", "span_id", "parent_span_id", "provider", "model", "metadata"),
    )
)


async def records(number: int, *, in_json: bool = False) -> list[tuple[str, bytes, dict[str, Any]]]:
    world = World(otlp.ROUTES)
    if in_json:
        answer = await world.call("POST", "/api/v2/v1/traces", as_json(EXPORTS[number]), JSON)
        assert (answer.status, answer.json) == (200, {})
    else:
        answer = await world.call("POST", "/v1/traces", as_protobuf(EXPORTS[number]), PROTOBUF)
        assert (answer.status, answer.body) == (200, b"")
    return [(topic, key, json.loads(value)) for topic, key, value in world.inbound.records]


def span_of(number: int, span_id: str) -> Any:
    return next(each for each in EXPORTS[number] if hex_id(each["spanId"]) == span_id)


@pytest.mark.parametrize("number", range(len(EXPORTS)))
async def test_every_span_has_the_tokens_that_its_provider_counted(number: int) -> None:
    found = []
    for topic, _, record in await records(number):
        if topic == "usage":
            name = span_of(number, record["event_id"].split(":")[1])["name"].removeprefix(
                "paid.trace."
            )
            used = {key: part for key, part in record.items() if key not in OF_EVERY_USAGE}
            found.append((name, (record["provider"], record.get("model")), used))
    assert found == USED[number]


@pytest.mark.parametrize("number", range(len(EXPORTS)))
async def test_every_signal_stands_in_the_log(number: int) -> None:
    found = [
        (record["name"], record.get("cost_tracing", False))
        for topic, _, record in await records(number)
        if topic == "signals"
    ]
    assert found == SIGNALS[number]


@pytest.mark.parametrize("number", range(len(EXPORTS)))
async def test_json_and_protobuf_say_the_same(number: int) -> None:
    assert await records(number) == await records(number, in_json=True)


@pytest.mark.parametrize("number", range(len(EXPORTS)))
async def test_a_trace_is_bound_to_its_customer_once_per_export(number: int) -> None:
    bound = [
        (key.decode(), record["trace_id"], record["customer_id"])
        for topic, key, record in await records(number)
        if topic == "unassigned"
    ]
    traces = list(dict.fromkeys(hex_id(each["traceId"]) for each in EXPORTS[number]))
    assert bound == [(trace_id, trace_id, "acme-inc") for trace_id in traces]


async def test_what_a_record_of_a_span_says_beside_the_tokens() -> None:
    topic, key, record = (await records(0))[0]
    assert (topic, key) == ("usage", b"acme-inc")
    Usage.model_validate(record)
    assert {name: record[name] for name in OF_EVERY_USAGE} == {
        "schema_version": 1,
        "event_id": "82da1c7d92ac15a328cc17e927ccceb8:813b714621da4fec",
        "source": "otlp",
        "customer_id": "acme-inc",
        "occurred_at": "2026-11-20T15:31:41.564789Z",
        "agent_id": "sdr",
        "trace_id": "82da1c7d92ac15a328cc17e927ccceb8",
        "scope_id": "1667443974",
        "span_id": "813b714621da4fec",
        "parent_span_id": "e10027dd945ffb15",
        "provider": "openai",
        "model": "gpt-4o-mini-2024-07-18",
        "metadata": {"campaign_id": "c1", "nested.a": "1", "tags": '["x","y"]'},
    }


async def test_a_signal_claims_its_trace_and_keeps_what_its_vendor_wrote() -> None:
    sent = next(
        record
        for topic, _, record in await records(1)
        if topic == "signals" and record["name"] == "email_sent"
    )
    assert sent["trace_id"] == "82da1c7d92ac15a328cc17e927ccceb8"
    assert "scope_id" not in sent
    assert sent["event_id"] == f"{sent['trace_id']}:{sent['span_id']}"
    assert sent["metadata"] == {
        "to": "bob",
        "campaign_id": "c1",
        "nested.a": "1",
        "tags": '["x","y"]',
    }


async def test_a_cost_given_by_hand_stands_alone_with_its_signal() -> None:
    found = await records(1)
    [cost] = [record for topic, _, record in found if topic == "usage" and "cost" in record]
    [signal] = [r for topic, _, r in found if topic == "signals" and r["name"] == "manual"]
    assert cost["trace_id"] == signal["trace_id"] == f"signal:{signal['event_id']}"
    assert cost["event_id"] == f"{signal['event_id']}:cost"
    # No place in the trace: it repeats nothing, and nothing repeats it.
    assert not {"span_id", "parent_span_id", "scope_id"} & set(cost)
    assert signal["cost_tracing"] is True


def test_the_recordings_are_those_of_every_emitter_that_was_recorded() -> None:
    scopes = {each["scope"]["name"] for export in EXPORTS for each in export}
    assert scopes == {
        "paid.python",
        "openinference.instrumentation.openai",
        "openinference.instrumentation.openai_agents",
        "openinference.instrumentation.google_genai",
    }
    assert len(EXPORTS) == len(USED) == len(SIGNALS) == 8


async def test_every_record_is_one_that_the_worker_reads() -> None:
    decoders = {
        "usage": codec.decode_usage,
        "signals": codec.decode_signal,
        "unassigned": codec.decode_unassigned,
    }
    world = World(otlp.ROUTES)
    for export in EXPORTS:
        await world.call("POST", "/v1/traces", as_protobuf(export), PROTOBUF)
    assert {topic for topic, _, _ in world.inbound.records} == set(decoders)
    for topic, _, value in world.inbound.records:
        decoders[topic](value)
