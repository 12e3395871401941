"""Every provider's client that Paid's Node package wraps or instruments, for
`make test-clients-all`."""

import shutil
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.clients.more_providers import MoreProviders
from tests.clients.node import PAID, node_project
from tests.clients.paid_runs import CHAT, MESSAGE, RESPONSE, Run
from tests.clients.serving import served
from tests.clients.test_paid_node import run as run_node
from tests.clients.whole import Whole, fresh

PACKAGES = PAID | {
    "@ai-sdk/anthropic": "3.0.138",
    "@ai-sdk/openai": "3.0.141",
    "@langchain/core": "1.4.0",
    "@langchain/openai": "1.5.8",
    "@mistralai/mistralai": "1.15.1",
    "ai": "6.0.326",
}

PAGES = Decimal("0.003")
CHAT_WITHOUT_CACHE = Decimal("0.008775")  # 1,200 * 3 + 345 * 15

COSTS = {
    "openai_wrapper": [CHAT_WITHOUT_CACHE, RESPONSE],
    "anthropic_wrapper": [MESSAGE],
    "mistral_wrapper": [PAGES],
    "langchain_callback": [CHAT_WITHOUT_CACHE],
    "vercel_wrapper": [CHAT],
    "vercel_telemetry": [CHAT, MESSAGE],
    "openai_instrumented": [CHAT],
    "anthropic_instrumented": [MESSAGE],
}
ALONE = ("openai_instrumented", "anthropic_instrumented")
"""In a process of its own each: what is instrumented stays so."""


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Node project with all packages, and the one that Paid's wrappers of Mistral and LangChain
    ask for by a name that is none."""
    folder = node_project(tmp_path_factory.mktemp("every"), PACKAGES)
    shutil.copy(Path(__file__).parent / "paid_providers.cjs", folder)
    missing = folder / "node_modules" / "tracing"
    missing.mkdir()
    for name in ("tracing", "tracingContext"):
        place = f"../@paid-ai/paid-node/dist/cjs/tracing/{name}.js"
        (missing / f"{name}.js").write_text(f"module.exports = require('{place}')\n")
    return folder


@pytest.fixture(scope="session")
def every_provider() -> Iterator[MoreProviders]:
    app = MoreProviders()
    with served(app) as url:
        app.url = url
        yield app


@pytest.fixture(scope="session")
def every(whole: Whole, every_provider: MoreProviders, project: Path) -> Run:
    customer = fresh("every")
    traces: dict[str, str] = {}
    together = [work for work in COSTS if work not in ALONE]
    for works in (together, *([one] for one in ALONE)):
        more = {"PROVIDERS_URL": every_provider.url}
        traces |= run_node("paid_providers.cjs", whole.inside, project, customer, *works, **more)
    return Run(whole, customer, traces)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("workflow", COSTS)
def test_every_call_is_charged_once(every: Run, workflow: str) -> None:
    charged = [cost for cost in map(every.cost_of, every.usage_of(workflow)) if cost]
    assert Counter(charged) == Counter(COSTS[workflow])
    [signal] = every.signals_of(workflow)
    assert (signal.trace_id, signal.cost_tracing) == (every.traces[workflow], True)


def test_each_outcome_carries_the_cost_of_its_calls(every: Run, delivered: Whole) -> None:
    delivered.wait_rows(
        "SELECT trace_id, toString(cost) FROM signal_costs "
        f"WHERE customer_id = '{every.customer}' AND costs > 0",
        [(every.traces[work], sum(costs, Decimal())) for work, costs in COSTS.items()],
    )


def test_nothing_of_prompts_and_keys_comes_into_the_log(every: Run, whole: Whole) -> None:
    log = b"".join(every.raw)
    assert len(every.raw) > len(COSTS)
    for secret in (b"soup", b"Hello", whole.keys.good[-40:].encode()):
        assert secret not in log
