"""A customer's budget and a task out of ClickHouse's rows, compared with what their owner answers:
over random histories of grants, limits, preflights, usage and time, and in named cases."""

import json
import random
from typing import Any

import pytest

from schemas.structs import Extension, Release
from schemas.times import format_time
from streams.adapters.clickhouse import ClickHouse
from tests.balances import (
    JOB,
    History,
    assert_as_the_owner,
    assert_task_as_the_owner,
    budget_record,
    load,
)
from tests.builders import DAY_US, HOUR_US, NOON_US, context, grant, usage
from tests.owned_account import Owned
from tests.property.seed import SEED, announce

HISTORIES = 6


@pytest.mark.parametrize("number", range(HISTORIES))
async def test_the_budget_is_the_owners_over_random_histories(
    clickhouse: ClickHouse, number: int
) -> None:
    announce()
    owned = History(random.Random(f"{SEED}-balances-{number}")).run()
    await load(clickhouse, owned.entries)
    domain_us = owned.state.progress.domain_time_us
    for later_us in (0, 3 * HOUR_US, 9 * DAY_US, 70 * DAY_US):
        assert_as_the_owner(clickhouse, owned, domain_us + later_us)
    assert_task_as_the_owner(clickhouse, owned)


# --- named cases -------------------------------------------------------------------------------


def only(found: Any) -> Any:
    """The only grant, limit or hold."""
    [one] = found
    return one


def next_midnight(owned: Owned, days: int = 1) -> None:
    """The next thing happens so many days on, a second after midnight."""
    owned.settle()
    owned.now_us = (owned.now_us // DAY_US + days) * DAY_US


async def test_what_rolled_over_is_part_of_what_the_present_period_was_granted(
    clickhouse: ClickHouse,
) -> None:
    owned = Owned(context())
    owned.give(grant(amount="10", resets="day", rollover_max="15"))
    owned.give(usage(event_id="u1", units=4))
    next_midnight(owned, 2)
    owned.give(usage(event_id="u2", units=3))
    owned.settle()
    await load(clickhouse, owned.entries)
    # Six were left of the first day and ten of the second: fifteen of them roll over.
    found = assert_as_the_owner(clickhouse, owned, owned.now_us)
    one = only(found["grants"])
    assert (one["granted"], one["burnt"], one["left"]) == ("25", "3", "22")
    assert (one["rollover_max"], one["resets"]) == ("15", "day")
    assert found["balances"]["unit"]["available"] == "22"
    # A day on nothing has been decided, and all the same another period has begun.
    found = assert_as_the_owner(clickhouse, owned, owned.now_us + DAY_US)
    assert only(found["grants"])["granted"] == "25"
    assert found["balances"]["unit"]["burnt"] == "0"


async def test_a_month_begins_at_its_anchor(clickhouse: ClickHouse) -> None:
    owned = Owned(context())
    owned.give(grant(amount="10", resets="month", anchor="2025-12-20T00:00:00Z"))
    owned.give(usage(event_id="u1", units=4))
    owned.settle()
    await load(clickhouse, owned.entries)
    for later_us, left in ((4 * DAY_US, "6"), (5 * DAY_US, "10")):
        found = assert_as_the_owner(clickhouse, owned, NOON_US + later_us)
        one = only(found["grants"])
        assert (one["left"], one["anchor"]) == (left, "2025-12-20T00:00:00.000000Z")


async def test_what_an_expired_grant_leaves_is_gone(clickhouse: ClickHouse) -> None:
    owned = Owned(context())
    ends_us = NOON_US + DAY_US
    owned.give(grant(amount="10", expires_at=format_time(ends_us)))
    owned.give(usage(event_id="u1", units=4))
    owned.settle()
    await load(clickhouse, owned.entries)
    found = assert_as_the_owner(clickhouse, owned, ends_us - 1)
    assert (found["balances"]["unit"]["available"], only(found["grants"])["state"]) == ("6", "open")
    found = assert_as_the_owner(clickhouse, owned, ends_us)
    unit = found["balances"]["unit"]
    assert (unit["available"], unit["expired"], unit["left"]) == ("0", "6", "0")


async def test_a_limit_counts_from_its_entry_on_and_in_its_period_alone(
    clickhouse: ClickHouse,
) -> None:
    owned = Owned(context())
    owned.give(usage(event_id="u1", units=50, agent_id="a1"))
    owned.fold()
    fields = {"denomination": "unit", "agent_id": "a1", "resets": "day"}
    owned.give(budget_record("limit", "acme", "l1", amount="20", **fields))
    owned.fold()
    owned.give(usage(event_id="u2", units=7, agent_id="a1"))
    owned.give(usage(event_id="u3", units=70, agent_id="a2"))
    owned.fold()
    owned.give(budget_record("limit", "acme", "l2", amount="30", **fields))
    owned.settle()
    await load(clickhouse, owned.entries)
    one = only(assert_as_the_owner(clickhouse, owned, owned.now_us)["limits"])
    assert (one["amount"], one["used"], one["left"]) == ("30", "7", "23")
    one = only(assert_as_the_owner(clickhouse, owned, owned.now_us + DAY_US)["limits"])
    assert (one["used"], one["period_from"]) == ("0", "2026-01-16T00:00:00.000000Z")


async def test_a_limit_of_the_customer_bounds_what_is_available(clickhouse: ClickHouse) -> None:
    owned = Owned(context([("unit", "100")]))
    owned.give(usage(event_id="u1", units=10))
    owned.fold()
    owned.give(budget_record("limit", "acme", "l1", denomination="unit", amount="20"))
    owned.give(usage(event_id="u2", units=5))
    owned.settle()
    await load(clickhouse, owned.entries)
    unit = assert_as_the_owner(clickhouse, owned, owned.now_us)["balances"]["unit"]
    assert (unit["left"], unit["available"]) == ("85", "15")


async def test_an_open_hold_is_shown_with_what_usage_has_left_of_it(clickhouse: ClickHouse) -> None:
    owned = Owned(context([("unit", "100")]))
    owned.ask("k1", estimate="10")
    owned.ask("k2", estimate="30", agent_id="a1")
    owned.ask("k3", estimate="5")
    owned.give(usage(event_id="u1", units=14, settles_oldest=True))
    owned.fold()
    owned.about(Release, "1-0-3")
    owned.about(Extension, "1-0-2", expires_at=owned.now_us + 9 * HOUR_US)
    owned.settle()
    await load(clickhouse, owned.entries)
    found = assert_as_the_owner(clickhouse, owned, owned.now_us)
    one = only(found["holds"])
    assert (one["reservation_id"], one["amount"], one["open"]) == ("1-0-2", "30", "26")
    unit = found["balances"]["unit"]
    assert (unit["left"], unit["held"], unit["available"]) == ("86", "26", "60")


async def test_tokens_charged_because_nobody_knows_them_are_used(clickhouse: ClickHouse) -> None:
    owned = Owned(context([("token", "100")]))
    owned.ask("k1", estimate="40", denomination="token")
    owned.give(usage(event_id="u1", units=0, usage_missing=True, reservation_id="1-0-1"))
    owned.settle()
    await load(clickhouse, owned.entries)
    found = assert_as_the_owner(clickhouse, owned, owned.now_us)
    assert (found["used"]["tokens"], found["balances"]["token"]["available"]) == (40, "60")


async def test_a_task_counts_from_its_ceiling_on_and_by_agent(clickhouse: ClickHouse) -> None:
    owned = Owned(context([("unit", "1000")]))
    owned.give(usage(event_id="u1", units=9, task_ref=JOB, agent_id="a1"))
    owned.settle()
    owned.give(budget_record("ceiling", JOB, "c1", denomination="unit", amount="50"))
    owned.settle()
    for number, (agent, units) in enumerate((("a1", 3), ("a2", 4), ("a1", 5)), 2):
        owned.give(usage(event_id=f"u{number}", units=units, task_ref=JOB, agent_id=agent))
    owned.ask("k1", account_kind="task", account_id=JOB, estimate="6")
    owned.settle()
    await load(clickhouse, owned.entries)
    found = assert_task_as_the_owner(clickhouse, owned)
    assert (found["used"], found["held"], found["remaining"]) == ("21", "6", "23")
    assert found["used_by_agent"] == {"a1": "8", "a2": "4"}


async def test_a_task_without_a_ceiling_is_tracked(clickhouse: ClickHouse) -> None:
    owned = Owned(context())
    owned.give(usage(event_id="u1", units=9, task_ref=JOB))
    owned.settle()
    await load(clickhouse, owned.entries)
    found = assert_task_as_the_owner(clickhouse, owned)
    assert (found["ceiling"], found["used_in_all"]["unit"]) == (None, "9")


# --- the commands ------------------------------------------------------------------------------


@pytest.fixture
async def loaded(clickhouse: ClickHouse) -> Owned:
    """A customer with a limit and two holds, one of them of a task."""
    owned = Owned(context([("unit", "1000"), ("usd", "2.5")]))
    ceiling = {"denomination": "unit", "amount": "50"}
    owned.give(budget_record("ceiling", JOB, "c1", **ceiling))
    limit = {"denomination": "usd", "amount": "1.5", "agent_id": "a1"}
    owned.give(budget_record("limit", "acme", "l1", **limit))
    owned.settle()
    owned.give(usage(event_id="u1", units=12, task_ref=JOB, agent_id="a1", cost="0.25"))
    owned.ask("k1", account_kind="task", account_id=JOB, estimate="8")
    owned.ask("k2", estimate="8", task_ref=JOB, task_reservation_id="1-0-1")
    owned.settle()
    await load(clickhouse, owned.entries)
    return owned


async def test_the_budget_is_printed_with_limits_and_holds(loaded: Owned, tollgate: Any) -> None:
    code, out, _ = tollgate("budget", "acme")
    assert code == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.split()}
    assert lines["unit"][1:] == ["1,000", "12", "0", "0", "988", "8", "980"]
    assert lines["agent"][1:7] == ["a1", "usd", "1.50", "0.25", "0.00", "1.25"]
    assert "open holds: 1, the first of them ends at 2026-01-15T13:" in out
    code, out, _ = tollgate("grants", "list", "acme", "--json")
    assert [one["left"] for one in json.loads(out)] == ["988", "2.25"]


async def test_a_task_is_printed_for_people_and_for_scripts(loaded: Owned, tollgate: Any) -> None:
    code, out, _ = tollgate("tasks", "show", JOB, "--json")
    found = json.loads(out)
    assert (code, found["remaining"], found["used_by_agent"]) == (0, "30", {"a1": "12"})
    assert only(found["holds"])["reservation_id"] == "1-0-1"
    code, out, _ = tollgate("tasks", "show", JOB)
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.split()}
    assert lines["unit"] == ["unit", "50", "12", "8", "30"]
    assert lines["a1"] == ["a1", "12"]
    assert "used in all: 12 units, 0 tokens, 0.25 USD, calls: 1" in out
    code, out, err = tollgate("tasks", "show", "nothing")
    assert (code, out) == (1, "")
    assert "nothing" in err
