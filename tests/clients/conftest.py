"""One installation for all tests of clients, and the providers that their clients call."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clients.node import PAID, node_project
from tests.clients.providers import Providers
from tests.clients.sdk import AgentBillClient
from tests.clients.serving import served
from tests.clients.whole import Target, Whole, whole_installation

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack


@pytest.fixture(scope="session")
def whole(stack: "EmbeddedStack", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """The installation: a worker with a gateway inside, and a gateway beside it."""
    name = f"clients_{secrets.token_hex(4)}"
    home = tmp_path_factory.mktemp("clients") / "home"
    with whole_installation(stack.endpoints(), name, home) as running:
        yield running


@pytest.fixture(scope="session")
def delivered(whole: Whole) -> Whole:
    """The installation with a sink that fills its database."""
    whole.start_sink()
    return whole


@pytest.fixture
def target(whole: Whole) -> Target:
    """The gateway inside the worker."""
    return whole.inside


@pytest.fixture
def beside(whole: Whole) -> Target:
    """The gateway that asks over the hop."""
    return whole.beside


@pytest.fixture(scope="session")
def providers() -> Iterator[Providers]:
    """OpenAI and Anthropic, on loopback."""
    app = Providers()
    with served(app) as url:
        app.url = url
        yield app


@pytest.fixture(scope="session")
def paid_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Node project with Paid's client."""
    return node_project(tmp_path_factory.mktemp("paid"), PAID)


@pytest.fixture
def client(whole: Whole) -> AgentBillClient:
    """AgentBill's own client, with no more rights than it needs."""
    return AgentBillClient(whole.keys.agent, base_url=whole.inside.url)
