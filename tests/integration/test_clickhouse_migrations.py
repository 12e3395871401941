"""Migrations on the real ClickHouse, and the schema they make compared with the one on the wire."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel

from schemas import attribution, deadletter, entry, invoice
from schemas.money import parse_signed_amount
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.clickhouse_rows import ClickHouseRows, describe
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError, SetupError
from streams.invoicing.billing import KINDS as BILLING_KINDS
from streams.ports import NO_ROWS
from streams.shipped import clickhouse_migrations
from streams.sink.migrations import Migration, migrate, read_applied, read_migrations
from tests.sinks import clickhouse_database, created, migrated_database

SHIPPED: Final = read_migrations(clickhouse_migrations())
ENTRY_MODELS: Final = (
    entry.CycleEntry,
    entry.UsageEntry,
    entry.AdjustmentEntry,
    entry.SignalEntry,
    entry.VoidEntry,
    entry.GrantEntry,
    entry.LimitEntry,
    entry.CeilingEntry,
    entry.DecisionEntry,
    entry.ExtensionEntry,
    entry.ClosingEntry,
    entry.SettlementEntry,
    entry.ResolutionEntry,
    invoice.TermsEntry,
    invoice.CreditEntry,
    invoice.InvoiceCloseEntry,
    invoice.InvoiceIssueEntry,
    invoice.InvoiceVoidEntry,
)
TABLES: Final[dict[str, tuple[type[BaseModel], ...]]] = {
    "ledger": ENTRY_MODELS,
    "attributions": (attribution.Attribution,),
    "dead_letters": (deadletter.DeadLetter,),
}
KILLS: Final = 2
"""Places in one migration at which a run is killed, about."""
TYPE_DEFAULTS: Final = {"String": "", "UInt": 0, "DateTime": 0, "Bool": False, "Decimal": "0"}


@pytest.fixture
def empty(endpoints: Endpoints, unique_name: str) -> Iterator[ClickHouse]:
    with clickhouse_database(endpoints, unique_name) as clickhouse:
        yield clickhouse


@pytest.fixture(scope="module")
def migrated(stack: Any) -> Iterator[ClickHouse]:
    with clickhouse_database(stack.endpoints(), "schema_on_the_wire") as clickhouse:
        migrate(clickhouse, SHIPPED)
        yield clickhouse


def tables(clickhouse: ClickHouse) -> list[str]:
    found = clickhouse.query("SELECT name FROM system.tables WHERE database = currentDatabase()")
    return sorted(str(name) for (name,) in found.rows)


# --- the runner ----------------------------------------------------------------------------------


def test_a_second_run_finds_nothing_to_do(empty: ClickHouse) -> None:
    assert migrate(empty, SHIPPED) == SHIPPED
    before = tables(empty)
    assert migrate(empty, SHIPPED) == []
    assert tables(empty) == before


def test_runs_at_the_same_time_apply_and_record_everything_once(empty: ClickHouse) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(migrate, empty, SHIPPED) for _ in range(2)]
        for run in runs:
            run.result()
    found = empty.query("SELECT number FROM migrations ORDER BY number")
    assert [number for (number,) in found.rows] == [migration.number for migration in SHIPPED]


def test_a_run_that_was_killed_anywhere_is_completed_by_the_next(empty: ClickHouse) -> None:
    """Statement by statement: done, but not recorded; the next run does all of them again. What was
    recorded before is not repeated, so only the statements of one migration are. Of a long one
    some places are tried, its end among them: each costs all statements before it."""
    for migration in SHIPPED:
        places = len(migration.statements)
        for count in [*range(0, places, max(1, places // KILLS)), places]:
            for statement in migration.statements[:count]:
                empty.execute(statement)
    assert migrate(empty, SHIPPED) == SHIPPED
    assert len(read_applied(empty)) == len(SHIPPED)


def test_nothing_is_applied_to_a_database_of_a_newer_release(empty: ClickHouse) -> None:
    migrate(empty, SHIPPED)
    before = tables(empty)
    with pytest.raises(SetupError, match="does not know"):
        migrate(empty, SHIPPED[:-1])
    altered = [*SHIPPED[:-1], Migration(len(SHIPPED), SHIPPED[-1].name, ("x",), "0" * 64)]
    with pytest.raises(SetupError, match="digest"):
        migrate(empty, altered)
    assert tables(empty) == before


def test_a_sink_without_tables_says_what_to_run(empty: ClickHouse) -> None:
    with pytest.raises(SetupError, match="ledger") as caught:
        describe(empty, "ledger")
    assert "tollgate migrate" in caught.value.action


def test_a_table_that_remembers_too_few_inserts_is_refused(empty: ClickHouse) -> None:
    migrate(empty, SHIPPED)
    empty.execute("ALTER TABLE ledger MODIFY SETTING non_replicated_deduplication_window = 100")
    with pytest.raises(SetupError, match="remembers 100 insert tokens"):
        describe(empty, "ledger")


def test_a_database_of_the_tests_is_what_the_migrations_make(
    migrated: ClickHouse, endpoints: Endpoints, unique_name: str
) -> None:
    with migrated_database(endpoints, unique_name) as copy:
        made = [text.replace("schema_on_the_wire.", "") for text in created(migrated)]
        copied = [text.replace(f"{unique_name}.", "") for text in created(copy)]
        assert sorted(copied) == sorted(made)
        assert set(read_applied(copy)) == set(read_applied(migrated))
        assert migrate(copy, SHIPPED) == []


# --- columns and fields --------------------------------------------------------------------------


def columns(clickhouse: ClickHouse, table: str) -> dict[str, tuple[str, str, str]]:
    """Name to (type, default expression, comment), of what an insert fills."""
    found = clickhouse.query(
        "SELECT name, type, default_expression, comment FROM system.columns "
        "WHERE database = currentDatabase() AND table = {table:String} "
        "AND default_kind != 'MATERIALIZED'",
        {"table": table},
    )
    return {
        str(name): (str(kind), str(default), str(text)) for name, kind, default, text in found.rows
    }


@pytest.mark.parametrize("table", TABLES)
def test_every_field_has_a_column_and_every_column_a_field(
    migrated: ClickHouse, table: str
) -> None:
    fields = {name for model in TABLES[table] for name in model.model_fields}
    assert fields == set(columns(migrated, table))


def test_every_table_view_and_column_says_what_it_is(migrated: ClickHouse) -> None:
    tables = migrated.query(
        "SELECT name, comment FROM system.tables WHERE database = currentDatabase()"
    )
    assert len(tables.rows) > 30
    assert [name for name, text in tables.rows if not text] == []
    lacking = migrated.query(
        "SELECT table, name FROM system.columns "
        "WHERE database = currentDatabase() AND comment = '' ORDER BY table, position"
    )
    assert [tuple(row) for row in lacking.rows] == []


@pytest.mark.parametrize("table", TABLES)
def test_a_field_that_is_left_out_means_the_same_on_the_wire_and_in_the_table(
    migrated: ClickHouse, table: str
) -> None:
    found = columns(migrated, table)
    compared = 0
    for model in TABLES[table]:
        for name, field in model.model_fields.items():
            if field.is_required() or name == "kind":
                continue
            kind, expression, _ = found[name]
            assert default_of(kind, expression) == wire_default(field.default, kind), name
            compared += 1
    assert compared


def default_of(kind: str, expression: str) -> Any:
    if kind.startswith("Array"):
        return []
    if kind.startswith("Map"):
        return {}
    if kind.startswith("Nullable"):
        return None
    plain = kind.removeprefix("LowCardinality(").rstrip(")")
    if not expression:
        return next(value for name, value in TYPE_DEFAULTS.items() if plain.startswith(name))
    if plain == "Bool":
        return expression == "true"
    return expression.strip("'") if plain == "String" else amount(expression, plain)


def wire_default(value: Any, kind: str) -> Any:
    return amount(value, kind) if isinstance(value, str) and "Decimal" in kind else value


def amount(text: str, kind: str) -> Any:
    return int(text) if kind.startswith("UInt") else str(parse_signed_amount(text))


@pytest.mark.parametrize(
    ("field", "model"),
    [
        ("burns", entry.Burn),
        ("consumed", entry.Consumed),
        ("returned", entry.Return),
        ("segments", invoice.Segment),
        ("lines", invoice.InvoiceLine),
        ("totals", invoice.InvoiceTotal),
    ],
)
def test_a_nested_value_has_the_fields_of_its_model(
    migrated: ClickHouse, field: str, model: type[BaseModel]
) -> None:
    """ClickHouse skips unknown fields inside a tuple without a word, so names must be compared."""
    kind = columns(migrated, "ledger")[field][0]
    inside = kind.removeprefix("Array(Tuple(").removesuffix("))")
    names = [part.split()[0] for part in inside.replace("Decimal(38, 12)", "Decimal").split(", ")]
    assert names == list(model.model_fields)


async def test_a_field_that_the_table_lacks_stops_the_insert(migrated: ClickHouse) -> None:
    rows = ClickHouseRows(migrated)
    with pytest.raises(FaultError, match="nope") as caught:
        await rows.insert("ledger", 9, 0, NO_ROWS, b'{"sequence":0,"nope":1}')
    assert "tollgate migrate" in caught.value.action


def test_the_kinds_that_the_comment_names_are_the_kinds_there_are(migrated: ClickHouse) -> None:
    comment = columns(migrated, "ledger")["kind"][2]
    for model in ENTRY_MODELS:
        (kind,) = get_args(model.model_fields["kind"].annotation)
        assert kind in comment


def test_a_billing_entry_has_every_field_of_every_kind_about_invoices(migrated: ClickHouse) -> None:
    [[made_of]] = migrated.query(
        "SELECT default_expression FROM system.columns WHERE database = currentDatabase() "
        "AND table = 'ledger' AND name = 'billing_entry'"
    ).rows
    condition, _, made = str(made_of).partition("concat(")
    assert set(re.findall(r"'(\w+)'", condition)) == set(BILLING_KINDS)
    fields = {name for model in BILLING_KINDS.values() for name in model.model_fields}
    assert set(re.findall(r'"(\w+)":', made)) == fields - {"lines"}
