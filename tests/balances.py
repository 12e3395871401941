"""Random histories of a customer and a task, loaded into ClickHouse by the sink, and what commands
tell of them compared with what their owner answers: for tests of reports."""

import json
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import schemas.rpc as rpc
from schemas import codec
from schemas.structs import BudgetRecord, Expiry, Extension, LedgerEntry, Release
from schemas.times import format_time
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.memory_sink import MemoryLog
from streams.cli.budget import budget_dict
from streams.cli.tasks import task_dict
from streams.domain.decisions import InvalidAskError, View
from streams.domain.standing import account_answer
from streams.gateway import told
from streams.invoicing.balance import budget_report
from streams.invoicing.task import task_report
from tests.builders import DAY_US, HOUR_US, context, grant, json_of, usage
from tests.gateway_fakes import FRESH
from tests.owned_account import Owned
from tests.sinks import drain

STEPS: Final = 120
AGENTS: Final = ("", "a1", "a2")
JOB: Final = "job/1"


def budget_record(kind: str, account: str, event_id: str, **fields: Any) -> BudgetRecord:
    """A limit or a ceiling."""
    return codec.decode_budget(json_of(account, event_id, {"kind": kind} | fields))


async def load(clickhouse: ClickHouse, entries: Sequence[LedgerEntry]) -> None:
    """The rows, by the sink."""
    log = MemoryLog("ledger", 0)
    for entry in entries:
        log.append(codec.encode(entry))
    await drain(log, ClickHouseRows(clickhouse))


# --- what the owner answers, in the words of the API ---------------------------------------------


def owner_answer(owned: Owned, kind: rpc.AccountKind, name: str, now_us: int) -> rpc.AccountAnswer:
    accounts = owned.state.tasks if kind == "task" else owned.state.accounts
    return account_answer(
        kind, name, View(accounts.get(name)), owned.context, now_us, FRESH, with_holds=True
    )


def assert_as_the_owner(clickhouse: ClickHouse, owned: Owned, now_us: int) -> Any:
    """`tollgate budget` and `GET /v1/customers/acme/budget`; returns the former."""
    answer = owner_answer(owned, "customer", "acme", now_us)
    api = json.loads(codec.encode(told.budget(answer)))
    report = budget_report(clickhouse, "acme", now_us)
    assert report is not None
    assert report.now_us == now_us
    found = budget_dict(report)
    for balance in api["balances"]:
        mine = found["balances"][balance["denomination"]]
        assert {name: mine[name] for name in ("available", "held")} == {
            name: balance[name] for name in ("available", "held")
        }, balance
    used = {balance["denomination"]: balance["used"] for balance in api["balances"]}
    assert str(found["used"]["units"]) == used["unit"]
    assert str(found["used"]["tokens"]) == used["token"]
    assert found["used"]["charged"].get("USD", "0") == used["usd"]
    assert found["used"]["events"] == api["events"]
    shared = ("agent_id", "denomination", "amount", "used", "held", "resets")
    assert [{name: one[name] for name in shared} for one in found["limits"]] == [
        {name: one[name] for name in shared} for one in api["limits"]
    ]
    assert found["holds"] == json.loads(codec.encode(told.holds(answer)))
    assert_grants_add_up(found)
    return found


def assert_grants_add_up(found: Any) -> None:
    for one in found["grants"]:
        assert Fraction(one["granted"]) == Fraction(one["burnt"]) + Fraction(one["left"])
        assert min(Fraction(one["burnt"]), Fraction(one["left"])) >= 0
    for name, balance in found["balances"].items():
        own = [one for one in found["grants"] if one["denomination"] == name]
        assert len({one["grant_id"] for one in own}) == len(own)
        parts = ("burnt", "expired", "later", "left")
        assert sum(Fraction(balance[part]) for part in parts) == Fraction(balance["granted"])


# --- random histories ----------------------------------------------------------------------------


class History:
    """Whatever can happen to a customer and a task, in any order."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.owned = Owned(context([("unit", "60")], holds_max=200))
        self.placed: list[str] = []
        self.placed_by_task: list[str] = []
        self.number = 0

    def run(self) -> Owned:
        for _ in range(STEPS):
            self.number += 1
            step = self.chance.choice(
                (
                    *(self.ask, self.ask, self.use, self.use, self.use_oldest),
                    *(self.give_grant, self.set_limit, self.release, self.expire, self.extend),
                    *(self.owned.fold, self.wait, self.set_ceiling),
                )
            )
            step()
        self.owned.settle()
        return self.owned

    def ask(self) -> None:
        agent = self.chance.choice(AGENTS) or None
        more: dict[str, Any] = {"agent_id": agent, "estimate": str(self.chance.randrange(12))}
        more["denomination"] = self.chance.choice(("unit", "unit", "token", "usd"))
        if self.chance.random() < 0.4:
            more["task_ref"] = JOB
            of_task = {"account_kind": "task", "account_id": JOB, "task_ceiling": "40"}
            held = self._ask(**more | of_task)
            if held is None:
                return
            self.placed_by_task.append(held)
            more["task_reservation_id"] = held
        held = self._ask(**more)
        if held is not None:
            self.placed.append(held)

    def _ask(self, **more: Any) -> str | None:
        offset = self.owned.offsets["preflights"]
        self.number += 1
        try:
            made = self.owned.ask(f"k{self.number}", **more)
        except InvalidAskError:
            return None
        return f"1-0-{offset}" if made.approved else None

    def use(self) -> None:
        more: dict[str, Any] = {}
        if self.placed and self.chance.random() < 0.6:
            more["reservation_id"] = self.chance.choice(self.placed)
        self._use(**more)

    def use_oldest(self) -> None:
        self._use(settles_oldest=True)

    def _use(self, **more: Any) -> None:
        agent = self.chance.choice(AGENTS)
        if agent:
            more["agent_id"] = agent
        if self.chance.random() < 0.3:
            more["task_ref"] = JOB
        if self.chance.random() < 0.4:
            more["tokens"] = {"input": self.chance.randrange(9), "reasoning": 1}
        if self.chance.random() < 0.4:
            more["cost"] = f"{self.chance.randrange(3)}.{self.chance.randrange(1, 9)}"
            more["currency"] = self.chance.choice(("USD", "USD", "EUR"))
        if "tokens" not in more and self.chance.random() < 0.2:
            more["usage_missing"] = True
        units = self.chance.randrange(9)
        self.owned.give(usage(event_id=f"u{self.number}", units=units, **more))

    def give_grant(self) -> None:
        more: dict[str, Any] = {"priority": self.chance.randrange(3)}
        begins_us = self.owned.now_us
        if self.chance.random() < 0.3:
            begins_us += self.chance.choice((-9, -1, 2)) * DAY_US
            more["effective_at"] = format_time(begins_us)
        if self.chance.random() < 0.4:
            more["expires_at"] = format_time(begins_us + self.chance.choice((3, 20)) * DAY_US)
        more |= self._periods()
        if "resets" in more and self.chance.random() < 0.6:
            more["rollover_max"] = str(self.chance.randrange(30))
        denomination = self.chance.choice(("unit", "token", "usd"))
        amount = str(self.chance.randint(1, 25))
        self.owned.give(
            grant(event_id=f"g{self.number}", denomination=denomination, amount=amount, **more)
        )

    def set_limit(self) -> None:
        more = self._periods()
        if self.chance.random() < 0.8:
            more["amount"] = str(self.chance.randrange(60))
        if self.chance.random() < 0.5:
            more["agent_id"] = self.chance.choice(AGENTS[1:])
        denomination = self.chance.choice(("unit", "token", "usd"))
        more["denomination"] = denomination
        self.owned.give(budget_record("limit", "acme", f"l{self.number}", **more))

    def _periods(self) -> dict[str, Any]:
        if self.chance.random() < 0.4:
            return {}
        periods: dict[str, Any] = {"resets": self.chance.choice(("day", "week", "month"))}
        if self.chance.random() < 0.6:
            days = self.owned.now_us // DAY_US - self.chance.choice((0, 3, 17))
            periods["anchor"] = format_time(days * DAY_US)
        return periods

    def release(self) -> None:
        if self.placed:
            self.owned.about(Release, self.chance.choice(self.placed))
        if self.placed_by_task and self.chance.random() < 0.3:
            name = self.chance.choice(self.placed_by_task)
            self.owned.about(Release, name, account_kind="task", account_id=JOB)

    def extend(self) -> None:
        if self.placed:
            ends_us = self.owned.now_us + 5 * HOUR_US
            self.owned.about(Extension, self.chance.choice(self.placed), expires_at=ends_us)

    def expire(self) -> None:
        if self.placed:
            self.owned.settle()
            self.owned.now_us += 2 * HOUR_US
            self.owned.about(Expiry, self.chance.choice(self.placed))

    def wait(self) -> None:
        self.owned.fold()
        self.owned.now_us += self.chance.choice((1, 7, 24, 24 * 6, 24 * 33)) * HOUR_US

    def set_ceiling(self) -> None:
        fields = {"denomination": "unit", "amount": str(self.chance.randrange(1, 50))}
        self.owned.give(budget_record("ceiling", JOB, f"c{self.number}", **fields))


def assert_task_as_the_owner(clickhouse: ClickHouse, owned: Owned) -> Any:
    """`tollgate tasks show` and `GET /v1/tasks/{ref}`; returns the former."""
    answer = owner_answer(owned, "task", JOB, owned.state.progress.domain_time_us)
    report = task_report(clickhouse, JOB)
    if not answer.known:
        assert report is None
        return None
    assert report is not None
    found = task_dict(report)
    assert found["calls"] == answer.events
    assert found["used_in_all"] == {one.denomination: one.used for one in answer.balances}
    if answer.task is None:
        assert found["denomination"] is None
        return found
    left = str(found["remaining"])
    api = json.loads(codec.encode(told.task(answer, answer.task, left, found["exceeded"])))
    del api["as_of"]
    assert {name: found[name] for name in api} == api
    free = Fraction(api["ceiling"]) - Fraction(api["used"]) - Fraction(api["held"])
    assert Fraction(left) == max(0, free)
    return found
