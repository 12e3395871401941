"""Named children under one supervisor: started when ready, watched, restarted, stopped in order.

Owns the order and the limits. One run of a child is `child.py`; that no child outlives this
process is `keeper.py`. Threads, one per child, because everything here waits for something and
the callers (commands, tests) are synchronous.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from streams.embedded.child import ChildSpec, Run, log_tail
from streams.errors import FaultError, SetupError, TollgateError

# Restarts within this time count against a child's limit.
RESTART_WINDOW_SECONDS = 60.0

# Pause before the n-th restart of the window: 0.1, 0.2, 0.4 … seconds. Long enough not to spin,
# short enough that one crash costs less than a session timeout.
BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 5.0

READY_POLL_SECONDS = 0.03

# What SIGKILL needs at most to be carried out.
KILL_SECONDS = 10.0


def say_on_stderr(message: str) -> None:
    """Print one message for the operator."""
    print(f"tollgate: {message}", file=sys.stderr, flush=True)


class _Child:
    """A child over all its runs; every attribute is guarded by the supervisor's condition."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.run: Run | None = None
        self.ready = False
        self.restarts = 0
        self.recent_ends: deque[float] = deque()
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None


class Supervisor:
    """Runs children until told to stop, or until one of them will not stay up.

    `start` may be called several times; `stop` takes the groups in reverse order. Everything may
    be called from any thread. `on_change` is called, without arguments, after each change of the
    pids; `say` gets one line for the operator per event worth knowing.
    """

    def __init__(
        self,
        log_dir: Path,
        run_dir: Path,
        *,
        say: Callable[[str], None] = say_on_stderr,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Start nothing yet; both directories must exist."""
        self._log_dir = log_dir
        self._run_dir = run_dir
        self._say = say
        self._on_change = on_change
        self._changed = threading.Condition()
        self._children: dict[str, _Child] = {}
        self._groups: list[list[_Child]] = []
        self._failure: TollgateError | None = None

    def log_file(self, name: str) -> Path:
        """Return the path of a child's log."""
        return self._log_dir / f"{name}.log"

    def start(self, *specs: ChildSpec) -> None:
        """Start these children together and return when all are ready.

        Raises `SetupError` with the end of the log when one does not get ready; the caller then
        calls `stop`. A name that still runs is a `ValueError`.
        """
        group = [_Child(spec) for spec in specs]
        with self._changed:
            for child in group:
                if child.spec.name in self._children:
                    raise ValueError(f"{child.spec.name} is already supervised")
                self._children[child.spec.name] = child
            self._groups.append(group)
            for child in group:
                child.thread = threading.Thread(
                    target=self._tend, args=(child,), name=f"tend-{child.spec.name}", daemon=True
                )
                child.thread.start()
            self._changed.wait_for(
                lambda: (
                    self._failure is not None
                    or all(child.ready or child.stop.is_set() for child in group)
                )
            )
            if self._failure is not None:
                raise self._failure

    def stop(self, *names: str) -> None:
        """Stop everything, last started group first; or only the named children.

        Each child gets SIGTERM, then its own deadline, then SIGKILL. Returns when all are gone.
        """
        with self._changed:
            groups = [
                [child for child in group if not names or child.spec.name in names]
                for group in reversed(self._groups)
            ]
        for group in groups:
            for child in group:
                self._begin_stop(child)
            for child in group:
                self._finish_stop(child)

    def kill(self) -> None:
        """Kill every child at once and without order: the operator is in a hurry."""
        with self._changed:
            children = list(self._children.values())
        for child in children:
            child.stop.set()
            if child.run is not None:
                child.run.kill()

    def wait(self, timeout_seconds: float | None = None) -> None:
        """Block until a child will not stay up, then raise that failure; or until the timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None, timeout_seconds)
            if self._failure is not None:
                raise self._failure

    def pids(self) -> dict[str, int]:
        """Return the pid of each child that runs at this moment (the child's, not its keeper's)."""
        with self._changed:
            runs = {name: child.run for name, child in self._children.items()}
        return {name: run.pid for name, run in runs.items() if run is not None and run.pid}

    def restarts(self, name: str) -> int:
        """Return how often a child was restarted since it was started here."""
        with self._changed:
            return self._children[name].restarts

    def wait_ready(self, name: str, *, restarts: int = 0, timeout_seconds: float = 60.0) -> None:
        """Block until a child is ready after at least so many restarts.

        Raises the supervisor's failure, or `TimeoutError`.
        """
        with self._changed:
            child = self._children[name]
            done = self._changed.wait_for(
                lambda: self._failure is not None or (child.ready and child.restarts >= restarts),
                timeout_seconds,
            )
            if self._failure is not None:
                raise self._failure
        if not done:
            raise TimeoutError(f"{name} was not ready within {timeout_seconds} s")

    # One child's thread.

    def _tend(self, child: _Child) -> None:
        try:
            while not child.stop.is_set():
                self._one_run(child)
        except TollgateError as failure:
            self._fail(failure)
        except Exception as error:  # noqa: BLE001  A thread's exception would be lost otherwise.
            fault = FaultError(
                f"supervising {child.spec.name} failed: {error!r}",
                action="This is a bug of Tollgate: report it with this message.",
            )
            fault.__cause__ = error
            self._fail(fault)

    def _one_run(self, child: _Child) -> None:
        spec = child.spec
        log_file = self.log_file(spec.name)
        if child.restarts and not self._wait_for_needs(child):
            return
        begun = time.monotonic()
        run = Run(spec, log_file=log_file, lock_file=self._run_dir / f"{spec.name}.lock")
        with self._changed:
            child.run = run
        if child.stop.is_set():
            run.kill()  # A stop that came in between has seen no run to end.
        run.started.wait()
        self._note()
        became_ready = self._await_ready(child, run)
        if became_ready:
            with self._changed:
                child.ready = True
            if child.restarts:
                self._say(f"{spec.name} is back after {time.monotonic() - begun:.1f} s")
            self._note()
        run.ended.wait()
        with self._changed:
            was_up = child.ready or child.restarts > 0
            child.ready = False
        self._note()
        if child.stop.is_set():
            return
        if not was_up:
            raise SetupError(
                f"{spec.name} {run.outcome} before it was ready",
                action=f"Read {log_file}. Its last lines:\n{log_tail(log_file)}",
            )
        self._plan_restart(child, run.outcome)

    def _await_ready(self, child: _Child, run: Run) -> bool:
        begun = time.monotonic()
        while not run.ended.is_set() and not child.stop.is_set():
            up_seconds = time.monotonic() - begun
            if up_seconds >= child.spec.steady_seconds and child.spec.ready():
                return not run.ended.is_set()
            if up_seconds > child.spec.ready_seconds:
                run.kill()
                run.ended.wait()
                run.outcome = f"did not get ready within {child.spec.ready_seconds:.0f} s"
                return False
            run.ended.wait(READY_POLL_SECONDS)
        return False

    def _plan_restart(self, child: _Child, outcome: str) -> None:
        spec = child.spec
        now = time.monotonic()
        ends = child.recent_ends
        ends.append(now)
        while now - ends[0] > RESTART_WINDOW_SECONDS:
            ends.popleft()
        if len(ends) > spec.restart_limit:
            log_file = self.log_file(spec.name)
            often = f" {len(ends)} times in {RESTART_WINDOW_SECONDS:.0f} s" if len(ends) > 1 else ""
            raise FaultError(
                f"{spec.name} {outcome}{often}: it will not stay up",
                action=f"Read {log_file}. Its last lines:\n{log_tail(log_file)}",
            )
        pause = min(BACKOFF_FIRST_SECONDS * 2 ** (len(ends) - 1), BACKOFF_MAX_SECONDS)
        self._say(
            f"{spec.name} {outcome}; restart {len(ends)} of {spec.restart_limit} in {pause:.1f} s"
        )
        child.stop.wait(pause)
        with self._changed:
            child.restarts += 1

    def _wait_for_needs(self, child: _Child) -> bool:
        """Return whether all that this child needs is ready; False when it is to stop."""

        def settled() -> bool:
            needed = (self._children.get(name) for name in child.spec.needs)
            return (
                child.stop.is_set()
                or self._failure is not None
                or all(other is None or other.ready for other in needed)
            )

        with self._changed:
            self._changed.wait_for(settled)
            return not child.stop.is_set() and self._failure is None

    def _begin_stop(self, child: _Child) -> None:
        with self._changed:
            child.stop.set()
            run = child.run
            self._changed.notify_all()
        if run is not None:
            run.ask_to_stop()

    def _finish_stop(self, child: _Child) -> None:
        thread, spec = child.thread, child.spec
        if thread is None:
            return
        thread.join(spec.stop_seconds)
        if thread.is_alive():
            self._say(f"{spec.name} did not stop within {spec.stop_seconds:.0f} s and is killed")
            if child.run is not None:
                child.run.kill()
            thread.join(KILL_SECONDS)
        if thread.is_alive():
            raise FaultError(
                f"{spec.name} survives SIGKILL",
                action="It hangs in the kernel, mostly on a dead disk: look at dmesg.",
            )
        with self._changed:
            self._children.pop(spec.name, None)
            self._groups = [[c for c in group if c is not child] for group in self._groups]
            self._groups = [group for group in self._groups if group]

    def _fail(self, failure: TollgateError) -> None:
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def _note(self) -> None:
        self._on_change()
        with self._changed:
            self._changed.notify_all()
