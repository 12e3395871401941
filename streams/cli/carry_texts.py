"""What `tollgate topics carry-over` prints: a short table, or the same as one JSON object."""

from typing import Any, Final

from schemas.times import format_time
from streams.app.carry.over import CarryReport
from streams.cli.tables import amounts, console, counts, table
from streams.domain.budget import balance_text

KINDS: Final = {
    "grant": "grants",
    "limit": "limits",
    "ceiling": "ceilings of tasks",
    "terms": "terms",
    "credit": "credits",
    "invoice number": "invoice numbers",
}
"""What is said of customers, as a person reads it."""

SAID: Final = {
    "open": "nothing was written: see to what is open, then give the command again",
    "planned": "nothing was written (--dry-run)",
    "written": "written; start the workers of the new installation, then give the command again",
    "differs": "what the new workers made of it differs: start no gateway before it is explained",
    "complete": "complete: nothing is missing and nothing differs; start gateways and producers",
}
"""The last line, by how the run ended."""


def report_dict(report: CarryReport) -> dict[str, Any]:
    """The report for a script, amounts as exact texts."""
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


def print_report(report: CarryReport) -> None:
    """The report for a person."""
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
