"""`tollgate invoice usage`: what a customer used in a month and what that cost, by model."""

import json
import re
from contextlib import closing
from typing import Any

import click

from schemas.money import format_amount
from streams.app.warehouse import clickhouse, this_month
from streams.cli.as_of import as_of_dicts, as_of_line
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, counts, table
from streams.domain.drafts import Figures
from streams.domain.invoices.tallies import TOKEN_CLASSES
from streams.domain.months import Period, month
from streams.invoicing.draft import DraftInvoice, draft_invoice
from streams.settings import Settings


@click.command()
@click.argument("customer")
@with_settings("clickhouse_url", "clickhouse_database")
@click.option("--period", metavar="YYYY-MM", help="Month of the events, UTC. Default: this month.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, amounts as exact texts.")
def usage(settings: Settings, customer: str, period: str | None, as_json: bool) -> int:
    """Print what CUSTOMER used in a month, and what that cost, by model.

    Looks at no rate card (see `draft`). Counts every event of the month whose ledger entry is in
    ClickHouse by now; amounts are exact to the last digit and nothing is rounded. Exit code 1 for a
    customer of whom nothing is known.
    """
    wanted = this_month() if period is None else parse_period(period)
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        found = draft_invoice(warehouse, customer, wanted)
    if found is None:
        click.echo(f"no entry of customer {customer!r} is in ClickHouse", err=True)
        return 1
    if as_json:
        click.echo(json.dumps(invoice_dict(found), indent=2))
    else:
        print_invoice(found)
    return 0


def parse_period(text: str) -> Period:
    """The month that `YYYY-MM` names. Raises click.BadParameter."""
    match = re.fullmatch(r"([0-9]{4})-([0-9]{2})", text)
    try:
        if match is None:
            raise ValueError("not YYYY-MM")
        return month(int(match[1]), int(match[2]))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no month: {error}", param_hint="--period") from None


def invoice_dict(found: DraftInvoice) -> dict[str, Any]:
    """The draft for a script: counts as numbers, amounts as decimal texts."""
    draft, totals = found.draft, found.draft.totals()
    lines = [
        {
            "provider": key.provider,
            "model": key.model,
            "cost_basis": key.cost_basis,
            "currency": key.currency,
            **_counts(figures),
            "cost": format_amount(figures.cost_pico),
            "provisional": format_amount(figures.provisional_pico),
            "covered_usd": format_amount(figures.covered_pico_usd),
        }
        for key, figures in sorted(draft.lines.items(), key=lambda line: line[0])
    ]
    return {
        "status": "draft",
        "customer_id": draft.customer_id,
        "period": str(draft.period),
        "lines": lines,
        "totals": {
            **_counts(totals),
            "cost": _by_currency(draft.cost_by_currency()),
            "provisional": _by_currency(draft.provisional_by_currency()),
            "covered_usd": format_amount(totals.covered_pico_usd),
        },
        "as_of": as_of_dicts(found.as_of),
    }


def print_invoice(found: DraftInvoice) -> None:
    """The draft for a person: lines and totals, then the units, then the as-of."""
    draft = found.draft
    out = console()
    out.print(f"usage of {draft.customer_id} in {draft.period} (UTC), at cost\n")
    lines = sorted(draft.lines.items(), key=lambda line: line[0])
    totals = draft.totals()
    sums = draft.cost_by_currency()
    costs = amounts([*(figures.cost_pico for _, figures in lines), *sums.values()])
    rows = [
        [key.provider, key.model, key.cost_basis, *_cells(figures), cost, key.currency]
        for (key, figures), cost in zip(lines, costs, strict=False)
    ]
    for number, currency in enumerate(sums):
        # Counts have no currency, so they stand once, in the first of the totals.
        cells = _cells(totals) if number == 0 else [""] * len(_cells(totals))
        rows.append(["total", "", "", *cells, costs[len(lines) + number], currency])
    titles = [
        "provider",
        "model",
        "cost basis",
        "calls",
        "input",
        "cached",
        "output",
        "units",
        "cost",
    ]
    columns = [(title, title not in titles[:3]) for title in titles]
    if rows:
        out.print(table([*columns, ("", False)], rows, total=len(sums) == 1))
    else:
        out.print("no usage in this month")
    out.print(
        f"units: {totals.units:,}, covered by grants: {totals.covered_units:,}, "
        f"beyond: {totals.units_beyond:,}"
    )
    for currency, pico in draft.provisional_by_currency().items():
        out.print(f"unpriced usage, charged provisionally: {amounts([pico])[0]} {currency}")
    out.print(as_of_line(found.as_of))


def _cells(figures: Figures) -> list[str]:
    cached = figures.cache_read_tokens + figures.cache_write_tokens
    into = figures.input_tokens + figures.input_audio_tokens
    out = figures.output_tokens + figures.reasoning_tokens + figures.output_audio_tokens
    return counts([figures.calls, into, cached, out, figures.units])


def _counts(figures: Figures) -> dict[str, int]:
    return {
        "calls": figures.calls,
        "units": figures.units,
        "covered_units": figures.covered_units,
        "units_beyond": figures.units_beyond,
        "tokens": figures.tokens,
        **{name: getattr(figures, name) for name in TOKEN_CLASSES},
        "covered_tokens": figures.covered_tokens,
    }


def _by_currency(picos: dict[str, int]) -> dict[str, str]:
    return {currency: format_amount(pico) for currency, pico in picos.items()}
