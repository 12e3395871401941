"""The real engine: inserts survive kill -9, and the analyst can read tables and nothing else."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from streams.embedded.clickhouse import ClickHouseOptions, ask, prepare_clickhouse
from streams.embedded.endpoints import Endpoints
from streams.embedded.home import Secrets
from streams.embedded.ports import LOOPBACK, pick_free_ports
from streams.embedded.stack import EmbeddedStack, StackOptions
from tests.embedded_waiting import until


def clickhouse_alone(home: Path) -> EmbeddedStack:
    """Return a stack without Kafka; nobody connects to the address given in its place."""
    return EmbeddedStack(StackOptions(root=home, kafka_bootstrap=f"{LOOPBACK}:1"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clickhouse")


@pytest.fixture(scope="module")
def stack(home: Path) -> Iterator[EmbeddedStack]:
    with clickhouse_alone(home) as running:
        admin(running.endpoints(), "CREATE DATABASE IF NOT EXISTS tollgate")
        admin(
            running.endpoints(),
            "CREATE TABLE IF NOT EXISTS tollgate.t (a Int64) ENGINE = MergeTree ORDER BY a",
        )
        admin(running.endpoints(), "SYSTEM FLUSH LOGS")  # So that there is a query log to deny.
        yield running


def admin(endpoints: Endpoints, query: str) -> str:
    return ask(
        endpoints.clickhouse_url, query, endpoints.clickhouse_user, endpoints.clickhouse_password
    )


def analyst(endpoints: Endpoints, query: str) -> str:
    """Return the answer, or what the server says to a refused query."""
    assert endpoints.analyst_user is not None, "the engine cannot be confined on this machine"
    assert endpoints.analyst_password is not None
    try:
        return ask(
            endpoints.clickhouse_url, query, endpoints.analyst_user, endpoints.analyst_password
        )
    except HTTPError as refusal:
        return refusal.read().decode()


def test_inserted_rows_survive_kill_9_and_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with clickhouse_alone(home) as stack:
        endpoints = stack.endpoints()
        admin(endpoints, "CREATE DATABASE tollgate")
        admin(endpoints, "CREATE TABLE tollgate.t (a Int64) ENGINE = MergeTree ORDER BY a")
        admin(endpoints, "INSERT INTO tollgate.t SELECT number FROM numbers(1000)")
        os.kill(endpoints.pids["clickhouse"], signal.SIGKILL)
        stack.supervisor.wait_ready("clickhouse", restarts=1)
        admin(endpoints, "INSERT INTO tollgate.t SELECT number FROM numbers(10)")
    with clickhouse_alone(home) as stack:
        assert admin(stack.endpoints(), "SELECT count(), sum(a) FROM tollgate.t") == "1010\t499545"


def test_the_engine_starts_whatever_its_standard_input_is(tmp_path: Path) -> None:
    folder, written = tmp_path / "engine", tmp_path / "input"
    folder.mkdir()
    written.write_text("1\n")
    http_port, tcp_port = pick_free_ports(2)
    options = ClickHouseOptions(folder, http_port, tcp_port, fsync=False)
    spec = prepare_clickhouse(options, Secrets("one", "two"), restart_limit=0)
    with written.open("rb") as stdin, (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            spec.argv, stdin=stdin, stdout=log, stderr=log, cwd=spec.cwd, env=dict(spec.env)
        )
    try:
        until(lambda: spec.ready() or running.poll() is not None, "it answers or has ended", 60.0)
        assert running.poll() is None, (tmp_path / "log").read_text("utf-8", "replace")
    finally:
        running.kill()
        running.wait()


def test_inserts_are_forced_to_disk_and_times_are_utc(stack: EmbeddedStack) -> None:
    query = "SELECT value FROM system.merge_tree_settings WHERE name = 'fsync_after_insert'"
    assert admin(stack.endpoints(), query) == "1"
    assert admin(stack.endpoints(), "SELECT timezoneOffset(now())") == "0"


def test_the_analyst_reads_tollgates_tables(stack: EmbeddedStack) -> None:
    endpoints = stack.endpoints()
    assert analyst(endpoints, "SELECT count() >= 0 FROM tollgate.t") == "1"
    assert analyst(endpoints, "SHOW TABLES FROM tollgate") == "t"
    assert analyst(endpoints, "SELECT name FROM system.columns WHERE table = 't'") == "a"


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO tollgate.t VALUES (1)",
        "ALTER TABLE tollgate.t DELETE WHERE 1",
        "DROP TABLE tollgate.t",
        "CREATE TABLE tollgate.mine (a Int8) ENGINE = Memory",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/x', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1:1', 'system', 'one')",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'LineAsString')",
        "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "SELECT * FROM executable('script', 'TSV', 'a String')",
        "SELECT * FROM system.query_log",
        "SELECT * FROM system.users",
        "SYSTEM STOP LISTEN HTTP",
        "GRANT SELECT ON *.* TO analyst",
    ],
)
def test_the_analyst_is_denied(stack: EmbeddedStack, query: str) -> None:
    assert "ACCESS_DENIED" in analyst(stack.endpoints(), query)


def test_the_engine_cannot_open_files_of_others_and_has_nothing_of_its_starter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The function that reads files, as if nobody had taken it away (test_analyst_limits.py).
    monkeypatch.setattr("streams.embedded.clickhouse.FUNCTIONS_FOLDER", "elsewhere")
    monkeypatch.setenv("TOLLGATE_CLICKHOUSE_PASSWORD", "of another server")
    with clickhouse_alone(tmp_path / "home") as stack:
        endpoints, secrets = stack.endpoints(), stack.home.secrets_file
        for path in ("/etc/passwd", secrets, "../../secrets.json", "/proc/1/environ"):
            answer = analyst(endpoints, f"SELECT file('{path}')")
            assert "Permission denied" in answer, path
        environment = analyst(endpoints, "SELECT file('/proc/self/environ')")
    assert "PATH=" in environment
    assert "TOLLGATE_CLICKHOUSE_PASSWORD" not in environment


def test_the_analyst_cannot_lift_the_limits_of_its_profile(stack: EmbeddedStack) -> None:
    endpoints = stack.endpoints()
    assert "READONLY" in analyst(endpoints, "SET readonly = 0")
    for setting in ("max_execution_time = 0", "max_memory_usage = 0"):
        answer = analyst(endpoints, f"SELECT 1 SETTINGS {setting}")
        assert "SETTING_CONSTRAINT_VIOLATION" in answer


def test_a_python_table_function_is_refused_and_does_not_end_the_engine(
    stack: EmbeddedStack,
) -> None:
    assert "FUNCTION_NOT_ALLOWED" in analyst(stack.endpoints(), "SELECT * FROM python('x')")
    insisting = "SELECT * FROM python('x') SETTINGS allow_python_table_function = 1"
    assert "QUERY_IS_PROHIBITED" in analyst(stack.endpoints(), insisting)
    assert stack.supervisor.restarts("clickhouse") == 0


def test_the_user_without_a_password_cannot_log_in(stack: EmbeddedStack) -> None:
    with pytest.raises(HTTPError) as refusal:
        ask(stack.endpoints().clickhouse_url, "SELECT 1", "default", "")
    assert "USER_SESSION_LIMIT_EXCEEDED" in refusal.value.read().decode()


def test_a_wrong_password_is_refused(stack: EmbeddedStack) -> None:
    with pytest.raises(HTTPError):
        ask(stack.endpoints().clickhouse_url, "SELECT 1", "admin", "guess")
