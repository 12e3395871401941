"""`tollgate grants`: give a customer something to spend, and see what was given."""

import asyncio
import json
from typing import Final

import click

from schemas.budget import Denomination, Interval
from schemas.times import format_time
from streams.app.administration import Told, tell
from streams.app.balances import customer_budget
from streams.cli.as_of import as_of_line
from streams.cli.budget import amount_cells, budget_dict, nothing_known
from streams.cli.options import with_settings
from streams.cli.tables import console, table
from streams.invoicing.balance import BudgetReport, GrantBalance
from streams.settings import Settings

DENOMINATIONS: Final = [item.value for item in Denomination]
INTERVALS: Final = [item.value for item in Interval]


@click.group()
def grants() -> None:
    """Give customers something to spend, and see what was given."""


@grants.command()
@click.argument("customer")
@click.option("--amount", required=True, help="Whole units or tokens, or dollars such as 12.50.")
@click.option("--denomination", required=True, type=click.Choice(DENOMINATIONS))
@click.option("--priority", type=click.IntRange(0, 1000), help="Lower burns first. Default: 100.")
@click.option("--reason", help="Why, for whoever reads the books.")
@click.option("--effective-at", metavar="TIME", help="From when on. Default: now.")
@click.option("--expires-at", metavar="TIME", help="Until when, such as 2027-01-31T00:00:00Z.")
@click.option("--resets", type=click.Choice(INTERVALS), help="Give it anew in each period.")
@click.option("--anchor", metavar="TIME", help="A time at which some period begins.")
@click.option("--rollover-max", help="What may be carried into the next period at the most.")
@click.option("--id", "event_id", help="Id of this grant: the same one twice grants once.")
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def add(
    settings: Settings,
    customer: str,
    amount: str,
    denomination: str,
    priority: int | None,
    reason: str | None,
    effective_at: str | None,
    expires_at: str | None,
    resets: str | None,
    anchor: str | None,
    rollover_max: str | None,
    event_id: str | None,
    as_json: bool,
) -> None:
    """Grant CUSTOMER an allowance.

    It counts as soon as a worker has committed it, usually within a second. Give --id in scripts:
    then repeating the command grants nothing twice.
    """
    fields = {
        "amount": amount,
        "denomination": denomination,
        "priority": priority,
        "reason": reason,
        "effective_at": effective_at,
        "expires_at": expires_at,
        "resets": resets,
        "anchor": anchor,
        "rollover_max": rollover_max,
    }
    show_told(asyncio.run(tell(settings, "grant", customer, fields, event_id)), as_json)


@grants.command(name="list")
@click.argument("customer")
@with_settings("clickhouse_url", "clickhouse_database")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(settings: Settings, customer: str, as_json: bool) -> int:
    """List the grants of CUSTOMER, as of the entries that are in ClickHouse.

    Exit code 1 for a customer of whom nothing is known.
    """
    report = customer_budget(settings, customer)
    if report is None:
        click.echo(nothing_known(customer), err=True)
        return 1
    if as_json:
        click.echo(json.dumps(budget_dict(report)["grants"], indent=2))
    else:
        print_grants(report)
    return 0


def show_told(told: Told, as_json: bool) -> None:
    """What was appended, for a person or a script."""
    if as_json:
        click.echo(json.dumps({"event_id": told.event_id, "customer_id": told.customer_id}))
    else:
        click.echo(f"appended  {told.event_id}")


def print_grants(report: BudgetReport) -> None:
    """The grants of a customer, for a person, in the order in which they burn."""
    out = console()
    if not report.grants:
        out.print("nothing was granted: usage is tracked, never refused")
        return
    titles = (
        *(("grant", False), ("", False), ("granted", True), ("left", True), ("priority", True)),
        *(("state", False), ("resets", False), ("from", False), ("until", False)),
        ("reason", False),
    )
    out.print(table(titles, [_cells(item, report.now_us) for item in report.grants]))
    out.print(as_of_line(report.as_of))


def _cells(item: GrantBalance, now_us: int) -> list[str]:
    until = "-" if item.expires_at_us is None else format_time(item.expires_at_us)
    return [
        item.grant_id,
        item.denomination,
        *amount_cells(item.denomination, item.granted, item.left),
        str(item.priority),
        item.state(now_us),
        item.resets or "-",
        format_time(item.effective_at_us),
        until,
        item.reason,
    ]
