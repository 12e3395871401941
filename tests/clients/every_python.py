"""Every provider's client that Paid's Python packages wrap or instrument, of both generations, in
environments of their own: `make test-clients-all`. Not among the tests that always run, since it
installs half a gigabyte."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.structs import SignalEntry
from tests.clients.environments import EARLIER, PRESENT, python_with
from tests.clients.more_providers import MoreProviders
from tests.clients.paid_runs import CHAT, MESSAGE, RESPONSE, Run
from tests.clients.serving import served
from tests.clients.whole import Whole, fresh

PROGRAM = Path(__file__).parent / "paid_providers.py"
SECONDS_MAX = 120

GEMINI = Decimal("0.0037176")  # 188 * 3 + 512 * 0.3 + (120 + 80) * 15
BEDROCK = Decimal("0.0004965")  # 50 * 3 + 30 * 0.3 + 10 * 3.75 + 20 * 15
PAGES = Decimal("0.003")
CHAT_WITHOUT_CACHE = Decimal("0.008775")  # 1,200 * 3 + 345 * 15

COSTS = {
    "openai_wrapper": [CHAT, RESPONSE],
    "anthropic_wrapper": [MESSAGE],
    "mistral_wrapper": [PAGES],
    "gemini_wrapper": [GEMINI],
    "bedrock_wrapper": [BEDROCK],
    "langchain_callback": [CHAT_WITHOUT_CACHE],
    "agents_hook": [CHAT],
    "llamaindex_wrapper": [CHAT],
    "openai_instrumented": [CHAT, CHAT],
    "anthropic_instrumented": [MESSAGE],
    "gemini_instrumented": [GEMINI],
    "bedrock_instrumented": [BEDROCK],
    "langchain_instrumented": [CHAT],
    "agents_instrumented": [CHAT],
}
ONE_EACH = (
    *("openai_instrumented", "anthropic_instrumented", "gemini_instrumented"),
    *("bedrock_instrumented", "langchain_instrumented", "agents_instrumented"),
)
"""In a process of its own each: what is instrumented stays so."""

GENERATIONS = {"1.12": PRESENT, "0.6": EARLIER}
NOT_THERE = {
    "1.12": {"llamaindex_wrapper", "agents_hook"},
    "0.6": {"openai_instrumented", "langchain_instrumented"},
}
"""What a generation has not: 0.6 cannot instrument OpenAI's client, and with present Agents Paid's
hook ends no span."""

WORK = [
    (generation, workflow)
    for generation in GENERATIONS
    for workflow in COSTS
    if workflow not in NOT_THERE[generation]
]


@pytest.fixture(scope="session")
def every_provider() -> Iterator[MoreProviders]:
    app = MoreProviders()
    with served(app) as url:
        app.url = url
        yield app


@pytest.fixture(scope="session")
def runs(whole: Whole, every_provider: MoreProviders) -> dict[str, Run]:
    """What became of every workflow, by generation."""
    found = {}
    for generation, packages in GENERATIONS.items():
        python, customer = python_with(packages), fresh("every")
        there = [work for one, work in WORK if one == generation]
        together = [work for work in there if work not in ONE_EACH]
        traces: dict[str, str] = {}
        for works in (together, *([one] for one in ONE_EACH if one in there)):
            traces |= _run(python, whole, every_provider, customer, works)
        found[generation] = Run(whole, customer, traces)
    return found


def _run(
    python: Path, whole: Whole, providers: MoreProviders, customer: str, works: Sequence[str]
) -> dict[str, str]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, PROGRAM, customer, *works],
        env=environment
        | {
            "PAID_API_KEY": whole.inside.key,
            "TOLLGATE_URL": whole.inside.url,
            "PROVIDERS_URL": providers.url,
        },
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("generation", "workflow"), WORK)
def test_every_call_is_charged_once(runs: dict[str, Run], generation: str, workflow: str) -> None:
    run = runs[generation]
    charged = [cost for cost in map(run.cost_of, run.usage_of(workflow)) if cost]
    assert Counter(charged) == Counter(COSTS[workflow])
    [signal] = run.signals_of(workflow)
    assert (signal.trace_id, signal.cost_tracing) == (run.traces[workflow], True)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_each_outcome_carries_the_cost_of_its_calls(
    runs: dict[str, Run], delivered: Whole, generation: str
) -> None:
    run = runs[generation]
    delivered.wait_rows(
        "SELECT trace_id, toString(cost) FROM signal_costs "
        f"WHERE customer_id = '{run.customer}' AND costs > 0",
        [
            (run.traces[workflow], sum(COSTS[workflow], Decimal()))
            for one, workflow in WORK
            if one == generation
        ],
    )


EARLIER_REST = """
import os, sys
from paid import Paid, Signal, SignalV2
client = Paid(token=os.environ["PAID_API_KEY"], base_url=os.environ["TOLLGATE_URL"] + "/api/v1")
first = Signal(event_name="first", customer_id=sys.argv[1], external_agent_id="sdr")
second = SignalV2(
    event_name="second", external_customer_id=sys.argv[1], external_product_id="sdr",
    idempotency_key="second",
)
client.usage.record_bulk(signals=[first])
for _ in range(2):
    client.usage.usage_record_bulk_v_2(signals=[second])
"""


def test_signals_of_the_earlier_client_count_once(whole: Whole) -> None:
    customer = fresh("earlier")
    subprocess.run(
        [python_with(EARLIER), "-c", EARLIER_REST, customer],
        env={"PAID_API_KEY": whole.inside.key, "TOLLGATE_URL": whole.inside.url},
        check=True,
        timeout=SECONDS_MAX,
    )
    entries = Run(whole, customer, {}).entries
    told = sorted((e.signal_name, e.agent_id) for e in entries if isinstance(e, SignalEntry))
    assert told == [("first", "sdr"), ("second", "sdr")]


def test_nothing_of_prompts_and_keys_comes_into_the_log(runs: dict[str, Run], whole: Whole) -> None:
    for run in runs.values():
        log = b"".join(run.raw)
        assert len(run.raw) > len(COSTS)
        for secret in (b"soup", b"Hello", whole.keys.good[-40:].encode()):
            assert secret not in log
