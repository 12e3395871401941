"""One run of one contender: started on its core, watched until all is consumed and committed.

Owns processor time, memory and moments; what was written is checked elsewhere, before a figure is
made of what is measured here.
"""

import asyncio
import contextlib
import os
import re
import subprocess
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from streams.adapters.clock import SystemClock
from streams.bench.measure import cpu_seconds, rss_bytes, stop
from streams.errors import FaultError

START_POLL_SECONDS: Final = 0.01
"""Between two looks whether a contender has begun: what it does meanwhile is not counted."""

POLL_SECONDS: Final = 0.05
"""Between two looks at a contender. The end of a run is known to within this: 0.5 % of ten
seconds."""

START_SECONDS_MAX: Final = 90.0
STALL_SECONDS_MAX: Final = 60.0
"""A run in which nothing moves for so long has failed."""

LOG_TAIL_CHARS: Final = 3_000
"""How much of a log's end an error quotes."""

ANCHOR_PASSES: Final = 5

BYTES_PER_MB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Command:
    """How a contender is started. `log` takes everything that it prints."""

    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    begun: re.Pattern[str]
    """What it prints when it holds its partitions; the first group, if there is one, is the moment
    in milliseconds since the epoch."""


@dataclass(slots=True)
class Course:
    """What was seen in a run: moments in seconds since the epoch, CPU since the process began."""

    begun_at: float = 0.0
    ended_at: float = 0.0
    rss_mb: float = 0.0
    broker_cpu_seconds: float = 0.0
    _moments: list[float] = field(default_factory=list)
    _cpu: list[float] = field(default_factory=list)

    def note(self, moment: float, cpu: float, rss_mb: float) -> None:
        """Adds a look; moments ascend."""
        self._moments.append(moment)
        self._cpu.append(cpu)
        self.rss_mb = max(self.rss_mb, rss_mb)

    @property
    def seconds(self) -> float:
        """From holding the partitions to the last commit."""
        return self.ended_at - self.begun_at

    def cpu_since(self, moment: float) -> float:
        """Processor time used between a moment and the end."""
        return self._cpu_at(self.ended_at) - self._cpu_at(moment)

    def _cpu_at(self, moment: float) -> float:
        """On a straight line between two looks."""
        at = bisect_left(self._moments, moment)
        if at == 0:
            return self._cpu[0]
        if at == len(self._moments):
            return self._cpu[-1]
        earlier, later = self._moments[at - 1], self._moments[at]
        share = (moment - earlier) / (later - earlier)
        return self._cpu[at - 1] + share * (self._cpu[at] - self._cpu[at - 1])


@contextlib.contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """What this thread does or starts meanwhile runs on these cores; no cores change nothing.

    A process has to be born there: the JVM counts its processors when it starts.
    """
    chosen = set(cores)
    if not chosen:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def anchor(values: Sequence[bytes], cores: Iterable[int]) -> float:
    """Decodes by `orjson.loads` per CPU second on these cores now: the median of a few passes."""
    decode = orjson.loads
    found = []
    with on_cores(cores):
        for _ in range(ANCHOR_PASSES):
            begun = time.process_time()
            for value in values:
                decode(value)
            found.append(len(values) / (time.process_time() - begun))
    return sorted(found)[ANCHOR_PASSES // 2]


async def measure(
    command: Command,
    progress: Callable[[], Awaitable[int]],
    due: int,
    *,
    cores: Iterable[int],
    broker_pid: int | None,
) -> Course:
    """Runs a contender until `progress` is `due`, then ends it.

    Raises FaultError with the end of its log where it ends by itself, does not begin, or stalls.
    """
    contender = _started(command, cores)
    try:
        return await _watch(contender, command, progress, due, broker_pid)
    finally:
        await asyncio.to_thread(stop, contender)


def _started(command: Command, cores: Iterable[int]) -> subprocess.Popen[bytes]:
    with command.log.open("wb") as log, on_cores(cores):
        return subprocess.Popen(
            command.argv,
            env={**os.environ, **command.env},
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )


async def _watch(
    contender: subprocess.Popen[bytes],
    command: Command,
    progress: Callable[[], Awaitable[int]],
    due: int,
    broker_pid: int | None,
) -> Course:
    clock, course = SystemClock(), Course()
    done, moved_at = 0, time.monotonic()
    broker_before = 0.0
    while done < due:
        _note(course, clock, contender.pid)
        if contender.poll() is not None:
            raise _failed(command, f"ended with status {contender.returncode} in mid-run")
        patience = STALL_SECONDS_MAX if course.begun_at else START_SECONDS_MAX
        if time.monotonic() - moved_at > patience:
            raise _failed(command, f"stands still at {done:,} of {due:,}")
        if course.begun_at:
            before, done = done, await progress()
            if done != before:
                moved_at = time.monotonic()
        else:
            begun = command.begun.search(command.log.read_text("utf-8", "replace"))
            if begun:
                course.begun_at = int(begun[1]) / 1e3 if begun.re.groups else clock.now_us() / 1e6
                broker_before, moved_at = _broker_cpu(broker_pid), time.monotonic()
        if done < due:
            await asyncio.sleep(POLL_SECONDS if course.begun_at else START_POLL_SECONDS)
    course.ended_at = _note(course, clock, contender.pid)
    course.broker_cpu_seconds = _broker_cpu(broker_pid) - broker_before
    return course


def _note(course: Course, clock: SystemClock, pid: int) -> float:
    cpu, rss = cpu_seconds(pid), rss_bytes(pid)
    moment = clock.now_us() / 1e6
    course.note(moment, cpu, rss / BYTES_PER_MB)
    return moment


def _broker_cpu(pid: int | None) -> float:
    return 0.0 if pid is None else cpu_seconds(pid)


def _failed(command: Command, what: str) -> FaultError:
    tail = command.log.read_text("utf-8", "replace")[-LOG_TAIL_CHARS:].strip()
    return FaultError(f"{command.log.stem} {what}", action=f"Read its log. Its end:\n{tail}")
