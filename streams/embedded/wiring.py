"""From settings to a running installation: the stack, then what prepares it, then its roles.

Owns the order in which one machine comes up and goes down, for `tollgate up`, the demo and
whoever else starts everything. What topics and tables are, and what a role does, is given in.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from pydantic import SecretStr

from streams.embedded.child import ChildSpec
from streams.embedded.endpoints import Endpoints, find_running
from streams.embedded.stack import EmbeddedStack, StackOptions
from streams.embedded.supervisor import say_on_stderr
from streams.settings import Settings

ROLES = ("worker", "sink")

# A worker finishes the running cycles and leaves its group; a sink finishes its insert.
ROLE_STOP_SECONDS = 20.0

# Long enough for a wrong setting or a missing package to show, which then ends the start.
ROLE_STEADY_SECONDS = 1.0

PrepareStep = Callable[[Settings], object]


def stack_options(settings: Settings) -> StackOptions:
    """Return the part of the settings that the embedded servers are started from."""
    password = settings.clickhouse_password
    return StackOptions(
        root=settings.home,
        kafka_port=settings.kafka_port,
        kafka_controller_port=settings.kafka_controller_port,
        clickhouse_http_port=settings.clickhouse_http_port,
        clickhouse_tcp_port=settings.clickhouse_tcp_port,
        kafka_bootstrap=settings.kafka_bootstrap,
        clickhouse_url=settings.clickhouse_url,
        clickhouse_user=settings.clickhouse_user,
        clickhouse_password=password.get_secret_value() if password else "",
        kafka_heap_mb=settings.kafka_heap_mb,
    )


def connected(settings: Settings, endpoints: Endpoints) -> Settings:
    """Return the settings with the addresses and the user of what runs filled in."""
    return settings.model_copy(
        update={
            "kafka_bootstrap": endpoints.kafka_bootstrap,
            "clickhouse_url": endpoints.clickhouse_url,
            "clickhouse_user": endpoints.clickhouse_user,
            "clickhouse_password": SecretStr(endpoints.clickhouse_password),
        }
    )


def running(settings: Settings) -> Endpoints | None:
    """Return the addresses of the installation that runs on this home, None if none does."""
    password = settings.clickhouse_password
    external = password.get_secret_value() if password else ""
    return find_running(settings.home, external_password=external)


def role_argv(role: str) -> tuple[str, ...]:
    """Return the command line of one of Tollgate's own processes."""
    return (sys.executable, "-m", "streams", role)


def role_spec(role: str, settings: Settings, *, needs: Sequence[str] = ()) -> ChildSpec:
    """Return a role as a child that sees exactly these settings, and nobody's others."""
    return ChildSpec(
        name=role,
        argv=role_argv(role),
        env=_with_own_address(role, settings).environment(),
        steady_seconds=ROLE_STEADY_SECONDS,
        stop_seconds=ROLE_STOP_SECONDS,
        needs=tuple(needs),
    )


def _with_own_address(role: str, settings: Settings) -> Settings:
    """The settings with an address for metrics that no other role has: the worker's is the one
    given, the sink's the next port."""
    if settings.metrics_listen is None or role not in ROLES:
        return settings
    host, _, port = settings.metrics_listen.rpartition(":")
    own = int(port) + ROLES.index(role) if int(port) else 0
    return settings.model_copy(update={"metrics_listen": f"{host}:{own}"})


def start_installation(
    stack: EmbeddedStack,
    settings: Settings,
    *,
    prepare_steps: Sequence[PrepareStep] = (),
    roles: Sequence[str] = ROLES,
) -> Endpoints:
    """Start the servers, run the steps in order, start the roles; return the addresses.

    Raises what a step raises; the caller stops the stack in every case.
    """
    connection = connected(settings, stack.start())
    for step in prepare_steps:
        step(connection)
    servers = tuple(stack.supervisor.pids())
    stack.supervisor.start(*(role_spec(role, connection, needs=servers) for role in roles))
    return stack.endpoints()


def run_installation(
    settings: Settings,
    *,
    prepare_steps: Sequence[PrepareStep] = (),
    roles: Sequence[str] = ROLES,
    announce: Callable[[Endpoints], None] = lambda _endpoints: None,
    say: Callable[[str], None] = say_on_stderr,
) -> None:
    """Run everything until Ctrl-C, SIGTERM or SIGHUP, then stop it in reverse order.

    Call it from the main thread. Raises `SetupError` when something cannot start and
    `FaultError` when a child will not stay up; in both cases everything was stopped before.
    A second signal while stopping kills what is left.
    """
    stack = EmbeddedStack(stack_options(settings), say=say)
    with signals_as_interrupt():
        try:
            announce(start_installation(stack, settings, prepare_steps=prepare_steps, roles=roles))
            stack.supervisor.wait()
        except KeyboardInterrupt:
            say("stopping (once more to kill)")
        finally:
            try:
                stack.stop()
            except KeyboardInterrupt:
                stack.supervisor.kill()
                stack.stop()


@contextlib.contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the main thread just as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
