"""`tollgate plan`: what a load would need."""

import json
from dataclasses import asdict

import click

from streams.cli.tables import console, table
from streams.sizing import FIGURES, FILLED, Load, doubts, plan


@click.command(name="plan")
@click.option("--events-per-second", type=click.FloatRange(min=1), required=True, metavar="N")
@click.option("--customers", type=click.IntRange(min=1), required=True, metavar="N")
@click.option(
    "--average",
    type=click.FloatRange(min=0),
    metavar="N",
    help="Events per second over months, which disks are sized by. Not given: the busiest time's.",
)
@click.option("--asks-per-second", type=click.FloatRange(min=0), default=0.0, metavar="N")
@click.option("--copies", type=click.IntRange(1, 5), default=3, show_default=True)
@click.option("--log-days", type=click.IntRange(min=1), default=30, show_default=True)
@click.option("--row-days", type=click.IntRange(min=1), default=400, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def plan_command(
    events_per_second: float,
    customers: int,
    average: float | None,
    asks_per_second: float,
    copies: int,
    log_days: int,
    row_days: int,
    as_json: bool,
) -> None:
    """Print what a load needs: workers, partitions, brokers, disk, ClickHouse.

    A first guess from figures that were measured on one machine (docs/scale.md); nothing is asked
    of any server.
    """
    load = Load(events_per_second, customers, asks_per_second, average, copies, log_days, row_days)
    needs, doubted = plan(load), doubts(load)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "load": asdict(load),
                    "needs": [asdict(need) for need in needs],
                    "doubts": doubted,
                    "figures": [asdict(figure) for figure in FIGURES],
                }
            )
        )
        return
    rows = [(need.what, amount_text(need.amount), need.unit, need.because) for need in needs]
    console().print(table([("what", False), ("need", True), ("", False), ("from", False)], rows))
    click.echo(f"\nCores are planned {FILLED:.0%} full. Beyond what was measured:", err=True)
    for line in doubted or ["nothing"]:
        click.echo(f"- {line}", err=True)


def amount_text(amount: float) -> str:
    """An amount with as many digits as it deserves."""
    return f"{amount:,.0f}" if amount == int(amount) or amount >= 100 else f"{amount:,.2g}"
