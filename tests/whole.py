"""An installation together with the database that its sinks fill, and commands run on it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from streams.adapters.clickhouse import ClickHouse
from streams.cli import main
from streams.embedded.endpoints import Endpoints
from tests.installation import Installation
from tests.sinks import migrated_database

Command = Callable[..., tuple[int, str, str]]
"""Words of a command line to exit code, stdout, stderr."""


@contextlib.contextmanager
def with_tables(
    endpoints: Endpoints, name: str, home: Path, **more: Any
) -> Iterator[tuple[Installation, ClickHouse]]:
    """Topics under `name.` and a migrated database of this name; no process runs yet. `more` are
    settings."""
    with (
        migrated_database(endpoints, name) as clickhouse,
        Installation.create(
            endpoints,
            f"{name}.",
            home,
            clickhouse_url=endpoints.clickhouse_url,
            clickhouse_user=endpoints.clickhouse_user,
            clickhouse_password=SecretStr(endpoints.clickhouse_password),
            clickhouse_database=name,
            **({"sink_linger_ms": 20} | more),
        ) as installation,
    ):
        yield installation, clickhouse


def command_of(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *first: str,
) -> Command:
    """Runs commands on an installation, in this process; `first` are words that all begin with."""
    for name, value in installation.settings.environment().items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main.run([*first, *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run
