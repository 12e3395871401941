"""`tollgate signals`: signals with what they carry, and taking one back."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

import click

from schemas.limits import REASON_CHARS_MAX
from schemas.money import format_amount
from streams.app.administration import tell
from streams.app.warehouse import clickhouse
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, table
from streams.cli.trace import signal_dict
from streams.cli.trace_texts import WHY, moment, taken_text, why_none
from streams.invoicing.traces import (
    SIGNALS_MAX,
    Share,
    Told,
    by_signal,
    read_shares,
    read_signal,
    read_signals,
)
from streams.settings import Settings

_CLICKHOUSE: Final = ("clickhouse_url", "clickhouse_database")

Carried = Mapping[str, tuple[int, int]]
"""Amount and number of costs, by currency."""

_NOTHING: Final[Carried] = {"": (0, 0)}


@click.group()
def signals() -> None:
    """List signals with their cost, and take one back."""


@signals.command(name="list")
@click.argument("customer")
@with_settings(*_CLICKHOUSE)
@click.option(
    "--limit",
    type=click.IntRange(1, SIGNALS_MAX),
    default=100,
    help="The latest ones.  [default: 100]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(settings: Settings, customer: str, limit: int, as_json: bool) -> None:
    """List the signals of CUSTOMER, the latest first, with the cost that each carries.

    Everything is as of the entries that are in ClickHouse.
    """
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        found = read_signals(warehouse, customer, ("true", {}), limit)
        entries = [signal.entry_id for signal in found]
        named = ("signal_entry IN {entries:Array(String)}", {"entries": entries})
        carried = by_signal(read_shares(warehouse, customer, named)) if entries else {}
    if as_json:
        for signal in found:
            click.echo(json.dumps(line_dict(signal, carried.get(signal.entry_id))))
        return
    if found:
        console().print(table(_COLUMNS, list_rows(found, carried)))
    click.echo(f"{len(found):,} signals")
    seen = {_why(signal, carried.get(signal.entry_id)) for signal in found} & WHY.keys()
    for flag in sorted(seen):
        click.echo(f"- {flag}: {WHY[flag]}")


_COLUMNS: Final = [
    *(("at", False), ("signal", False), ("entry", False), ("trace or scope", False)),
    *(("carries", True), ("", False), ("costs", True), ("without cost", False)),
]


def list_rows(found: list[Told], carried: Mapping[str, Carried]) -> list[list[str]]:
    """A row per signal and currency."""
    lines = [
        (signal, currency, pico, costs)
        for signal in found
        for currency, (pico, costs) in (carried.get(signal.entry_id) or _NOTHING).items()
    ]
    money = amounts(pico for _, _, pico, _ in lines)
    return [
        [
            moment(signal.at_us),
            signal.name,
            signal.entry_id,
            signal.trace_id or signal.scope_id or "-",
            money[at] if costs else "-",
            currency,
            f"{costs:,}" if costs else "-",
            _why(signal, carried.get(signal.entry_id)),
        ]
        for at, (signal, currency, _, costs) in enumerate(lines)
    ]


def line_dict(signal: Told, carried: Carried | None) -> dict[str, Any]:
    """A signal with its cost, for a script; None where nothing has been said of it."""
    parts = carried or {}
    return signal_dict(signal) | {
        "carries": {
            currency: format_amount(pico) for currency, (pico, costs) in parts.items() if costs
        },
        "costs": sum(costs for _, costs in parts.values()),
        "why_none": _why(signal, carried) or None,
    }


def _why(signal: Told, carried: Carried | None) -> str:
    costs = any(costs for _, costs in (carried or {}).values())
    return why_none(signal, carries=costs, is_closed=carried is not None)


@signals.command()
@click.argument("customer")
@click.argument("entry", metavar="SIGNAL_ENTRY")
@click.option("--reason", required=True, help="Why, for whoever reads the books.")
@click.option("--move", is_flag=True, help="Let those who ask for its cost too carry it.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and append nothing.")
@with_settings("kafka_bootstrap", "topic_prefix", *_CLICKHOUSE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def void(
    settings: Settings,
    customer: str,
    entry: str,
    reason: str,
    move: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Take back the signal SIGNAL_ENTRY of CUSTOMER: the meeting was cancelled.

    It does not count any more, and its cost goes to nobody, or with --move to the signals that ask
    for it too. Nothing that is written changes: new entries stand beside it. `tollgate signals
    list` prints the ids. Given twice, it counts once. Exit code 1 where there is no such signal, or
    it was taken back before.
    """
    if len(reason) > REASON_CHARS_MAX:
        raise click.BadParameter(f"at most {REASON_CHARS_MAX} characters", param_hint="--reason")
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        signal = read_signal(warehouse, customer, entry)
        if signal is None:
            click.echo(f"no signal {entry!r} of customer {customer!r} is in ClickHouse", err=True)
            return 1
        shares = read_shares(warehouse, customer, _same_costs(entry))
    if signal.taken is not None:
        click.echo(f"{signal.name} {entry} was taken back {taken_text(signal)}", err=True)
        return 1
    cost = "move" if move else "unattributed"
    if not dry_run:
        fields = _fields(signal, cost, reason)
        asyncio.run(tell(settings, "void", customer, fields, f"void:{entry}"))
    if as_json:
        said = line_dict(signal, by_signal(shares).get(entry))
        click.echo(json.dumps(said | {"cost": cost, "appended": not dry_run}))
        return 0
    for line in told(signal, shares, move=move):
        click.echo(line)
    click.echo("nothing was appended" if dry_run else "appended", err=True)
    return 0


def _same_costs(entry: str) -> tuple[str, dict[str, Any]]:
    condition = """cost_entry IN
    (
        SELECT cost_entry
        FROM attributions
        WHERE customer_id = {customer:String} AND signal_entry = {entry:String}
    )"""
    return condition, {"entry": entry}


def _fields(signal: Told, cost: str, reason: str) -> dict[str, Any]:
    return {
        "signal_source": signal.source,
        "signal_event_id": signal.event_id,
        "signal_entry": signal.entry_id,
        "signal_decided_at": signal.decided_at_us,
        "signal_occurred_at": signal.at_us,
        "signal_name": signal.name,
        "quantity": signal.quantity,
        "agent_id": signal.agent_id or None,
        "trace_id": signal.trace_id or None,
        "scope_id": signal.scope_id or None,
        "cost": cost,
        "reason": reason,
    }


def told(signal: Told, shares: list[Share], *, move: bool) -> list[str]:
    """What taking a signal back does, a line each."""
    what = f"{signal.name} of {moment(signal.at_us)}"
    lines = [f"{what}: {signal.quantity:,} of it do not count any more"]
    carried = by_signal(shares)
    mine = {at: part for at, part in carried.get(signal.entry_id, {}).items() if part[1]}
    others = {s.signal_name for s in shares if s.pico and s.signal_entry != signal.entry_id}
    others.discard("")
    for currency, (pico, costs) in mine.items():
        if move and others:
            became = f"goes to {', '.join(sorted(others))}"
        elif move:
            became = "goes to nobody: no other signal asks for it"
        else:
            became = "goes to nobody"
        lines.append(f"{amounts([pico])[0]} {currency} of {costs:,} costs {became}")
    if not mine:
        lines.append("it carries no cost now; what its trace still gets, it will not carry")
    return lines
