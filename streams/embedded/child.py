"""One supervised child: what it is, and one run of it between a start and its end.

Owns a single run (keeper, status pipe, log file). Restarting, order and limits are the
supervisor's.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

KEEPER = Path(__file__).with_name("keeper.py")

# At a start, a log that has grown past this is put aside, and so many old ones are kept.
LOG_BYTES_MAX = 10 * 1024 * 1024
LOG_OLD_FILES = 3

# How much of a log's end an error quotes.
LOG_TAIL_LINES = 12
LOG_TAIL_BYTES = 8 * 1024

# How long a successor waits for a predecessor that is still dying: a broker with much to unmap
# takes a second or two after SIGKILL on a busy disk.
PREDECESSOR_SECONDS = 15.0


def always_ready() -> bool:
    """Say yes: for children that have nothing to be asked."""
    return True


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run, when it counts as ready, and how it is stopped and restarted.

    `env` is laid over the supervisor's own environment; with `inherits_env` false the child sees
    `env` alone. `ready` is called from another thread, repeatedly, until it says yes; it must
    return within about a second. A child counts as ready only after it has been up for
    `steady_seconds`, which shows that one that answers no question can start at all. `needs`
    names children that must be ready before this one is started *again*. `restart_limit` is the
    number of restarts per window (`supervisor.RESTART_WINDOW_SECONDS`) after which the whole
    stops; with 0 the first unexpected end does.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    inherits_env: bool = True
    cwd: Path | None = None
    ready: Callable[[], bool] = always_ready
    ready_seconds: float = 60.0
    steady_seconds: float = 0.0
    stop_seconds: float = 15.0
    restart_limit: int = 5
    needs: tuple[str, ...] = ()


class Run:
    """One run of a child under its keeper. Thread-safe; `ended` is set once and stays."""

    def __init__(self, spec: ChildSpec, *, log_file: Path, lock_file: Path) -> None:
        """Start the keeper, which starts the child; returns before the child is known to run."""
        rotate(log_file)
        life_read, life_write = os.pipe()
        status_read, status_write = os.pipe()
        argv = [sys.executable, "-I", "-S", str(KEEPER), str(life_read), str(status_write)]
        argv += [str(lock_file), str(PREDECESSOR_SECONDS), str(os.getpid()), *spec.argv]
        try:
            with log_file.open("ab") as log:
                moment = datetime.now(UTC).isoformat(timespec="milliseconds")
                log.write(f"--- {moment} tollgate starts {spec.name}\n".encode())
                log.flush()
                self._keeper = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=spec.cwd,
                    env={**(os.environ if spec.inherits_env else {}), **spec.env},
                    pass_fds=(life_read, status_write),
                    start_new_session=True,  # Ctrl-C on the terminal is the supervisor's alone.
                )
        except BaseException:
            os.close(life_write)
            os.close(status_read)
            raise
        finally:
            os.close(life_read)
            os.close(status_write)
        self._life: int | None = life_write
        self._life_lock = threading.Lock()
        self.pid: int | None = None
        self.outcome = "ended without a word"
        self.ended = threading.Event()
        self.started = threading.Event()
        threading.Thread(
            target=self._listen, args=(status_read,), name=f"watch-{spec.name}", daemon=True
        ).start()

    def _listen(self, status_fd: int) -> None:
        with os.fdopen(status_fd, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                word, _, rest = line.strip().partition(" ")
                if word == "started":
                    self.pid = int(rest)
                    self.started.set()
                elif word == "ended" and not self.outcome.startswith("could not start"):
                    self.outcome = describe_status(int(rest))
                elif word == "refused":
                    self.outcome = f"could not start: {rest}"
        # The pipe ended, so the keeper is gone and with it the child.
        self._keeper.wait()
        self.kill()
        self.pid = None
        self.started.set()
        self.ended.set()

    def ask_to_stop(self) -> None:
        """Send SIGTERM, by way of the keeper, to whatever still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._keeper.terminate()

    def kill(self) -> None:
        """Kill the child and its process group now; harmless when it has ended."""
        with self._life_lock:
            if self._life is not None:
                os.close(self._life)
                self._life = None


def describe_status(code: int) -> str:
    """Return an exit status in words; negative means killed by that signal."""
    return f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"


def rotate(log_file: Path) -> None:
    """Put a log aside that has grown too large; nobody writes it at this moment."""
    if not log_file.exists() or log_file.stat().st_size <= LOG_BYTES_MAX:
        return
    for number in range(LOG_OLD_FILES, 0, -1):
        older = log_file.with_name(f"{log_file.name}.{number}")
        newer = log_file.with_name(f"{log_file.name}.{number - 1}") if number > 1 else log_file
        if newer.exists():
            newer.replace(older)


def log_tail(log_file: Path) -> str:
    """Return the last lines of a log, indented, or a note that there are none."""
    try:
        with log_file.open("rb") as stream:
            stream.seek(max(0, log_file.stat().st_size - LOG_TAIL_BYTES))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in lines[-LOG_TAIL_LINES:]) or "    (empty log)"
