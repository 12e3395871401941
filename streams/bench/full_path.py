"""Our own worker as a contender: the real process with everything on, measured from outside.

It starts with an empty state directory on a topic that is full already. The clock starts when it
says that it owns its partitions, and stops when the group has committed the end of every one: then
entries, changelogs and offsets stand in the log (one transaction each).
"""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.topics import USAGE
from streams.app.loading import inbound_positions
from streams.bench.affinity import on_cores
from streams.bench.books import check_books
from streams.bench.loaded import Loaded
from streams.bench.measure import Meter, Usage, stop
from streams.embedded.wiring import role_argv
from streams.errors import FaultError, TransientError
from streams.settings import Settings

READY: Final = "Worker ready"
"""What Faust logs when the tables are recovered and the positions are sought: the next thing that
the worker does is fetch."""

READY_POLL_SECONDS: Final = 0.005
"""Between two looks at the log: what is lost of the first cycles is less than one of them."""

READY_SECONDS_MAX: Final = 120.0
"""Joining the group and recovering tables, on a machine that has other things to do."""

DONE_POLL_SECONDS: Final = 0.05
"""Between two questions how far the group is."""

STALL_SECONDS_MAX: Final = 60.0
"""Without any commit for so long the worker hangs."""

LOG_TAIL_LINES: Final = 12
"""How much of a log an error quotes."""


@dataclass(frozen=True, slots=True)
class FullPath:
    """A measured run of the worker whose books were found right."""

    usage: Usage
    cycles: int

    @property
    def records_per_cycle(self) -> float:
        """How large cycles were on average."""
        return self.usage.records / self.cycles


class WorkerRun:
    """A worker process and its log."""

    def __init__(self, settings: Settings, log: Path) -> None:
        """Starts it."""
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                role_argv("worker"),
                env=os.environ | settings.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def await_ready(self, seconds_max: float = READY_SECONDS_MAX) -> None:
        """Returns when it owns its partitions. Raises FaultError and TransientError."""
        deadline = time.monotonic() + seconds_max
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            said = ""
            while READY not in said:
                self.check()
                if time.monotonic() > deadline:
                    raise self._stalled(f"it does not own partitions after {seconds_max:.0f} s")
                time.sleep(READY_POLL_SECONDS)  # noqa: TID251 - a poll under a deadline
                said += lines.read()

    async def await_committed(self, settings: Settings) -> None:
        """Returns when the group has committed the end of the topic `usage`.

        Raises FaultError and TransientError.
        """
        async with inbound_positions(settings) as positions:
            ends = {
                at: n for at, n in (await positions.end_offsets()).items() if at[0] == USAGE.name
            }
            done, since = -1, time.monotonic()
            while done < sum(ends.values()):
                await asyncio.sleep(DONE_POLL_SECONDS)
                self.check()
                committed = await positions.committed()
                now = sum(min(committed.get(at, 0), end) for at, end in ends.items())
                if now > done:
                    done, since = now, time.monotonic()
                elif time.monotonic() - since > STALL_SECONDS_MAX:
                    raise self._stalled(f"{done:,} records, and nothing more")

    def check(self) -> None:
        """Raises FaultError where the worker has ended."""
        code = self.process.poll()
        if code is not None:
            raise FaultError(
                f"the worker ended with {code}; its log ends:\n{self._tail()}",
                action="What its log says has to be mended first.",
            )

    def _stalled(self, what: str) -> TransientError:
        return TransientError(
            f"the worker hangs: {what}; its log ends:\n{self._tail()}",
            action="Run the benchmark again while the machine has less to do.",
        )

    def _tail(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:])


@contextmanager
def started_worker(loaded: Loaded) -> Iterator[WorkerRun]:
    """A worker on the contender's core, stopped afterwards."""
    with on_cores(loaded.ground.cores.contender):
        run = WorkerRun(loaded.settings, loaded.ground.folder / f"{loaded.settings.app_id}.log")
    try:
        yield run
    finally:
        stop(run.process)


def run_full_path(
    loaded: Loaded,
    *,
    ready_seconds_max: float = READY_SECONDS_MAX,
    plan_grants: int | None = None,
) -> FullPath:
    """Measures a worker on this topic, and checks its books (`plan_grants` as `check_books` has
    it).

    Raises FaultError where they are wrong, TransientError where it hangs.
    """
    with started_worker(loaded) as run, Meter(run.process.pid) as meter:
        run.await_ready(ready_seconds_max)
        meter.begin()
        asyncio.run(run.await_committed(loaded.settings))
        usage = meter.end(loaded.workload.count)
    return FullPath(usage, check_books(loaded, plan_grants=plan_grants))
