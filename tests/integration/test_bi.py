"""The snippet of docs/bi.md for ClickHouse's own client."""

import sys
from collections.abc import Iterator

import pytest

from schemas.structs import UsageEntry
from streams.adapters.clickhouse import ClickHouse
from streams.embedded.stack import EmbeddedStack
from tests import snippets
from tests.planted import Planted, analysed


@pytest.fixture(scope="module")
def analyst(stack: EmbeddedStack) -> Iterator[ClickHouse]:
    with analysed(stack.endpoints(), planted()) as found:
        yield found


def planted() -> Planted:
    """Three calls whose cost no float holds."""
    books = Planted()
    for day, model in ((1, "gpt-4o"), (1, "gpt-4o"), (2, "o3")):
        books.entry(
            UsageEntry, f"2026-10-0{day}T09:00:00Z", model=model, cost="1000000000.000000000001"
        )
    return books


def test_the_snippet_of_clickhouse_connect_prints_exact_amounts(analyst: ClickHouse) -> None:
    assert snippets.run("clickhouse-connect", sys.executable, analyst).splitlines() == [
        "2026-10-01 gpt-4o 2 2000000000.000000000002",
        "2026-10-02 o3 1 1000000000.000000000001",
    ]
