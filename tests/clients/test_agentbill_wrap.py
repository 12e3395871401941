"""`agentbill.wrap()` of OpenAI's and Anthropic's own clients, streamed and not, sync and async,
against the gateway that asks over the hop."""

import asyncio
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from tests.clients.providers import ANTHROPIC_TOKENS, CHAT_TOKENS, Providers
from tests.clients.sdk import AgentBillClient, Refusal, agentbill
from tests.clients.whole import SELLER_TOKENS, UPGRADE_URL, Whole, fresh, job_when

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture
def client(whole: Whole) -> AgentBillClient:
    return AgentBillClient(whole.keys.agent, base_url=whole.beside.url)


@pytest.fixture
def sync_openai(providers: Providers) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="x", base_url=f"{providers.url}/openai", max_retries=0) as made:
        yield made


@pytest.fixture
def sync_anthropic(providers: Providers) -> Iterator[anthropic.Anthropic]:
    url = f"{providers.url}/anthropic"
    with anthropic.Anthropic(api_key="x", base_url=url, max_retries=0) as made:
        yield made


def wrapped(raw: Any, client: AgentBillClient, job: str, **more: Any) -> Any:
    """The client, measured, on a job of 50,000 tokens unless said otherwise."""
    options = {"task_ceiling": 50_000} | more
    return agentbill.wrap(
        raw,
        task_ref=job,
        agent_id="researcher",
        customer_id=job,
        agentbill_client=client,
        **options,
    )


def chat(llm: Any, **more: Any) -> Any:
    return llm.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, **more)


def test_an_openai_call_is_recorded_in_the_jobs_tokens(
    client: AgentBillClient, sync_openai: openai.OpenAI
) -> None:
    job = fresh("tok")
    answer = chat(wrapped(sync_openai, client, job), max_tokens=300)
    assert answer.choices[0].message.content == "Hello"
    status = job_when(client, job, used_units=CHAT_TOKENS, reserved_units=0)
    assert status.unit == "token"
    # Tokens are no units: the free ones of the customer are all there.
    assert client.preflight("a", 0, job).remaining_units == 1_000


def test_a_streamed_chat_is_recorded_when_it_ends(
    client: AgentBillClient, sync_openai: openai.OpenAI
) -> None:
    job = fresh("tok")
    stream = chat(wrapped(sync_openai, client, job), stream=True)
    words = [chunk.choices[0].delta.content for chunk in stream]
    assert words == ["Hel", "lo"]
    job_when(client, job, used_units=CHAT_TOKENS, reserved_units=0)


def test_a_response_of_the_responses_api_is_recorded(
    client: AgentBillClient, sync_openai: openai.OpenAI
) -> None:
    job = fresh("tok")
    llm = wrapped(sync_openai, client, job)
    llm.responses.create(model="gpt-5-mini", input="hi")
    job_when(client, job, used_units=1_110, reserved_units=0)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_anthropic_call_is_recorded(
    client: AgentBillClient, sync_anthropic: anthropic.Anthropic, streamed: bool
) -> None:
    job = fresh("tok")
    create = wrapped(sync_anthropic, client, job).messages.create
    answer = create(model="claude", max_tokens=100, messages=MESSAGES, stream=streamed)
    if streamed:
        assert "content_block_delta" in [event.type for event in answer]
    job_when(client, job, used_units=ANTHROPIC_TOKENS, reserved_units=0)


def test_async_clients_are_measured_too(client: AgentBillClient, providers: Providers) -> None:
    job = fresh("tok")

    async def run() -> None:
        async with openai.AsyncOpenAI(
            api_key="x", base_url=f"{providers.url}/openai", max_retries=0
        ) as raw:
            llm = wrapped(raw, client, job)
            await asyncio.gather(*(chat(llm) for _ in range(4)))
            async for _ in await chat(llm, stream=True):
                pass
        async with anthropic.AsyncAnthropic(
            api_key="x", base_url=f"{providers.url}/anthropic", max_retries=0
        ) as raw_anthropic:
            create = wrapped(raw_anthropic, client, job).messages.create
            await create(model="claude", max_tokens=100, messages=MESSAGES)

    asyncio.run(run())
    job_when(client, job, used_units=5 * CHAT_TOKENS + ANTHROPIC_TOKENS, reserved_units=0)


def test_a_call_that_the_provider_refuses_gives_its_reservation_back(
    client: AgentBillClient, sync_openai: openai.OpenAI
) -> None:
    job = fresh("tok")
    llm = wrapped(sync_openai, client, job)
    with pytest.raises(openai.BadRequestError):
        llm.chat.completions.create(model="boom", messages=MESSAGES)
    job_when(client, job, used_units=0, reserved_units=0)


def test_a_call_without_usage_is_charged_its_reservation(
    client: AgentBillClient, sync_openai: openai.OpenAI
) -> None:
    job = fresh("tok")
    llm = wrapped(sync_openai, client, job)
    llm.chat.completions.create(model="silent", messages=MESSAGES)
    job_when(client, job, used_units=2_000, reserved_units=0, usage_missing_calls=1)


def test_a_spent_job_returns_a_refusal_and_calls_nobody(
    client: AgentBillClient, sync_openai: openai.OpenAI, providers: Providers
) -> None:
    job, before = fresh("tok"), providers.calls
    answer = chat(wrapped(sync_openai, client, job, task_ceiling=100))
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.asked, answer.ceiling) == ("task_ceiling_exceeded", 2_000, 100)
    assert (answer.used, answer.remaining) == (0, 100)
    assert list(chat(wrapped(sync_openai, client, job), stream=True)) == []
    assert providers.calls == before


def test_a_reused_response_id_counts_every_call(
    client: AgentBillClient, providers: Providers
) -> None:
    job = fresh("tok")
    # On the provider's own host the response's id is the record's key.
    with redirected(providers.url) as http_client:
        llm = wrapped(openai.OpenAI(api_key="x", http_client=http_client), client, job)
        providers.fixed_id = fresh("chatcmpl")
        try:
            chat(llm)
            with pytest.warns(RuntimeWarning, match="reused a response id"):
                chat(llm)
        finally:
            providers.fixed_id = ""
    job_when(client, job, used_units=2 * CHAT_TOKENS, reserved_units=0)


def test_a_job_in_dollars_is_charged_its_reservation_where_nobody_knows_the_price(
    client: AgentBillClient, sync_openai: openai.OpenAI
) -> None:
    job = fresh("usd")
    llm = wrapped(sync_openai, client, job, task_ceiling=None, task_ceiling_usd=0.5)
    chat(llm)
    assert job_when(client, job, used_usd=0.1, unpriced_calls=1).unit == "usd"
    for _ in range(4):
        chat(llm)
    job_when(client, job, used_usd=0.5, reserved_usd=0)
    refused = chat(llm)
    assert isinstance(refused, Refusal)
    assert "$0.5 of $0.5 at list price" in str(refused)


def test_the_sellers_plan_refuses_or_lets_pass_as_the_caller_chose(
    client: AgentBillClient, sync_openai: openai.OpenAI
) -> None:
    job = fresh("tok")
    # All that the plan allows this customer is held by something else.
    much = {"task_ref": fresh("job"), "task_ceiling": SELLER_TOKENS, "unit": "token"}
    assert client.preflight("other", SELLER_TOKENS, job, **much).approved
    refused = chat(wrapped(sync_openai, client, job))
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.upgrade_url) == ("free_tier_exceeded", UPGRADE_URL)
    with pytest.warns(RuntimeWarning, match="free_tier_exceeded"):
        answer = chat(wrapped(sync_openai, client, job, on_quota="send"))
    assert answer.choices[0].message.content == "Hello"
    job_when(client, job, used_units=CHAT_TOKENS)


def redirected(url: str) -> httpx2.Client:
    """Takes what is meant for a provider's own host to its stand-in."""
    place = httpx2.URL(url)

    def redirect(request: httpx2.Request) -> None:
        request.url = request.url.copy_with(scheme="http", host=place.host, port=place.port)

    return httpx2.Client(event_hooks={"request": [redirect]})
