"""Every query of every dashboard, run as the analyst on rows of every kind."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from schemas.budget import Denomination
from schemas.structs import (
    AdjustmentEntry,
    Attribution,
    Burn,
    ClosingEntry,
    CreditEntry,
    CycleEntry,
    DeadLetter,
    DecisionEntry,
    GrantEntry,
    InvoiceCloseEntry,
    InvoiceIssueEntry,
    InvoiceLine,
    InvoiceTotal,
    InvoiceVoidEntry,
    LimitEntry,
    ResolutionEntry,
    Segment,
    SignalEntry,
    TermsEntry,
    UsageEntry,
)
from schemas.times import MICROSECONDS, parse_time_us
from streams.adapters.clickhouse import ClickHouse, ClickHouseAddress
from streams.embedded.clickhouse import DATABASE
from streams.embedded.stack import EmbeddedStack
from tests.grafana import View, dashboards, expand, queries
from tests.planted import Planted, analysed

SEPTEMBER, OCTOBER, END = (
    parse_time_us(f"2026-{month}-01T00:00:00Z") for month in ("09", "10", "11")
)
ODD: Final = "o'hara"
"""A customer whose name ends a text where it is not quoted."""
NUMBERS: Final = ("Int", "UInt", "Float")
DRAWN: Final = "toDateTime64('2026-11-02 00:00:00', 6, 'UTC')"
DRAFT: Final = f"""
INSERT INTO draft_lines (run, drawn_at, customer_id, period, line, amount, currency)
VALUES ('r', {DRAWN}, 'acme', '2026-11', 1, 12, 'USD')
"""
DRAFT_RUN: Final = f"INSERT INTO draft_runs VALUES ('r', {DRAWN}, 1, 1)"


def usage(books: Planted) -> None:
    more = {"agent_id": "support", "provider": "openai", "price_version": "p@1", "input_tokens": 7}
    for day in range(1, 21):
        at = f"2026-10-{day:02d}T09:00:00Z"
        for customer, model in (("acme", "gpt-4o"), (ODD, "gpt-4o-mini")):
            fields = more | {"customer_id": customer, "model": model, "units": 3}
            burns = [Burn(grant_id="g", denomination=Denomination.USD, amount="0.5")]
            books.entry(
                UsageEntry, at, cost="0.5", cost_basis="priced", burns=burns, trace_id="t", **fields
            )
    fields = {"cost_basis": "unpriced", "provisional": "0.25", "success": False, "model": "new"}
    books.entry(UsageEntry, "2026-10-21T09:00:00Z", **more | fields, settlement="not_found")
    fields = {"cost": "1", "cost_basis": "reported", "currency": "EUR", "model": "new"}
    books.entry(UsageEntry, "2026-10-21T09:00:00Z", **more | fields)
    fields = {"adjusted_entry": "1-usage-0-0-0", "charged_at": 0, "charged_generation": 1}
    books.entry(
        AdjustmentEntry,
        "2026-10-02T09:00:00Z",
        model="gpt-4o",
        provider="openai",
        cost="-0.1",
        cost_basis="adjusted",
        charged_sequence=0,
        **fields,
    )


def outcomes(books: Planted) -> None:
    at = "2026-10-05T10:00:00Z"
    signal = books.entry(
        SignalEntry, at, signal_name="closed", agent_id="support", topic="signals", quantity=2
    )
    cause = {"customer_id": "acme", "cause": "usage", "trace_id": "t"}
    books.entry(
        Attribution,
        at,
        role="share",
        cost_entry="1-usage-0-0-0",
        signal_entry=signal,
        signal_name="closed",
        amount="0.5",
        currency="USD",
        **cause,
    )


def budgets(books: Planted) -> None:
    at = "2026-10-06T10:00:00Z"
    money = {"denomination": "usd", "amount": "10", "topic": "budgets"}
    books.entry(GrantEntry, at, priority=1, effective_at=0, reason="welcome", **money)
    books.entry(LimitEntry, at, **money)
    for hold, approved in (("h1", True), ("h2", True), ("h3", False)):
        reason = "" if approved else "budget_exhausted"
        books.entry(
            DecisionEntry,
            at,
            agent_id="support",
            approved=approved,
            reason=reason,
            reservation_id=hold,
            expires_at=END,
            **money,
        )
    ended = {"closed_as": "expired", "released": "10", "agent_id": "support"}
    books.entry(ClosingEntry, at, reservation_id="h2", **ended, **money)


def invoices(books: Planted) -> None:
    at = END + 3600 * MICROSECONDS
    about = {"zone": "UTC", "topic": "budgets"}
    books.entry(TermsEntry, "2026-10-01T00:00:00Z", plan="pro", anchor_day=1, **about)
    books.entry(CreditEntry, "2026-10-07T00:00:00Z", amount="2", reason="sorry", topic="budgets")
    for customer, number in (("acme", "acme-0001"), (ODD, "~x-0001")):
        books.entry(
            InvoiceCloseEntry,
            at,
            customer_id=customer,
            number=number,
            label="2026-10",
            period_from=OCTOBER,
            period_to=END,
            segments=[Segment(card="pro", version="1", from_us=OCTOBER, to_us=END)],
            cut_generation=1,
            cut_sequence=len(books.rows["ledger"]),
            **about,
        )
    issue(books, at, "acme-0001", "invoice", "42")
    books.entry(
        InvoiceVoidEntry,
        at,
        number="acme-0002",
        voids="acme-0001",
        note="wrong",
        reissue=True,
        topic="budgets",
    )
    issue(books, at, "acme-0002", "credit_note", "-40", voids="acme-0001")


def issue(books: Planted, at: int, number: str, document: str, amount: str, **more: Any) -> None:
    own: dict[str, Any] = {"label": "2026-10", "from_us": OCTOBER, "to_us": END, "currency": "USD"}
    lines = [
        InvoiceLine(
            line=1,
            line_kind="usage",
            item="calls",
            title="Calls",
            card="pro@1",
            metric="calls",
            quantity="20",
            amount=amount,
            **own,
        ),
        InvoiceLine(
            line=2,
            line_kind="usage",
            corrects="acme-0000",
            item="calls",
            title="Calls",
            amount="1",
            **own | {"label": "2026-09", "from_us": SEPTEMBER, "to_us": OCTOBER},
        ),
    ]
    books.entry(
        InvoiceIssueEntry,
        at,
        number=number,
        document=document,
        label="2026-10",
        period_from=OCTOBER,
        period_to=END,
        digest="0" * 64,
        lines=lines,
        totals=[InvoiceTotal(currency="USD", amount=amount)],
        topic="budgets",
        **more,
    )


def the_rest(books: Planted) -> None:
    at = "2026-10-08T10:00:00Z"
    letter = books.entry(DeadLetter, at, code="conflict", reason="other content", record_key="YQ==")
    books.entry(DeadLetter, at, code="too_old", reason="older than the horizon")
    books.entry(ResolutionEntry, at, letter_id=letter, resolution="discarded", note="known")
    books.entry(
        CycleEntry,
        at,
        catalog_offset=0,
        rules_version=1,
        consumed=[],
        accepted=0,
        duplicates=0,
        conflicts=0,
        dead_letters=0,
        dead_letter_sequence=0,
    )


@pytest.fixture(scope="module")
def analyst(stack: EmbeddedStack) -> Iterator[ClickHouse]:
    """The analyst's connection to a database with rows of every kind."""
    books = Planted()
    for plant in (usage, outcomes, budgets, invoices, the_rest):
        plant(books)
    with analysed(stack.endpoints(), books, DRAFT, DRAFT_RUN) as found:
        yield found


class Answered:
    """Columns with their types, and rows of texts."""

    def __init__(self, analyst: ClickHouse, sql: str) -> None:
        lines = [json.loads(line) for line in analyst.text(sql, "rows").splitlines()]
        self.columns: list[tuple[str, str]] = list(zip(lines[0], lines[1], strict=True))
        self.rows: list[list[str]] = lines[2:]


def view(analyst: ClickHouse, dashboard: Any) -> View:
    """All customers, agents and models; of one-value variables the first."""
    span = (OCTOBER // MICROSECONDS, END // MICROSECONDS + 86_400, 3600)
    values: dict[str, list[str]] = {}
    everything = set()
    for one in dashboard["templating"]["list"]:
        if one["type"] == "query":
            sql = expand(one["query"]["rawSql"], View(*span, {}))
            options = [row[0] for row in Answered(analyst, sql).rows]
        else:
            options = [option["value"] for option in one["options"]] or ["tollgate-clickhouse"]
        assert options, one["name"]
        values[one["name"]] = options if one["multi"] else options[:1]
        if one["includeAll"]:
            everything.add(one["name"])
    return View(*span, values, frozenset(everything))


def shown(kind: str) -> str:
    for wrapper in ("Nullable(", "LowCardinality("):
        kind = kind.removeprefix(wrapper)
    return kind


def assert_fits(panel: Any, answered: Answered) -> None:
    """Whether a panel of this kind can show these columns."""
    kinds = [shown(kind) for _, kind in answered.columns]
    numeric = [kind.startswith(NUMBERS) for kind in kinds]
    match panel["type"]:
        case "stat":
            assert numeric == [True]
            assert len(answered.rows) == 1
        case "timeseries":
            assert answered.columns[0][0] == "time"
            assert kinds[0].startswith("DateTime")
            if not all(numeric[1:]):  # The series, and one value.
                assert numeric[1:] == [False, True]
                assert kinds[1].startswith("String")
        case "barchart" | "piechart":
            assert kinds[0].startswith("String")
            assert numeric[1:]
            assert all(numeric[1:])
        case "table":
            assert not [kind for kind in kinds if kind.startswith(("Array", "Tuple", "Map"))]
    # The plugin would show a Decimal as a text, or not at all.
    assert not [kind for kind in kinds if kind.startswith(("Decimal", "Int256", "UInt256"))]
    assert not [kind for kind in kinds if kind.startswith(("Int128", "UInt128"))]
    overridden = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
    assert overridden <= {name for name, _ in answered.columns}


@pytest.mark.parametrize("dashboard", dashboards(), ids=lambda one: str(one["uid"]))
def test_every_panel_shows_something_to_the_analyst(analyst: ClickHouse, dashboard: Any) -> None:
    chosen = view(analyst, dashboard)
    for panel, sql in queries(dashboard):
        try:
            answered = Answered(analyst, expand(sql, chosen))
            assert_fits(panel, answered)
        except Exception as fault:
            raise AssertionError(f"{panel['title']}:\n{expand(sql, chosen)}") from fault
        assert answered.rows, panel["title"]


@pytest.mark.parametrize("dashboard", dashboards(), ids=lambda one: str(one["uid"]))
def test_every_panel_takes_a_choice_of_some(analyst: ClickHouse, dashboard: Any) -> None:
    chosen = view(analyst, dashboard)
    some = {"customer": ["acme", ODD], "agent": ["support", ""], "model": ["gpt-4o", "new"]}
    values = {name: some.get(name, values) for name, values in chosen.values.items()}
    narrowed = View(chosen.from_s, chosen.to_s, chosen.interval_s, values)
    for panel, sql in queries(dashboard):
        assert Answered(analyst, expand(sql, narrowed)).rows, panel["title"]


def cell(analyst: ClickHouse, uid: str, title: str, **values: list[str]) -> list[list[str]]:
    (dashboard,) = [one for one in dashboards() if one["uid"] == uid]
    (sql,) = [sql for panel, sql in queries(dashboard) if panel["title"] == title]
    chosen = view(analyst, dashboard)
    everything = chosen.everything - values.keys()
    more = View(
        chosen.from_s, chosen.to_s, chosen.interval_s, {**chosen.values, **values}, everything
    )
    return Answered(analyst, expand(sql, more)).rows


def test_figures_are_those_of_the_rows(analyst: ClickHouse) -> None:
    money, budgets = "tollgate-money", "tollgate-budgets"
    assert cell(analyst, money, "Cost") == [["19.9"]]
    assert cell(analyst, money, "Cost", customer=[ODD]) == [["10"]]
    assert cell(analyst, money, "Cost", currency=["EUR"]) == [["1"]]
    assert cell(analyst, money, "Invoiced") == [["4"]]
    assert cell(analyst, money, "Calls") == [["42"]]
    assert cell(analyst, money, "Calls without a price") == [["1"]]
    assert cell(analyst, money, "Margin by customer in $period") == [
        [ODD, "0", "10", "-10", "ᴺᵁᴸᴸ"],
        ["acme", "2", "9.9", "-7.9", "-3.95"],
    ]
    assert cell(analyst, budgets, "Held now") == [["10"]]
    assert cell(analyst, budgets, "Refused preflights") == [["1"]]
    assert cell(analyst, "tollgate-invoices", "Closed, not issued yet") == [["1"]]
    assert cell(analyst, "tollgate-operations", "Rows missing") == [["0"]]
    assert cell(analyst, "tollgate-operations", "Open dead letters") == [["1"]]


def test_a_row_that_is_missing_is_seen(stack: EmbeddedStack, analyst: ClickHouse) -> None:
    assert cell(analyst, "tollgate-operations", "Rows missing") == [["0"]]
    endpoints = stack.endpoints()
    address = ClickHouseAddress(
        endpoints.clickhouse_url, endpoints.clickhouse_user, endpoints.clickhouse_password, DATABASE
    )
    administrator = ClickHouse(address)
    administrator.execute(
        "ALTER TABLE dead_letters DELETE WHERE sequence = 0 SETTINGS mutations_sync = 2"
    )
    administrator.close()
    assert cell(analyst, "tollgate-operations", "Rows missing") == [["1"]]
