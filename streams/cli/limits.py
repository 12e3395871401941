"""`tollgate limits`: bound what a customer, or one of its agents, may use."""

import asyncio
from collections.abc import Callable
from typing import Any

import click

from streams.app.administration import tell
from streams.cli.grants import DENOMINATIONS, INTERVALS, show_told
from streams.cli.options import with_settings
from streams.settings import Settings


@click.group()
def limits() -> None:
    """Bound what a customer, or one of its agents, may use."""


def _about(command: Callable[..., None]) -> Callable[..., None]:
    """What names a limit: customer, agent and denomination. There is one for each of these."""
    for option in (
        click.option("--id", "event_id", help="Id of this change: the same one twice counts once."),
        click.option("--agent", help="The agent that it bounds. Default: the whole customer."),
        click.option("--denomination", required=True, type=click.Choice(DENOMINATIONS)),
        click.argument("customer"),
    ):
        command = option(command)
    return command


@limits.command(name="set")
@_about
@click.option("--amount", required=True, help="Whole units or tokens, or dollars such as 12.50.")
@click.option("--resets", type=click.Choice(INTERVALS), help="In each period. Default: in all.")
@click.option("--anchor", metavar="TIME", help="A time at which some period begins.")
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def set_(
    settings: Settings,
    customer: str,
    denomination: str,
    agent: str | None,
    amount: str,
    resets: str | None,
    anchor: str | None,
    event_id: str | None,
    as_json: bool,
) -> None:
    """Set the limit of CUSTOMER, or of one of its agents, from now on.

    It takes the place of the one that was in force. What is used beyond it is still recorded and
    charged: a limit refuses preflights, never records.
    """
    more = {"amount": amount, "resets": resets, "anchor": anchor}
    _tell(settings, customer, denomination, agent, event_id, as_json, more)


@limits.command()
@_about
@with_settings("kafka_bootstrap", "topic_prefix")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def lift(
    settings: Settings,
    customer: str,
    denomination: str,
    agent: str | None,
    event_id: str | None,
    as_json: bool,
) -> None:
    """Take the limit of CUSTOMER, or of one of its agents, away."""
    _tell(settings, customer, denomination, agent, event_id, as_json, {})


def _tell(
    settings: Settings,
    customer: str,
    denomination: str,
    agent: str | None,
    event_id: str | None,
    as_json: bool,
    more: dict[str, Any],
) -> None:
    fields = {"denomination": denomination, "agent_id": agent} | more
    show_told(asyncio.run(tell(settings, "limit", customer, fields, event_id)), as_json)
