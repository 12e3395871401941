"""A program that is traced by Paid's SDK, run by a test in a process of its own: tracing is set up
once in a process, and flushed when it ends. Prints the trace ids of its workflows as JSON.

    python paid_traced.py CUSTOMER WORKFLOW…
"""

import asyncio
import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anthropic
import openai
from opentelemetry import trace
from paid.tracing import (
    cost_attributed_signal,
    get_paid_tracer_provider,
    initialize_tracing,
    paid_autoinstrument,
    paid_tracing,
    signal,
)
from paid.tracing.tracing import get_paid_tracer
from paid.tracing.wrappers.anthropic import PaidAnthropic, PaidAsyncAnthropic
from paid.tracing.wrappers.openai import PaidAsyncOpenAI, PaidOpenAI

customer, *workflows = sys.argv[1:]
api, providers = os.environ["TOLLGATE_URL"], os.environ["PROVIDERS_URL"]
warnings.simplefilter("ignore", DeprecationWarning)
initialize_tracing(os.environ["PAID_API_KEY"], collector_endpoint=f"{api}/v1/traces")

PROMPT = "the secret recipe of our soup"
GPT, CLAUDE = "priced-gpt", "priced-claude"
ask: Any = [{"role": "user", "content": PROMPT}]
gpt: Any = openai.OpenAI(api_key="sk-provider", base_url=f"{providers}/openai", max_retries=0)
agpt: Any = openai.AsyncOpenAI(api_key="sk-provider", base_url=f"{providers}/openai", max_retries=0)
claude: Any = anthropic.Anthropic(auth_token="sk-provider", base_url=f"{providers}/anthropic")
aclaude: Any = anthropic.AsyncAnthropic(auth_token="sk-provider", base_url=f"{providers}/anthropic")
traces: dict[str, str] = {}


def traced(name: str) -> paid_tracing:
    return paid_tracing(
        external_customer_id=customer,
        external_product_id="sdr",
        metadata={"campaign_id": name, "nested": {"a": 1}, "tags": ["x", "y"]},
    )


def remember(name: str) -> None:
    traces[name] = f"{trace.get_current_span().get_span_context().trace_id:032x}"


def call_gpt() -> None:
    PaidOpenAI(gpt).chat.completions.create(model=GPT, messages=ask)


def call_claude() -> None:
    PaidAnthropic(claude).messages.create(model=CLAUDE, max_tokens=100, messages=ask)


def wrapped() -> None:
    """Several calls through wrappers, one of them in vain, and one outcome."""
    with traced("wrapped"):
        remember("wrapped")
        call_gpt()
        PaidOpenAI(gpt).responses.create(model=GPT, input=PROMPT)
        PaidOpenAI(gpt).embeddings.create(model=GPT, input=PROMPT)
        call_claude()
        with suppress(openai.BadRequestError):
            PaidOpenAI(gpt).chat.completions.create(model="boom", messages=ask)
        signal("email_opened", data={"n": 1})
        signal("email_sent", enable_cost_tracing=True, data={"to": "bob"})


def awaited() -> None:
    """The same from coroutines."""

    async def run() -> None:
        async with traced("awaited"):
            remember("awaited")
            await PaidAsyncOpenAI(agpt).chat.completions.create(model=GPT, messages=ask)
            await PaidAsyncAnthropic(aclaude).messages.create(
                model=CLAUDE,
                max_tokens=100,
                messages=ask,
            )
            signal("ticket_closed", enable_cost_tracing=True)

    asyncio.run(run())


def scoped() -> None:
    """An outcome over REST that claims the scope of its spans, before they have been exported."""
    with traced("scoped"):
        remember("scoped")
        call_gpt()
        call_claude()
        for _ in range(2):
            cost_attributed_signal(
                "meeting_booked", {"k": 1}, f"{customer}-scoped", base_url_override=f"{api}/api/v2"
            )


def shared() -> None:
    """Two outcomes that both ask for the cost of one trace."""
    with traced("shared"):
        remember("shared")
        call_gpt()
        signal("first_half", enable_cost_tracing=True)
        signal("second_half", enable_cost_tracing=True)


def unclaimed() -> None:
    """A call whose outcome never came."""
    with traced("unclaimed"):
        remember("unclaimed")
        call_claude()


def by_hand() -> None:
    """An outcome that brings its cost along."""
    cost = {"vendor": "any", "cost": {"amount": 0.002, "currency": "USD"}}
    with traced("by_hand"):
        remember("by_hand")
        signal("manual", data={"costData": cost | {"gen_ai.response.model": "m"}})


def late() -> None:
    """The outcome is exported before the call, in a request of its own."""
    with traced("late"):
        remember("late")
        signal("too_early", enable_cost_tracing=True)
        flush()
        call_gpt()


def automatic() -> None:
    """A client that is instrumented, not wrapped: whole and streamed."""
    paid_autoinstrument(["openai"])
    with traced("automatic"):
        remember("automatic")
        gpt.chat.completions.create(model=GPT, messages=ask)
        stream = gpt.chat.completions.create(
            model=GPT,
            messages=ask,
            stream=True,
            stream_options={"include_usage": True},
        )
        assert [part.choices for part in stream]
        signal("email_sent", enable_cost_tracing=True)


def nested() -> None:
    """Spans of the vendor's own around the calls, which use nothing themselves."""
    with traced("nested"):
        remember("nested")
        with get_paid_tracer().start_as_current_span("plan"):
            with get_paid_tracer().start_as_current_span("step"):
                call_gpt()
            signal("planned", enable_cost_tracing=True)


def flush() -> None:
    provider = get_paid_tracer_provider()
    assert provider is not None
    assert provider.force_flush()


ALL: dict[str, Callable[[], None]] = {
    work.__name__: work
    for work in (
        *(wrapped, awaited, scoped, shared, unclaimed, by_hand, late, nested),
        automatic,  # last: whoever comes after it would be traced twice
    )
}

for chosen in workflows:
    ALL[chosen]()
flush()
print(json.dumps(traces))
