"""A program that calls AI providers through Paid's wrappers or instrumentations, run by a test with
the Python of an environment that has the packages. Prints the trace ids of its workflows as JSON.

    python paid_providers.py CUSTOMER WORKFLOW…
"""

import asyncio
import json
import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

from opentelemetry import trace
from paid.tracing import (
    get_paid_tracer_provider,
    initialize_tracing,
    paid_autoinstrument,
    paid_tracing,
    signal,
)

customer, *workflows = sys.argv[1:]
providers = os.environ["PROVIDERS_URL"]
warnings.simplefilter("ignore")
initialize_tracing(
    os.environ["PAID_API_KEY"], collector_endpoint=os.environ["TOLLGATE_URL"] + "/v1/traces"
)

PROMPT = "the secret recipe of our soup"
ASK = [{"role": "user", "content": PROMPT}]


def of(module: str, name: str) -> Any:
    """What a module has, that may not be installed where this is read."""
    return getattr(import_module(module), name)


kept: list[Any] = []
"""Clients that close when nobody has them any more."""


def openai_client(kind: str = "OpenAI") -> Any:
    openai = import_module("openai")

    return getattr(openai, kind)(api_key="sk", base_url=f"{providers}/openai", max_retries=0)


def anthropic_client() -> Any:
    anthropic = import_module("anthropic")

    return anthropic.Anthropic(auth_token="sk", base_url=f"{providers}/anthropic", max_retries=0)


def gemini_client() -> Any:
    genai = of("google", "genai")

    kept.append(genai.Client(api_key="sk", http_options={"base_url": providers}))
    return kept[-1]


def bedrock_client() -> Any:
    boto3 = import_module("boto3")

    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        aws_access_key_id="sk",
        aws_secret_access_key="sk",
        endpoint_url=providers,
    )


def chat_model(**more: Any) -> Any:
    chat_openai = of("langchain_openai", "ChatOpenAI")

    return chat_openai(model="priced-gpt", api_key="sk", base_url=f"{providers}/openai", **more)


def agent() -> Any:
    agents = import_module("agents")

    agents.set_tracing_export_api_key("sk")
    agents.set_default_openai_client(openai_client("AsyncOpenAI"), use_for_tracing=False)
    agents.set_default_openai_api("chat_completions")
    return agents.Agent(name="A", instructions="x", model="priced-gpt")


def openai_wrapper() -> None:
    wrap = of("paid.tracing.wrappers.openai", "PaidOpenAI")

    wrap(openai_client()).chat.completions.create(model="priced-gpt", messages=ASK)
    wrap(openai_client()).responses.create(model="priced-gpt", input=PROMPT)


def anthropic_wrapper() -> None:
    wrap = of("paid.tracing.wrappers.anthropic", "PaidAnthropic")

    wrapped: Any = wrap(anthropic_client())
    wrapped.messages.create(model="priced-claude", max_tokens=9, messages=ASK)


def mistral_wrapper() -> None:
    client = of("mistralai", "Mistral")
    wrap = of("paid.tracing.wrappers.mistral", "PaidMistral")

    document = {"type": "document_url", "document_url": "http://127.0.0.1/x.pdf"}
    wrapped: Any = wrap(client(api_key="sk", server_url=providers))
    wrapped.ocr.process(model="priced-ocr", document=document)


def gemini_wrapper() -> None:
    wrap = of("paid.tracing.wrappers.gemini", "PaidGemini")

    wrap(gemini_client()).models.generate_content(model="priced-gemini", contents=PROMPT)


def bedrock_wrapper() -> None:
    wrap = of("paid.tracing.wrappers.bedrock", "PaidBedrock")

    message = {"role": "user", "content": [{"text": PROMPT}]}
    wrap(bedrock_client()).converse(modelId="priced-bedrock", messages=[message])


def langchain_callback() -> None:
    callback = of("paid.tracing.wrappers.langchain", "PaidLangChainCallback")

    chat_model(callbacks=[callback()]).invoke(PROMPT)


def agents_hook() -> None:
    runner = of("agents", "Runner")
    hook = of("paid.tracing.wrappers.openai_agents", "PaidOpenAIAgentsHook")

    asyncio.run(runner.run(agent(), PROMPT, hooks=hook()))


def llamaindex_wrapper() -> None:
    message = of("llama_index.core.llms", "ChatMessage")
    client = of("llama_index.llms.openai", "OpenAI")
    wrap = of("paid.tracing.wrappers.llamaindex", "PaidLlamaIndexOpenAI")

    known: Any = client(model="gpt-4o-mini", api_key="sk", api_base=f"{providers}/openai")
    known.additional_kwargs = {"model": "priced-gpt"}
    wrap(known).chat([message(role="user", content=PROMPT)])


def openai_instrumented() -> None:
    paid_autoinstrument(["openai"])
    client = openai_client()
    client.chat.completions.create(model="priced-gpt", messages=ASK)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    assert list(client.chat.completions.create(model="priced-gpt", messages=ASK, **options))


def anthropic_instrumented() -> None:
    paid_autoinstrument(["anthropic"])
    client = anthropic_client()
    client.messages.create(model="priced-claude", max_tokens=9, messages=ASK)


def gemini_instrumented() -> None:
    paid_autoinstrument(["google-genai"])
    gemini_client().models.generate_content(model="priced-gemini", contents=PROMPT)


def bedrock_instrumented() -> None:
    paid_autoinstrument(["bedrock"])
    message = {"role": "user", "content": [{"text": PROMPT}]}
    bedrock_client().converse(modelId="priced-bedrock", messages=[message])


def langchain_instrumented() -> None:
    paid_autoinstrument(["langchain", "openai"])
    chat_model().invoke(PROMPT)


def agents_instrumented() -> None:
    runner = of("agents", "Runner")

    paid_autoinstrument(["openai-agents", "openai"])
    asyncio.run(runner.run(agent(), PROMPT))


found: dict[str, Any] = {}
for name in workflows:
    work: Callable[[], None] = globals()[name]
    with paid_tracing(customer, external_product_id="sdr"):
        found[name] = f"{trace.get_current_span().get_span_context().trace_id:032x}"
        work()
        signal("done", enable_cost_tracing=True)
provider: Any = get_paid_tracer_provider()
assert provider.force_flush()
print(json.dumps(found))
