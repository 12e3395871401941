"""When an installation is at rest, and what of its catalog another one takes over."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.partitioner import partition_of
from schemas.structs import Rules
from streams.app.carry.catalog import plan_catalog
from streams.app.carry.reading import Left, Unbilled
from streams.app.carry.resting import judge_billing, open_ends, written_early
from streams.app.carry.saying import to_say
from streams.domain.billing import Billing as BillingRow
from streams.domain.budget import Account
from streams.domain.holds import Hold
from streams.domain.state import Progress
from streams.domain.tasks import Task
from streams.errors import SetupError
from streams.invoicing.billing import Billing
from streams.settings import Settings
from tests.builders import catalog_record
from tests.unit.app.test_invoice_plans import close, terms, us

NOW_US = us("2026-04-20")
HOLD = Hold("h", "unit", 5, 5, 0, 9)


def left(tmp_path: Path, *catalog: Any) -> Left:
    found = Left(Settings(home=tmp_path, topic_prefix="old.", app_id="old"), 2)
    for record in catalog:
        found.catalog.append(record)
        found.shelf.fold(found.shelf.next_offset, record)
    return found


@pytest.fixture
def old(tmp_path: Path) -> Left:
    """Acme is billed up to April, by the card `pro`."""
    found = left(tmp_path, catalog_record("rate_card", id="pro", version="1"))
    found.billings["acme"] = Billing("acme")
    found.billings["acme"].add(terms(entry_id="t"))
    march = close("2026-03-01", "2026-04-01", "2026-03", generation=1, sequence=9)
    found.billings["acme"].add(march)
    found.billings["acme"].add(march | {"kind": "invoice_issue"})
    found.rows.billing["acme"] = BillingRow("acme", us("2026-04-01"), 1, 9, 2)
    return found


def whats(old: Left, now_us: int = NOW_US, members: int = 0, later: bool = False) -> list[str]:
    billed = judge_billing(old, now_us)
    return [one.what for one in open_ends(old, members, billed, invoices_later=later)]


def test_who_is_billed_to_the_end_of_a_period_and_has_used_nothing_since_is_at_rest(
    old: Left,
) -> None:
    assert whats(old) == []


def test_everything_that_is_not_at_rest_is_named(old: Left) -> None:
    rows = old.rows
    rows.accounts = {"acme": Account("acme", holds={"h": HOLD}, windows=2)}
    rows.tasks = {"job": Task("job", holds={"h": HOLD})}
    rows.progress = {1: Progress(waiting=3)}
    old.lag = {("usage", 1): 7}
    old.billings["acme"].issues.clear()
    found = {
        one.what: one for one in open_ends(old, 1, judge_billing(old, NOW_US), invoices_later=False)
    }
    assert list(found) == [
        "partitions with records that are not decided",
        "accounts with open holds",
        "customers with open trace windows",
        "partitions in which events wait for a customer",
        "customers with documents that are not issued",
        "workers of the old installation",
    ]
    assert found["partitions with records that are not decided"].named == ("usage/1: 7",)
    assert found["accounts with open holds"].named == ("acme", "task job")
    assert all(one.action for one in found.values())


def test_a_period_that_is_over_may_be_closed_later_if_that_is_said(old: Left) -> None:
    old.unbilled["acme"] = Unbilled(1, us("2026-04-30"), us("2026-04-30"))
    may = us("2026-05-02")
    assert whats(old, may) == ["customers with periods that are over and not closed"]
    assert whats(old, may, later=True) == []
    assert judge_billing(old, may).later == {"acme"}


@pytest.mark.parametrize("used", ["2026-04-10", "2026-03-10"])
def test_usage_that_no_invoice_of_the_old_installation_would_hold_is_open(
    old: Left, used: str
) -> None:
    old.unbilled["acme"] = Unbilled(2, us(used), us(used))
    assert whats(old, later=True) == ["customers with usage that is on no invoice"]


def test_who_is_under_no_rate_card_is_nobody_to_bill(tmp_path: Path) -> None:
    bare = left(tmp_path)
    bare.unbilled["acme"] = Unbilled(2, us("2026-01-10"), us("2026-04-10"))
    assert whats(bare) == []


def test_what_producers_wrote_before_customers_are_there_is_open(old: Left) -> None:
    old.lag = {("budgets", 0): 3, ("usage", 1): 2}
    (early,) = written_early(old)
    assert early.named == ("usage/1: 2",)


# --- the catalog ---------------------------------------------------------------------------------


def rules(version: str, **more: Any) -> Any:
    plan = [{"denomination": "unit", "amount": "1000"}]
    return catalog_record("rules", id="default", version=version, default_plan=plan, **more)


def test_the_default_plan_is_away_until_everybody_is_known(tmp_path: Path) -> None:
    old, new = left(tmp_path, rules("1"), rules("2", holds_max=7)), left(tmp_path, rules("1"))
    plan = plan_catalog(old, new)
    (begin,) = plan.records
    assert isinstance(begin, Rules)
    assert isinstance(plan.end, Rules)
    assert (begin.default_plan, begin.holds_max) == ([], 7)
    assert (len(plan.end.default_plan), plan.end.holds_max) == (1, 7)
    again = plan_catalog(old, left(tmp_path, rules("1"), begin))
    assert (again.records, again.there, again.end) == ([], 1, plan.end)
    done = plan_catalog(old, left(tmp_path, rules("1"), begin, plan.end))
    assert (done.records, done.end, done.ended) == ([], None, True)


def test_cards_and_keys_come_in_their_order_and_generations_do_not(tmp_path: Path) -> None:
    one, two = (catalog_record("rate_card", id="pro", version=v) for v in ("1", "2"))
    generation = catalog_record("generation", generation=1, partitions=2, topic_ids={})
    old = left(tmp_path, generation, rules("1"), one, two)
    plan = plan_catalog(old, left(tmp_path, rules("1"), one))
    assert plan.records[0] == two
    assert plan.counts() == {"rate card versions": 1, "rules": 1}


def test_a_version_that_says_something_else_is_never_written_over(tmp_path: Path) -> None:
    mine, other = (
        catalog_record("rate_card", id="pro", version="1", title=title) for title in ("a", "b")
    )
    with pytest.raises(SetupError, match="rate_card/pro/1 says something else"):
        plan_catalog(left(tmp_path, rules("1"), mine), left(tmp_path, rules("1"), other))


def test_what_is_told_of_a_record_without_decoding_it_is_what_stands_in_it(old: Left) -> None:
    old.rows.accounts = {"acme": Account("acme"), "globex": Account("globex", budgeted=["unit"])}
    old.rows.tasks = {"job": Task("job", denomination="unit", ceiling=5)}
    said = to_say(old, set(), NOW_US, 4)
    assert [one.label for one in said] == [
        *("limit", "grant", "ceiling", "terms", "invoice number"),
    ]
    for one in said:
        record = json.loads(one.record.value)
        assert one.identity == (record["customer_id"], record["event_id"])
        assert one.identity == (one.record.told.customer_id, one.record.told.event_id)
        assert (one.carried.kind, one.next_number) == (record["kind"], record.get("next_number"))
        assert one.record.told.partition == partition_of(record["customer_id"].encode(), 4)


def test_of_who_is_billed_later_only_the_terms_are_said(old: Left) -> None:
    assert [one.label for one in to_say(old, {"acme"}, NOW_US, 4)] == ["terms"]
