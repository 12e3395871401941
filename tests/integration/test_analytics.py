"""What analysts read: the answers of docs/analytics.md, sums that fit, and nobody else's rows."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from schemas import codec
from streams.adapters.clickhouse import ClickHouse, ClickHouseAddress
from streams.embedded.analysts import add_analyst, load_analysts, remove_analyst
from streams.embedded.endpoints import Endpoints
from streams.embedded.home import Home
from streams.embedded.ports import LOOPBACK
from streams.embedded.stack import EmbeddedStack, StackOptions
from streams.errors import FaultError, SetupError
from streams.invoicing.readers import CONDITIONS, CUSTOMERS_MAX, VIEWS, statements
from streams.shipped import clickhouse_migrations
from streams.sink.migrations import read_migrations
from tests.analysts_world import HUGE, golden
from tests.guard.repository import ROOT
from tests.sinks import clickhouse_database, migrated_database

GUIDE: Final = (ROOT / "docs" / "analytics.md").read_text("utf-8")
QUESTIONS: Final = dict(
    re.findall(r"^### (.+?)\n(.+?)(?=^##)", GUIDE, flags=re.MULTILINE | re.DOTALL)
)
COUNTS: Final = "draft_runs"
"""The one table of which a restricted analyst reads columns, and not rows."""
RESTRICTED: Final = "acme_finance"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("analysts"))


@pytest.fixture(scope="module")
def endpoints(home: Home) -> Iterator[Endpoints]:
    """A server of our own: users are read when it starts, and their rights are for one database."""
    add_analyst(home, RESTRICTED, ["acme"])
    options = StackOptions(root=home.root, kafka_bootstrap=f"{LOOPBACK}:1", fsync=False)
    with EmbeddedStack(options) as running:
        yield running.endpoints()


def reader(endpoints: Endpoints, user: str, secret: str) -> ClickHouse:
    return ClickHouse(
        ClickHouseAddress(endpoints.clickhouse_url, user, secret, "tollgate"), read_only=True
    )


@pytest.fixture(scope="module")
def admin(endpoints: Endpoints) -> Iterator[ClickHouse]:
    """The database with the rows of two customers."""
    with migrated_database(endpoints, "tollgate") as clickhouse:
        world = golden()
        for row in world.rows["ledger"]:
            codec.decode_entry(codec.encode(row))
        world.fill(clickhouse)
        for customer in ("acme", "globex"):
            clickhouse.execute(
                "INSERT INTO draft_lines (run, drawn_at, customer_id, period, line, amount) "
                f"VALUES ('r', '2026-11-10', '{customer}', '2026-11', 1, 7)"
            )
        clickhouse.execute("INSERT INTO draft_runs VALUES ('r', '2026-11-10', 2, 2)")
        yield clickhouse


@pytest.fixture(scope="module")
def analyst(endpoints: Endpoints, admin: ClickHouse) -> ClickHouse:
    assert admin is not None
    assert endpoints.analyst_user is not None, "the engine cannot be confined on this machine"
    return reader(endpoints, endpoints.analyst_user, str(endpoints.analyst_password))


@pytest.fixture(scope="module")
def restricted(endpoints: Endpoints, admin: ClickHouse, home: Home) -> ClickHouse:
    assert admin is not None
    return reader(endpoints, RESTRICTED, load_analysts(home)[0].password)


def texts(clickhouse: ClickHouse, sql: str) -> list[list[str]]:
    """Names and rows as ClickHouse writes them, nulls as nothing."""
    found = [json.loads(text) for text in clickhouse.text(sql, "rows").splitlines()]
    rows = [found[0], *found[2:]]
    return [["" if value == "ᴺᵁᴸᴸ" else value for value in row] for row in rows]


def total(clickhouse: ClickHouse, sql: str) -> dict[str, Decimal]:
    return {str(currency): Decimal(str(amount)) for currency, amount in clickhouse.query(sql).rows}


# --- the guide -----------------------------------------------------------------------------------


def test_the_guide_answers_at_least_a_dozen_questions() -> None:
    assert len(QUESTIONS) >= 12
    assert GUIDE.count("```sql") == len(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_has_the_answer_that_the_guide_gives(analyst: ClickHouse, question: str) -> None:
    page = QUESTIONS[question]
    (query,) = re.findall(r"```sql\n(.+?)\n```", page, flags=re.DOTALL)
    names, _rule, *rows = [row for row in page.splitlines() if row.startswith("|")]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in (names, *rows)]
    assert rows
    assert texts(analyst, query) == cells


# --- sums ----------------------------------------------------------------------------------------


def test_margins_sum_to_the_lines_and_to_the_ledger(admin: ClickHouse) -> None:
    lines = total(
        admin, "SELECT currency, sum(toDecimal256(amount, 12)) FROM invoice_lines GROUP BY currency"
    )
    costs = total(
        admin, "SELECT currency, sum(toDecimal256(cost, 12)) FROM ledger GROUP BY currency"
    )
    assert set(costs) == {"USD", "EUR"}
    for view in ("margin_by_customer", "margin_by_agent"):
        revenue = total(admin, f"SELECT currency, sum(revenue) FROM {view} GROUP BY currency")
        assert {code: sum_ for code, sum_ in revenue.items() if sum_} == lines, view
        assert total(admin, f"SELECT currency, sum(cost) FROM {view} GROUP BY currency") == costs
    signals = total(admin, "SELECT currency, sum(revenue) FROM margin_by_signal GROUP BY currency")
    assert signals == total(
        admin,
        "SELECT currency, sum(toDecimal256(amount, 12)) FROM invoice_lines "
        "WHERE metric = 'signals' AND line_kind = 'usage' GROUP BY currency",
    )
    assert total(
        admin, "SELECT currency, sum(cost) FROM margin_by_signal GROUP BY currency"
    ) == total(
        admin,
        "SELECT currency, sum(toDecimal256(amount, 12)) FROM attributions "
        "WHERE role = 'share' GROUP BY currency",
    )


def test_the_parts_of_a_line_sum_to_it_also_where_it_cannot_be_divided(admin: ClickHouse) -> None:
    different = admin.query(
        "SELECT number, line, sum(parts.amount) AS parts_sum FROM revenue_parts AS parts "
        "GROUP BY number, line HAVING (number, line, parts_sum) NOT IN "
        "(SELECT number, line, toDecimal256(amount, 12) FROM invoice_lines)"
    )
    assert list(different.rows) == []
    parts = admin.query("SELECT amount FROM revenue_parts WHERE number = 'acme-0001' AND line = 3")
    assert sorted(Decimal(str(amount)) for (amount,) in parts.rows) == [
        Decimal("2.666666666666"),
        Decimal("5.333333333334"),
    ]


@pytest.mark.parametrize("label", ["2026-09", "2026-10"])
def test_the_margin_of_one_period_is_that_of_all_at_this_period(
    admin: ClickHouse, label: str
) -> None:
    rows = "customer_id, currency, revenue, cost, margin"
    one = texts(admin, f"SELECT {rows} FROM margin_of_period(label = '{label}') ORDER BY 1, 2")
    of_all = f"SELECT {rows} FROM margin_by_customer WHERE label = '{label}' ORDER BY 1, 2"
    assert one == texts(admin, of_all)
    assert len(one) > 1


def test_sums_beyond_38_digits_are_exact(admin: ClickHouse) -> None:
    whole = str(2 * int(HUGE))
    for query in (
        "SELECT sum(cost) FROM usage_by_day WHERE customer_id = 'huge'",
        "SELECT cost FROM cost_by_model WHERE month = '2026-01-01'",
        "SELECT cost FROM margin_by_customer WHERE customer_id = 'huge'",
        "SELECT cost FROM margin_of_period(label = '2026-01')",
        "SELECT sum(cost) FROM margin_by_agent WHERE customer_id = 'huge'",
        "SELECT sum(revenue) FROM margin_by_customer WHERE customer_id = 'huge'",
        "SELECT sum(revenue) FROM margin_by_agent WHERE customer_id = 'huge'",
    ):
        assert texts(admin, query)[1:] == [[whole]], query
    # What the views would say without Decimal(76).
    wrapped = "SELECT sum(cost) FROM ledger WHERE customer_id = 'huge'"
    assert texts(admin, wrapped)[1:] != [[whole]]


# --- who may read what ---------------------------------------------------------------------------


def names(clickhouse: ClickHouse, condition: str) -> set[str]:
    found = clickhouse.query(
        f"SELECT name FROM system.tables WHERE database = 'tollgate' AND {condition}"
    )
    return {str(name) for (name,) in found.rows}


def test_every_table_and_view_has_been_thought_of(admin: ClickHouse) -> None:
    assert names(admin, "engine = 'View'") == set(VIEWS)
    assert names(admin, "engine != 'View'") - {"migrations"} == set(CONDITIONS)
    listed = set(re.findall(r"`(\w+)`", GUIDE.partition("Four rules")[0]))
    assert listed - {"DESCRIBE", "analyst", "tollgate"} == set(VIEWS) | set(CONDITIONS) - {COUNTS}


@pytest.fixture(scope="module")
def alone(endpoints: Endpoints, admin: ClickHouse) -> Iterator[ClickHouse]:
    """What a database holds in which there is nobody but acme, and no card but that it paid by."""
    with clickhouse_database(endpoints, "only_acme") as clickhouse:
        for table in CONDITIONS.keys() & names(admin, "1"):
            clickhouse.execute(f"CREATE TABLE {table} AS tollgate.{table}")
        for migration in read_migrations(clickhouse_migrations()):
            for statement in migration.statements:
                if statement.startswith(("CREATE VIEW", "CREATE OR REPLACE VIEW")):
                    clickhouse.execute(statement)
        kept = {
            "ledger": "customer_id = 'acme'",
            "attributions": "customer_id = 'acme'",
            "draft_lines": "customer_id = 'acme'",
            "draft_runs": "1",
            "catalog_records": "kind = 'price_book' OR id = 'acme-deal' "
            "OR kind = 'rate_card' AND id = 'pro' AND version = '1'",
        }
        for table, condition in kept.items():
            clickhouse.execute(
                f"INSERT INTO {table} SELECT * FROM tollgate.{table} WHERE {condition}"
            )
        yield clickhouse


@pytest.mark.parametrize("view", sorted({*VIEWS, *CONDITIONS} - {COUNTS}))
def test_a_restricted_analyst_sees_what_there_would_be_without_the_others(
    alone: ClickHouse, restricted: ClickHouse, view: str
) -> None:
    source = f"{view}(label = '2026-09')" if view == "margin_of_period" else view
    query = f"SELECT * FROM {source} ORDER BY ALL"
    seen = texts(restricted, query)
    assert seen == texts(alone, query)
    assert "globex" not in str(seen)


def test_the_rows_of_others_can_be_told_apart_at_all(
    admin: ClickHouse, restricted: ClickHouse
) -> None:
    count = "SELECT count() FROM {}"
    for table in CONDITIONS.keys() - {COUNTS}:
        all_rows = admin.query(count.format(table)).rows[0][0]
        assert restricted.query(count.format(table)).rows[0][0] < all_rows, table
    marks = restricted.query(
        "SELECT sum(c) FROM (SELECT count() AS c FROM ledger GROUP BY generation)"
    )
    assert marks.rows[0][0] == restricted.query(count.format("ledger")).rows[0][0]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM migrations",
        "SELECT customers FROM draft_runs",
        "SELECT * FROM mergeTreeIndex('tollgate', 'ledger')",
        "SELECT * FROM mergeTreeProjection('tollgate', 'ledger', 'marks')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1', 'tollgate.ledger')",
        "SELECT * FROM file('/etc/passwd', 'CSV', 'a String')",
        "SELECT * FROM system.parts",
        "SELECT * FROM system.query_log",
        "SELECT * FROM system.row_policies",
        "INSERT INTO ledger (kind) VALUES ('usage')",
        "ALTER TABLE ledger DELETE WHERE 1",
    ],
)
def test_a_restricted_analyst_is_denied(restricted: ClickHouse, query: str) -> None:
    with pytest.raises((FaultError, SetupError)):
        restricted.query(query)


def test_the_statements_for_a_server_of_ones_own_can_be_read_by_it(admin: ClickHouse) -> None:
    restricted = statements("joe", "tollgate", ["acme", "o'hara\\"])
    for statement in (*statements("analyst", "tollgate"), *restricted):
        admin.query("SELECT formatQuery({s:String})", {"s": statement})
    policies = [one for one in restricted if "RESTRICTIVE" in one]
    assert len(policies) == len(CONDITIONS)
    assert "customer_id IN ('acme', 'o\\'hara\\\\')" in policies[0]


def test_analysts_are_kept_with_their_passwords_and_taken_away(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    made = add_analyst(home, "joe", ["acme", "acme"])
    assert made.customers == ("acme",)
    again = add_analyst(home, "joe", ["globex"])
    assert (again.password, again.customers) == (made.password, ("globex",))
    assert home.analysts_file.stat().st_mode & 0o077 == 0
    assert load_analysts(home) == [again]
    remove_analyst(home, "joe")
    assert load_analysts(home) == []
    with pytest.raises(SetupError, match="no restricted analyst"):
        remove_analyst(home, "joe")


@pytest.mark.parametrize("name", ["admin", "Joe", "a b", "1a", ""])
def test_a_name_that_is_taken_or_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SetupError, match="cannot be called"):
        add_analyst(Home(tmp_path), name, ["acme"])


@pytest.mark.parametrize("count", [0, CUSTOMERS_MAX + 1])
def test_a_number_of_customers_that_cannot_be_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(SetupError, match=f"{count} customers"):
        add_analyst(Home(tmp_path), "joe", [f"c{number}" for number in range(count)])
