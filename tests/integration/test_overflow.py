"""Sums near the limits of Decimal(38): what ClickHouse does by itself, and what our queries say."""

from typing import Any, Final

import pytest

from schemas.money import PICO
from schemas.structs import UsageEntry, replace
from streams.adapters.clickhouse import ClickHouse
from streams.domain.months import month
from streams.invoicing.draft import draft_invoice, pico_of
from streams.invoicing.tallies import END_OF_LEDGER, CustomerSpan, tallies
from tests.property.seed import SEED
from tests.random_ledger import LARGEST, insert_entries, random_entries

COUNT: Final = 20
EXACT_PICO: Final = COUNT * (10**38 - 1)
JANUARY: Final = month(2026, 1)


@pytest.fixture
async def costly(clickhouse: ClickHouse) -> ClickHouse:
    """Calls of one customer, model and hour, each of the largest cost that an entry can have."""
    entry = next(one for one in random_entries(SEED) if isinstance(one, UsageEntry))
    like = replace(
        entry,
        generation=1,
        partition=0,
        customer_id="acme",
        occurred_at=JANUARY.from_us,
        cost=LARGEST,
        currency="USD",
    )
    await insert_entries(clickhouse, [replace(like, sequence=place) for place in range(COUNT)])
    return clickhouse


def picos(clickhouse: ClickHouse, sql: str) -> list[int]:
    return [pico_of(str(value)) for (value,) in clickhouse.query(sql).rows]


def test_a_plain_sum_wraps_without_a_word(costly: ClickHouse) -> None:
    """Why everything of ours sums in Decimal(76). If this fails, a release has mended it."""
    assert picos(costly, "SELECT toString(sum(cost)) FROM ledger") != [EXACT_PICO]
    checked = "SELECT toString(sum(cost)) FROM ledger SETTINGS decimal_check_overflow = 1"
    assert picos(costly, checked) != [EXACT_PICO]


@pytest.mark.parametrize(
    "view", ["monthly_usage", "usage_by_day", "cost_by_model", "margin_by_customer"]
)
def test_a_sum_of_a_view_is_exact(costly: ClickHouse, view: str) -> None:
    assert picos(costly, f"SELECT toString(cost) FROM {view}") == [EXACT_PICO]


def test_a_tally_and_a_draft_are_exact(costly: ClickHouse) -> None:
    (tally,) = tallies(costly, [CustomerSpan("acme", 0, JANUARY.to_us, END_OF_LEDGER)])
    assert [figures.cost_pico for figures in tally.values()] == [EXACT_PICO]
    found = draft_invoice(costly, "acme", JANUARY)
    assert found is not None
    assert found.draft.cost_by_currency() == {"USD": EXACT_PICO}


def test_a_billion_of_the_largest_amounts_fit(clickhouse: ClickHouse) -> None:
    """Decimal(76) holds 10**38 times what Decimal(38) does: no ledger comes near it."""
    billion: Any = clickhouse.query(
        f"SELECT toString(toDecimal256('{LARGEST}', 12) * toDecimal256(1000000000, 0))"
    ).rows[0][0]
    assert pico_of(billion) == 10**9 * (10**38 - 1)
    assert 10**34 * PICO < 10**9 * (10**38 - 1)
