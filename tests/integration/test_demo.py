"""The demo as users run it: whole processes on real servers, killed in mid-load, seen to be right.

Each test starts on a home of its own with free ports; what it started it stops.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from schemas.money import format_amount
from streams.app.warehouse import clickhouse
from streams.demo.totals import expected_totals
from streams.embedded.endpoints import find_running
from streams.settings import Settings
from tests.embedded_waiting import until

DEMO_SECONDS_MAX = 150
"""A demo takes 15 s on two idle cores; this is a deadline for a machine that does other things."""

ANY_PORTS = {
    f"TOLLGATE_{name}_PORT": "0"
    for name in ("KAFKA", "KAFKA_CONTROLLER", "CLICKHOUSE_HTTP", "CLICKHOUSE_TCP")
}


def tollgate(home: Path, *words: str, stdout: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Starts a command on this home; its messages go to `messages` beside the home."""
    with home.with_suffix(".messages").open("ab") as messages:
        return subprocess.Popen(
            [sys.executable, "-m", "streams", *words],
            env=os.environ | ANY_PORTS | {"TOLLGATE_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=messages,
        )


def messages_of(home: Path) -> str:
    return home.with_suffix(".messages").read_text("utf-8", "replace")


def demo(home: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Runs a demo to its end: the exit code and what it printed."""
    process = tollgate(home, "demo", "--json", *words, stdout=subprocess.PIPE)
    try:
        printed, _ = process.communicate(timeout=DEMO_SECONDS_MAX)
    finally:
        process.kill()
    assert printed, messages_of(home)
    result: dict[str, Any] = json.loads(printed)
    return process.returncode, result


def bills(customers: int, rows: int | None = None) -> list[dict[str, Any]]:
    """The customers as the demo must print them, from the CSV files."""
    return [
        {
            "customer_id": name,
            "calls": bill.calls,
            "input_tokens": bill.input_tokens,
            "output_tokens": bill.output_tokens,
            "cost_usd": format_amount(bill.cost_pico_usd),
            "covered_units": bill.covered_units,
            "units_beyond": bill.units_beyond,
        }
        for name, bill in expected_totals(customers, rows).items()
    ]


@contextlib.contextmanager
def killer(home: Path, moments: int) -> Iterator[list[str]]:
    """Kills worker and sink by turns, `moments` times in all, once a demo begins to send."""
    killed: list[str] = []
    over = threading.Event()
    told_before = len(messages_of(home))

    def kill() -> None:
        seen: set[int] = set()
        while len(killed) < moments and not over.wait(0.4):
            role = ("worker", "sink")[len(killed) % 2]
            running = find_running(home)
            pid = running.pids.get(role) if running else None
            loading = "tollgate: sent" in messages_of(home)[told_before:]
            if loading and pid is not None and pid not in seen:
                seen.add(pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(role)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.mark.timeout(3 * DEMO_SECONDS_MAX)
def test_killing_worker_and_sink_in_mid_load_changes_no_figure(tmp_path: Path) -> None:
    home = tmp_path / "home"

    code, first = demo(home, "--kill")
    assert (code, first["differences"]) == (0, []), messages_of(home)
    assert messages_of(home).count("was killed by signal 9; restart") == 2
    assert first["customers"] == bills(50)
    assert (first["accepted"], first["duplicates"]) == (28_185, 2_818)
    assert first["conflicts"] == 140

    # Once more on the same home, with kills that no code of the demo chose the moment of.
    with killer(home, moments=4) as killed:
        code, second = demo(home)
    assert killed
    assert (code, second["differences"]) == (0, []), messages_of(home)
    assert second["customers"] == first["customers"]
    assert (second["accepted"], second["duplicates"]) == (0, 28_185 + 2_818)
    assert second["dead_letters_by_code"] == first["dead_letters_by_code"]


@pytest.mark.timeout(3 * DEMO_SECONDS_MAX)
def test_invoices_are_identical_after_clickhouse_was_dropped_and_what_is_late_corrects_one(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    code, result = demo(home, "--invoices", "--rows", "1000", "--customers", "20")
    assert (code, result["differences"]) == (0, []), messages_of(home)
    closed = result["invoices"]
    assert (closed["invoices"], closed["verified"]) == (20, 20)
    assert closed["corrects"] == f"{closed['late_customer']}-0001"


@pytest.fixture
def running_up(tmp_path: Path) -> Iterator[Path]:
    """The home of a `tollgate up`."""
    home = tmp_path / "home"
    with home.with_suffix(".out").open("wb") as out:
        up = tollgate(home, "up", "--json", stdout=out)
    try:
        until(lambda: up.poll() is not None or started(home), "tollgate up", DEMO_SECONDS_MAX)
        assert up.poll() is None, messages_of(home)
        yield home
        assert up.poll() is None, "the demo has stopped what it did not start"
    finally:
        up.terminate()
        up.wait(DEMO_SECONDS_MAX)


def started(home: Path) -> bool:
    running = find_running(home)
    return running is not None and {"worker", "sink"} <= running.pids.keys()


@pytest.mark.timeout(3 * DEMO_SECONDS_MAX)
def test_a_demo_uses_what_runs_and_finds_one_pico_dollar_too_much(running_up: Path) -> None:
    code, result = demo(running_up, "--rows", "600", "--customers", "5")
    assert (code, result["differences"]) == (0, []), messages_of(running_up)
    assert result["customers"] == bills(5, 600)

    warehouse = clickhouse(Settings(home=running_up))
    warehouse.execute(
        "ALTER TABLE ledger UPDATE cost = cost + toDecimal128('0.000000000001', 12) "
        "WHERE event_id = 'azure-conv-00001' SETTINGS mutations_sync = 1"
    )
    warehouse.close()
    code, result = demo(running_up, "--rows", "600", "--customers", "5")
    (difference,) = result["differences"]
    assert code == 1
    assert difference["what"].endswith("cost_pico_usd")
    assert difference["found"] - difference["expected"] == 1
