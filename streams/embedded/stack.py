"""The embedded stack: Kafka and ClickHouse on one home directory, or the servers that were named.

Owns putting the parts together: lock, passwords, ports, the two children, the endpoints file.
Callers (`tollgate up`, the demo, tests) start further children with its supervisor.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.embedded.analysts import load_analysts
from streams.embedded.child import PREDECESSOR_SECONDS, ChildSpec
from streams.embedded.clickhouse import (
    ADMIN_USER,
    ANALYST_USER,
    ClickHouseOptions,
    has_analyst,
    prepare_clickhouse,
)
from streams.embedded.endpoints import Endpoints, write_endpoints
from streams.embedded.home import Home, HomeLock, Secrets, ensure_secrets, lock_is_held
from streams.embedded.jars import default_cache_dir
from streams.embedded.kafka import DEFAULT_HEAP_MB, KafkaOptions, prepare_kafka
from streams.embedded.ports import LOOPBACK, is_free, pick_free_ports, require_free
from streams.embedded.supervisor import Supervisor, say_on_stderr

PORT_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What to run where. A port of 0 means any free one.

    With `kafka_bootstrap` or `clickhouse_url` given, that server is used and none is started in
    its place. `restart_limit` applies to both children.
    """

    root: Path
    kafka_port: int = 0
    kafka_controller_port: int = 0
    clickhouse_http_port: int = 0
    clickhouse_tcp_port: int = 0
    kafka_bootstrap: str | None = None
    clickhouse_url: str | None = None
    clickhouse_user: str = "default"
    clickhouse_password: str = ""
    kafka_heap_mb: int = DEFAULT_HEAP_MB
    fsync: bool = True
    cache_dir: Path | None = None
    restart_limit: int = 5


# Setting (as the operator writes it) and purpose of each port, by the field of StackOptions.
PORT_SETTINGS = {
    "kafka_port": ("--kafka-port or TOLLGATE_KAFKA_PORT", "Kafka"),
    "kafka_controller_port": (
        "--kafka-controller-port or TOLLGATE_KAFKA_CONTROLLER_PORT",
        "Kafka's controller",
    ),
    "clickhouse_http_port": (
        "--clickhouse-http-port or TOLLGATE_CLICKHOUSE_HTTP_PORT",
        "ClickHouse over HTTP",
    ),
    "clickhouse_tcp_port": (
        "--clickhouse-tcp-port or TOLLGATE_CLICKHOUSE_TCP_PORT",
        "ClickHouse's native protocol",
    ),
}


class EmbeddedStack:
    """A running Kafka and ClickHouse. Use as a context manager, or `start` and `stop`."""

    def __init__(
        self, options: StackOptions, *, say: Callable[[str], None] = say_on_stderr
    ) -> None:
        """Start nothing yet; `say` gets one line per event worth telling an operator."""
        self.options = options
        self.home = Home(options.root.absolute())
        self.supervisor = Supervisor(
            self.home.logs, self.home.run, say=say, on_change=self._record_pids
        )
        self._lock = HomeLock(self.home)
        self._ports: dict[str, int] = {}
        self._secrets: Secrets | None = None
        self._record_lock = threading.Lock()
        self._recording = False

    def start(self) -> Endpoints:
        """Start what is not given from outside; return the addresses once all of it answers.

        Raises `SetupError`, with everything stopped again.
        """
        self.home.prepare()
        self._lock.take()
        try:
            self.home.endpoints_file.unlink(missing_ok=True)
            self._secrets = ensure_secrets(self.home)
            self._ports = self._claim_ports()
            specs = self._prepare(self._secrets)
            self.supervisor.start(*specs)
            self._recording = True
            self._record_pids()
        except BaseException:
            self.stop()
            raise
        return self.endpoints()

    def stop(self) -> None:
        """Stop every child, last started first, and let go of the home directory.

        Harmless when nothing was started, or when the home is in another's hands.
        """
        if not self._lock.held:
            return
        try:
            self.supervisor.stop()
        finally:
            with self._record_lock:
                self._recording = False
                self.home.endpoints_file.unlink(missing_ok=True)
            self._lock.release()

    def endpoints(self) -> Endpoints:
        """Return the addresses and the pids of this moment."""
        if self._secrets is None:
            raise RuntimeError("the stack has not been started")
        options, ports, secrets = self.options, self._ports, self._secrets
        own = options.clickhouse_url is None
        analyst = own and has_analyst()
        return Endpoints(
            kafka_bootstrap=options.kafka_bootstrap or f"{LOOPBACK}:{ports['kafka_port']}",
            clickhouse_url=options.clickhouse_url
            or f"http://{LOOPBACK}:{ports['clickhouse_http_port']}",
            clickhouse_user=ADMIN_USER if own else options.clickhouse_user,
            clickhouse_password=secrets.admin_password if own else options.clickhouse_password,
            clickhouse_tcp_port=ports["clickhouse_tcp_port"] if own else None,
            analyst_user=ANALYST_USER if analyst else None,
            analyst_password=secrets.analyst_password if analyst else None,
            holder_pid=os.getpid(),
            pids=self.supervisor.pids(),
        )

    def _claim_ports(self) -> dict[str, int]:
        """Return the port per field, each of them free now."""
        needed = []
        if self.options.kafka_bootstrap is None:
            needed += ["kafka_port", "kafka_controller_port"]
        if self.options.clickhouse_url is None:
            needed += ["clickhouse_http_port", "clickhouse_tcp_port"]
        chosen = {name: int(getattr(self.options, name)) for name in needed}
        fixed = {name: port for name, port in chosen.items() if port}
        await_predecessors(self.home, list(fixed.values()))
        for name, port in fixed.items():
            setting, purpose = PORT_SETTINGS[name]
            require_free(port, purpose=purpose, setting=setting)
        open_names = [name for name in needed if not chosen[name]]
        return chosen | dict(zip(open_names, pick_free_ports(len(open_names)), strict=True))

    def _prepare(self, secrets: Secrets) -> list[ChildSpec]:
        """Write the configurations; a first start also downloads and formats."""
        options, ports = self.options, self._ports
        steps: list[Callable[[], ChildSpec]] = []
        if options.kafka_bootstrap is None:
            kafka = KafkaOptions(
                folder=self.home.kafka,
                port=ports["kafka_port"],
                controller_port=ports["kafka_controller_port"],
                cache_dir=options.cache_dir or default_cache_dir(),
                heap_mb=options.kafka_heap_mb,
            )
            steps.append(lambda: prepare_kafka(kafka, options.restart_limit))
        if options.clickhouse_url is None:
            clickhouse = ClickHouseOptions(
                folder=self.home.clickhouse,
                http_port=ports["clickhouse_http_port"],
                tcp_port=ports["clickhouse_tcp_port"],
                fsync=options.fsync,
            )
            restricted = load_analysts(self.home)
            steps.append(
                lambda: prepare_clickhouse(clickhouse, secrets, options.restart_limit, restricted)
            )
        return [step() for step in steps]

    def _record_pids(self) -> None:
        with self._record_lock:
            if self._recording:
                write_endpoints(self.home, self.endpoints())

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()


def await_predecessors(home: Home, ports: Sequence[int]) -> None:
    """Give children of a killed predecessor the time to let go of these ports.

    Their keepers kill them at once, but a large process takes a moment to end. While one of them
    lives it holds its lock in `run/`; a port that a stranger holds is not waited for.
    """
    deadline = time.monotonic() + PREDECESSOR_SECONDS
    while not all(is_free(port) for port in ports):
        predecessor_lives = any(lock_is_held(path) for path in home.run.glob("*.lock"))
        if time.monotonic() > deadline or not predecessor_lives:
            return
        time.sleep(PORT_POLL_SECONDS)
