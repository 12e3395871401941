"""The home directory: who may use it, and its secrets."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streams.embedded.endpoints import Endpoints, find_running, write_endpoints
from streams.embedded.home import Home, HomeLock, ensure_secrets, is_held, load_secrets
from streams.errors import SetupError

HOLD = """
import os, sys
from pathlib import Path
from streams.embedded.home import Home, HomeLock
home = Home(Path(sys.argv[1]))
home.prepare()
HomeLock(home).take()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    prepared = Home(tmp_path / "home")
    prepared.prepare()
    return prepared


def holder(home: Home) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def finish(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)
    process.communicate()


def test_a_second_start_is_refused_and_names_the_pid_that_holds_the_home(home: Home) -> None:
    first = holder(home)
    try:
        with pytest.raises(SetupError, match=rf"in use by pid {first.pid}\b") as refused:
            HomeLock(home).take()
        assert "--home" in refused.value.action
    finally:
        finish(first, signal.SIGTERM)


def test_a_killed_holder_leaves_the_home_free(home: Home) -> None:
    finish(holder(home), signal.SIGKILL)
    assert not is_held(home)
    with HomeLock(home):
        assert is_held(home)
    assert not is_held(home)


def test_asking_who_holds_the_home_does_not_hinder_a_start(home: Home) -> None:
    for _ in range(50):
        assert not is_held(home)
        with HomeLock(home):
            pass


def test_the_home_and_the_secrets_are_closed_to_other_users(home: Home) -> None:
    ensure_secrets(home)
    assert home.root.stat().st_mode & 0o777 == 0o700
    assert home.secrets_file.stat().st_mode & 0o777 == 0o600


def test_passwords_are_generated_once_and_then_kept(home: Home) -> None:
    first = ensure_secrets(home)
    assert ensure_secrets(home) == first == load_secrets(home)
    assert first.admin_password != first.analyst_password
    assert len(first.admin_password) >= 32


def test_passwords_do_not_show_in_a_repr(home: Home) -> None:
    secrets = ensure_secrets(home)
    assert secrets.admin_password not in repr(secrets)


def test_secrets_that_others_can_read_are_refused(home: Home) -> None:
    ensure_secrets(home)
    home.secrets_file.chmod(0o644)
    with pytest.raises(SetupError, match="can be read by other users"):
        ensure_secrets(home)


def test_a_damaged_secrets_file_is_an_error_and_not_replaced(home: Home) -> None:
    home.secrets_file.touch(mode=0o600)
    with pytest.raises(SetupError, match="cannot be read"):
        ensure_secrets(home)
    assert home.secrets_file.read_text() == ""


def test_a_directory_with_other_things_in_it_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    before = tmp_path.stat().st_mode
    with pytest.raises(SetupError, match=r"thesis\.tex"):
        Home(tmp_path).prepare()
    assert tmp_path.stat().st_mode == before


def test_a_home_that_is_a_file_is_an_error_with_an_action(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(SetupError, match="cannot be used") as refused:
        Home(tmp_path / "home").prepare()
    assert "--home" in refused.value.action


def endpoints(holder_pid: int) -> Endpoints:
    return Endpoints(
        kafka_bootstrap="127.0.0.1:1",
        clickhouse_url="http://127.0.0.1:2",
        clickhouse_user="admin",
        clickhouse_password="from the secrets",
        clickhouse_tcp_port=3,
        analyst_user="analyst",
        analyst_password="from the secrets",
        holder_pid=holder_pid,
        pids={"kafka": 4},
    )


def test_endpoints_are_found_while_their_holder_lives_and_not_after_it_was_killed(
    home: Home,
) -> None:
    secrets = ensure_secrets(home)
    process = holder(home)
    write_endpoints(home, endpoints(process.pid))
    found = find_running(home.root)
    finish(process, signal.SIGKILL)

    assert found is not None
    assert found.kafka_bootstrap == "127.0.0.1:1"
    assert found.clickhouse_password == secrets.admin_password
    assert found.analyst_password == secrets.analyst_password
    assert home.endpoints_file.exists()
    assert find_running(home.root) is None


def test_endpoints_that_a_predecessor_left_behind_are_not_taken_for_the_new_holders(
    home: Home,
) -> None:
    ensure_secrets(home)
    write_endpoints(home, endpoints(holder_pid=1))
    with HomeLock(home):
        assert find_running(home.root) is None


def test_the_endpoints_file_holds_no_password(home: Home) -> None:
    write_endpoints(home, endpoints(holder_pid=1))
    text = home.endpoints_file.read_text()
    assert "from the secrets" not in text
    assert json.loads(text)["pids"] == {"kafka": 4}


def test_nothing_is_found_where_there_is_no_home(tmp_path: Path) -> None:
    assert find_running(tmp_path / "nowhere") is None
