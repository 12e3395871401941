"""What was carried over from another installation, through the views that analysts read."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from schemas import codec
from schemas.codec import join_rows
from schemas.envelope import SCHEMA_VERSION
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.domain.budget import Account
from streams.domain.carrying import carried_account
from streams.domain.grants import left_at
from streams.ports import NO_ROWS
from tests.builders import grant, json_of, usage
from tests.invoice_facts import MONTHS, Invoiced, terms
from tests.sinks import migrated_database

LIMIT = {"kind": "limit", "denomination": "usd", "amount": "50", "resets": "month"}


def carried(old: Account, at_us: int) -> list[Any]:
    """What is said of a customer, as bodies of `budgets`."""
    common = {"schema_version": SCHEMA_VERSION, "source": "tollgate"}
    return [
        codec.decode_budget(
            codec.encode(
                common
                | {"kind": one.kind, "customer_id": one.customer_id, "event_id": one.event_id}
                | {name: value for name, value in one.fields.items() if value is not None}
            )
        )
        for one in carried_account(old, "old.", at_us)
    ]


@pytest.fixture(scope="module")
def new() -> Invoiced:
    """An installation to which acme came with grants and a limit that were partly used."""
    old = Invoiced()
    old.tell(
        grant(event_id="once", denomination="usd", amount="10", priority=1),
        grant(event_id="monthly", denomination="token", amount="500", resets="month"),
        codec.decode_budget(json_of("acme", "limit", LIMIT)),
    )
    old.tell(usage(cost="2.5", tokens={"input": 120}))
    made = Invoiced()
    made.tell(*carried(old.state.accounts["acme"], old.now_us))
    made.tell(terms(next_number=8, billed_to=MONTHS[22]), terms("t2", card=None, plan="standard"))
    made.tell(usage(event_id="e2", cost="0.000000000001", tokens={"input": 30}))
    return made


@pytest.fixture(scope="module")
def filled(stack: Any, new: Invoiced) -> Iterator[ClickHouse]:
    with migrated_database(stack.endpoints(), "carried_rows") as clickhouse:
        rows = ClickHouseRows(clickhouse)
        rows._insert("ledger", 1, 0, NO_ROWS, join_rows(codec.encode_all(new.entries)))
        yield clickhouse


def rows_of(clickhouse: ClickHouse, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in clickhouse.query(sql).rows]


def test_amounts_of_a_grant_that_was_carried_over_sum_to_what_is_left_of_it(
    filled: ClickHouse, new: Invoiced
) -> None:
    found = rows_of(
        filled,
        "SELECT denomination, sum(amount), sum(used) FROM budget_history "
        "WHERE change IN ('granted', 'burned', 'returned') GROUP BY grant_id, denomination "
        "ORDER BY denomination",
    )
    left = {one.denomination: left_at(one, new.now_us) for one in new.state.accounts["acme"].grants}
    assert left == {"token": 350, "usd": 7_499_999_999_999}
    assert found == [
        ("token", Decimal(470), Decimal(120)),
        ("usd", Decimal("7.499999999999"), None),
    ]
    assert found[0][1] - found[0][2] == left["token"], "one that resets, in its first period"


def test_the_views_say_what_was_used_before(filled: ClickHouse) -> None:
    found = rows_of(filled, "SELECT denomination, amount, used FROM grants ORDER BY denomination")
    assert found == [("token", Decimal(500), Decimal(120)), ("usd", Decimal("7.5"), None)]
    found = rows_of(
        filled,
        "SELECT change, amount, used FROM budget_history WHERE used IS NOT NULL ORDER BY change",
    )
    assert found == [
        ("granted", Decimal(500), Decimal(120)),
        ("limit", Decimal(50), Decimal("2.5")),
    ]


def test_the_view_of_terms_says_where_numbers_and_periods_go_on(filled: ClickHouse) -> None:
    found = rows_of(
        filled,
        "SELECT next_number, toUnixTimestamp64Micro(billed_to) FROM terms ORDER BY sequence",
    )
    assert found == [(8, MONTHS[22]), (0, 0)]
