"""What tests of several commands share."""

from typing import Any

import pytest

from streams.adapters.clickhouse import ClickHouse
from streams.cli import main


@pytest.fixture
def tollgate(
    clickhouse: ClickHouse,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Any:
    """Runs a command line against the database and returns (exit code, stdout, stderr)."""
    address = clickhouse.address
    for name in ("url", "user", "password", "database"):
        monkeypatch.setenv(f"TOLLGATE_CLICKHOUSE_{name.upper()}", getattr(address, name))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main.run(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run
