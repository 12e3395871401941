"""The supervisor on small real children: starting, restarting, stopping, and leaving nobody."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streams.embedded.child import LOG_BYTES_MAX, ChildSpec, rotate
from streams.embedded.home import lock_is_held
from streams.embedded.supervisor import Supervisor
from streams.errors import FaultError, SetupError
from tests.embedded_waiting import is_gone, until

ROOT = Path(__file__).resolve().parents[2]

SLEEP = "import threading; threading.Event().wait()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


def child(name: str, program: str, **more: object) -> ChildSpec:
    argv = (sys.executable, "-I", "-S", "-c", program)
    return ChildSpec(name=name, argv=argv, **more)  # type: ignore[arg-type]  # keywords of the spec


class Watched(Supervisor):
    """A supervisor that remembers what it said."""

    def __init__(self, folder: Path) -> None:
        for name in ("logs", "run"):
            (folder / name).mkdir(exist_ok=True)
        self.said: list[str] = []
        super().__init__(folder / "logs", folder / "run", say=self.said.append)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    watched.stop()


def test_a_killed_child_is_reported_and_started_again(supervisor: Watched) -> None:
    supervisor.start(child("a", SLEEP))
    first = supervisor.pids()["a"]
    os.kill(first, signal.SIGKILL)
    supervisor.wait_ready("a", restarts=1)
    assert supervisor.pids()["a"] != first
    assert any("a was killed by signal 9; restart 1 of 5" in line for line in supervisor.said)


def test_a_child_that_will_not_stay_up_ends_the_whole_and_names_its_log(
    supervisor: Watched,
) -> None:
    program = "print('no such table'); raise SystemExit(3)"
    supervisor.start(child("a", program, restart_limit=2))
    with pytest.raises(FaultError, match=r"ended with status 3 3 times in 60 s") as failure:
        supervisor.wait(20)
    assert str(supervisor.log_file("a")) in failure.value.action
    assert "no such table" in failure.value.action
    assert supervisor.restarts("a") == 2


def test_with_a_limit_of_zero_the_first_unexpected_end_is_final(supervisor: Watched) -> None:
    supervisor.start(child("a", SLEEP, restart_limit=0))
    os.kill(supervisor.pids()["a"], signal.SIGKILL)
    with pytest.raises(FaultError, match="a was killed by signal 9: it will not stay up"):
        supervisor.wait(20)


def test_a_child_that_ends_before_it_is_ready_is_a_setup_error_with_the_end_of_its_log(
    supervisor: Watched,
) -> None:
    program = "print('port taken'); raise SystemExit(1)"
    with pytest.raises(SetupError, match="a ended with status 1 before it was ready") as failure:
        supervisor.start(child("a", program, ready=lambda: False))
    assert "port taken" in failure.value.action


def test_a_child_that_ends_at_once_never_counts_as_ready(supervisor: Watched) -> None:
    spec = child("a", "raise SystemExit(2)", steady_seconds=5.0)
    with pytest.raises(SetupError, match="a ended with status 2 before it was ready"):
        supervisor.start(spec)


def test_a_child_that_does_not_get_ready_in_time_is_killed(supervisor: Watched) -> None:
    with pytest.raises(SetupError, match="did not get ready within 0 s"):
        supervisor.start(child("a", SLEEP, ready=lambda: False, ready_seconds=0.2))
    assert supervisor.pids() == {}


def test_a_program_that_does_not_exist_is_named(supervisor: Watched) -> None:
    spec = ChildSpec(name="a", argv=("/no/such/program",), ready=lambda: False)
    with pytest.raises(SetupError, match="/no/such/program: No such file or directory"):
        supervisor.start(spec)


def test_groups_stop_in_reverse_order(supervisor: Watched, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    program = (
        "import signal, sys, threading\n"
        f"note = lambda: open({str(notes)!r}, 'a').write(sys.argv[1] + '\\n')\n"
        "signal.signal(signal.SIGTERM, lambda *_: (note(), sys.exit(0)))\n"
        "print('up', flush=True)\n"
        f"{SLEEP}"
    )
    for name in ("first", "second", "third"):
        log = supervisor.log_file(name)
        spec = child(name, program, ready=lambda log=log: "up" in log.read_text())
        supervisor.start(ChildSpec(name=name, argv=(*spec.argv, name), ready=spec.ready))
    supervisor.stop()
    assert notes.read_text().split() == ["third", "second", "first"]
    assert supervisor.pids() == {}


def test_a_child_that_ignores_sigterm_is_killed_after_its_deadline(supervisor: Watched) -> None:
    supervisor.start(child("a", STUBBORN, stop_seconds=0.3))
    pid = supervisor.pids()["a"]
    supervisor.stop()
    assert is_gone(pid)


def test_a_stopped_child_can_be_started_again_by_name(supervisor: Watched) -> None:
    supervisor.start(child("a", SLEEP), child("b", SLEEP))
    keeps_running = supervisor.pids()["b"]
    supervisor.stop("a")
    supervisor.start(child("a", SLEEP))
    assert supervisor.pids()["b"] == keeps_running
    assert supervisor.restarts("a") == 0


def test_a_child_is_restarted_only_when_what_it_needs_is_ready(
    supervisor: Watched, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    supervisor.start(child("server", SLEEP, ready=gate.exists))
    supervisor.start(child("client", SLEEP, needs=("server",)))
    gate.unlink()
    first = supervisor.pids()
    for pid in first.values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: supervisor.restarts("client") == 1, "the end of the client's back-off")
    until(lambda: supervisor.pids().get("server") not in (None, first["server"]), "a new server")
    assert "client" not in supervisor.pids()
    gate.touch()
    supervisor.wait_ready("client", restarts=1)


def test_grandchildren_end_with_the_child(supervisor: Watched) -> None:
    program = (
        "import subprocess, sys, threading\n"
        f"p = subprocess.Popen([sys.executable, '-I', '-S', '-c', {STUBBORN!r}])\n"
        "print('grandchild', p.pid, flush=True)\n"
        "threading.Event().wait()"
    )
    log = supervisor.log_file("a")
    supervisor.start(child("a", program, ready=lambda: "grandchild" in log.read_text()))
    grandchild = int(log.read_text().split("grandchild ")[1].split()[0])
    supervisor.stop()
    until(lambda: is_gone(grandchild), "the end of the grandchild")


def test_a_child_dies_with_its_keeper(supervisor: Watched) -> None:
    supervisor.start(child("a", SLEEP))
    pid = supervisor.pids()["a"]
    keeper = psutil.Process(pid).parent()
    assert keeper is not None
    keeper.kill()
    supervisor.wait_ready("a", restarts=1)
    assert is_gone(pid)


SUPERVISE = """
import sys, threading
from pathlib import Path
from streams.embedded.child import ChildSpec
from streams.embedded.supervisor import Supervisor
folder = Path(sys.argv[1])
for name in ("logs", "run"):
    (folder / name).mkdir()
supervisor = Supervisor(folder / "logs", folder / "run")
argv = (sys.executable, "-I", "-S", "-c", sys.argv[2])
supervisor.start(ChildSpec("a", argv), ChildSpec("b", argv))
print(*supervisor.pids().values(), flush=True)
threading.Event().wait()
"""


def test_no_orphan_is_left_after_the_supervisor_was_killed(tmp_path: Path) -> None:
    supervising = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(tmp_path), STUBBORN],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert supervising.stdout is not None
    pids = [int(word) for word in supervising.stdout.readline().split()]
    processes = [psutil.Process(pid) for pid in pids]
    keepers = [process.ppid() for process in processes]
    assert len(pids) == 2
    supervising.kill()
    supervising.communicate()
    try:
        until(lambda: all(map(is_gone, pids + keepers)), "the end of children and keepers", 5)
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def test_a_successor_waits_until_the_predecessor_has_let_go(tmp_path: Path) -> None:
    predecessor, successor = Watched(tmp_path), Watched(tmp_path)
    predecessor.start(child("a", SLEEP))
    lock = tmp_path / "run" / "a.lock"
    assert lock_is_held(lock)
    starter = threading.Thread(target=successor.start, args=(child("a", SLEEP),))
    starter.start()
    log = successor.log_file("a")
    until(lambda: log.read_text().count("tollgate starts a") == 2, "the second start")
    assert successor.pids() == {}
    predecessor.stop()
    starter.join(20)
    assert len(successor.pids()) == 1
    successor.stop()


def test_a_log_that_grew_too_large_is_put_aside_at_the_next_start(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for generation in "abcde":
        log.write_bytes(generation.encode() * (LOG_BYTES_MAX + 1))
        rotate(log)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["a.log.1", "a.log.2", "a.log.3"]
    assert (tmp_path / "a.log.1").read_bytes()[:1] == b"e"
    log.write_text("short")
    rotate(log)
    assert log.read_text() == "short"


def test_what_a_child_prints_lands_in_its_own_log(supervisor: Watched) -> None:
    program = f"import sys; print('out', flush=True); print('err', file=sys.stderr); {SLEEP}"
    log = supervisor.log_file("a")
    supervisor.start(child("a", program, ready=lambda: "err" in log.read_text()))
    assert "out" in log.read_text()


def test_a_child_can_be_kept_from_seeing_the_environment(
    supervisor: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLGATE_TEST_SECRET", "do not show")
    program = f"import os; print(sorted(os.environ), flush=True); {SLEEP}"
    log = supervisor.log_file("a")
    spec = child(
        "a", program, env={"SHOWN": "1"}, inherits_env=False, ready=lambda: "]" in log.read_text()
    )
    supervisor.start(spec)
    assert "SHOWN" in log.read_text()
    assert "TOLLGATE_TEST_SECRET" not in log.read_text()
