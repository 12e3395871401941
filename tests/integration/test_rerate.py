"""Rating anew on real servers: what ClickHouse says of entries and their adjustments, and the whole
way from a model without a price to a corrected bill that the audit agrees with."""

import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from schemas import codec
from schemas.money import PICO, parse_signed_amount
from schemas.structs import AdjustmentEntry, UsageEntry
from schemas.topics import BUDGETS, USAGE
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows
from streams.adapters.memory_sink import MemoryLog
from streams.app.rerating import Rerating, adjustments, rerate_entries
from streams.domain.budget import available
from streams.domain.context import CatalogView, Context
from streams.domain.drafts import draft
from streams.domain.limits import used_at
from streams.domain.months import Period
from streams.embedded.endpoints import Endpoints
from streams.invoicing.asof import read_cut
from streams.invoicing.balance import budget_report
from streams.invoicing.draft import draft_invoice
from streams.invoicing.rerating import Choice, grant_terms, rated_usage, unknown_models
from tests.builders import (
    DAY_US,
    NOON_US,
    SECOND_US,
    book,
    catalog_record,
    catalog_view,
    cycle,
    fact,
    grant,
    json_of,
    state,
    usage,
)
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.property.seed import SEED
from tests.sinks import drain, migrated_database
from tests.whole import Command, command_of, with_tables

if TYPE_CHECKING:
    from streams.embedded.stack import EmbeddedStack

WAIT_SECONDS: Final = 90.0
EVERYTHING = Period(0, 0, 0, 2**52)
CUSTOMERS: Final = ("acme", "globex")


@pytest.fixture
def clickhouse(endpoints: Endpoints, unique_name: str) -> Iterator[ClickHouse]:
    with migrated_database(endpoints, unique_name) as found:
        yield found


class Books:
    """A partition whose ledger is in ClickHouse, with a catalog that changes."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse
        self.view: CatalogView = catalog_view(
            prices=book(small={"input": "3"}), provisional_usd_per_million_tokens="15"
        )
        self.state = state()
        self.entries: list[Any] = []
        self.log = MemoryLog("ledger", 0)
        self.offset = 0
        self.at_us = NOON_US

    @property
    def context(self) -> Context:
        return self.view.context()

    async def take(self, *bodies: Any) -> None:
        facts = []
        for body in bodies:
            self.offset += 1
            facts.append(fact(body, self.offset, self.at_us))
        result = cycle(self.state, *facts, context=self.context, at_us=self.at_us)
        assert not result.rejected
        self.entries += result.entries
        for entry in result.entries:
            self.log.append(codec.encode(entry))
        await drain(self.log, ClickHouseRows(self.clickhouse))

    def rerate(self, **choice: Any) -> Rerating:
        cut = read_cut(self.clickhouse)
        found = rated_usage(self.clickhouse, cut, Choice(**choice), 10_000)
        return rerate_entries(found, self.context)

    async def apply(self, found: Rerating) -> None:
        grants = sorted({name for one in found.corrections for name in one.entry.paid})
        terms = grant_terms(self.clickhouse, CUSTOMERS, grants)
        await self.take(*adjustments(found.corrections, terms))

    def check(self) -> None:
        """ClickHouse, the accounts and the reference agree."""
        for customer, account in self.state.accounts.items():
            report = budget_report(self.clickhouse, customer)
            assert report is not None
            assert report.used.charged_pico.get("USD", 0) == account.used_pico_usd
            assert report.used.events == account.events
            now_us = self.state.progress.domain_time_us
            for balance in report.balances:
                assert balance.left == available(account, balance.denomination, now_us)
                parts = balance.burnt + balance.expired + balance.later + balance.left
                assert parts == balance.granted
            assert [(one.agent_id, one.used) for one in report.limits] == [
                (one.agent_id, used_at(one, now_us)) for one in account.limits
            ]
            found = draft_invoice(self.clickhouse, customer, EVERYTHING)
            assert found is not None
            assert found.draft == draft(self.entries, customer, EVERYTHING)


def limits(*agents: str) -> list[Any]:
    """Dollar limits: of the customer in each day, of agents in all."""
    return [
        codec.decode_budget(
            json_of(
                "acme",
                f"limit-{agent}",
                {"kind": "limit", "denomination": "usd", "amount": "5"}
                | ({"resets": "day"} if agent == "all" else {"agent_id": agent}),
            )
        )
        for agent in agents
    ]


def override(name: str, version: str, **fields: Any) -> Any:
    return catalog_record("price_override", id=name, version=version, **fields)


async def test_what_clickhouse_says_of_corrected_usage_is_what_the_account_says(
    clickhouse: ClickHouse,
) -> None:
    books, chance = Books(clickhouse), random.Random(SEED)
    await books.take(
        grant("acme", "g1", "usd", "0.0002", priority=1),
        grant("acme", "g2", "usd", "0.0004", priority=2, resets="month"),
        grant("globex", "g3", "usd", "1"),
        *limits("all"),
    )
    for step in range(4):
        books.at_us += chance.choice((SECOND_US, DAY_US))
        await books.take(
            *(
                usage(
                    customer,
                    f"e{step}-{number}",
                    provider="lab",
                    model=chance.choice(("small", "new", "newer")),
                    agent_id=chance.choice(("agent", "later", "other")),
                    tokens={"input": chance.randrange(1, 20)},
                    quantities={"web_searches": 1} if number % 3 == 0 else None,
                    conditions={"processing": "batch"} if number % 4 == 0 else None,
                )
                for customer in CUSTOMERS
                for number in range(8)
            )
        )
    await books.take(*limits("later", "agent"))
    books.check()
    unpriced = sum(
        isinstance(one, UsageEntry) and one.cost_basis == "unpriced" for one in books.entries
    )
    assert len(books.rerate().unpriced) == unpriced > 10
    prices = ("1", "40", "0.5")
    for version, price in enumerate(prices, 1):
        rates = {"input": {"base": price}}
        clause = {"starts_with": "new"}
        books.view.fold(
            books.view.next_offset, override("o", str(version), match=clause, rates=rates)
        )
        chosen = {} if version == 1 else {"from_version": f"o@{version - 1}"}
        found = books.rerate(**chosen)
        assert len(found.corrections) == unpriced
        books.at_us += SECOND_US
        await books.apply(found)
        books.check()
        again = books.rerate(from_version=f"o@{version}")
        assert (again.corrections, again.unpriced, again.unchanged) == ([], [], unpriced)
        assert books.rerate(**chosen).corrections == []
    costs: dict[str, int] = {}
    for entry in books.entries:
        if isinstance(entry, UsageEntry | AdjustmentEntry):
            key = entry.entry_id if isinstance(entry, UsageEntry) else entry.adjusted_entry
            costs[key] = costs.get(key, 0) + charged_pico(entry)
    for entry in books.entries:
        if isinstance(entry, UsageEntry) and entry.model != "small":
            assert costs[entry.entry_id] == entry.input_tokens * PICO // 2 // 10**6


def charged_pico(entry: UsageEntry | AdjustmentEntry) -> int:
    return parse_signed_amount(entry.cost) + parse_signed_amount(entry.provisional)


async def test_what_waits_for_a_price_is_listed_until_it_has_one(clickhouse: ClickHouse) -> None:
    books = Books(clickhouse)
    await books.take(
        *(
            usage("acme", f"e{n}", provider="lab", model="new", tokens={"input": 10**6})
            for n in range(3)
        ),
        usage("globex", "e4", provider="lab", model="new", tokens={"input": 1}),
        usage(
            "acme",
            "e5",
            provider="lab",
            model="small",
            tokens={"input": 1},
            quantities={"tool_calls": 1},
        ),
        usage("acme", "e6", provider="lab", model="small", tokens={"input": 1}),
    )
    new, partly = unknown_models(clickhouse, 10)
    assert (new.provider, new.model, new.events, new.customers) == ("lab", "new", 4, 2)
    assert (new.tokens, new.provisional_pico) == (3 * 10**6 + 1, 45 * PICO + 15 * 10**6)
    assert (partly.model, partly.events, partly.partly) == ("small", 1, 1)
    rates = {"input": {"base": "1"}}
    books.view.fold(
        books.view.next_offset, override("o", "1", match={"equals": "new"}, rates=rates)
    )
    of_acme = books.rerate(customer_id="acme")
    assert len(of_acme.corrections) == 3
    assert books.rerate(model="small").corrections == []
    assert books.rerate(since_us=NOON_US, until_us=NOON_US).corrections == []
    assert len(books.rerate(since_us=NOON_US, until_us=NOON_US + 1).corrections) == 4
    await books.apply(of_acme)
    assert [one.events for one in unknown_models(clickhouse, 10)] == [1, 1]


async def test_tokens_by_flow_show_the_cost_as_it_has_been_corrected(
    clickhouse: ClickHouse,
) -> None:
    books = Books(clickhouse)
    fields = {"provider": "lab", "tokens": {"input": 10**6}, "source": "charge-tokens"}
    await books.take(
        *(usage("acme", f"e{n}", model="new", agent_id="flow", **fields) for n in range(2)),
        usage("acme", "e3", model="small", agent_id="flow", **fields),
    )
    rates = {"input": {"base": "1"}}
    books.view.fold(
        books.view.next_offset, override("o", "1", match={"equals": "new"}, rates=rates)
    )
    found = books.rerate()
    await books.apply(Rerating(found.version, found.corrections[:1], [], 0))
    rows = clickhouse.query(
        "SELECT model, operations, input_tokens, toString(cost), unpriced FROM tokens_by_flow "
        "WHERE user_id = 'acme' AND flow_id = 'flow' ORDER BY model"
    ).rows
    assert [tuple(row) for row in rows] == [
        ("new", 2, 2 * 10**6, "1", 1),
        ("small", 1, 10**6, "3", 0),
    ]
    (line,) = clickhouse.query(
        "SELECT cost, provisional, calls FROM monthly_usage WHERE cost_basis = 'adjusted'"
    ).rows
    assert [float(value) for value in line] == [1, -15, 0]


# --- the commands --------------------------------------------------------------------------------


@pytest.fixture
def installation(stack: "EmbeddedStack", tmp_path: Path) -> Iterator[Installation]:
    endpoints, name = stack.endpoints(), f"rerate_{secrets.token_hex(4)}"
    with with_tables(endpoints, name, tmp_path / "home") as (made, _):
        yield made


@pytest.fixture
def tollgate(
    installation: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    return command_of(installation, monkeypatch, capsys)


def output(command: Command, arguments: Sequence[str], wanted: Callable[[int, str], bool]) -> str:
    """The output of a command once it is as wanted."""
    last: tuple[int, str, str] = (0, "", "")

    def asked() -> bool:
        nonlocal last
        last = command(*arguments)
        return wanted(*last[:2])

    until(asked, lambda: f"{' '.join(arguments)}, last {last}", WAIT_SECONDS, 0.1)
    return last[1]


def test_usage_without_a_price_is_found_priced_corrected_once_and_audited(
    installation: Installation, tollgate: Command
) -> None:
    sink = installation.start_sink()
    worker = installation.start_worker()
    for customer in CUSTOMERS:
        amount = {"kind": "grant", "denomination": "usd", "amount": "9"}
        installation.produce(BUDGETS.name, [json_of(customer, "g", amount)], key=customer)
        fields = {"provider": "house", "model": "own-1", "tokens": {"input": 100_000}}
        events = [json_of(customer, f"e{n}", fields) for n in range(4)]
        installation.produce(USAGE.name, events, key=customer)
    waiting = output(tollgate, ["prices", "unknown", "--json"], lambda _, out: '"events": 8' in out)
    assert json.loads(waiting)["provisional"] == "12"
    assert tollgate("prices", "show", "own-1", "--provider=house")[0] == 1
    code, out, _ = tollgate(
        "prices", "override", "own", "--match=starts_with=own-", "--rate=input=10"
    )
    assert (code, out) == (0, "in force: own@1\n")
    assert tollgate("prices", "show", "own-1", "--provider=house")[0] == 0
    assert "own@1" in tollgate("prices", "list", "--overrides")[1]
    assert tollgate("prices", "diff")[0] == 0
    code, out, _ = tollgate("prices", "list", "--provider=openai", "--model=gpt-4o", "--json")
    listed = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert "openai/gpt-4o" in {one["model"] for one in listed}
    code, out, err = tollgate("rerate")
    assert code == 0, err
    assert "8 entries to correct by -4 USD" in out
    code, out, _ = tollgate("rerate", "--apply", "--json")
    assert (code, json.loads(out)["appended"]) == (0, 8)
    # Until its rows are there, another run is refused or finds nothing.
    done = output(tollgate, ["rerate", "--json"], lambda code, _: code == 0)
    assert json.loads(done)["looked_at"] == 0
    left = json.loads(tollgate("budget", "acme", "--json")[1])
    assert left["used"]["charged"] == {"USD": "4"}
    assert left["balances"]["usd"]["available"] == "5"
    assert installation.stop(worker) == 0
    sink.kill()
    sink.wait()
    audit = subprocess.run(
        [sys.executable, "-m", "streams", "audit", "--json"],
        env=os.environ | installation.settings.environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr
    said = json.loads(audit.stdout)
    assert sum(float(part["cost"].get("USD", 0)) for part in said["partitions"]) == 8
