"""What the processes of a soak use over time, and whether that is flat.

A series is one life of one process: who is started again begins a new one. Judged is the drift, the
slope of a straight line through the samples after the warm-up times their span.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

EVERY_SECONDS: Final = 3.0
DISK_EVERY: Final = 10
"""Samples between two looks at the disk: they walk through all files."""
WARM_SECONDS: Final = 240.0
"""Of a process's life: modules are loaded, and at some hundred events a second the tables that
RocksDB keeps in memory and its cache fill for three minutes; after a minute they still rose by a
quarter."""
JUDGED_SECONDS_MIN: Final = 240.0
"""After the warm-up: so long takes a round of all faults. An outage of ClickHouse leaves a sink
with the memory of the batch that it could not insert, and the line through a shorter life says when
that outage was."""

MEMORY_SHARE_MAX: Final = 0.15
MEMORY_MIB_MIN: Final = 40.0
"""A process may grow by 15 % of its mean, or by 40 MiB where that is more: the tables that RocksDB
keeps in memory (16 MiB for each of two tables) and the claims of the last days fill meanwhile. A
leak of 1 KiB for each of 200 events in a second is 230 MiB after twenty minutes."""
COUNT_DRIFT_MAX: Final = 12.0
"""File descriptors, threads, sockets: connections to a server that was restarted are made again,
and a store opens a file for each sorted table."""
SERVERS: Final = frozenset({"kafka", "clickhouse"})
"""They are shown and not judged: a JVM takes its heap up to the limit it was given, ClickHouse
fills its caches, and both open files and threads with what they keep and merge."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one process."""

    at: float
    """Seconds since the soak began."""
    rss_mib: float
    descriptors: int
    threads: int
    sockets: int


@dataclass(slots=True)
class Series:
    """The samples of one life."""

    name: str
    pid: int
    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it was watched."""
        return self.samples[-1].at - self.samples[0].at


class Sampler:
    """Looks every few seconds, in a thread. `pids` says who lives now, by name; `folders` where
    something is kept on disk."""

    def __init__(
        self, pids: Callable[[], Mapping[str, int]], folders: Mapping[str, Path], begun: float
    ) -> None:
        self._pids = pids
        self._folders = folders
        self._begun = begun
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._living: dict[tuple[str, int], Series] = {}
        self.disk: list[tuple[float, dict[str, float]]] = []
        """MiB by folder, over time."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> list[Series]:
        """All series, those of the ended among them."""
        self._over.set()
        self._thread.join()
        return list(self._living.values())

    def _run(self) -> None:
        number = 0
        while not self._over.wait(EVERY_SECONDS if number else 0.0):
            at = time.monotonic() - self._begun
            for name, pid in self._pids().items():
                with contextlib.suppress(psutil.Error):
                    sample = look(pid, at)
                    self._living.setdefault((name, pid), Series(name, pid)).samples.append(sample)
            if number % DISK_EVERY == 0:
                self.disk.append((at, {name: mib(path) for name, path in self._folders.items()}))
            number += 1


def look(pid: int, at: float) -> Sample:
    """What a process uses now. Raises psutil.Error where it has ended."""
    found = psutil.Process(pid)
    with found.oneshot():
        rss, descriptors, threads = (
            found.memory_info().rss,
            found.num_fds(),
            found.num_threads(),
        )
    return Sample(at, rss / 2**20, descriptors, threads, len(found.net_connections()))


def mib(folder: Path) -> float:
    """What the files below a folder take on disk; those that vanish meanwhile count nothing. Kafka
    makes its indexes larger than they are filled."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(where, name).stat().st_blocks * 512
    return total / 2**20


def drift(points: Sequence[tuple[float, float]]) -> float:
    """What a straight line through (time, value) rises by from the first to the last time: least
    squares. 0.0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    middle = sum(x for x, _ in points) / len(points)
    mean = sum(y for _, y in points) / len(points)
    over = sum((x - middle) ** 2 for x, _ in points)
    slope = sum((x - middle) * (y - mean) for x, y in points) / over if over else 0.0
    return slope * (points[-1][0] - points[0][0])


@dataclass(frozen=True, slots=True)
class Flatness:
    """A judged series: drifts over `seconds`, and what is wrong with them."""

    name: str
    pid: int
    seconds: float
    mean_mib: float
    peak_mib: float
    drift_mib: float
    drift_descriptors: float
    drift_threads: float
    drift_sockets: float
    faults: tuple[str, ...]


def judge(series: Series) -> Flatness | None:
    """The drifts of a series that was long enough; None for the others."""
    first = series.samples[0].at + WARM_SECONDS
    late = [sample for sample in series.samples if sample.at >= first]
    if not late or late[-1].at - late[0].at < JUDGED_SECONDS_MIN:
        return None
    memory = [sample.rss_mib for sample in late]
    mean = sum(memory) / len(memory)
    grown = drift([(sample.at, sample.rss_mib) for sample in late])
    counts = {
        "file descriptors": drift([(sample.at, sample.descriptors) for sample in late]),
        "threads": drift([(sample.at, sample.threads) for sample in late]),
        "sockets": drift([(sample.at, sample.sockets) for sample in late]),
    }
    faults = [
        f"{series.name} ({series.pid}): {what} drift by {value:+.1f}, at most {COUNT_DRIFT_MAX}"
        for what, value in counts.items()
        if series.name not in SERVERS and value > COUNT_DRIFT_MAX
    ]
    allowed = max(MEMORY_SHARE_MAX * mean, MEMORY_MIB_MIN)
    if series.name not in SERVERS and grown > allowed:
        faults.append(
            f"{series.name} ({series.pid}): memory drifts by {grown:+.1f} MiB, "
            f"at most {allowed:.0f}"
        )
    return Flatness(
        series.name,
        series.pid,
        late[-1].at - late[0].at,
        mean,
        max(memory),
        grown,
        counts["file descriptors"],
        counts["threads"],
        counts["sockets"],
        tuple(faults),
    )
