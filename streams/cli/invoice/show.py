"""`tollgate invoice show`, `list`, `entries`: documents, and what stands behind their lines."""

import json
from dataclasses import asdict
from typing import Final

import click

from schemas.times import format_time
from streams.app.invoices.lookup import find_document, line_entries, list_documents
from streams.cli.invoice.paper import Form, paper_options, write_paper
from streams.cli.options import with_settings
from streams.cli.tables import console, counts, table
from streams.invoicing.invoice_lines import CountedEntry, ListedInvoice
from streams.settings import Settings

LIMIT_MAX: Final = 1_000_000
"""Rows of one list: they are held in memory."""

_CLICKHOUSE: Final = ("clickhouse_url", "clickhouse_database")
_BOTH: Final = ("kafka_bootstrap", "topic_prefix", *_CLICKHOUSE)


@click.command()
@click.argument("number")
@with_settings(*_BOTH)
@paper_options
def show(form: Form, settings: Settings, number: str) -> int:
    """Print document NUMBER, an invoice or a credit note, from rows.

    Exit code 1 where the rows do not make the document that was issued: what was issued is
    printed, and `tollgate invoice verify` says what differs.
    """
    found = find_document(settings, number)
    issued_at_us = None if found.issue is None else int(found.issue["decided_at"])
    write_paper(found.document, form, issued_at_us=issued_at_us, cards=found.cards)
    if found.issue is None:
        click.echo(f"{number} is closed and not issued: `tollgate invoice close` does it", err=True)
    if not found.as_issued:
        click.echo(
            f"the rows do not make what was issued as {number}: run `tollgate invoice verify "
            f"{number}`",
            err=True,
        )
    return 0 if found.as_issued else 1


@click.command(name="list")
@click.argument("customer", required=False)
@with_settings(*_CLICKHOUSE)
@click.option("--period", metavar="LABEL", help="Of this period alone, such as 2026-10.")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=1_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(
    settings: Settings, customer: str | None, period: str | None, limit: int, as_json: bool
) -> None:
    """List the invoices and credit notes of CUSTOMER, or of all."""
    found = list_documents(settings, customer, period, limit)
    if as_json:
        for one in found:
            click.echo(json.dumps(_plain(one)))
        return
    if found:
        columns = [
            ("number", False), ("document", False), ("customer", False), ("period", False),
            ("status", False), ("total", True), ("about", False),
        ]  # fmt: skip
        console().print(table(columns, [_cells(one) for one in found]))
    click.echo(f"{len(found):,} documents")


def _plain(one: ListedInvoice) -> dict[str, object]:
    plain: dict[str, object] = asdict(one)
    for name in ("period_from", "period_to", "closed_at_us", "issued_at_us"):
        value = plain.pop(name)
        told = format_time(value) if isinstance(value, int) else None
        plain[name.removesuffix("_us")] = told
    return plain | {"totals": dict(one.totals)}


def _cells(one: ListedInvoice) -> list[str]:
    about = [
        f"{word} {number}"
        for word, number in (
            ("takes back", one.voids),
            ("in place of", one.reissues),
            ("taken back by", one.credit_note),
        )
        if number
    ]
    totals = ", ".join(f"{amount} {currency}" for currency, amount in one.totals) or "0"
    front = [one.number, one.document, one.customer_id, one.label, one.status]
    return [*front, totals, ", ".join(about)]


@click.command()
@click.argument("number")
@click.argument("line", type=click.IntRange(1))
@with_settings(*_BOTH)
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=1_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def entries(settings: Settings, number: str, line: int, limit: int, as_json: bool) -> None:
    """List the ledger entries that line LINE of document NUMBER counts, the earliest first.

    A line that corrects an earlier period counts those that came after its cut.
    """
    found = line_entries(settings, number, line, limit)
    if as_json:
        for one in found.entries:
            plain = asdict(one)
            plain["occurred_at"] = format_time(plain.pop("occurred_at_us"))
            click.echo(json.dumps(plain))
        return
    told = found.line
    click.echo(
        f"{number}, line {line}: {told['title'] or told['item']} ({told['label']}), "
        f"{told['amount']} {told['currency']}"
    )
    if found.reason:
        click.echo(found.reason)
        return
    if found.entries:
        columns = [
            ("when", False), ("kind", False), ("event", False), ("agent", False), ("what", False),
            ("units", True), ("tokens", True), ("signals", True), ("cost", True), ("", False),
            ("entry", False),
        ]  # fmt: skip
        console().print(table(columns, [_entry_cells(one) for one in found.entries]))
    more = ", the first of more" if len(found.entries) == limit else ""
    click.echo(f"{len(found.entries):,} entries{more}")


def _entry_cells(one: CountedEntry) -> list[str]:
    what = one.signal or "/".join(part for part in (one.provider, one.model) if part)
    signals = -one.signals if one.kind == "void" else one.signals
    figures = counts([one.units, one.tokens, signals])
    front = [format_time(one.occurred_at_us), one.kind, one.event_id, one.agent_id, what]
    return [*front, *figures, one.cost, one.currency, one.entry_id]
