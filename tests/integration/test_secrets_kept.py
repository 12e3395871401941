"""Secrets of an installation that runs: in no list of processes, no log, no metrics, and in no file
that others may read."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from streams.embedded.home import Home, load_secrets
from streams.embedded.ports import LOOPBACK, pick_free_ports
from tests.embedded_waiting import until
from tests.guard.repository import ROOT

HOP_SECRET = "a secret between gateways and workers"
STOP_SECONDS = 90.0

PORTS = ("kafka", "kafka_controller", "clickhouse_http", "clickhouse_tcp")


@dataclass
class Running:
    """An installation with all of its processes."""

    home: Home
    shown: str
    gateway: str
    process: "subprocess.Popen[str]"

    @property
    def secrets(self) -> dict[str, str]:
        """What nobody may find, by what it is."""
        stored = load_secrets(self.home)
        assert stored is not None
        return {
            "the administrator's password": stored.admin_password,
            "the analyst's password": stored.analyst_password,
            "the secret of the hop": HOP_SECRET,
        }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`tollgate up` with a worker, a sink and a gateway; an operator has given a secret."""
    home = Home(tmp_path_factory.mktemp("secrets") / "home")
    *servers, gateway = pick_free_ports(len(PORTS) + 1)
    given = {
        f"TOLLGATE_{name.upper()}_PORT": str(port)
        for name, port in zip(PORTS, servers, strict=True)
    }
    given |= {"TOLLGATE_HOP_SECRET": HOP_SECRET, "TOLLGATE_PARTITIONS": "1"}
    given |= {"TOLLGATE_GATEWAY_LISTEN": f"{LOOPBACK}:{gateway}", "TOLLGATE_HOME": str(home.root)}
    mine = {name: text for name, text in os.environ.items() if not name.startswith("TOLLGATE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "streams", "up", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**mine, **given, "PYTHONPATH": str(ROOT)},
        umask=0o000,
    )
    try:
        assert process.stdout is not None
        shown = process.stdout.readline()
        assert shown, process.stderr.read() if process.stderr else ""
        yield Running(home, shown, f"http://{LOOPBACK}:{gateway}", process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STOP_SECONDS)


def answers(url: str) -> bool:
    """Whether a gateway is there."""
    try:
        return "ok" in get(f"{url}/healthz")
    except OSError:
        return False


def get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        return str(answer.read().decode())


def test_no_secret_is_an_argument_of_a_process(running: Running) -> None:
    tree = [psutil.Process(running.process.pid)]
    tree += tree[0].children(recursive=True)
    assert len(tree) >= 5
    for one in tree:
        words = " ".join(one.cmdline())
        for name, secret in running.secrets.items():
            assert secret not in words, name


def test_no_other_user_reads_a_file_of_the_installation(running: Running) -> None:
    root = running.home.root
    assert root.stat().st_mode & 0o777 == 0o700
    for path in (root / "secrets.json", root / "endpoints.json", root / "tollgate.lock"):
        assert path.stat().st_mode & 0o777 == 0o600, path
    for folder in ("kafka", "clickhouse", "clickhouse/conf", "logs", "run"):
        assert (root / folder).stat().st_mode & 0o077 == 0, folder
    for path in (root / "clickhouse" / "conf").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path


def test_secrets_lie_in_the_file_of_secrets_alone(running: Running) -> None:
    found: dict[str, set[str]] = {}
    for path in running.home.root.rglob("*"):
        # Kafka's indexes are ten mebibytes of nothing each.
        if path.is_file() and not path.is_symlink() and not path.name.endswith("index"):
            content = path.read_bytes()
            for name, secret in running.secrets.items():
                if secret.encode() in content:
                    found.setdefault(path.name, set()).add(name)
    assert found == {"secrets.json": {"the administrator's password", "the analyst's password"}}


def test_what_is_shown_says_no_secret(running: Running) -> None:
    # The gateway is inside the worker, which is ready a moment before it.
    until(lambda: answers(running.gateway), "the gateway's answer", STOP_SECONDS)
    metrics = get(f"{running.gateway}/metrics")
    assert "tollgate_" in metrics
    described = get(f"{running.gateway}/openapi.json")
    for name, secret in running.secrets.items():
        for text in (running.shown, metrics, described):
            assert secret not in text, name
    assert json.loads(running.shown)["clickhouse_user"] == "admin"


def test_a_worker_that_is_killed_by_a_fault_says_no_secret(running: Running) -> None:
    worker = next(
        one
        for one in psutil.Process(running.process.pid).children(recursive=True)
        if re.search(r"streams worker", " ".join(one.cmdline()))
        and not re.search(r"keeper", " ".join(one.cmdline()))
    )
    worker.send_signal(signal.SIGABRT)
    worker.wait(STOP_SECONDS)
    for path in running.home.logs.iterdir():
        text = path.read_text("utf-8", "replace")
        for name, secret in running.secrets.items():
            assert secret not in text, (path.name, name)
