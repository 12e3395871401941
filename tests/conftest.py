"""What all tests share: one real Kafka and ClickHouse, unique names, the order, the seed.

Folders run in the order of `FOLDERS`, the quick ones first, so that a wrong sum is reported before
a broker is started. A server that does not start fails the run; nothing is skipped.
"""

import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis
import pytest

from streams.settings.fields import ENV_PREFIX

if TYPE_CHECKING:
    from streams.embedded.endpoints import Endpoints
    from streams.embedded.stack import EmbeddedStack

FOLDERS: Final = (
    "unit",
    "property",
    "simulation",
    "golden",
    "guard",
    "contract",
    "integration",
    "clients",
    "recovery",
    "soak",
)
TESTS: Final = Path(__file__).parent

_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose Hypothesis' seed here, so that it can be printed, and take our settings away.

    One seed for the whole run reproduces it: `pytest --hypothesis-seed=N`. It is fresh each time,
    because a fixed one would search the same corner for ever.
    """
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(secrets.randbits(32))
    hypothesis.settings.register_profile(
        "tollgate",
        # The time an example takes says something about the machine, nothing about the claim.
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        print_blob=True,
    )
    hypothesis.settings.load_profile("tollgate")
    # What the developer has set for an installation of their own must not decide about a test.
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        del os.environ[name]


def pytest_report_header(config: pytest.Config) -> str:
    """Print the seed at the top of every run."""
    seed = config.option.hypothesis_seed
    return f"property runs: repeat with --hypothesis-seed={seed}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders into their order; inside a folder nothing moves."""
    items.sort(key=lambda item: _rank(item.path))


def _rank(path: Path) -> int:
    folder = path.relative_to(TESTS).parts[0]
    return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator["EmbeddedStack"]:
    """Kafka and ClickHouse, started once for all tests; they share them by unique names."""
    # Imported here: most runs of single unit tests need neither a broker nor its modules.
    from tests.integration.embedded_stack import running_stack

    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def endpoints(stack: "EmbeddedStack") -> "Endpoints":
    """Where the shared servers are, as of now: a restart may have changed the pids."""
    return stack.endpoints()


@pytest.fixture
def unique_name() -> str:
    """A name that no other test of this or an earlier run has: letters, digits, underscore."""
    return f"t{next(_numbers)}_{secrets.token_hex(4)}"


@pytest.fixture
def topic_prefix(unique_name: str) -> str:
    """A prefix of topics that is this test's own."""
    return f"{unique_name}."
