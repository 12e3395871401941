"""Which core a contender runs on, and which ones everything else does.

A contender alone on one core gives the same figure on a machine of two cores as on one of sixty;
where cores cannot be chosen (macOS, a machine with one core) nothing is pinned, and the report says
so.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of a run. Both empty where nothing is pinned."""

    contender: frozenset[int]
    """One core."""
    others: frozenset[int]
    """Where the broker and the benchmark itself run."""

    @property
    def pinned(self) -> bool:
        """Whether processes are held to cores at all."""
        return bool(self.contender)


def choose_cores() -> Cores:
    """The first core that this process may use for contenders, the rest for everything else."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(frozenset(), frozenset())
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(frozenset(), frozenset())
    return Cores(frozenset(allowed[:1]), frozenset(allowed[1:]))


def pin(pid: int, cores: Iterable[int]) -> None:
    """Holds a process, its threads and its children to these cores; no cores leave it free.

    What it starts later inherits them.
    """
    chosen = set(cores)
    if not chosen:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            for thread in _threads(each.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, chosen)


@contextlib.contextmanager
def on_cores(cores: Iterable[int]) -> Iterator[None]:
    """What this thread starts meanwhile is held to these cores from its first instruction on; no
    cores change nothing."""
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


def _threads(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    return []
