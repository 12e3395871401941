"""`tollgate budget`: what a customer was granted, has used, holds and has left."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from schemas.budget import Denomination
from schemas.money import format_amount
from schemas.times import format_time
from streams.app.balances import customer_budget
from streams.cli.as_of import as_of_dicts, as_of_line
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, counts, table
from streams.domain.budget import balance_text
from streams.domain.holds import Hold
from streams.invoicing.balance import BudgetReport, GrantBalance, LimitBalance
from streams.settings import Settings


@click.command()
@click.argument("customer")
@with_settings("clickhouse_url", "clickhouse_database")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, amounts as exact texts.")
def budget(settings: Settings, customer: str, as_json: bool) -> int:
    """Print what CUSTOMER has left, as of the entries that are in ClickHouse.

    Balances are per denomination (unit, token, usd). A denomination without grant and limit is
    tracked, never refused. Exit code 1 for a customer of whom nothing is known.

    The figures are those of GET /v1/customers/CUSTOMER/budget, a second or two later: what the
    customer's owner has decided since is not in ClickHouse yet.
    """
    report = customer_budget(settings, customer)
    if report is None:
        click.echo(nothing_known(customer), err=True)
        return 1
    if as_json:
        click.echo(json.dumps(budget_dict(report), indent=2))
    else:
        print_budget(report)
    return 0


def nothing_known(customer: str) -> str:
    """What is said of a customer without any row."""
    return f"no entry of customer {customer!r} is in ClickHouse"


def budget_dict(report: BudgetReport) -> dict[str, Any]:
    """The budget for a script; amounts of every denomination are decimal texts."""
    used = report.used
    return {
        "customer_id": report.customer_id,
        "balances": {
            balance.denomination: {
                name: amount_text(balance.denomination, getattr(balance, name))
                for name in (
                    *("granted", "burnt", "expired", "later", "left"),
                    *("held", "available"),
                )
            }
            for balance in report.balances
        },
        "grants": [_grant_dict(item, report.now_us) for item in report.grants],
        "limits": [_limit_dict(item) for item in report.limits],
        "holds": hold_dicts(report.holds),
        "used": {
            "events": used.events,
            "signals": used.signals,
            "units": used.units,
            "tokens": used.tokens,
            "charged": {code: format_amount(pico) for code, pico in used.charged_pico.items()},
        },
        "as_of": as_of_dicts(report.as_of),
    }


def _grant_dict(item: GrantBalance, now_us: int) -> dict[str, Any]:
    return {
        "grant_id": item.grant_id,
        "denomination": item.denomination,
        "state": item.state(now_us),
        "priority": item.priority,
        "reason": item.reason,
        "effective_at": format_time(item.effective_at_us),
        "expires_at": _time(item.expires_at_us),
        "resets": item.resets or None,
        "anchor": _time(item.anchor_us),
        "rollover_max": amount_text(item.denomination, item.rollover_max) if item.resets else None,
        "granted": amount_text(item.denomination, item.granted),
        "burnt": amount_text(item.denomination, item.burnt),
        "left": amount_text(item.denomination, item.left),
    }


def _limit_dict(item: LimitBalance) -> dict[str, Any]:
    return {
        "agent_id": item.agent_id or None,
        "denomination": item.denomination,
        "amount": amount_text(item.denomination, item.amount),
        "used": amount_text(item.denomination, item.used),
        "held": amount_text(item.denomination, item.held),
        "left": amount_text(item.denomination, item.left),
        "resets": item.resets or None,
        "period_from": _time(item.period_from_us),
    }


def hold_dicts(holds: Iterable[Hold]) -> list[dict[str, Any]]:
    """Open holds for a script, the oldest first."""
    return [
        {
            "reservation_id": hold.reservation_id,
            "denomination": hold.denomination,
            "amount": amount_text(hold.denomination, hold.amount),
            "open": amount_text(hold.denomination, hold.open),
            "placed_at": format_time(hold.placed_at_us),
            "expires_at": format_time(hold.expires_at_us),
            "agent_id": hold.agent_id or None,
            "task_ref": hold.task_ref or None,
        }
        for hold in holds
    ]


def print_budget(report: BudgetReport) -> None:
    """The budget for a person."""
    out, used = console(), report.used
    out.print(f"budget of {report.customer_id}\n")
    rows = [
        [
            balance.denomination,
            *amount_cells(
                balance.denomination,
                *(balance.granted, balance.burnt, balance.expired, balance.later),
                *(balance.left, balance.held, balance.available),
            ),
        ]
        for balance in report.balances
        if balance.available is not None or balance.held
    ]
    titles = ("granted", "burnt", "expired unused", "not yet effective", "left", "held")
    if rows:
        columns = [("", False), *((title, True) for title in (*titles, "available"))]
        out.print(table(columns, rows))
    else:
        out.print("nothing was granted or limited: usage is tracked, never refused")
    if report.limits:
        _print_limits(report)
    charged = ", ".join(
        f"{amounts([pico])[0]} {currency}" for currency, pico in used.charged_pico.items()
    )
    out.print(
        f"used in all: {used.events:,} events, {used.units:,} units, {used.tokens:,} tokens, "
        f"{charged or '0 USD'}"
    )
    print_open_holds(report.holds)
    out.print(as_of_line(report.as_of))


def _print_limits(report: BudgetReport) -> None:
    columns = (
        *(("limit of", False), ("", False), ("amount", True), ("used", True), ("held", True)),
        *(("left", True), ("resets", False), ("period from", False)),
    )
    rows = [
        [
            f"agent {item.agent_id}" if item.agent_id else "the customer",
            item.denomination,
            *amount_cells(item.denomination, item.amount, item.used, item.held, item.left),
            item.resets or "-",
            _time(item.period_from_us) or "-",
        ]
        for item in report.limits
    ]
    console().print(table(columns, rows))


def print_open_holds(holds: Sequence[Hold]) -> None:
    """How many holds are open, for a person; `--json` lists them."""
    if holds:
        ends = format_time(min(hold.expires_at_us for hold in holds))
        console().print(f"open holds: {len(holds):,}, the first of them ends at {ends}")


def amount_cells(denomination: str, *values: int | None) -> list[str]:
    """Amounts of one denomination for a table; one that nothing bounds is a dash."""
    shown = amounts if denomination == Denomination.USD else counts
    texts = iter(shown([value for value in values if value is not None]))
    return ["-" if value is None else next(texts) for value in values]


def amount_text(denomination: str, value: int | None) -> str | None:
    """An amount for a script, None for one that nothing bounds."""
    return None if value is None else balance_text(denomination, value)


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else format_time(time_us)
