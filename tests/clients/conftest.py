"""One gateway for all tests of clients, and the providers that their clients call.

`target` is the gateway of an installation in memory, or any other one that runs with the default
plan of 1,000 units: CLIENTS_GATEWAY_URL is its address, CLIENTS_GATEWAY_KEY a key with the scope
`admin`. `local` is always the one in memory, for what needs keys, prices or faults of its own.
"""

import os
from collections.abc import Iterator

import pytest

from tests.builders import book, context
from tests.clients.providers import Providers
from tests.clients.sdk import AgentBillClient
from tests.clients.serving import MemoryTarget, Target, gateway, served

FREE_UNITS = 1_000
"""What the default plan grants each customer."""


@pytest.fixture(scope="session")
def target(local: MemoryTarget) -> Target:
    """The gateway."""
    url = os.environ.get("CLIENTS_GATEWAY_URL")
    return Target(url, os.environ["CLIENTS_GATEWAY_KEY"]) if url else local


@pytest.fixture(scope="session")
def local() -> Iterator[MemoryTarget]:
    """The gateway in memory. Its price book knows one model, `small` of `lab`."""
    rules = context(
        plan=[("unit", str(FREE_UNITS))],
        prices=book(small={"input": "3", "cache_read": "0.3", "output": "15"}),
    )
    with gateway(rules) as running:
        yield running


@pytest.fixture(scope="session")
def providers() -> Iterator[Providers]:
    """OpenAI and Anthropic, on loopback."""
    app = Providers()
    with served(app) as url:
        app.url = url
        yield app


@pytest.fixture
def client(target: Target) -> AgentBillClient:
    """AgentBill's own client."""
    return AgentBillClient(target.key, base_url=target.url)
