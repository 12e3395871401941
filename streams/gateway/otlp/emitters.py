"""The table of emitters: who writes which counts into a span, and what contains what.

One row for each emitter and version, with its source. Order counts: the first row that fits a span
is taken. docs/otlp.md shows the same table. Only what is here, and a few names of ours, is ever
read of a span.

The names "input" and so on are the classes of `Tokens`, which are disjoint. A row says of which
whole a reported part is a part: `input` and `output` name what the emitter calls so, and the parts
in `input_includes` and `output_includes` are inside them; others stand beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Names = tuple[str, ...]
Parts = frozenset[str]

CACHE: Final = frozenset({"cache_read", "cache_write"})
CACHE_AND_AUDIO: Final = CACHE | {"input_audio"}
REASONING: Final = frozenset({"reasoning"})
REASONING_AND_AUDIO: Final = frozenset({"reasoning", "output_audio"})
NOTHING: Final[Parts] = frozenset()


@dataclass(frozen=True, slots=True)
class Attributes:
    """Where a family of emitters writes each count: of several names the first that is there."""

    input: Names
    output: Names
    cache_read: Names = ()
    cache_write: Names = ()
    reasoning: Names = ()
    input_audio: Names = ()
    output_audio: Names = ()
    total: Names = ()
    """Of input and output, where the emitter's total has nothing else in it."""

    def all(self) -> frozenset[str]:
        """Every name."""
        return frozenset(name for part in PARTS for name in getattr(self, part))


PARTS: Final = Attributes.__slots__


@dataclass(frozen=True, slots=True)
class Emitter:
    """A row. It fits a span where each of its conditions holds; an empty one always does.

    `scopes` are names of the instrumentation (with `*` at the end: beginnings), `since` and
    `before` its versions, `providers` whose model was called (names of `providers`), `markers`
    attributes of which one is there.
    """

    id: str
    versions: str
    source: str
    attributes: Attributes
    input_includes: Parts = CACHE
    output_includes: Parts = REASONING
    scopes: Names = ()
    providers: Names = ()
    markers: Names = ()
    since: str = ""
    before: str = ""

    def fits(
        self, scope: tuple[str, str], provider: str | None, held: Mapping[str, object]
    ) -> bool:
        """Whether a span is of this emitter."""
        return (
            (not self.scopes or any(_named(scope[0], name) for name in self.scopes))
            and (not self.providers or provider in self.providers)
            and (not self.markers or any(name in held for name in self.markers))
            and (not self.since or _version(scope[1]) >= _version(self.since))
            and (not self.before or _version(scope[1]) < _version(self.before))
        )


def _named(scope: str, name: str) -> bool:
    return scope.startswith(name[:-1]) if name.endswith("*") else scope == name


def _version(text: str) -> tuple[int, ...]:
    """The numbers of a version, for comparison; those of an unknown one come after all others."""
    numbers = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits[:9]))
    return tuple(numbers) or (10**9,)


PROVIDER_METADATA: Final = "ai.response.providerMetadata"
"""A JSON text of which one number is kept: the tokens that were written to a cache, which the AI
SDK says nowhere else before its version 6 (`values.cache_written`)."""

PAID: Final = Attributes(
    input=("gen_ai.usage.input_tokens",),
    output=("gen_ai.usage.output_tokens",),
    cache_read=("gen_ai.usage.cached_input_tokens", "gen_ai.usage.cache_read_input_tokens"),
    cache_write=("gen_ai.usage.cache_creation_input_tokens",),
    reasoning=("gen_ai.usage.reasoning_output_tokens",),
)

OPENINFERENCE: Final = Attributes(
    input=("llm.token_count.prompt",),
    output=("llm.token_count.completion",),
    cache_read=("llm.token_count.prompt_details.cache_read",),
    cache_write=("llm.token_count.prompt_details.cache_write",),
    reasoning=("llm.token_count.completion_details.reasoning",),
    input_audio=("llm.token_count.prompt_details.audio",),
    output_audio=("llm.token_count.completion_details.audio",),
    total=("llm.token_count.total",),
)

VERCEL: Final = Attributes(
    input=(
        *("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
        "gen_ai.usage.input_tokens",
    ),
    output=(
        *("ai.usage.outputTokens", "ai.usage.completionTokens"),
        "gen_ai.usage.output_tokens",
    ),
    cache_read=("ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens"),
    cache_write=("ai.usage.inputTokenDetails.cacheWriteTokens", PROVIDER_METADATA),
    reasoning=("ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens"),
)

PYDANTIC_AI: Final = Attributes(
    input=("gen_ai.usage.input_tokens",),
    output=("gen_ai.usage.output_tokens",),
    cache_read=("gen_ai.usage.details.cache_read_tokens", "gen_ai.usage.cache_read.input_tokens"),
    cache_write=(
        *("gen_ai.usage.details.cache_write_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    ),
    reasoning=("gen_ai.usage.details.reasoning_tokens", "gen_ai.usage.details.thoughts_tokens"),
    input_audio=("gen_ai.usage.details.input_audio_tokens",),
    output_audio=("gen_ai.usage.details.output_audio_tokens",),
)

OTEL: Final = Attributes(
    input=("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    output=("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    cache_read=(
        *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        *("gen_ai.usage.cached_input_tokens", "gen_ai.usage.cached_tokens"),
        "gen_ai.usage.input_tokens.cached",
    ),
    cache_write=(
        *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_write.input_tokens"),
        *("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.input_tokens.cache_write"),
    ),
    reasoning=(
        *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_output_tokens"),
        *("gen_ai.usage.reasoning_tokens", "gen_ai.usage.output_tokens.reasoning"),
    ),
)

_PAID_SCOPES: Final = ("paid.python", "paid.node", "paid.anthropic")
_OPENINFERENCE_COUNTS: Final = tuple(sorted(OPENINFERENCE.all()))
_VERCEL_MARKERS: Final = ("ai.operationId", "ai.model.id", "ai.model.provider")
_VERCEL_DETAILS: Final = (
    *("ai.usage.inputTokenDetails.noCacheTokens", "ai.usage.inputTokenDetails.cacheReadTokens"),
    "ai.usage.inputTokenDetails.cacheWriteTokens",
)
_RECORDED: Final = "recorded with paid-python 1.12.0"
_CONVENTION: Final = "OpenTelemetry semantic conventions for generative AI, attribute registry"

EMITTERS: Final = (
    Emitter(
        "paid-langchain",
        "paid-python 0.6-1.12, paid-node 1.7 (callbacks)",
        f"{_RECORDED}; paidLangChainCallback.py, langchainCallback.js",
        PAID,
        scopes=_PAID_SCOPES,
        markers=("langchain.operation",),
    ),
    Emitter(
        "paid-openai",
        "paid-python 0.6-1.12, paid-node 1.7 (also Agents hook, LlamaIndex)",
        f"{_RECORDED}; openAiWrapper.py, openaiAgentsHook.py, llamaIndexWrapper.py",
        PAID,
        scopes=_PAID_SCOPES,
        providers=("openai", "azure"),
    ),
    Emitter(
        "paid-anthropic",
        "paid-python 0.6-1.12, paid-node 1.7 (also its Vercel wrapper, AI SDK 5)",
        f"{_RECORDED}; anthropicWrapper.py, anthropicWrapper.js",
        PAID,
        input_includes=NOTHING,
        scopes=_PAID_SCOPES,
        providers=("anthropic",),
    ),
    Emitter(
        "paid-gemini",
        "paid-python 0.6-1.12",
        f"{_RECORDED}; geminiWrapper.py",
        PAID,
        output_includes=NOTHING,
        scopes=_PAID_SCOPES,
        providers=("google",),
    ),
    Emitter(
        "paid-bedrock",
        "paid-python 0.6-1.12",
        f"{_RECORDED}; Bedrock's TokenUsage (inputTokens excludes the cache)",
        PAID,
        input_includes=NOTHING,
        scopes=_PAID_SCOPES,
        providers=("aws",),
    ),
    Emitter(
        "paid",
        "paid-python 0.6-1.12, paid-node 1.7: every other provider (Mistral's pages)",
        f"{_RECORDED}; mistralWrapper.py, vercelAIWrapper.js",
        PAID,
        scopes=_PAID_SCOPES,
    ),
    Emitter(
        "openinference-anthropic-old",
        "before 0.1.18",
        "openinference-instrumentation-anthropic 0.1.5, 0.1.11 (no cache is reported)",
        OPENINFERENCE,
        input_includes=NOTHING,
        output_includes=REASONING_AND_AUDIO,
        scopes=("openinference.instrumentation.anthropic",),
        markers=_OPENINFERENCE_COUNTS,
        before="0.1.18",
    ),
    Emitter(
        "openinference-anthropic",
        "0.1.18-3.1, JavaScript 0.2",
        "openinference-instrumentation-anthropic 0.1.18, 3.1.0; @arizeai/… 0.2.8",
        OPENINFERENCE,
        input_includes=CACHE_AND_AUDIO,
        output_includes=REASONING_AND_AUDIO,
        scopes=(
            "openinference.instrumentation.anthropic",
            "@arizeai/openinference-instrumentation-anthropic",
        ),
        markers=_OPENINFERENCE_COUNTS,
    ),
    Emitter(
        "openinference-bedrock",
        "since 0.1.60",
        "openinference-instrumentation-bedrock 0.1.60, 0.1.61 (the cache is added to the input)",
        OPENINFERENCE,
        input_includes=CACHE_AND_AUDIO,
        output_includes=REASONING_AND_AUDIO,
        scopes=("openinference.instrumentation.bedrock",),
        markers=_OPENINFERENCE_COUNTS,
        since="0.1.60",
    ),
    Emitter(
        "openinference-bedrock-old",
        "before 0.1.60, JavaScript",
        "openinference-instrumentation-bedrock 0.1.45, 0.1.59 (Bedrock's counts as they come)",
        OPENINFERENCE,
        input_includes=frozenset({"input_audio"}),
        output_includes=REASONING_AND_AUDIO,
        scopes=(
            "openinference.instrumentation.bedrock",
            "@arizeai/openinference-instrumentation-bedrock",
        ),
        markers=_OPENINFERENCE_COUNTS,
    ),
    Emitter(
        "openinference-google",
        "1.4 (google_genai)",
        f"{_RECORDED}; openinference-instrumentation-google-genai 1.4.14",
        OPENINFERENCE,
        input_includes=CACHE_AND_AUDIO,
        output_includes=REASONING_AND_AUDIO,
        scopes=("openinference.instrumentation.google_genai",),
        markers=_OPENINFERENCE_COUNTS,
    ),
    Emitter(
        "openinference-openai",
        "0.1, JavaScript 4 (also openai_agents 2.6)",
        f"{_RECORDED}; openinference-instrumentation-openai 0.1.66, openai-agents 2.6.0",
        OPENINFERENCE,
        input_includes=CACHE_AND_AUDIO,
        output_includes=REASONING_AND_AUDIO,
        scopes=(
            *(
                "openinference.instrumentation.openai",
                "openinference.instrumentation.openai_agents",
            ),
            "@arizeai/openinference-instrumentation-openai",
        ),
        markers=_OPENINFERENCE_COUNTS,
    ),
    Emitter(
        "openinference",
        "every other instrumentation (LangChain, LlamaIndex, Mistral, …)",
        "OpenInference conventions; openinference-instrumentation-langchain 0.1.80",
        OPENINFERENCE,
        input_includes=CACHE_AND_AUDIO,
        output_includes=REASONING_AND_AUDIO,
        markers=_OPENINFERENCE_COUNTS,
    ),
    Emitter(
        "vercel-6",
        "AI SDK 6",
        "ai 6.0.326 (totals with details)",
        VERCEL,
        markers=_VERCEL_DETAILS,
    ),
    Emitter(
        "vercel-5-anthropic",
        "AI SDK 4 and 5 with Anthropic or Bedrock",
        "ai 4.3.19, 5.0.100; @ai-sdk/anthropic 2.0.112, amazon-bedrock 3.0.137 (as they come)",
        VERCEL,
        input_includes=NOTHING,
        providers=("anthropic", "aws"),
        markers=_VERCEL_MARKERS,
    ),
    Emitter(
        "vercel-5-google",
        "AI SDK 4 and 5 with Google",
        "ai 5.0.100; @ai-sdk/google 2.0.108 (counts as they come)",
        VERCEL,
        output_includes=NOTHING,
        providers=("google",),
        markers=_VERCEL_MARKERS,
    ),
    Emitter(
        "vercel-5",
        "AI SDK 4 and 5 with any other provider",
        "ai 4.3.19, 5.0.100; @ai-sdk/openai 2.0.131",
        VERCEL,
        markers=_VERCEL_MARKERS,
    ),
    Emitter(
        "pydantic-ai",
        "Pydantic AI 1",
        "its RequestUsage: sums as genai-prices reads them, with details",
        PYDANTIC_AI,
        input_includes=CACHE_AND_AUDIO,
        output_includes=REASONING_AND_AUDIO,
        scopes=("pydantic-ai*",),
    ),
    Emitter(
        "traceloop-bedrock",
        "OpenLLMetry, JavaScript 0.27",
        "@traceloop/instrumentation-bedrock 0.27.0 (Bedrock's counts as they come)",
        OTEL,
        input_includes=NOTHING,
        scopes=("@traceloop/instrumentation-bedrock", "opentelemetry.instrumentation.bedrock"),
    ),
    Emitter(
        "traceloop",
        "OpenLLMetry 0.62 (OpenAI, Anthropic and others)",
        "opentelemetry-instrumentation-anthropic and -openai 0.62.4 (input is the sum)",
        OTEL,
        scopes=("opentelemetry.instrumentation.*", "@traceloop/*"),
    ),
    Emitter(
        "otel-genai",
        "since 1.37 (`gen_ai.provider.name`)",
        f"{_CONVENTION}: the cache is included in the input, reasoning in the output",
        OTEL,
        markers=("gen_ai.provider.name",),
    ),
    Emitter(
        "otel-genai-old",
        "before 1.37 (`gen_ai.system`; before 1.27 also prompt_tokens, completion_tokens)",
        f"{_CONVENTION}, deprecated names; read like the present ones",
        OTEL,
    ),
)
"""All rows. The last one fits every span."""

CALL_ATTRIBUTES: Final = frozenset(
    (
        *("gen_ai.system", "gen_ai.provider.name", "gen_ai.operation.name"),
        *("gen_ai.request.model", "gen_ai.response.model", "gen_ai.tool.name"),
        *("llm.system", "llm.provider", "llm.model_name", "embedding.model_name"),
        *("reranker.model_name", "openinference.span.kind", "tool.name"),
        *("ai.operationId", "ai.model.provider", "ai.model.id", "ai.response.model"),
        *("ai.toolCall.name", "langchain.operation", "langchain.tool.name", "traceloop.span.kind"),
        *("gen_ai.image.count", "gen_ai.image.size", "gen_ai.image.quality"),
        *("gen_ai.audio.input_duration_seconds", "gen_ai.ocr.pages_processed"),
        *("gen_ai.ocr.annotated", "openai.response.service_tier"),
        "gen_ai.openai.response.service_tier",
    )
)
"""What says who was called and how, beside the counts."""

COUNTED_ATTRIBUTES: Final = CALL_ATTRIBUTES.union(
    *(emitter.attributes.all() for emitter in EMITTERS),
    *(emitter.markers for emitter in EMITTERS),
)
"""Every name in the table."""
