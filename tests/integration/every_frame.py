"""The snippets of docs/bi.md for pandas, Polars and SQLAlchemy (Superset's way), in an environment
of their own: `make test-bi`. Not among the tests that always run: it installs 300 megabytes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.adapters.clickhouse import ClickHouse
from streams.embedded.stack import EmbeddedStack
from tests import snippets
from tests.clients.environments import python_with
from tests.integration.test_bi import planted
from tests.planted import analysed

PACKAGES = (
    "clickhouse-connect[sqlalchemy]==1.12.0",
    "pandas>=2",
    "polars>=1",
    "pyarrow",
    "SQLAlchemy>=2",
)


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with(PACKAGES)


@pytest.fixture(scope="module")
def analyst(stack: EmbeddedStack) -> Iterator[ClickHouse]:
    with analysed(stack.endpoints(), planted()) as found:
        yield found


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("heading", ["pandas", "Polars"])
def test_frames_hold_exact_amounts(heading: str, python: Path, analyst: ClickHouse) -> None:
    printed = snippets.run(heading, python, analyst)
    assert "2000000000.000000000002" in printed
    assert "1000000000.000000000001" in printed


def test_sqlalchemy_asks_as_superset_does(python: Path, analyst: ClickHouse) -> None:
    printed = snippets.run("Superset", python, analyst)
    assert printed.strip() == ("[(datetime.date(2026, 10, 1), 2), (datetime.date(2026, 10, 2), 1)]")
