"""`tollgate invoice draft`: what a period would come to if it were closed now."""

import json
from collections import Counter
from dataclasses import asdict

import click

from schemas.money import format_amount
from streams.app.invoices.drafts import draft_all, draft_one, store_drafts
from streams.cli.invoice.paper import Form, paper_options, write_paper
from streams.cli.invoice.progress import progress
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, table
from streams.settings import Settings


@click.command()
@click.argument("customer", required=False)
@with_settings("kafka_bootstrap", "topic_prefix", "clickhouse_url", "clickhouse_database")
@click.option("--all", "everybody", is_flag=True, help="All customers: a line for each.")
@click.option("--period", metavar="LABEL", help="An open period, such as 2026-11. Default: next.")
@click.option("--store", is_flag=True, help="Keep the drafts of --all for analysts' margins.")
@paper_options
def draft(
    form: Form,
    settings: Settings,
    customer: str | None,
    everybody: bool,
    period: str | None,
    store: bool,
) -> int:
    """Print what CUSTOMER would be charged if the period were closed now.

    Always current, nothing is appended: every entry counts whose row is in ClickHouse. Without
    --period it is the period that is closed next, with the corrections of earlier ones that are
    due by now. Exit code 1 for a customer who has no such period.
    """
    if (customer is not None) == everybody:
        raise click.UsageError("name a customer, or say --all")
    if store and (customer is not None or form.kind not in ("table", "json")):
        raise click.UsageError("--store keeps the drafts of --all")
    if store:
        return _store(settings, form, period)
    if customer is not None:
        return _one(settings, form, customer, period)
    return _all(settings, form, period)


def _one(settings: Settings, form: Form, customer: str, period: str | None) -> int:
    found = draft_one(settings, customer, period)
    if found is None:
        which = "no usage and no terms" if period is None else f"no open period {period}"
        click.echo(f"customer {customer!r} has {which} in ClickHouse", err=True)
        return 1
    write_paper(found.document, form, cards=found.cards)
    if not any(segment.card for segment in found.document.segments):
        click.echo(
            f"{customer} has no rate card: `tollgate rates assign {customer}` gives one", err=True
        )
    return 0


def _left_out(why: str) -> None:
    click.echo(f"left out: {why}", err=True)


def _store(settings: Settings, form: Form, period: str | None) -> int:
    with progress("customers") as show:
        run = store_drafts(settings, period, show, _left_out)
    if form.kind == "json":
        click.echo(json.dumps(asdict(run)))
    else:
        click.echo(f"{run.lines:,} lines of {run.customers:,} drafts stored: see the view drafts")
    return 0


def _all(settings: Settings, form: Form, period: str | None) -> int:
    if form.kind not in ("table", "json"):
        raise click.UsageError(f"--{form.kind}: one document at a time, name a customer")
    rows, sums = [], Counter[str]()
    with progress("customers") as show:
        for document in draft_all(settings, period, show, _left_out):
            if form.kind == "json":
                click.echo(json.dumps(document.plain()))
                continue
            totals = document.totals_pico
            sums.update(totals)
            said = ", ".join(f"{format_amount(pico)} {code}" for code, pico in totals.items())
            lines = f"{len(document.lines):,}"
            rows.append([document.customer_id, document.label, lines, said or "0"])
    if form.kind == "table":
        columns = [("customer", False), ("period", False), ("lines", True), ("total", True)]
        if rows:
            console().print(table(columns, rows))
        said = ", ".join(f"{amounts([pico])[0]} {code}" for code, pico in sorted(sums.items()))
        click.echo(f"{len(rows):,} drafts: {said or 'nothing is charged'}")
    return 0
