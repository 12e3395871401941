"""What each client does where nobody can decide, as docs/http.md says it: a gateway whose owners
are not ready, or whose log takes no record."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from streams.gateway import agentbill as protocol
from streams.gateway import charge_tokens
from streams.gateway.native import ROUTES
from tests.clients.node import node_project, program
from tests.clients.providers import Providers
from tests.clients.sdk import AgentBillClient, agentbill
from tests.clients.serving import served
from tests.gateway_fakes import KEY, World, error

MESSAGES = [{"role": "user", "content": "hi"}]
SECONDS_MAX = 60

METERED = """
from agentbill import meter
ran = []

@meter(event="guarded", customer_id="acme", preflight=True)
def guarded():
    ran.append("guarded")

@meter(event="report", customer_id="acme")
def report():
    ran.append("report")

for function in (guarded, report):
    try:
        function()
    except Exception as error:
        print(type(error).__name__, "503" in str(error), ran)
"""

METERED_BY_NODE = """
import { meter } from 'agentbill'
const ran = []
const options = { event: 'report', customerIdFrom: 'customerId' }
const guarded = meter(async () => ran.push('guarded'), { ...options, preflight: true })
const report = meter(async () => ran.push('report'), options)
for (const one of [guarded, report]) {
  await one({ customerId: 'acme' }).catch((error) => {
    console.log(error.name, error.message.includes('503'), ran.join())
  })
}
"""


@pytest.fixture
def world() -> World:
    """A gateway whose owners are not ready."""
    made = World((*ROUTES, *protocol.ROUTES, *charge_tokens.ROUTES))
    made.owners.otherwise = lambda _partition, _ask: error("not_ready")
    return made


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with served(world.app) as address:
        yield address


@pytest.fixture
def client(url: str) -> AgentBillClient:
    return AgentBillClient(KEY, base_url=url)


def undecided(raised: pytest.ExceptionInfo[requests.HTTPError]) -> requests.Response:
    """The answer behind an error: a 503 that says when to ask again."""
    answer = raised.value.response
    assert answer is not None
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    return answer


def test_the_python_client_raises_and_asks_once(client: AgentBillClient) -> None:
    with pytest.raises(requests.HTTPError) as raised:
        client.preflight("a", 1, "acme", idempotency_key="k1")
    assert undecided(raised).json()["error"] == "not_ready"


def test_its_record_is_in_the_log_though_nobody_can_say_what_is_left(
    client: AgentBillClient, world: World
) -> None:
    told = client.record("a", 1, "acme", idempotency_key="k1")
    assert (told["status"], told["customer_remaining_units"]) == ("recorded", None)
    world.inbound.down = True
    with pytest.raises(requests.HTTPError) as raised:
        client.record("a", 1, "acme", idempotency_key="k2")
    assert undecided(raised).json()["error"] == "log_unavailable"


def test_wrap_raises_before_it_calls_and_only_warns_after(
    client: AgentBillClient, world: World, providers: Providers
) -> None:
    calls = providers.calls
    with openai.OpenAI(api_key="x", base_url=f"{providers.url}/openai", max_retries=0) as raw:
        llm = agentbill.wrap(raw, task_ref="job", agent_id="a", agentbill_client=client)
        with pytest.raises(requests.HTTPError) as raised:
            llm.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
        undecided(raised)
        assert providers.calls == calls
        world.owners.otherwise = World().owners.otherwise
        world.inbound.down = True
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            answer = llm.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
    assert answer.choices[0].message.content == "Hello"
    assert any("could not record" in str(one.message) for one in told)


def run(command: list[str], url: str, folder: Path) -> list[str]:
    """The lines that a program prints."""
    environment = {"AGENTBILL_API_KEY": KEY, "AGENTBILL_BASE_URL": url}
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_meter_raises_before_the_function_where_it_asks_and_after_it_where_it_records(
    world: World, url: str, tmp_path: Path
) -> None:
    world.inbound.down = True
    assert run([sys.executable, "-c", METERED], url, tmp_path) == [
        "AgentBillError True []",
        "AgentBillError True ['report']",
    ]


def test_node_does_the_same(world: World, url: str, tmp_path: Path) -> None:
    world.inbound.down = True
    project = node_project(tmp_path)
    (project / "undecided.mjs").write_text(METERED_BY_NODE, encoding="utf-8")
    assert run([program("node"), "undecided.mjs"], url, project) == [
        "AgentBillError true ",
        "AgentBillError true report",
    ]


def test_charge_tokens_says_that_billing_is_down(world: World, url: str) -> None:
    world.inbound.down = True
    body: dict[str, Any] = {"flowId": "f", "userId": "u1", "inputTokens": 1, "outputTokens": 1}
    answer = requests.post(
        f"{url}/worker/charge-tokens",
        json=body,
        headers={"INTERNAL_API_KEY": KEY},
        timeout=SECONDS_MAX,
    )
    assert (answer.status_code, answer.json()["success"]) == (503, False)
    assert int(answer.headers["retry-after"]) >= 1
