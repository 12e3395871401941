"""`tollgate trace`: what a trace cost, and who carries it."""

import json
from contextlib import closing
from typing import Any

import click

from schemas.money import format_amount
from schemas.times import format_time
from streams.app.warehouse import clickhouse
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, table
from streams.cli.trace_texts import notes, signal_rows, span_rows, why_none_here
from streams.invoicing.traces import Span, Told, TraceReport, read_scope, read_trace
from streams.settings import Settings


@click.group()
def trace() -> None:
    """See what a trace cost, and which signals carry it."""


@trace.command()
@click.argument("customer")
@click.argument("name", metavar="TRACE")
@click.option("--scope", "is_scope", is_flag=True, help="TRACE is the id of a scope.")
@with_settings("clickhouse_url", "clickhouse_database")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, amounts as exact texts.")
def show(settings: Settings, customer: str, name: str, is_scope: bool, as_json: bool) -> int:
    """Print the spans of TRACE of CUSTOMER, their costs, and who carries them.

    Where a signal carries nothing, it says why. Everything is as of the entries that are in
    ClickHouse. Exit code 1 where no entry names the trace.
    """
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        report = (read_scope if is_scope else read_trace)(warehouse, customer, name)
    if report is None:
        what = "scope" if is_scope else "trace"
        click.echo(
            f"no entry of customer {customer!r} in ClickHouse names the {what} {name!r}: check the "
            "customer of its spans, and that the sink has caught up",
            err=True,
        )
        return 1
    if as_json:
        click.echo(json.dumps(trace_dict(report), indent=2))
    else:
        print_trace(report)
    return 0


def print_trace(report: TraceReport) -> None:
    """A trace, for a person."""
    out = console()
    what = f"trace {report.trace_id}" if report.trace_id else f"scope {report.scope_id}"
    calls = sum(not (span.is_outer or span.adjusted_entry) for span in report.spans)
    out.print(f"{what} of {report.customer_id}: {calls:,} calls, {len(report.signals):,} signals\n")
    if report.spans:
        columns = [
            *(("span", False), ("at", False), ("tokens", True), ("cost", True), ("", False)),
            ("carried by", False),
        ]
        out.print(table(columns, span_rows(report)), "")
    rows = signal_rows(report)
    if rows:
        columns = [
            *(("", False), ("signal", False), ("at", False), ("entry", False), ("", False)),
            *(("carries", True), ("", False), ("of all", True)),
        ]
        out.print(table(columns, rows), "")
    for currency, total in sorted(report.totals().items()):
        cost, carried, nobody, opened = amounts(
            (total.cost, total.carried, total.unattributed, total.open)
        )
        out.print(f"cost {cost} {currency} = {carried} carried + {nobody} nobody's + {opened} open")
    for note in notes(report):
        out.print(f"- {note}")


def trace_dict(report: TraceReport) -> dict[str, Any]:
    """A trace for a script."""
    return {
        "customer_id": report.customer_id,
        "trace_id": report.trace_id or None,
        "scope_id": report.scope_id or None,
        "watermark": format_time(report.watermark_us),
        "totals": {
            currency: {
                "cost": format_amount(total.cost),
                "carried": format_amount(total.carried),
                "unattributed": format_amount(total.unattributed),
                "open": format_amount(total.open),
            }
            for currency, total in report.totals().items()
        },
        "spans": [_span_dict(span, report) for span in report.spans],
        "signals": [
            signal_dict(signal)
            | {
                "carries": {
                    currency: format_amount(pico)
                    for currency, pico in report.carried_by(signal.entry_id).items()
                },
                "why_none": why_none_here(signal, report) or None,
            }
            for signal in report.signals
        ],
        "notes": notes(report),
    }


def _span_dict(span: Span, report: TraceReport) -> dict[str, Any]:
    shares = report.shares_of(span.entry_id)
    return {
        "entry_id": span.entry_id,
        "adjusts": span.adjusted_entry or None,
        "span_id": span.span_id or None,
        "parent_span_id": span.parent_span_id or None,
        "trace_id": span.trace_id or None,
        "scope_id": span.scope_id or None,
        "occurred_at": format_time(span.at_us),
        "agent_id": span.agent_id or None,
        "provider": span.provider or None,
        "model": span.model or None,
        "tokens": span.tokens,
        "cost": format_amount(span.cost_pico),
        "currency": span.currency,
        "cost_basis": span.cost_basis,
        "outer": span.is_outer,
        "flags": list(span.flags),
        "open": not (shares or span.is_outer),
        "shares": [
            {"signal_entry": share.signal_entry or None, "amount": format_amount(share.pico)}
            for share in shares
        ],
    }


def signal_dict(signal: Told) -> dict[str, Any]:
    """A signal for a script."""
    taken = signal.taken
    return {
        "entry_id": signal.entry_id,
        "name": signal.name,
        "occurred_at": format_time(signal.at_us),
        "trace_id": signal.trace_id or None,
        "scope_id": signal.scope_id or None,
        "quantity": signal.quantity,
        "cost_tracing": signal.asks,
        "weight": signal.weight,
        "voided": None
        if taken is None
        else {"at": format_time(taken.at_us), "cost": taken.cost, "reason": taken.reason},
    }
