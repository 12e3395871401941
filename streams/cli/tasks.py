"""`tollgate tasks`: the ceiling of a task (job), and what its calls have used of it."""

import asyncio
import json
from typing import Any

import click

from streams.app.administration import tell
from streams.app.balances import task_standing
from streams.cli.as_of import as_of_dicts, as_of_line
from streams.cli.budget import amount_cells, amount_text, hold_dicts, print_open_holds
from streams.cli.grants import DENOMINATIONS, show_told
from streams.cli.options import with_settings
from streams.cli.tables import console, table
from streams.domain.budget import held
from streams.domain.holds import OpenHolds
from streams.domain.tasks import used
from streams.invoicing.task import TaskReport
from streams.settings import Settings


@click.group()
def tasks() -> None:
    """Bound what all calls of a task may use together, and see what they have used."""


@tasks.command()
@click.argument("task_ref", metavar="REF")
@click.option("--amount", required=True, help="Whole units or tokens, or dollars such as 12.50.")
@click.option("--denomination", required=True, type=click.Choice(DENOMINATIONS))
@click.option("--id", "event_id", help="Id of this change: the same one twice counts once.")
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def ceiling(
    settings: Settings,
    task_ref: str,
    amount: str,
    denomination: str,
    event_id: str | None,
    as_json: bool,
) -> None:
    """Set the ceiling of the task REF from now on, whether a call has named it yet or not.

    A task counts in one denomination for good: a ceiling in another one becomes a dead letter.
    What is used beyond it is still recorded and charged: a ceiling refuses preflights, never
    records.
    """
    fields = {"amount": amount, "denomination": denomination}
    told = asyncio.run(tell(settings, "ceiling", task_ref, fields, event_id))
    if as_json:
        click.echo(json.dumps({"event_id": told.event_id, "task_ref": task_ref}))
    else:
        show_told(told, as_json)


@tasks.command()
@click.argument("task_ref", metavar="REF")
@with_settings("clickhouse_url", "clickhouse_database")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, amounts as exact texts.")
def show(settings: Settings, task_ref: str, as_json: bool) -> int:
    """Print how the task REF stands, as of the entries that are in ClickHouse.

    Exit code 1 for a task that no call has named and that has no ceiling.
    """
    report = task_standing(settings, task_ref)
    if report is None:
        click.echo(f"no entry about task {task_ref!r} is in ClickHouse", err=True)
        return 1
    if as_json:
        click.echo(json.dumps(task_dict(report), indent=2))
    else:
        print_task(report)
    return 0


def task_dict(report: TaskReport) -> dict[str, Any]:
    """The task for a script, in the words of GET /v1/tasks/REF. Without a ceiling the denomination
    and what goes with it are null."""
    task = report.task
    kind = task.denomination or None

    def text(amount: int | None) -> str | None:
        return None if kind is None else amount_text(kind, amount)

    return {
        "task_ref": task.task_ref,
        "denomination": kind,
        "ceiling": text(task.ceiling),
        "used": text(used(task, task.denomination)),
        "held": text(held(task, OpenHolds(), task.denomination)),
        "remaining": text(report.left),
        "exceeded": kind is not None and used(task, kind) > task.ceiling,
        "agent_id": task.agent_id or None,
        "calls": task.calls,
        "calls_without_usage": task.usage_missing_calls,
        "calls_without_price": task.unpriced_calls,
        "used_by_agent": {agent: text(amount) for agent, amount in sorted(task.breakdown.items())},
        "used_in_all": {
            name: amount_text(name, used(task, name)) for name in ("unit", "token", "usd")
        },
        "holds": hold_dicts(task.holds.values()),
        "as_of": as_of_dicts(report.as_of),
    }


def print_task(report: TaskReport) -> None:
    """The task for a person."""
    task, out = report.task, console()
    out.print(f"task {task.task_ref}\n")
    kind = task.denomination
    if kind:
        figures = (
            *(task.ceiling, used(task, kind)),
            *(held(task, OpenHolds(), kind), report.left),
        )
        titles = [("", False), ("ceiling", True), ("used", True), ("held", True), ("left", True)]
        out.print(table(titles, [[kind, *amount_cells(kind, *figures)]]))
        agents = sorted(task.breakdown.items())
        if agents:
            shown = amount_cells(kind, *(amount for _, amount in agents))
            cells = [[agent or "-", one] for (agent, _), one in zip(agents, shown, strict=True)]
            out.print(table([("used by agent", False), (kind, True)], cells))
    else:
        out.print("it has no ceiling: its calls are tracked, never refused")
    spent = ", ".join(
        f"{amount_cells(name, used(task, name))[0]} {word}"
        for name, word in (("unit", "units"), ("token", "tokens"), ("usd", "USD"))
    )
    out.print(f"used in all: {spent}, calls: {task.calls:,}")
    if task.usage_missing_calls or task.unpriced_calls:
        out.print(
            f"calls without known usage: {task.usage_missing_calls:,}, without a price: "
            f"{task.unpriced_calls:,}"
        )
    print_open_holds([*task.holds.values()])
    out.print(as_of_line(report.as_of))
