"""Tokens by user, flow and model: the view that migration 0007 makes, and the queries of
docs/charge-tokens.md as they stand there."""

import asyncio
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.embedded.stack import EmbeddedStack
from tests.builders import DAY_US, NOON_US
from tests.rows import log_of, row
from tests.sinks import drain, migrated_database

GUIDE: Final = Path(__file__).parents[2] / "docs" / "charge-tokens.md"

USUAL: Final[dict[str, Any]] = {
    "customer_id": "u1",
    "agent_id": "onboarding",
    "provider": "openai",
    "model": "small",
    "occurred_at": NOON_US,
    "source": "charge-tokens",
    "units": 0,
    "input_tokens": 100,
    "output_tokens": 10,
    "cost": "0.25",
    "cost_basis": "priced",
}

CHARGES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"occurred_at": NOON_US + 1, "input_tokens": 1},
    {"occurred_at": NOON_US + DAY_US},
    {"model": "large", "cost": "0", "cost_basis": "unpriced"},
    {"agent_id": "export"},
    {"customer_id": "u2"},
    {"customer_id": "u2", "source": "crm"},
)


@pytest.fixture(scope="module")
def charged(stack: EmbeddedStack) -> Iterator[ClickHouse]:
    """A database with these operations."""
    with migrated_database(stack.endpoints(), "tokens_by_flow") as clickhouse:
        rows = [json.loads(row(number)) | USUAL | more for number, more in enumerate(CHARGES)]
        log = log_of(json.dumps(one).encode() for one in rows)
        asyncio.run(drain(log, ClickHouseRows(clickhouse)))
        yield clickhouse


def test_tokens_are_counted_by_user_flow_model_and_day(charged: ClickHouse) -> None:
    found = charged.query(
        "SELECT user_id, flow_id, model, toString(day), operations, input_tokens, output_tokens, "
        "toString(cost), unpriced FROM tokens_by_flow ORDER BY ALL"
    ).rows
    assert [tuple(one) for one in found] == [
        ("u1", "export", "small", "2026-01-15", 1, 100, 10, "0.25", 0),
        ("u1", "onboarding", "large", "2026-01-15", 1, 100, 10, "0", 1),
        ("u1", "onboarding", "small", "2026-01-15", 2, 101, 20, "0.5", 0),
        ("u1", "onboarding", "small", "2026-01-16", 1, 100, 10, "0.25", 0),
        ("u2", "onboarding", "small", "2026-01-15", 1, 100, 10, "0.25", 0),
    ]


def test_the_queries_of_the_guide_run_as_they_stand(charged: ClickHouse) -> None:
    text = GUIDE.read_text("utf-8")
    [by_flow, by_event] = re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    totals = {(one[0], one[1], one[3]): tuple(one[4:8]) for one in charged.query(by_flow).rows}
    assert totals["u1", "onboarding", "small"] == (3, 201, 30, Decimal("0.75"))
    assert len(totals) == 4
    assert len(charged.query(by_event).rows) == 6
