"""Another number of partitions, on real servers: an installation with two carries over to one with
four, and is invoiced there.

One pair of installations for all tests, which stand in the order in which things happen to it.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from schemas.topics import BUDGETS, PAID_CATALOGUE
from streams.app.administration import tell
from streams.cli import main
from tests.billed import CARD, NOW, Billed, no_grace, text
from tests.installation import Installation
from tests.whole import with_tables

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack

TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
END = TODAY - timedelta(days=3)
"""Where the period of everybody ended."""

NEXT_END = TODAY - timedelta(days=1)
"""Where the next one ends, once everybody has another billing day."""

IN_OLD, IN_NEW = END - timedelta(hours=1), END + timedelta(hours=1)
CUSTOMERS = ("acme", "globex", "initech", "umbrella")


@dataclass
class Pair:
    """The installation that is left, and the one that takes its place."""

    old: Billed
    new: Billed


@pytest.fixture(scope="module")
def pair(stack: "EmbeddedStack", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    name = f"carry_{secrets.token_hex(4)}"
    home = tmp_path_factory.mktemp(name)
    with ExitStack() as opened:
        made = []
        for part, partitions in (("old", 2), ("new", 4)):
            installation, clickhouse = opened.enter_context(
                with_tables(stack.endpoints(), f"{name}_{part}", home / part, partitions=partitions)
            )
            made.append(Billed(installation, clickhouse, home))
        asyncio.run(no_grace(made[0].installation))
        yield Pair(*made)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command on one of the two; with `--json` its answer comes as what it says."""

    def run(billed: Billed, *words: str, code: int = 0) -> Any:
        for name, value in billed.installation.settings.environment().items():
            monkeypatch.setenv(name, value)
        found = main.run(list(words))
        out, err = capsys.readouterr()
        assert found == code, out + err
        return json.loads(out) if "--json" in words else out + err

    return run


def label_before(end: datetime) -> str:
    """What the month is called that ends on the billing day, at `end`."""
    begin = end.replace(day=1) - timedelta(days=1)
    return f"{begin:%Y-%m}"


def carry(pair: Pair, *more: str) -> tuple[str, ...]:
    settings = pair.old.installation.settings
    named = ("--from-prefix", settings.topic_prefix, "--from-app-id", settings.app_id)
    return ("topics", "carry-over", *named, "--json", *more)


def say(installation: Installation, kind: Any, customer: str, **fields: Any) -> None:
    asyncio.run(tell(installation.settings, kind, customer, fields))


def usd(amount: str, **more: Any) -> dict[str, Any]:
    return {"denomination": "usd", "amount": amount} | more


def test_an_old_installation_has_customers_of_every_kind(
    pair: Pair, on: Callable[..., Any], tmp_path: Path
) -> None:
    old = pair.old.installation
    card = tmp_path / "pro.yaml"
    card.write_text(CARD)
    on(pair.old, "rates", "apply", str(card))
    for customer in CUSTOMERS[:3]:
        terms = ("--card", "pro", "--anchor-day", str(END.day))
        on(pair.old, "rates", "assign", customer, *terms)
    ends = text(NOW + timedelta(days=40))
    say(old, "grant", "acme", **usd("2", expires_at=ends, priority=5))
    say(old, "grant", "acme", **usd("10", resets="month", rollover_max="3", priority=1))
    say(old, "grant", "acme", denomination="token", amount="500", effective_at=ends)
    say(old, "limit", "acme", **usd("50", resets="month"))
    say(old, "limit", "acme", **usd("7.5", agent_id="planner"))
    say(old, "grant", "globex", **usd("0.3"))
    say(old, "ceiling", "job-7", denomination="unit", amount="100")
    old.start_sink()
    old.start_worker()
    old.wait_consumed()
    pair.old.call("acme", "a-1", IN_OLD, cost="1.000000000001", agent_id="planner")
    pair.old.call("acme", "a-2", IN_OLD, cost="0.75", units=40, task_ref="job-7")
    pair.old.call("globex", "g-1", IN_OLD, cost="0.9")
    pair.old.call("umbrella", "u-1", IN_OLD, units=1500)
    pair.old.signal("initech", "i-1", IN_OLD)
    old.produce(PAID_CATALOGUE.name, [b'{"kind":"customer"}'], key="customer/1", partition=0)
    pair.old.wait_rows("usage", 4)
    pair.old.wait_rows("settlement", 1)


def test_what_is_open_is_listed_and_nothing_is_written(pair: Pair, on: Callable[..., Any]) -> None:
    found = on(pair.new, *carry(pair), code=1)
    assert found["state"] == "open"
    whats = {one["what"]: one for one in found["open"]}
    due = whats["customers with periods that are over and not closed"]
    assert (due["count"], due["named"][0]) == (3, f"acme {label_before(END)}")
    assert whats["workers of the old installation"]["count"] == 1
    assert not any(pair.new.installation.read(BUDGETS.name))


def test_every_budget_is_carried_over_to_the_pico_dollar(
    pair: Pair, on: Callable[..., Any]
) -> None:
    old, new, later = pair.old.installation, pair.new.installation, "--invoices-later"
    old.stop(old.workers[1])
    dry = on(pair.new, *carry(pair, "--dry-run", later))
    assert (dry["state"], dry["open"]) == ("planned", [])
    assert not any(new.read(BUDGETS.name))
    written = on(pair.new, *carry(pair, later))
    assert (written["state"], written["records"]) == ("written", dry["records"])
    new.start_sink()
    new.start_worker()
    new.wait_consumed()
    done = on(pair.new, *carry(pair, later))
    assert (done["state"], done["differences"], done["compared"]) == ("complete", [], 4)
    pair.new.wait_rows("ceiling", 1)
    for customer in CUSTOMERS:
        assert budget(on, pair.new, customer) == budget(on, pair.old, customer)
    assert budget(on, pair.new, "acme")["usd"][0] == "10.249999999999"
    assert budget(on, pair.new, "umbrella")["unit"][:2] == ("0", "0")


def test_numbers_follow_when_the_old_periods_are_closed(pair: Pair, on: Callable[..., Any]) -> None:
    old, new = pair.old.installation, pair.new.installation
    before = said(new)
    old.start_worker()
    on(pair.old, "invoice", "close", "--all")
    say(old, "credit", "globex", amount="0.40", reason="an outage")
    pair.old.wait_rows("credit", 1)
    old.stop(old.workers[-1])
    done = on(pair.new, *carry(pair))
    assert (done["state"], done["invoice_numbers_later"]) == ("complete", 0)
    assert done["records"]["grants"] == {"all": 8, "there_before": 8}
    assert done["records"]["invoice numbers"] == {"all": 3, "there_before": 0}
    after = said(new)
    assert before < after
    assert {kind for kind, _ in after - before} == {"terms", "credit"}
    on(pair.new, *carry(pair))
    assert said(new) == after


def said(installation: Installation) -> set[tuple[str, bytes]]:
    """What stands on `budgets`, by kind; nothing of it twice."""
    values = [record.value for part in installation.read(BUDGETS.name) for record in part]
    assert len(set(values)) == len(values)
    return {(json.loads(value)["kind"], value) for value in values}


def budget(on: Callable[..., Any], billed: Billed, customer: str) -> dict[str, Any]:
    """What a customer can spend: by denomination, with its limits and every open grant."""
    found = on(billed, "budget", customer, "--json")
    told: dict[str, Any] = {
        name: (one["left"], one["available"], one["later"])
        for name, one in found["balances"].items()
    }
    names = ("denomination", "left", "priority", "effective_at", "expires_at", "resets")
    told["grants"] = sorted(
        [str([one[name] for name in (*names, "rollover_max")]) for one in found["grants"]
         if one["state"] != "expired" and one["left"] != "0"]
    )  # fmt: skip
    told["limits"] = found["limits"]
    return told


def test_the_new_installation_goes_on_with_numbers_periods_and_plans(
    pair: Pair, on: Callable[..., Any]
) -> None:
    new = pair.new.installation
    on(pair.new, "rates", "assign", "acme", "--card", "pro", "--anchor-day", str(NEXT_END.day))
    on(pair.new, "rates", "assign", "globex", "--card", "pro", "--anchor-day", str(NEXT_END.day))
    pair.new.call("acme", "b-1", IN_NEW, cost="0.5")
    # Of the period that the old installation has closed: the first invoice here charges it.
    pair.new.call("acme", "b-2", IN_OLD, cost="0.5")
    pair.new.call("hooli", "h-1", IN_NEW, units=1)
    pair.new.wait_rows("usage", 3)
    new.wait_consumed()
    on(pair.new, "invoice", "close", "acme")
    on(pair.new, "invoice", "close", "globex")
    told = {issue.number: issue for issue in pair.new.issues()}
    assert sorted(told) == ["acme-0002", "globex-0002"]
    acme, globex = told["acme-0002"], told["globex-0002"]
    at = [int(one.timestamp() * 10**6) for one in (END, NEXT_END)]
    assert [acme.period_from, acme.period_to] == at
    # The fee, a call and its cost with 20 %; and the same for the late one, without a fee.
    assert [(t.currency, t.amount) for t in acme.totals] == [("USD", "11.4")]
    assert {line.label for line in acme.lines} == {f"{END:%Y-%m-%d}", "before"}
    assert [(t.currency, t.amount) for t in globex.totals] == [("USD", "9.6")]
    # Who is new gets the default plan, who had spent it does not.
    assert budget(on, pair.new, "hooli")["unit"][0] == "999"
    assert budget(on, pair.new, "umbrella")["unit"][0] == "0"


def test_both_are_audited_without_a_difference(pair: Pair, on: Callable[..., Any]) -> None:
    for billed in (pair.old, pair.new):
        assert on(billed, "audit", "--json", "--jobs=1")["verdict"] == "equal"
        assert billed.differences() == []
    done = on(pair.new, *carry(pair))
    assert (done["state"], done["compared"], done["differences"]) == ("complete", 0, [])


def test_an_old_installation_that_went_on_is_found_out(pair: Pair, on: Callable[..., Any]) -> None:
    old = pair.old.installation
    old.start_worker()
    pair.old.call("acme", "a-9", IN_OLD, cost="0.01")
    pair.old.wait_rows("usage", 5)
    old.stop(old.workers[-1])
    assert "the old one went on" in on(pair.new, *carry(pair)[:-1], code=2)
