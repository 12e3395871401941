"""`tollgate sql`: a query in ClickHouse, as a user that can only read."""

import json
from contextlib import closing
from typing import Final, Literal

import click

from streams.app.warehouse import clickhouse
from streams.cli.options import with_settings
from streams.cli.tables import console, table
from streams.settings import Settings

_NUMBERS: Final = ("Int", "UInt", "Float", "Decimal", "BFloat")


@click.command()
@click.argument("query")
@with_settings("clickhouse_url", "clickhouse_database")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    help="json is one object per line, decimals as texts.  [default: table]",
)
def sql(settings: Settings, query: str, layout: Literal["table", "csv", "json"]) -> None:
    """Run QUERY in ClickHouse and print its rows.

    Statements that change anything are refused. Tables: ledger, attributions, dead_letters,
    catalog_records; views among others: usage, signals, invoices, invoice_lines, usage_by_day,
    cost_by_model, margin_by_customer, price_book, rate_cards, budget_history, open_holds,
    anomalies. `DESCRIBE ledger` explains the columns, docs/analytics.md answers questions.
    """
    query = query.strip().rstrip(";")
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        if layout == "table":
            print_rows(warehouse.text(query, "rows"))
            return
        found = warehouse.text(query, "CSVWithNames" if layout == "csv" else "JSONEachRow")
    click.get_binary_stream("stdout").write(found)


def print_rows(found: bytes) -> None:
    """Rows for a person, each value as ClickHouse writes it; numbers to the right."""
    lines = [json.loads(line) for line in found.splitlines()]
    if not lines:
        return
    names, types, *rows = lines
    columns = [(name, is_number(kind)) for name, kind in zip(names, types, strict=True)]
    console().print(table(columns, [list(map(_cell, row, types)) for row in rows]))


def is_number(kind: str) -> bool:
    """Whether a ClickHouse type is shown to the right."""
    for wrapper in ("Nullable(", "LowCardinality("):
        kind = kind.removeprefix(wrapper)
    return kind.startswith(_NUMBERS)


def _cell(value: str, kind: str) -> str:
    # ClickHouse writes a null in small capitals, which not every terminal can show.
    return "null" if value == "ᴺᵁᴸᴸ" and "Nullable" in kind else value
