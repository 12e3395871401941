"""The worker, sink and gateway processes of a schedule; who falls is set up again, as a supervisor
does.

Ends only processes that it started itself.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from streams.settings import Settings
from tests.embedded_waiting import until

POLL_SECONDS: Final = 0.1
RESTART_PAUSE_SECONDS: Final = 0.5
STOP_SECONDS: Final = 30.0
EXPECTED_EXITS: Final = frozenset({0, 1, 70, -signal.SIGKILL, -signal.SIGTERM})
"""0 asked to stop, 1 a server stayed away, 70 a fault after which a new start knows, our own kill,
and our request to stop where it met a process that was still being loaded.
Anything else (2: a wrong setup) is a finding."""


@dataclass
class Slot:
    """A place for one process at a time, with a state directory and a log of its own."""

    name: str
    wanted: bool = True
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False
    ended_at: float = 0.0
    exits: list[int] = field(default_factory=list)


def command_of(slot: str) -> str:
    """What runs in a slot."""
    return slot.rstrip("0123456789")


class Fleet:
    """Slots by name: `worker0`, `sink0`, `gateway0`, …; `own` are settings of one slot alone."""

    def __init__(
        self,
        settings: Settings,
        sink_settings: Settings,
        home: Path,
        own: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._settings = {"worker": settings, "sink": sink_settings, "gateway": settings}
        self._own = own or {}
        self._home = home
        self._slots: dict[str, Slot] = {}
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="fleet", daemon=True)
        home.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def start(self, name: str) -> None:
        """Want a process in this slot from now on."""
        with self._lock:
            slot = self._slots.setdefault(name, Slot(name))
            slot.wanted = True
            if slot.process is None or slot.process.poll() is not None:
                self._launch(slot)

    def kill(self, name: str, *, lose_disk: bool = False) -> None:
        """SIGKILL; it is started again, with `lose_disk` on an empty state directory."""
        with self._lock:
            slot = self._slots.get(name)
            if slot is None or slot.process is None or slot.process.poll() is not None:
                return
            slot.process.kill()
            slot.process.wait()
            slot.paused = False
            if lose_disk:
                shutil.rmtree(self._home / f"{name}.state", ignore_errors=True)

    def pause(self, name: str) -> None:
        """SIGSTOP."""
        with self._lock:
            slot = self._slots[name]
            if slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(signal.SIGSTOP)
                slot.paused = True

    def wake(self, name: str) -> None:
        """SIGCONT, if it still stands."""
        with self._lock:
            slot = self._slots[name]
            if slot.paused and slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(signal.SIGCONT)
            slot.paused = False

    def scale_down(self, name: str) -> None:
        """SIGTERM, and nobody takes the slot."""
        with self._lock:
            slot = self._slots[name]
            slot.wanted = False
            if slot.process is not None and slot.process.poll() is None:
                slot.process.terminate()

    def restart(self, name: str) -> bool:
        """SIGTERM, and a new process once the old one has ended; whether it ended in time."""
        self.wake(name)
        self.scale_down(name)
        process = self._slots[name].process
        try:
            if process is not None:
                process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.start(name)
        return True

    def pids(self) -> dict[str, int]:
        """Who lives now."""
        with self._lock:
            return {
                slot.name: slot.process.pid
                for slot in self._slots.values()
                if slot.process is not None and slot.process.poll() is None
            }

    def exits(self) -> dict[str, dict[int, int]]:
        """Exit codes by slot."""
        with self._lock:
            return {slot.name: dict(Counter(slot.exits)) for slot in self._slots.values()}

    def strange_exits(self) -> list[str]:
        """Processes that ended in a way that no schedule explains."""
        with self._lock:
            return [
                f"{slot.name} ended with {code}"
                for slot in self._slots.values()
                for code in slot.exits
                if code not in EXPECTED_EXITS
            ]

    def heal(self) -> None:
        """Wake everybody and want every slot that was ever used."""
        for name in list(self._slots):
            self.wake(name)
            self.start(name)

    def end(self, *commands: str) -> list[str]:
        """SIGTERM to whoever runs one of these commands, and nobody takes their slots; returns the
        names of those who do not end in time."""
        with self._lock:
            slots = [slot for slot in self._slots.values() if command_of(slot.name) in commands]
            for slot in slots:
                self.wake(slot.name)
                self.scale_down(slot.name)
            ending = {slot.name: slot.process for slot in slots if slot.process is not None}
        late = []
        deadline = time.monotonic() + STOP_SECONDS
        for name, process in ending.items():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                late.append(name)
        return late

    def stop(self) -> list[str]:
        """SIGTERM to all, SIGKILL to who does not end; returns their names."""
        late = self.end(*{command_of(name) for name in self._slots})
        self.kill_all()
        return late

    def kill_all(self) -> None:
        """End everything now, and the supervising thread with it."""
        self._stopping.set()
        self._thread.join()
        for slot in self._slots.values():
            if slot.process is not None and slot.process.poll() is None:
                slot.process.kill()
            if slot.process is not None:
                slot.exits.append(slot.process.wait())
                slot.process = None

    def wait_for_log(self, name: str, text: str, timeout_seconds: float) -> None:
        """Returns when a slot has logged this."""
        path = self._home / f"{name}.log"
        until(
            lambda: path.exists() and text in path.read_text("utf-8", "replace"),
            f"{text!r} in {path.name}",
            timeout_seconds,
        )

    def count_in_logs(self, text: str) -> int:
        """How often all processes together have logged this."""
        logs = self._home.glob("*.log")
        return sum(log.read_text("utf-8", "replace").count(text) for log in logs)

    def _tend(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            with self._lock:
                for slot in self._slots.values():
                    self._tend_slot(slot)

    def _tend_slot(self, slot: Slot) -> None:
        if slot.process is None:
            if slot.wanted and time.monotonic() - slot.ended_at > RESTART_PAUSE_SECONDS:
                self._launch(slot)
        elif (code := slot.process.poll()) is not None:
            slot.exits.append(code)
            slot.process, slot.ended_at = None, time.monotonic()

    def _launch(self, slot: Slot) -> None:
        if slot.process is not None and (code := slot.process.poll()) is not None:
            slot.exits.append(code)
        command = command_of(slot.name)
        settings = self._settings[command].model_copy(
            update={"state_dir": self._home / f"{slot.name}.state", **self._own.get(slot.name, {})}
        )
        with (self._home / f"{slot.name}.log").open("ab") as log:
            slot.process = subprocess.Popen(
                [sys.executable, "-m", "streams", command],
                env=os.environ | settings.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
