"""What all tests share: one real Kafka and ClickHouse, unique names, the order, the seed.

Folders run in the order of `FOLDERS`, the quick ones first, so that a wrong sum is reported before
a broker is started; of the others the long ones come first, so that nobody waits for the last of
several processes. A server that does not start fails the run; nothing is skipped.
"""

import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from streams.settings.fields import ENV_PREFIX

if TYPE_CHECKING:
    from streams.adapters.clickhouse import ClickHouse
    from streams.embedded.endpoints import Endpoints
    from streams.embedded.stack import EmbeddedStack

FOLDERS: Final = (
    "unit",
    "property",
    "simulation",
    "golden",
    "guard",
    "contract",
    "recovery",
    "soak",
    "clients",
    "integration",
)
TESTS: Final = Path(__file__).parent
TOGETHER: Final = frozenset({"clients"})
"""Folders whose tests share one installation, whose books are read last."""
SINGLY: Final = frozenset({"soak"})
"""Folders of long tests, each of which is shared out alone."""

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


class Shares(LoadFileScheduling):  # type: ignore[misc] # comes without types
    """What one of several processes runs as a whole: a file, but see TOGETHER and SINGLY."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        folder = path.removeprefix("tests/").partition("/")[0]
        if folder in TOGETHER:
            return folder
        return nodeid if folder in SINGLY else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    """How `-n 3` shares the tests out; every process has servers of its own."""
    return Shares(config, log)


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


@pytest.fixture(scope="module")
def migrated(stack: "EmbeddedStack") -> Iterator["ClickHouse"]:
    """A database with all tables, for the tests of one module: making it takes seconds."""
    from tests.sinks import migrated_database

    name = f"m{next(_numbers)}_{secrets.token_hex(4)}"
    with migrated_database(stack.endpoints(), name) as found:
        yield found


@pytest.fixture
def clickhouse(migrated: "ClickHouse") -> "ClickHouse":
    """All tables, empty; they remember no insert."""
    from tests.sinks import empty_tables

    empty_tables(migrated)
    return migrated
