"""`tollgate reconcile`: a provider's cost export beside the ledger."""

import csv
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any, Final

import click

from schemas.money import format_amount
from streams.app.reconciling import find_mapping
from streams.app.reconciling import reconcile as compare_export
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, counts, table
from streams.invoicing.reconciling.comparing import Difference, Reconciliation, pico_of
from streams.settings import Settings

EXIT_DIFFERENT: Final = 1
EXIT_NOT_TOLD: Final = 3
"""Nothing that could be read differs, but not all could be read."""

BAD_SHOWN_MAX: Final = 20
"""Bad rows shown to a person; --json lists them all."""

COLUMNS: Final = (
    "day",
    "model",
    "currency",
    "calls",
    "provider",
    "ledger",
    "difference",
    "reason",
    "explanation",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@with_settings("clickhouse_url", "clickhouse_database")
@click.option(
    "--mapping", required=True, metavar="NAME|FILE", help="How the file's columns are to be read."
)
@click.option("--from", "first", metavar="DAY", help="From this day on. Default: the file's first.")
@click.option("--to", "end", metavar="DAY", help="Before this day. Default: after the file's last.")
@click.option("--zone", metavar="ZONE", help="Time zone of the days. Default: the mapping's.")
@click.option(
    "--tolerance",
    metavar="AMOUNT",
    help="What a day and model may differ by, beside the rounding of the file's amounts. "
    "Default: the mapping's.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, amounts as exact texts.")
@click.option("--csv", "as_csv", is_flag=True, help="The differences as CSV.")
def reconcile(
    settings: Settings,
    file: Path,
    mapping: str,
    first: str | None,
    end: str | None,
    zone: str | None,
    tolerance: str | None,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Compare FILE, a provider's cost export as CSV, with the ledger by day and model.

    Shows where the two differ beyond the tolerance and why that may be. Exit code 0 where nothing
    differs, 1 where something does, 3 where nothing does but rows of the file could not be read:
    those are listed with their lines.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    found = compare_export(
        settings,
        file,
        find_mapping(mapping),
        first=_day("--from", first),
        end=_day("--to", end),
        zone=zone,
        tolerance=tolerance,
    )
    if as_json:
        click.echo(json.dumps(as_dict(found), indent=2))
    elif as_csv:
        print_csv(found)
    else:
        print_table(found)
    if not as_json:
        print_bad(found)
    if found.differences:
        return EXIT_DIFFERENT
    return 0 if found.is_whole else EXIT_NOT_TOLD


def as_dict(found: Reconciliation) -> dict[str, Any]:
    """The comparison for a script."""
    export = found.export
    return {
        "from": found.first and found.first.isoformat(),
        "to": found.end and found.end.isoformat(),
        "zone": found.zone,
        "tolerance": {
            "each": format_amount(pico_of(found.tolerance.each)),
            "per_row": format_amount(pico_of(found.tolerance.per_row)),
        },
        "rows": {
            "read": export.rows,
            "without_amount": export.skipped,
            "filtered": export.filtered,
            "outside": export.outside,
            "bad": export.bad_count,
        },
        "bad": [
            {"line": one.line, "last_line": one.last_line, "fault": one.fault} for one in export.bad
        ],
        "compared": found.compared,
        "differences": [
            {
                **dict(zip(COLUMNS[:7], _cells(one), strict=True)),
                "calls": one.calls,
                "rows": one.rows,
                "reasons": [{"reason": g.reason, "text": g.text} for g in one.guesses],
            }
            for one in found.differences
        ],
        "totals": {
            currency: {
                "provider": format_amount(total.provided_pico),
                "ledger": format_amount(total.booked_pico),
                "difference": format_amount(total.gap_pico),
            }
            for currency, total in found.totals.items()
        },
    }


def print_csv(found: Reconciliation) -> None:
    """The differences as rows, the likeliest reason of each."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in found.differences:
        likeliest = one.guesses[0]
        writer.writerow([*_cells(one), likeliest.reason, likeliest.text])


def print_table(found: Reconciliation) -> None:
    """The comparison for a person: what differs, the totals of all, what was compared."""
    out = console()
    out.print(f"{_span(found)}, days of {found.zone}\n")
    if found.differences:
        out.print(_table(found))
    for currency, total in found.totals.items():
        provided, booked, gap = amounts([total.provided_pico, total.booked_pico, total.gap_pico])
        out.print(f"{currency} in all: provider {provided}, ledger {booked}, difference {gap}")
    export = found.export
    each, per_row = (
        format_amount(pico_of(one)) for one in (found.tolerance.each, found.tolerance.per_row)
    )
    out.print(
        f"{found.compared:,} days and models compared, {len(found.differences):,} differ by more "
        f"than {each} and {per_row} per row of the file"
    )
    out.print(
        f"{export.rows:,} rows: {export.skipped:,} without an amount, {export.filtered:,} filtered "
        f"out, {export.outside:,} of other days, {export.bad_count:,} bad"
    )


def print_bad(found: Reconciliation) -> None:
    """The rows that could not be read, as messages."""
    export = found.export
    for one in export.bad[:BAD_SHOWN_MAX]:
        click.echo(str(one), err=True)
    if export.bad_count > BAD_SHOWN_MAX:
        more = export.bad_count - BAD_SHOWN_MAX
        click.echo(f"and {more:,} more rows that cannot be read; --json lists them", err=True)


def _table(found: Reconciliation) -> Any:
    rows = found.differences
    money = amounts([n for one in rows for n in (one.provided_pico, one.booked_pico, one.gap_pico)])
    cells = [
        [
            one.key.day.isoformat(),
            one.key.model,
            *counts([one.calls]),
            *money[3 * at : 3 * at + 3],
            one.key.currency,
            "; ".join(guess.text for guess in one.guesses),
        ]
        for at, one in enumerate(rows)
    ]
    titles = ("day", "model", "calls", "provider", "ledger", "difference", "", "why it may be")
    return table([(title, 2 <= at <= 5) for at, title in enumerate(titles)], cells)


def _span(found: Reconciliation) -> str:
    if found.first is None or found.end is None:
        return "no day to compare"
    return f"{found.first} to before {found.end}"


def _cells(one: Difference) -> list[str]:
    return [
        one.key.day.isoformat(),
        one.key.model,
        one.key.currency,
        str(one.calls),
        format_amount(one.provided_pico),
        format_amount(one.booked_pico),
        format_amount(one.gap_pico),
    ]


def _day(option: str, text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day YYYY-MM-DD", param_hint=option) from None
