"""`tollgate budget`: what a customer was granted, has used and has left."""

import json
from contextlib import closing
from typing import Any

import click

from schemas.budget import Denomination
from schemas.money import format_amount
from schemas.times import format_time
from streams.app.warehouse import clickhouse
from streams.cli.invoice import as_of_dicts, as_of_line
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, counts, table
from streams.invoicing.balance import BudgetReport, GrantBalance, budget_report
from streams.settings import Settings


@click.command()
@click.argument("customer")
@with_settings("clickhouse_url", "clickhouse_database")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, amounts as exact texts.")
def budget(settings: Settings, customer: str, as_json: bool) -> int:
    """Print what CUSTOMER has left, as of the entries that are in ClickHouse.

    Balances are per denomination (unit, token, usd). A denomination in which nothing was granted
    is tracked, never refused. Exit code 1 for a customer of whom nothing is known.
    """
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        report = budget_report(warehouse, customer)
    if report is None:
        click.echo(f"no entry of customer {customer!r} is in ClickHouse", err=True)
        return 1
    if as_json:
        click.echo(json.dumps(budget_dict(report), indent=2))
    else:
        print_budget(report)
    return 0


def budget_dict(report: BudgetReport) -> dict[str, Any]:
    """The budget for a script; amounts of every denomination are decimal texts."""

    def grant(item: GrantBalance) -> dict[str, Any]:
        return {
            "grant_id": item.grant_id,
            "denomination": item.denomination,
            "state": item.state(report.now_us),
            "priority": item.priority,
            "reason": item.reason,
            "effective_at": format_time(item.effective_at_us),
            "expires_at": None if item.expires_at_us is None else format_time(item.expires_at_us),
            "resets": item.resets or None,
            "granted": _text(item.denomination, item.granted),
            "burnt": _text(item.denomination, item.burnt),
            "left": _text(item.denomination, item.left),
        }

    used = report.used
    return {
        "customer_id": report.customer_id,
        "balances": {
            balance.denomination: {
                name: _text(balance.denomination, getattr(balance, name))
                for name in ("granted", "burnt", "expired", "later", "available")
            }
            for balance in report.balances()
        },
        "grants": [grant(item) for item in report.grants],
        "used": {
            "events": used.events,
            "signals": used.signals,
            "units": used.units,
            "tokens": used.tokens,
            "charged": {code: format_amount(pico) for code, pico in used.charged_pico.items()},
        },
        "as_of": as_of_dicts(report.as_of),
    }


def print_budget(report: BudgetReport) -> None:
    """The budget for a person."""
    out, used = console(), report.used
    out.print(f"budget of {report.customer_id}\n")
    titles = ("granted", "burnt", "expired unused", "not yet effective", "available")
    rows = [
        [
            balance.denomination,
            *_figures(
                balance.denomination,
                [
                    balance.granted,
                    balance.burnt,
                    balance.expired,
                    balance.later,
                    balance.available,
                ],
            ),
        ]
        for balance in report.balances()
    ]
    if rows:
        out.print(table([("", False), *((title, True) for title in titles)], rows))
    else:
        out.print("nothing was granted: usage is tracked, never refused")
    charged = ", ".join(
        f"{amounts([pico])[0]} {currency}" for currency, pico in used.charged_pico.items()
    )
    out.print(
        f"used in all: {used.events:,} events, {used.units:,} units, {used.tokens:,} tokens, "
        f"{charged or '0 USD'}"
    )
    out.print(as_of_line(report.as_of))


def _figures(denomination: str, values: list[int]) -> list[str]:
    return amounts(values) if denomination == Denomination.USD else counts(values)


def _text(denomination: str, value: int) -> str:
    return format_amount(value) if denomination == Denomination.USD else str(value)
