"""What a contender uses between two moments: wall time, CPU of its process tree, peak of its
memory.

Looks from outside, at every contender in the same way.
"""

import contextlib
import subprocess
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import psutil

SAMPLE_SECONDS: Final = 0.1
"""Between two looks at the memory."""

STOP_SECONDS_MAX: Final = 20.0
"""What a contender may take to end before it is killed; nothing of it is measured any more."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used for so many input records (duplicates are records too)."""

    records: int
    seconds: float
    cpu_seconds: float
    rss_bytes_max: int

    @property
    def per_second(self) -> float:
        """Records per second of wall time."""
        return self.records / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Records per second of CPU, of all its threads and processes."""
        return self.records / self.cpu_seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per record."""
        return self.cpu_seconds / self.records * 1e6


def cpu_seconds(pid: int) -> float:
    """The CPU that a process and its children have used so far, those that ended among them."""
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
                total += times.children_user + times.children_system
    return total


def rss_bytes(pid: int) -> int:
    """The resident memory of a process and its children."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total


class Meter:
    """Measures a process from `begin` to `end`. Use as a context manager, which watches its memory
    meanwhile."""

    def __init__(self, pid: int) -> None:
        """Nothing is measured yet."""
        self._pid = pid
        self._begun = (0.0, 0.0)
        self._peak = 0
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="memory", daemon=True)

    def begin(self) -> None:
        """The contender holds its partitions."""
        self._begun = (time.perf_counter(), cpu_seconds(self._pid))

    def end(self, records: int) -> Usage:
        """All its output is acknowledged and committed."""
        seconds, cpu = time.perf_counter(), cpu_seconds(self._pid)
        peak = max(self._peak, rss_bytes(self._pid))
        return Usage(records, seconds - self._begun[0], cpu - self._begun[1], peak)

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, rss_bytes(self._pid))

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._watcher.join()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Asks a process to end, and kills it where it does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
