"""`tollgate topics carry-over`: what customers have left, into an installation with another number
of partitions."""

import json
from typing import Any

import click

from schemas.times import format_time
from streams.app.carry.over import CarryReport, carry_over
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, counts, table
from streams.domain.budget import balance_text
from streams.settings import Settings

KINDS = {
    "grant": "grants",
    "limit": "limits",
    "ceiling": "ceilings of tasks",
    "terms": "terms",
    "credit": "credits",
    "invoice number": "invoice numbers",
}
SAID = {
    "open": "nothing was written: see to what is open, then give the command again",
    "planned": "nothing was written (--dry-run)",
    "written": "written; start the workers of the new installation, then give the command again",
    "differs": "what the new workers made of it differs: start no gateway before it is explained",
    "complete": "complete: what every customer has is equal; start gateways and producers",
}


@click.command(name="carry-over")
@with_settings("kafka_bootstrap", "topic_prefix", "partitions", "app_id")
@click.option("--from-prefix", required=True, help="TOLLGATE_TOPIC_PREFIX of the old installation.")
@click.option("--from-app-id", required=True, help="TOLLGATE_APP_ID of the old installation.")
@click.option("--dry-run", is_flag=True, help="Write nothing; print the same.")
@click.option(
    "--invoices-later",
    is_flag=True,
    help="Periods that are over may be closed in the old installation afterwards; repeat then.",
)
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0),
    default=60.0,
    help="Seconds to wait for new workers that run.  [default: 60]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def carry(
    settings: Settings,
    from_prefix: str,
    from_app_id: str,
    dry_run: bool,
    invoices_later: bool,
    wait_seconds: float,
    as_json: bool,
) -> int:
    """Carry what customers have left over from an installation under another topic prefix.

    Give it with the settings of the new installation, whose topics are made and whose workers do
    not run yet; then start its workers and give it again, which compares. It refuses, and lists,
    what is still open in the old one. Repeated, every figure counts once.

    Exit code 1 where something is open or differs.
    """
    report = carry_over(
        settings,
        from_prefix,
        from_app_id,
        _show_progress,
        dry_run=dry_run,
        invoices_later=invoices_later,
        wait_seconds=wait_seconds,
    )
    if as_json:
        click.echo(json.dumps(_as_dict(report), indent=2))
    else:
        _print(report)
    return 1 if report.state in ("open", "differs") else 0


def _show_progress(done: int, total: int) -> None:
    click.echo(f"read {done} of {total} partitions", err=True)


def _as_dict(report: CarryReport) -> dict[str, Any]:
    return {
        "state": report.state,
        "from_prefix": report.origin,
        "from_partitions": report.from_partitions,
        "partitions": report.partitions,
        "as_of": format_time(report.as_of_us),
        "customers": report.customers,
        "left": {name: balance_text(name, amount) for name, amount in sorted(report.left.items())},
        "records": {
            KINDS[kind]: {"all": every, "there_before": there}
            for kind, (every, there) in report.kinds.items()
        },
        "catalog": report.catalog,
        "invoice_numbers_later": report.numbers_later,
        "compared": report.compared,
        "moved_on": report.moved_on,
        "differences": report.differences,
        "open": [
            {"what": one.what, "count": one.count, "named": one.named, "action": one.action}
            for one in report.open
        ],
    }


def _print(report: CarryReport) -> None:
    out = console()
    out.print(
        f"from {report.origin} ({report.from_partitions} partitions) to {report.partitions} "
        f"partitions, as of {format_time(report.as_of_us)}\n"
    )
    rows = [["customers", *counts([report.customers]), "", ""]]
    rows += [
        [KINDS[kind], *counts([every, there, every - there])]
        for kind, (every, there) in report.kinds.items()
    ]
    rows += [[name, "", "", *counts([count])] for name, count in report.catalog.items()]
    out.print(table([("", False), ("all", True), ("there before", True), ("new", True)], rows))
    for name, amount in sorted(report.left.items()):
        shown = amounts([amount]) if name == "usd" else counts([amount])
        out.print(f"left in {name}: {shown[0]}")
    for one in report.open:
        more = ", ..." if one.count > len(one.named) else ""
        out.print(f"open: {one.count:,} {one.what} ({', '.join(one.named)}{more})\n  {one.action}")
    for line in report.differences:
        out.print(f"differs: {line}")
    if report.numbers_later:
        out.print(
            f"{report.numbers_later:,} customers have periods to close in the old installation; "
            "repeat this afterwards, and before their first invoice here"
        )
    if report.compared or report.moved_on:
        out.print(f"compared {report.compared:,}; {report.moved_on:,} use the new one already")
    out.print(SAID[report.state])
