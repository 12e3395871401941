"""`tollgate demo`: the main job end to end on real input, with its proof."""

import json
import shutil
import sys
from pathlib import Path

import click

from streams.cli.options import with_settings
from streams.cli.up import PREPARE_STEPS
from streams.demo.customers import CUSTOMERS_DEFAULT, CUSTOMERS_MAX
from streams.demo.report import DemoResult, as_json, as_text
from streams.demo.run import DemoOptions, run_demo
from streams.embedded.wiring import signals_as_interrupt
from streams.settings import Settings

ROWS_MAX = 28_185
"""All calls of both files."""

EXIT_NOT_EQUAL = 1


@click.command()
@with_settings("kafka_port", "kafka_controller_port", "clickhouse_http_port", "clickhouse_tcp_port")
@click.option(
    "--customers",
    type=click.IntRange(1, CUSTOMERS_MAX),
    default=CUSTOMERS_DEFAULT,
    show_default=True,
    help="Customers that the calls are given to.",
)
@click.option(
    "--rows",
    type=click.IntRange(1, ROWS_MAX),
    default=ROWS_MAX,
    show_default=True,
    help="Calls to send, the earliest first.",
)
@click.option("--kill", is_flag=True, help="Kill (-9) worker and sink in mid-load.")
@click.option("--keep-running", is_flag=True, help="Leave everything up until Ctrl-C.")
@click.option(
    "--invoices",
    is_flag=True,
    help="Close a month for all customers, drop ClickHouse, rebuild it, verify the invoices.",
)
@click.option("--json", "as_json_object", is_flag=True, help="Print one JSON object.")
def demo(
    settings: Settings,
    customers: int,
    rows: int,
    kill: bool,
    keep_running: bool,
    invoices: bool,
    as_json_object: bool,
) -> int:
    """Bill 28,185 real model calls and prove the totals.

    Starts what does not run on this home (Kafka, ClickHouse, worker, sink), sends the calls as
    usage of customers of unequal size, some twice, some malformed, some in conflict, waits until
    all of it is in ClickHouse, and compares every figure with what the data files say. Exit code 1
    if one differs. Running it again sends the same events, which then are duplicates.
    """
    command = own_command()
    options = DemoOptions(customers, rows, kill, keep_running, command, invoices)

    def show(result: DemoResult) -> None:
        click.echo(json.dumps(as_json(result)) if as_json_object else as_text(result))
        sys.stdout.flush()

    with signals_as_interrupt():
        result = run_demo(settings, options, PREPARE_STEPS, show)
    return 0 if result.equal else EXIT_NOT_EQUAL


def own_command() -> str:
    """How this user can call `tollgate`: by name if it is found, else by path."""
    if shutil.which("tollgate"):
        return "tollgate"
    beside = Path(sys.executable).with_name("tollgate")
    if not beside.exists():
        return f"{sys.executable} -m streams"
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
