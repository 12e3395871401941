"""The installation that the demo runs on: the one that runs on the home, or one started for it.

The only module of the demo that knows how an installation is put together; the rest sees
`Installation`. What it started it stops; what ran before goes on running.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.app.loading import current_generation, fact_producer, inbound_positions
from streams.app.warehouse import clickhouse, rebuild_tables
from streams.demo.ports import EventProducer, Positions, Query
from streams.demo.stages import Stages
from streams.embedded.endpoints import Endpoints
from streams.embedded.home import Home
from streams.embedded.stack import EmbeddedStack
from streams.embedded.supervisor import say_on_stderr
from streams.embedded.wiring import (
    ROLES,
    PrepareStep,
    connected,
    role_spec,
    running,
    stack_options,
)
from streams.errors import SetupError
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Installation:
    """A running installation, seen from the demo."""

    settings: Settings
    """With the addresses of what runs filled in."""
    endpoints: Callable[[], Endpoints]
    """Addresses and pids of this moment."""
    logs: Path
    started_here: bool
    wait: Callable[[float | None], None]
    """Blocks for so many seconds, or for as long as all stays up; raises what made it fail."""
    rebuild: Callable[[], None]
    """Drops the tables, makes them anew and lets a new sink fill them from the log."""

    def query(self) -> Query:
        """A connection to its ClickHouse."""
        warehouse = clickhouse(self.settings)

        def rows(sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
            return warehouse.query(sql, parameters).rows

        return rows

    def producer(self) -> AbstractAsyncContextManager[EventProducer]:
        """A producer for its inbound topics."""
        return fact_producer(self.settings)

    def positions(self) -> AbstractAsyncContextManager[Positions]:
        """How far its inbound topics are."""
        return inbound_positions(self.settings)

    def generation(self) -> int:
        """The generation of its topics."""
        return asyncio.run(current_generation(self.settings))

    def check(self) -> None:
        """Raises what made the installation fail for good, if anything did."""
        self.wait(0)

    def kill_roles(self) -> dict[str, int]:
        """Kills worker and sink as a crash would, and returns their pids; both are restarted."""
        pids = {role: pid for role, pid in self.endpoints().pids.items() if role in ROLES}
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pids


@contextlib.contextmanager
def open_installation(
    settings: Settings,
    prepare_steps: Sequence[PrepareStep],
    stages: Stages,
    say: Callable[[str], None] = say_on_stderr,
) -> Iterator[Installation]:
    """The installation on this home, started as far as it does not run, stopped again at the end.

    Raises SetupError where something cannot start, or where servers run there without worker and
    sink.
    """
    endpoints = running(settings)
    if endpoints is not None:
        yield _found(settings, endpoints, say)
        return
    stack = EmbeddedStack(stack_options(settings), say=say)
    try:
        with stages.timed("start Kafka and ClickHouse"):
            connection = connected(settings, stack.start())
        with stages.timed("topics, prices, tables"):
            for step in prepare_steps:
                step(connection)
        with stages.timed("start worker and sink"):
            servers = tuple(stack.supervisor.pids())
            stack.supervisor.start(*(role_spec(r, connection, needs=servers) for r in ROLES))

        def rebuild() -> None:
            stack.supervisor.stop("sink")
            rebuild_tables(connection)
            stack.supervisor.start(role_spec("sink", connection, needs=servers))

        yield Installation(
            connection, stack.endpoints, stack.home.logs, True, stack.supervisor.wait, rebuild
        )
    finally:
        try:
            stack.stop()
        except KeyboardInterrupt:  # a second Ctrl-C: the operator is in a hurry
            stack.supervisor.kill()
            stack.stop()


def _found(settings: Settings, endpoints: Endpoints, say: Callable[[str], None]) -> Installation:
    missing = [role for role in ROLES if role not in endpoints.pids]
    if missing:
        raise SetupError(
            f"servers run on {settings.home}, but no {' and no '.join(missing)}",
            action="Stop them and run the demo again (it starts all), or run `tollgate up` "
            "without --servers-only.",
        )
    say(f"using what runs on {settings.home} (pid {endpoints.holder_pid}); it goes on running")

    def current() -> Endpoints:
        now = running(settings)
        if now is None:
            raise SetupError(
                f"what ran on {settings.home} has stopped",
                action="Run the demo again: it starts everything itself.",
            )
        return now

    return Installation(
        connected(settings, endpoints),
        current,
        Home(settings.home).logs,
        False,
        lambda _seconds: None,
        _not_ours,
    )


def _not_ours() -> None:
    raise SetupError(
        "the sink was not started by this demo, so it cannot be stopped for a while",
        action="Stop what runs on this home; the demo then starts everything itself.",
    )
