"""The table of emitters, row by row: which row a span is of, and what its counts come to."""

from typing import Any, Final

import pytest

from schemas.structs import Tokens
from streams.gateway.otlp.counting import Counted, CountError, count
from streams.gateway.otlp.emitters import EMITTERS
from streams.gateway.otlp.providers import book_name, provider_of
from streams.gateway.otlp.spans import Span

PAID: Final = {
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 300,
    "gen_ai.usage.cached_input_tokens": 600,
    "gen_ai.usage.cache_creation_input_tokens": 100,
    "gen_ai.usage.reasoning_output_tokens": 80,
}
OPENINFERENCE: Final = {
    "llm.token_count.prompt": 1000,
    "llm.token_count.completion": 300,
    "llm.token_count.total": 1300,
    "llm.token_count.prompt_details.cache_read": 600,
    "llm.token_count.prompt_details.cache_write": 100,
    "llm.token_count.completion_details.reasoning": 80,
}
OTEL: Final = {
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 300,
    "gen_ai.usage.cache_read.input_tokens": 600,
    "gen_ai.usage.cache_creation.input_tokens": 100,
    "gen_ai.usage.reasoning.output_tokens": 80,
}
OLDER: Final = {
    "gen_ai.usage.prompt_tokens": 1000,
    "gen_ai.usage.completion_tokens": 300,
    "gen_ai.usage.cache_read_input_tokens": 600,
    "gen_ai.usage.cache_creation_input_tokens": 100,
    "gen_ai.usage.reasoning_tokens": 80,
}
VERCEL_5: Final = {
    "ai.operationId": "ai.generateText.doGenerate",
    "ai.usage.inputTokens": 1000,
    "ai.usage.outputTokens": 300,
    "ai.usage.cachedInputTokens": 600,
    "ai.usage.reasoningTokens": 80,
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 300,
}
VERCEL_6: Final = {
    "ai.operationId": "ai.streamText.doStream",
    "ai.usage.inputTokens": 1000,
    "ai.usage.inputTokenDetails.noCacheTokens": 300,
    "ai.usage.inputTokenDetails.cacheReadTokens": 600,
    "ai.usage.inputTokenDetails.cacheWriteTokens": 100,
    "ai.usage.outputTokens": 300,
    "ai.usage.outputTokenDetails.textTokens": 220,
    "ai.usage.outputTokenDetails.reasoningTokens": 80,
    "ai.usage.cachedInputTokens": 600,
    "ai.usage.reasoningTokens": 80,
}
PYDANTIC: Final = {
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 300,
    "gen_ai.usage.details.cache_read_tokens": 600,
    "gen_ai.usage.details.cache_write_tokens": 100,
    "gen_ai.usage.details.reasoning_tokens": 80,
    "gen_ai.provider.name": "openai",
}

ALL_INSIDE: Final = Tokens(input=300, cache_read=600, cache_write=100, output=220, reasoning=80)
CACHE_BESIDE: Final = Tokens(input=1000, cache_read=600, cache_write=100, output=220, reasoning=80)
THOUGHTS_BESIDE: Final = Tokens(
    input=300, cache_read=600, cache_write=100, output=300, reasoning=80
)

PYTHON: Final = ("paid.python", "")
OI: Final = "openinference.instrumentation."

SAMPLES: Final[list[tuple[str, tuple[str, str], dict[str, Any], Tokens]]] = [
    (
        "paid-langchain",
        ("paid.python", ""),
        {**PAID, "gen_ai.system": "anthropic", "langchain.operation": "chat"},
        ALL_INSIDE,
    ),
    ("paid-openai", ("paid.python", ""), {**PAID, "gen_ai.system": "openai"}, ALL_INSIDE),
    ("paid-anthropic", ("paid.python", ""), {**PAID, "gen_ai.system": "anthropic"}, CACHE_BESIDE),
    (
        "paid-anthropic",
        ("paid.node", ""),
        {
            "gen_ai.system": "anthropic",
            "gen_ai.usage.input_tokens": 410,
            "gen_ai.usage.output_tokens": 222,
            "gen_ai.usage.cache_read_input_tokens": 3000,
            "gen_ai.usage.cache_creation_input_tokens": 1500,
        },
        Tokens(input=410, cache_read=3000, cache_write=1500, output=222),
    ),
    ("paid-gemini", ("paid.python", ""), {**PAID, "gen_ai.system": "gemini"}, THOUGHTS_BESIDE),
    ("paid-bedrock", ("paid.python", ""), {**PAID, "gen_ai.system": "bedrock"}, CACHE_BESIDE),
    ("paid", ("paid.node", ""), {**PAID, "gen_ai.system": "mistral"}, ALL_INSIDE),
    (
        "openinference-anthropic-old",
        (f"{OI}anthropic", "0.1.17"),
        {"llm.token_count.prompt": 410, "llm.token_count.completion": 222},
        Tokens(input=410, output=222),
    ),
    ("openinference-anthropic", (f"{OI}anthropic", "0.1.18"), OPENINFERENCE, ALL_INSIDE),
    ("openinference-anthropic", (f"{OI}anthropic", "3.1.0"), OPENINFERENCE, ALL_INSIDE),
    (
        "openinference-anthropic",
        ("@arizeai/openinference-instrumentation-anthropic", "0.2.8"),
        OPENINFERENCE,
        ALL_INSIDE,
    ),
    ("openinference-bedrock-old", (f"{OI}bedrock", "0.1.59"), OPENINFERENCE, CACHE_BESIDE),
    ("openinference-bedrock", (f"{OI}bedrock", "0.1.60"), OPENINFERENCE, ALL_INSIDE),
    (
        "openinference-bedrock-old",
        ("@arizeai/openinference-instrumentation-bedrock", "0.4.1"),
        OPENINFERENCE,
        CACHE_BESIDE,
    ),
    ("openinference-google", (f"{OI}google_genai", "1.4.14"), OPENINFERENCE, ALL_INSIDE),
    ("openinference-openai", (f"{OI}openai", "0.1.66"), OPENINFERENCE, ALL_INSIDE),
    ("openinference", (f"{OI}langchain", "0.1.80"), OPENINFERENCE, ALL_INSIDE),
    ("openinference", ("somebody.else", ""), OPENINFERENCE, ALL_INSIDE),
    ("vercel-6", ("ai", ""), {**VERCEL_6, "ai.model.provider": "anthropic.messages"}, ALL_INSIDE),
    (
        "vercel-5-anthropic",
        ("ai", ""),
        {**VERCEL_5, "ai.model.provider": "anthropic.messages"},
        Tokens(input=1000, cache_read=600, output=220, reasoning=80),
    ),
    (
        "vercel-5-google",
        ("ai", ""),
        {**VERCEL_5, "gen_ai.system": "google.generative-ai"},
        Tokens(input=400, cache_read=600, output=300, reasoning=80),
    ),
    (
        "vercel-5",
        ("ai", ""),
        {**VERCEL_5, "ai.model.provider": "openai.responses"},
        Tokens(input=400, cache_read=600, output=220, reasoning=80),
    ),
    (
        "vercel-5",
        ("ai", ""),
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.provider": "openai.chat",
            "ai.usage.promptTokens": 1000,
            "ai.usage.completionTokens": 300,
        },
        Tokens(input=1000, output=300),
    ),
    (
        "vercel-5",
        ("ai", ""),
        {"ai.operationId": "ai.embed.doEmbed", "ai.model.id": "e", "ai.usage.tokens": 8},
        Tokens(input=8),
    ),
    ("pydantic-ai", ("pydantic-ai", "1.0"), PYDANTIC, ALL_INSIDE),
    (
        "traceloop-bedrock",
        ("@traceloop/instrumentation-bedrock", "0.22.0"),
        {**OLDER, "gen_ai.system": "AWS"},
        CACHE_BESIDE,
    ),
    (
        "traceloop",
        ("opentelemetry.instrumentation.anthropic", "0.62.4"),
        {**OTEL, "gen_ai.provider.name": "anthropic"},
        ALL_INSIDE,
    ),
    ("otel-genai", ("my-agent", "1"), {**OTEL, "gen_ai.provider.name": "anthropic"}, ALL_INSIDE),
    ("otel-genai-old", ("my-agent", "1"), {**OLDER, "gen_ai.system": "openai"}, ALL_INSIDE),
]


def counted(attributes: dict[str, Any], scope: tuple[str, str] = ("", "")) -> Counted:
    span = Span("", "", None, "", 0, 0, False, scope, attributes, {})
    return count(span, provider_of(attributes))


@pytest.mark.parametrize(("row", "scope", "attributes", "tokens"), SAMPLES)
def test_the_counts_of_each_row_come_to_disjoint_classes(
    row: str, scope: tuple[str, str], attributes: dict[str, Any], tokens: Tokens
) -> None:
    found = counted(attributes, scope)
    assert found.emitter.id == row
    assert found.tokens == tokens


def test_every_row_has_a_sample_and_a_source() -> None:
    assert {sample[0] for sample in SAMPLES} == {emitter.id for emitter in EMITTERS}
    assert len({emitter.id for emitter in EMITTERS}) == len(EMITTERS)
    assert all(emitter.source and emitter.versions for emitter in EMITTERS)


def test_the_last_row_fits_every_span() -> None:
    last = EMITTERS[-1]
    assert [last.scopes, last.providers, last.markers, last.since, last.before] == [
        (),
        (),
        (),
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"llm.token_count.prompt_details.cache_read": 1001}, "cache_read"),
        ({"llm.token_count.prompt_details.cache_write": 401}, "cache_write"),
        ({"llm.token_count.completion_details.reasoning": 301}, "reasoning"),
        ({"llm.token_count.prompt_details.audio": 1001}, "audio"),
        ({"llm.token_count.completion_details.audio": 301}, "audio"),
        ({"llm.token_count.total": 1299}, "total"),
        ({"llm.token_count.prompt": None}, "which is missing"),
        ({"llm.token_count.completion": None}, "which is missing"),
    ],
)
def test_a_part_never_exceeds_its_whole(changes: dict[str, Any], named: str) -> None:
    held = {k: v for k, v in {**OPENINFERENCE, **changes}.items() if v is not None}
    with pytest.raises(CountError, match=named):
        counted(held, (f"{OI}openai", "0.1.66"))


def test_a_part_beside_its_whole_may_be_larger() -> None:
    found = counted({**PAID, "gen_ai.system": "anthropic", "gen_ai.usage.input_tokens": 1}, PYTHON)
    assert found.tokens == Tokens(
        input=1, cache_read=600, cache_write=100, output=220, reasoning=80
    )


@pytest.mark.parametrize(
    "value", [-1, 10**12 + 1, True, "12", 1.5, float("nan"), float("inf"), 2**62]
)
def test_a_count_that_cannot_be_is_an_error_of_its_span(value: Any) -> None:
    with pytest.raises(CountError, match=r"gen_ai\.usage\.input_tokens"):
        counted({"gen_ai.usage.input_tokens": value})


def test_a_count_may_be_written_as_a_double() -> None:
    assert counted({"gen_ai.usage.input_tokens": 1200.0}).tokens == Tokens(input=1200)


def test_audio_that_was_read_from_a_cache_is_counted_once() -> None:
    held = {
        "llm.token_count.prompt": 100,
        "llm.token_count.prompt_details.cache_read": 80,
        "llm.token_count.prompt_details.audio": 90,
        "llm.token_count.completion": 50,
        "llm.token_count.completion_details.reasoning": 20,
        "llm.token_count.completion_details.audio": 40,
    }
    tokens = counted(held, (f"{OI}openai", "0.1.66")).tokens
    assert tokens == Tokens(cache_read=80, input_audio=20, reasoning=20, output_audio=30)


@pytest.mark.parametrize(
    ("attributes", "quantities"),
    [
        ({"gen_ai.image.count": 2}, {"images": 2}),
        ({"gen_ai.image.count": 0}, {}),
        ({"gen_ai.audio.input_duration_seconds": 61.0625}, {"input_audio_milliseconds": 61062}),
        ({"gen_ai.audio.input_duration_seconds": 3.9999999999}, {"input_audio_milliseconds": 4000}),
        ({"gen_ai.audio.input_duration_seconds": 7}, {"input_audio_milliseconds": 7000}),
        ({"gen_ai.ocr.pages_processed": 3}, {"input_document_pages": 3}),
        (
            {"gen_ai.ocr.pages_processed": 3, "gen_ai.ocr.annotated": "true"},
            {"input_annotated_document_pages": 3},
        ),
        ({"tollgate.quantity.web_searches": 4}, {"web_searches": 4}),
    ],
)
def test_what_is_used_beside_tokens_has_the_names_of_the_price_book(
    attributes: dict[str, Any], quantities: dict[str, int]
) -> None:
    assert counted(attributes).quantities == quantities


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.audio.input_duration_seconds": -1.0},
        {"gen_ai.audio.input_duration_seconds": float("nan")},
        {"gen_ai.audio.input_duration_seconds": float("inf")},
        {"gen_ai.audio.input_duration_seconds": "long"},
        {"gen_ai.image.count": -1},
        {"tollgate.quantity.": 1},
        {"tollgate.quantity.Web": 1},
        {"tollgate.quantity.9": 1},
        {"tollgate.quantity.a b": 1},
        {f"tollgate.quantity.{'q' * 65}": 1},
        {f"tollgate.quantity.q{number}": 1 for number in range(17)},
        {"tollgate.units": -5},
    ],
)
def test_a_quantity_that_cannot_be_is_an_error_of_its_span(attributes: dict[str, Any]) -> None:
    with pytest.raises(CountError):
        counted(attributes)


def test_conditions_are_in_the_words_of_the_provider() -> None:
    held = {
        "openai.response.service_tier": "flex",
        "gen_ai.openai.response.service_tier": "default",
        "gen_ai.image.size": "1024x1024",
        "gen_ai.image.quality": "",
        "tollgate.condition.processing": "batch",
        f"tollgate.condition.{'c' * 65}": "x",
        "tollgate.condition.long": "x" * 65,
    }
    assert counted(held).conditions == {
        "service_tier": "flex",
        "size": "1024x1024",
        "processing": "batch",
    }


@pytest.mark.parametrize(
    ("named", "book"),
    [
        ("openai", "openai"),
        ("OpenAI", "openai"),
        ("gemini", "google"),
        ("gcp.vertex_ai", "google"),
        ("aws.bedrock", "aws"),
        ("AWS", "aws"),
        ("azure.ai.openai", "azure"),
        ("az.ai.inference", "azure"),
        ("mistral_ai", "mistral"),
        ("mistralai", "mistral"),
        ("x_ai", "x-ai"),
        ("openai.responses", "openai"),
        ("google.vertex.chat", "google"),
        ("amazon-bedrock", "aws"),
        ("togetherai.chat", "together"),
        ("unknown", None),
        ("_OTHER", None),
        ("somebody", "somebody"),
    ],
)
def test_a_provider_has_one_name(named: str, book: str | None) -> None:
    assert book_name(named) == book


def test_the_present_name_of_a_provider_counts_before_the_older_one() -> None:
    held = {"gen_ai.system": "azure.ai.openai", "gen_ai.provider.name": "openai"}
    assert provider_of(held) == "openai"
    assert provider_of({"llm.system": "openai", "llm.provider": "azure"}) == "azure"
    assert provider_of({}) is None
