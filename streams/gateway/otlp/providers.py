"""Who sells a model, as the price book calls it: emitters have many names for the same one."""

from collections.abc import Mapping
from typing import Final

NAMING: Final = (
    *("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "ai.model.provider",
)
"""Attributes that name the provider, the first that does counts."""

BOOK_NAMES: Final[Mapping[str, str]] = {
    # OpenTelemetry, present and older.
    "aws.bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "vertex_ai": "google",
    "x_ai": "x-ai",
    # Paid, OpenInference, OpenLLMetry.
    "amazon": "aws",
    "bedrock": "aws",
    "gemini": "google",
    "google_genai": "google",
    "langchain": "",
    "mistralai": "mistral",
    "vertexai": "google",
    "xai": "x-ai",
    "unknown": "",
    "_other": "",
    # The AI SDK, before its point.
    "amazon-bedrock": "aws",
    "azure-openai": "azure",
    "google-vertex": "google",
    "togetherai": "together",
}
"""What is called otherwise in the price book; "" names nobody."""


def provider_of(held: Mapping[str, object]) -> str | None:
    """The provider that a span names, as the price book calls it, in lower case; None where it
    names none."""
    for attribute in NAMING:
        named = held.get(attribute)
        if isinstance(named, str) and named:
            return book_name(named)
    return None


def book_name(named: str) -> str | None:
    """A provider's name in the price book. One that nobody knows stays as it is."""
    lowered = named.strip().lower()
    if lowered in BOOK_NAMES:
        return BOOK_NAMES[lowered] or None
    # The AI SDK adds the kind of model: `openai.chat`, `anthropic.messages`, `google.vertex.chat`.
    first = lowered.partition(".")[0]
    return BOOK_NAMES.get(first, first) or None
