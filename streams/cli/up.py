"""`tollgate up` and `tollgate down`: everything on this machine, in the foreground, and its end."""

import asyncio
import json
import os
import signal
import time
from typing import Final

import click

from streams.app.installation import create_topics, import_prices
from streams.app.warehouse import run_migrations
from streams.cli.options import with_settings
from streams.embedded.endpoints import Endpoints
from streams.embedded.home import Home, holder_pid, is_held
from streams.embedded.wiring import ROLES, PrepareStep, run_installation
from streams.errors import FaultError, SetupError
from streams.settings import Settings

DOWN_SECONDS: Final = 90.0
"""Longer than all stop deadlines of `up` one after another."""

DOWN_POLL_SECONDS: Final = 0.05

PREPARE_STEPS: Final[tuple[PrepareStep, ...]] = (
    run_migrations,
    lambda settings: asyncio.run(create_topics(settings)),
    lambda settings: asyncio.run(import_prices(settings)),
)
"""What has to be there before worker and sink start, in order; each may be run again."""


@click.command()
@with_settings("kafka_port", "kafka_controller_port", "clickhouse_http_port", "clickhouse_tcp_port")
@click.option("--servers-only", is_flag=True, help="Start Kafka and ClickHouse, nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print the endpoints as one JSON object.")
def up(settings: Settings, servers_only: bool, as_json: bool) -> None:
    """Run Kafka, ClickHouse, worker and sink on this machine until Ctrl-C.

    Servers named by TOLLGATE_KAFKA_BOOTSTRAP or TOLLGATE_CLICKHOUSE_URL are used instead of the
    embedded ones. The endpoints are printed when everything is ready. Children that die are
    reported and started again; one that will not stay up ends the whole with exit code 1.
    """
    home = Home(settings.home)

    def announce(endpoints: Endpoints) -> None:
        shown = describe(home, endpoints)
        if as_json:
            click.echo(json.dumps(endpoints.public() | {"home": str(home.root)}))
        else:
            width = max(map(len, shown))
            click.echo("\n".join(f"{name:<{width}}  {value}" for name, value in shown.items()))

    run_installation(
        settings,
        prepare_steps=() if servers_only else PREPARE_STEPS,
        roles=() if servers_only else ROLES,
        announce=announce,
    )


@click.command()
@with_settings()
def down(settings: Settings) -> None:
    """Stop the `tollgate up` that runs on this home, and wait until it is gone."""
    home = Home(settings.home)
    pid = holder_pid(home)
    if not is_held(home) or pid is None:
        click.echo(f"nothing runs on {home.root}", err=True)
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError as error:
        raise SetupError(
            f"pid {pid} belongs to another user",
            action="Run `tollgate down` as the user who started it.",
        ) from error
    deadline = time.monotonic() + DOWN_SECONDS
    while is_held(home):
        if time.monotonic() > deadline:
            raise FaultError(
                f"pid {pid} still runs after {DOWN_SECONDS:.0f} s",
                action=f"Look into {home.logs}, then end it with: kill -9 {pid}",
            )
        time.sleep(DOWN_POLL_SECONDS)  # noqa: TID251  Polls a lock under the deadline above.
    click.echo(f"stopped pid {pid}", err=True)


def describe(home: Home, endpoints: Endpoints) -> dict[str, str]:
    """Return what an operator wants to know, label to value, without any password."""
    shown = {
        "Kafka": endpoints.kafka_bootstrap,
        "ClickHouse, HTTP": endpoints.clickhouse_url,
    }
    if endpoints.clickhouse_tcp_port is not None:
        shown["ClickHouse, native"] = f"127.0.0.1:{endpoints.clickhouse_tcp_port}"
        users = [f"{endpoints.clickhouse_user} (all rights)"]
        if endpoints.analyst_user is not None:
            users.append(f"{endpoints.analyst_user} (reads)")
        shown["ClickHouse, users"] = ", ".join(users)
        shown["Passwords"] = str(home.secrets_file)
    shown["Logs"] = str(home.logs)
    shown["Running"] = ", ".join(f"{name} {pid}" for name, pid in endpoints.pids.items())
    shown["To stop"] = f"Ctrl-C here, or: tollgate down --home {home.root}"
    return shown
