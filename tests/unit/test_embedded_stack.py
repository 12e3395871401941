"""Starting the stack beside what a predecessor or a stranger left on its ports."""

import fcntl
import socket
import threading
import time
from pathlib import Path

import pytest

from streams.embedded.home import Home
from streams.embedded.ports import LOOPBACK, pick_free_ports
from streams.embedded.stack import EmbeddedStack, StackOptions, await_predecessors
from streams.errors import SetupError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    prepared = Home(tmp_path / "home")
    prepared.prepare()
    return prepared


def test_a_port_is_waited_for_while_a_child_of_a_predecessor_lives(home: Home) -> None:
    (port,) = pick_free_ports(1)
    done = threading.Event()

    def start() -> None:
        await_predecessors(home, [port])
        done.set()

    with (home.run / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.create_server((LOOPBACK, port)):
            starting = threading.Thread(target=start)
            starting.start()
            assert not done.wait(0.3)
        assert done.wait(5)
    starting.join()


def test_a_port_that_a_stranger_holds_is_an_error_at_once(home: Home) -> None:
    with socket.create_server((LOOPBACK, pick_free_ports(1)[0])) as stranger:
        port = stranger.getsockname()[1]
        options = StackOptions(
            root=home.root, kafka_bootstrap=f"{LOOPBACK}:1", clickhouse_http_port=port
        )
        begun = time.monotonic()
        with pytest.raises(SetupError, match=f"port {port} for ClickHouse over HTTP") as refused:
            EmbeddedStack(options).start()
        assert time.monotonic() - begun < 5
    assert "TOLLGATE_CLICKHOUSE_HTTP_PORT" in refused.value.action


def test_a_start_that_failed_leaves_the_home_free_for_the_next(home: Home) -> None:
    with socket.create_server((LOOPBACK, pick_free_ports(1)[0])) as stranger:
        port = stranger.getsockname()[1]
        options = StackOptions(
            root=home.root, kafka_bootstrap=f"{LOOPBACK}:1", clickhouse_tcp_port=port
        )
        for _ in range(2):
            with pytest.raises(SetupError, match=f"port {port}"):
                EmbeddedStack(options).start()


def test_stopping_a_stack_that_never_started_does_not_touch_the_one_that_runs(home: Home) -> None:
    home.endpoints_file.write_text("of the one that runs")
    EmbeddedStack(StackOptions(root=home.root)).stop()
    assert home.endpoints_file.exists()
