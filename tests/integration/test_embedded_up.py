"""`tollgate up` as its operator sees it: endpoints, one at a time, no orphans, an orderly end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from streams.embedded.endpoints import find_running
from streams.embedded.ports import is_free, pick_free_ports
from tests.embedded_waiting import is_gone, until

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("kafka-port", "kafka-controller-port", "clickhouse-http-port", "clickhouse-tcp-port")

Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def tollgate(tmp_path: Path) -> Iterator[Command]:
    begun: list[subprocess.Popen[str]] = []
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOLLGATE_")}

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "streams", *arguments, "--home", str(tmp_path / "home")]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**ours, "PYTHONPATH": str(ROOT)},
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def ports() -> list[int]:
    return pick_free_ports(4)


def up(tollgate: Command, ports: list[int], *more: str) -> "subprocess.Popen[str]":
    flags = [f"--{name}={port}" for name, port in zip(FLAGS, ports, strict=True)]
    return tollgate("up", "--servers-only", *flags, *more)


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())
    return line


def test_up_prints_the_endpoints_and_down_stops_it(
    tollgate: Command, ports: list[int], tmp_path: Path
) -> None:
    running = up(tollgate, ports, "--json")
    shown = json.loads(first_line(running))
    assert shown["kafka_bootstrap"] == f"127.0.0.1:{ports[0]}"
    assert shown["clickhouse_url"] == f"http://127.0.0.1:{ports[2]}"
    found = find_running(tmp_path / "home")
    assert found is not None
    assert found.pids == shown["pids"]
    assert found.clickhouse_password not in json.dumps(shown)

    stopping = tollgate("down")
    assert stopping.wait(60) == 0
    output, messages = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "stopping" in messages
    assert found.clickhouse_password not in output + messages
    assert all(map(is_gone, shown["pids"].values()))
    assert all(map(is_free, ports))
    assert not (tmp_path / "home" / "endpoints.json").exists()


def test_a_second_start_is_refused_and_the_first_goes_on_undisturbed(
    tollgate: Command, ports: list[int], tmp_path: Path
) -> None:
    first = up(tollgate, ports)
    first_line(first)
    before = find_running(tmp_path / "home")
    second = up(tollgate, pick_free_ports(4))
    _, messages = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"in use by pid {first.pid}" in " ".join(messages.split())
    assert find_running(tmp_path / "home") == before
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 0


def test_kill_9_leaves_no_orphan_and_the_next_start_on_the_same_ports_works(
    tollgate: Command, ports: list[int], tmp_path: Path
) -> None:
    first = up(tollgate, ports, "--json")
    pids = list(json.loads(first_line(first))["pids"].values())
    keepers = [psutil.Process(pid).ppid() for pid in pids]
    first.kill()
    first.wait()
    # At once, while the children may still be dying and hold ports and data.
    second = up(tollgate, ports, "--json")
    assert json.loads(first_line(second))["kafka_bootstrap"] == f"127.0.0.1:{ports[0]}"
    until(lambda: all(map(is_gone, pids + keepers)), "the end of the first one's children", 1)
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0


def test_down_on_a_home_where_nothing_runs_says_so(tollgate: Command) -> None:
    process = tollgate("down")
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "nothing runs" in messages
