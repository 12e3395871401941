"""`tollgate invoice close`, `void`, `reissue`, `credit`: what is told about invoices for good."""

import asyncio
import json
from typing import Any, Final

import click

from schemas.money import format_amount
from streams.app.administration import tell
from streams.app.invoices.closing import CloseReport, Issued, close_periods, void_invoice
from streams.cli.invoice.progress import progress
from streams.cli.options import with_settings
from streams.cli.tables import console, table
from streams.settings import Settings

KAFKA: Final = ("kafka_bootstrap", "topic_prefix", "clickhouse_url", "clickhouse_database")

SHOWN_MAX: Final = 50
"""Documents that a person is shown of one run; `list` has them all."""


@click.command()
@click.argument("customers", metavar="[CUSTOMER]…", nargs=-1)
@with_settings(*KAFKA)
@click.option("--all", "everybody", is_flag=True, help="All customers.")
@click.option("--period", metavar="LABEL", help="Up to this period, such as 2026-10.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def close(
    settings: Settings,
    customers: tuple[str, ...],
    everybody: bool,
    period: str | None,
    as_json: bool,
) -> int:
    """Close every period that is due, one after the other, and issue the invoices.

    A period is due when the grace of the rules (a day by default) has passed after its end. What
    comes later is a line of the next invoice. The command may be interrupted anywhere and given
    again: it goes on where it stopped. Exit code 1 where something was refused, or of a named
    customer nothing is known.
    """
    if bool(customers) == everybody:
        raise click.UsageError("name customers, or say --all")
    with progress("customers") as show:
        found = close_periods(settings, None if everybody else list(customers), period, show)
    code = _tell(found, as_json=as_json, closing=True)
    return 1 if found.unknown and not everybody else code


@click.command()
@click.argument("number")
@with_settings(*KAFKA)
@click.option("--reason", required=True, help="Why, for whoever reads the credit note.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def void(settings: Settings, number: str, reason: str, as_json: bool) -> int:
    """Take invoice NUMBER back by a credit note over all of it.

    What it charged is not charged again; to charge it anew use `reissue`. Given again it counts
    once. Exit code 1 where it was refused.
    """
    return _tell(void_invoice(settings, number, reason), as_json=as_json)


@click.command()
@click.argument("number")
@with_settings(*KAFKA)
@click.option("--reason", default="invoiced anew", show_default=True, help="Why.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def reissue(settings: Settings, number: str, reason: str, as_json: bool) -> int:
    """Take invoice NUMBER back by a credit note and invoice its period again.

    The new invoice holds the same entries, by the rate cards as they are now. Given again it goes
    on where it stopped. Exit code 1 where it was refused.
    """
    return _tell(void_invoice(settings, number, reason, reissue=True), as_json=as_json)


@click.command()
@click.argument("customer")
@click.argument("amount")
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--reason", required=True, help="Why: it stands on the invoice.")
@click.option("--currency", default="USD", show_default=True, help="ISO 4217 code.")
@click.option("--number", default="", help="The invoice that it is about.")
@click.option("--id", "event_id", help="Under which it counts once. Default: one of its own.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def credit(
    settings: Settings,
    customer: str,
    amount: str,
    reason: str,
    currency: str,
    number: str,
    event_id: str | None,
    as_json: bool,
) -> None:
    """Let CUSTOMER off AMOUNT: a line of the next invoice."""
    fields = {"amount": amount, "currency": currency, "reason": reason, "number": number}
    told = asyncio.run(tell(settings, "credit", customer, fields, event_id))
    if as_json:
        click.echo(json.dumps({"event_id": told.event_id, "customer_id": customer}))
    else:
        click.echo(f"credit {told.event_id}: {amount} {currency} off {customer}'s next invoice")


def _tell(found: CloseReport, *, as_json: bool, closing: bool = False) -> int:
    if as_json:
        click.echo(json.dumps(report_dict(found)))
    else:
        _print(found, closing)
    return 1 if found.refused else 0


def report_dict(found: CloseReport) -> dict[str, Any]:
    """A run for a script."""
    return {
        "issued": [
            {
                "customer_id": one.customer_id,
                "number": one.number,
                "document": one.document,
                "period": one.label,
                "lines": one.lines,
                "totals": {c: format_amount(pico) for c, pico in one.totals_pico.items()},
                "digest": one.digest,
            }
            for one in found.issued
        ],
        "refused": [
            {
                "customer_id": one.customer_id,
                "about": one.about,
                "code": one.code,
                "reason": one.reason,
            }
            for one in found.refused
        ],
        "not_due": found.not_due,
        "without_rate_card": found.uncharged,
        "unknown": found.unknown,
    }


def _print(found: CloseReport, closing: bool) -> None:
    if found.issued:
        columns = [
            ("number", False), ("document", False), ("customer", False), ("period", False),
            ("lines", True), ("total", True),
        ]  # fmt: skip
        console().print(table(columns, [_cells(one) for one in found.issued[:SHOWN_MAX]]))
    if len(found.issued) > SHOWN_MAX:
        click.echo(f"and {len(found.issued) - SHOWN_MAX:,} more: `tollgate invoice list`")
    for one in found.refused:
        click.echo(f"refused: {one.customer_id} {one.about}: {one.code}: {one.reason}", err=True)
    said = [f"{len(found.issued):,} documents issued"]
    if closing:
        said += [
            f"{count:,} customers {what}"
            for count, what in (
                (found.not_due, "with nothing more due"),
                (found.uncharged, "without a rate card"),
                (found.unknown, "of whom nothing is known"),
                (len(found.refused), "refused"),
            )
            if count
        ]
    click.echo("; ".join(said))


def _cells(one: Issued) -> list[str]:
    totals = ", ".join(f"{format_amount(pico)} {c}" for c, pico in one.totals_pico.items())
    return [one.number, one.document, one.customer_id, one.label, f"{one.lines:,}", totals or "0"]
