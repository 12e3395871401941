"""A secured installation for tests: a broker that asks who its clients are, and for each role a
user with the rights of its row."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError
from pydantic import SecretStr

from schemas.client.kafka_access import KafkaAccess, client_options
from streams.adapters.clickhouse import ClickHouse
from streams.app.installation import create_topics, import_prices
from streams.app.rights import ROLES, acls, give
from streams.cli import main
from streams.embedded.endpoints import Endpoints
from streams.settings import Settings
from tests.secured import ADMINISTRATOR, SecuredBroker, secured_broker
from tests.sinks import migrated_database

Command = Callable[..., tuple[int, str, str]]
"""Settings and words of a command line to exit code, stdout, stderr."""

WAIT_SECONDS: Final = 90.0
"""A deadline for processes that start on a busy machine."""


@dataclass
class Roles:
    """The installation: settings of each role, and the processes that were started for it."""

    broker: SecuredBroker
    settings: Settings
    clickhouse: ClickHouse
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def of(self, role: str, **more: Any) -> Settings:
        """The settings of a process of this role: its own user, its own password."""
        user = f"tollgate-{role}" if role in ROLES else role
        own = {
            "kafka_sasl_username": user,
            "kafka_sasl_password": SecretStr(self.broker.passwords[user]),
        }
        return self.settings.model_copy(update=own | more)

    def start(self, role: str, **more: Any) -> None:
        """The process of a role, with a log of its name."""
        self.processes[role] = self.spawn(role, self.of(role, **more))

    def spawn(self, role: str, settings: Settings) -> subprocess.Popen[bytes]:
        """A process of a role with settings of its own; whoever asks for it ends it."""
        with (self.settings.home / f"{role}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "streams", role],
                env=os.environ | settings.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def logs(self) -> str:
        """What all of them have logged."""
        return "".join(path.read_text("utf-8") for path in self.settings.home.glob("*.log"))

    def stop(self) -> dict[str, int]:
        """Asks all to stop; returns their exit codes."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        return {role: process.wait(WAIT_SECONDS) for role, process in self.processes.items()}


@contextlib.contextmanager
def secured_roles(endpoints: Endpoints, folder: Path) -> Iterator[Roles]:
    """Topics made by the operator, after the administrator has given everybody their rights."""
    home = folder / "home"
    home.mkdir()
    name = f"secured{os.getpid()}"
    users = [f"tollgate-{role}" for role in ROLES]
    with secured_broker(folder, users) as broker, migrated_database(endpoints, name) as clickhouse:
        settings = Settings(
            home=home,
            kafka_bootstrap=f"localhost:{broker.port}",
            kafka_security_protocol="sasl_ssl",
            kafka_sasl_mechanism="SCRAM-SHA-512",
            kafka_tls_ca=broker.authority.certificate,
            partitions=2,
            clickhouse_url=endpoints.clickhouse_url,
            clickhouse_user=endpoints.clickhouse_user,
            clickhouse_password=SecretStr(endpoints.clickhouse_password),
            clickhouse_database=name,
            sink_linger_ms=20,
        )
        made = Roles(broker, settings, clickhouse)
        try:
            everybody = [acl for role in ROLES for acl in acls(settings, role, f"tollgate-{role}")]
            asyncio.run(give(made.of(ADMINISTRATOR), tuple(everybody)))
            asyncio.run(create_topics(made.of("operator")))
            asyncio.run(import_prices(made.of("operator")))
            yield made
        finally:
            for process in made.processes.values():
                if process.poll() is None:
                    process.kill()
                process.wait()


def command_in(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command with given settings in this process."""

    def command(settings: Settings, *words: str) -> tuple[int, str, str]:
        for name, text in settings.environment().items():
            monkeypatch.setenv(name, text)
        code = main.run(words)
        out, error = capsys.readouterr()
        return code, out, error

    return command


async def refused(access: KafkaAccess, topics: list[str]) -> set[str]:
    """Which of the topics a client may not append to; what it may, it appends to."""
    async with AIOKafkaProducer(**client_options(access)) as producer:
        found = set()
        for topic in topics:
            try:
                await producer.send_and_wait(topic, b"{}", key=b"acme", partition=0)
            except TopicAuthorizationFailedError:
                found.add(topic)
        return found
