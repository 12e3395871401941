"""Starting, measuring and checking the contenders that are not ours."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from queue import Empty, Queue
from typing import Any, Final

from streams.bench.affinity import on_cores
from streams.bench.broker import fill, make_topics, read_all, watched_end
from streams.bench.check import Found, check
from streams.bench.contenders.told import tell_workload
from streams.bench.events import Expected, Workload, bench_records
from streams.bench.ground import Ground
from streams.bench.loaded import Loaded
from streams.bench.measure import Meter, Usage, stop
from streams.errors import FaultError, TransientError

SAID_SECONDS_MAX: Final = 300.0
"""How long a contender may take for its next word: a million records at 10,000 a second, and some
more."""

OUTPUT_POLL_SECONDS: Final = 0.1
"""Between two looks at the end of a contender's output."""

STALL_SECONDS_MAX: Final = 60.0
"""Without any output for so long it hangs."""

LOG_TAIL_BYTES: Final = 2_000

ANCHOR_RECORDS_MAX: Final = 100_000
"""More values than that do not change the speed at which they are decoded; they are beyond every
cache already."""


class Outsider:
    """A contender's process. What it writes besides its words goes to a log."""

    def __init__(self, ground: Ground, module: str, arguments: Sequence[str]) -> None:
        """Starts it on the contender's core."""
        self.name = module
        self.log = ground.folder / f"{ground.name(module)}.log"
        with self.log.open("ab") as errors, on_cores(ground.cores.contender):
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"streams.bench.contenders.{module}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._lines: Queue[str | None] = Queue()
        self._ear = threading.Thread(target=self._listen, name=f"hear-{module}", daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None, "its output is a pipe"
        with self.process.stdout as said:
            for line in said:
                self._lines.put(line.decode("utf-8", "replace").strip())
        self._lines.put(None)

    def stop(self) -> None:
        """Ends it."""
        stop(self.process)
        self._ear.join()

    def await_word(self, word: str) -> str:
        """What follows this word on its line; other lines are skipped. Raises FaultError where it
        ended, TransientError where it says nothing."""
        deadline = time.monotonic() + SAID_SECONDS_MAX
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0))
            except Empty:
                raise self.stalled(f"said nothing for {SAID_SECONDS_MAX:.0f} s") from None
            if line is None:
                raise self.ended()
            said, _, rest = line.partition(" ")
            if said == word:
                return rest

    def result(self) -> dict[str, Any]:
        """What it found."""
        found: dict[str, Any] = json.loads(self.await_word("RESULT"))
        return found

    def ended(self) -> FaultError:
        """That it ended too early."""
        code = self.process.wait()
        return FaultError(
            f"the contender {self.name} ended with {code}:\n{self._tail()}",
            action="Mend what it says; it is a program in streams/bench/contenders.",
        )

    def stalled(self, how: str) -> TransientError:
        """That it hangs."""
        return TransientError(
            f"the contender {self.name} {how}:\n{self._tail()}",
            action="Run the benchmark again while the machine has less to do.",
        )

    def _tail(self) -> str:
        return self.log.read_text("utf-8", "replace")[-LOG_TAIL_BYTES:]


@contextmanager
def started(ground: Ground, module: str, *arguments: str) -> Iterator[Outsider]:
    """A contender that is stopped afterwards."""
    outsider = Outsider(ground, module, arguments)
    try:
        yield outsider
    finally:
        outsider.stop()


def run_anchor(ground: Ground, workload: Workload) -> list[float]:
    """CPU seconds per record of `orjson.loads`, once for each pass."""
    part = replace(workload, count=min(workload.count, ANCHOR_RECORDS_MAX))
    with started(ground, "anchor", tell_workload(part)) as outsider:
        found = outsider.result()
    check(_expected(part), Found("the anchor", found["distinct"]))
    return [float(seconds) for seconds in found["passes"]]


@lru_cache(maxsize=1)
def _expected(workload: Workload) -> Expected:
    expected = Expected()
    for _ in bench_records(workload, expected):
        pass
    return expected


def run_decode(loaded: Loaded) -> Usage:
    """Measures the bare loop over this topic."""
    count = loaded.workload.count
    arguments = (str(loaded.ground.bootstrap), loaded.usage_topic)
    numbers = (str(loaded.workload.partitions), str(count))
    with started(loaded.ground, "decode", *arguments, *numbers) as outsider:
        with Meter(outsider.process.pid) as meter:
            outsider.await_word("READY")
            meter.begin()
            outsider.await_word("DONE")
            usage = meter.end(count)
        found = outsider.result()
    faults = []
    if found["units"] != count:
        faults.append(f"{found['units']:,} units in {count:,} records of one unit")
    name = "the bare loop"
    check(
        loaded.expected,
        Found(
            name,
            found["distinct"],
            tokens=found["tokens"],
            cost_pico=found["cost_pico"],
            faults=faults,
        ),
    )
    return usage


@dataclass(slots=True)
class _FaustOutput:
    ids: set[str]
    tokens: dict[str, int]
    cost_pico: dict[str, int]
    records: int = 0

    def take(self, _partition: int, _key: bytes | None, value: bytes, _at_ms: int) -> None:
        entry = json.loads(value)
        self.records += 1
        self.ids.add(entry["event_id"])
        # A customer's records stand in one partition, so the last one read is the newest.
        self.tokens[entry["customer_id"]] = entry["sum_tokens"]
        self.cost_pico[entry["customer_id"]] = entry["sum_cost_pico"]


def run_faust(ground: Ground, workload: Workload) -> Usage:
    """Measures a stock Faust agent on a topic of its own with this workload."""
    name = ground.name("faust")
    source, output = f"{name}-usage", f"{name}-output"
    changelogs = {f"{name}-{table}-changelog" for table in ("seen", "sums")}
    expected = Expected()
    asyncio.run(_prepare_faust(ground, workload, expected, source, {output} | changelogs))
    folder = ground.folder / name
    folder.mkdir()
    arguments = [str(ground.bootstrap), name, source, output, str(workload.partitions), str(folder)]
    with (
        started(ground, "stock_faust", *arguments) as outsider,
        Meter(outsider.process.pid) as meter,
    ):
        outsider.await_word("READY")
        meter.begin()
        asyncio.run(_await_output(outsider, ground, output, workload, expected.distinct))
        usage = meter.end(workload.count)
    found = _FaustOutput(set(), {}, {})
    asyncio.run(read_all(ground.bootstrap, output, workload.partitions, found.take))
    faults = []
    if found.records != len(found.ids):
        faults.append(f"{found.records:,} records for {len(found.ids):,} events")
    check(
        expected,
        Found(
            "stock Faust",
            len(found.ids),
            tokens=found.tokens,
            cost_pico=found.cost_pico,
            faults=faults,
        ),
    )
    ground.drop(name)
    return usage


async def _prepare_faust(
    ground: Ground, workload: Workload, expected: Expected, source: str, others: set[str]
) -> None:
    # Made beforehand: Faust 0.15.3 stops with PartitionsMismatch now and then where it creates
    # the changelogs of its tables itself.
    await make_topics(ground.bootstrap, {source, *others}, workload.partitions)
    await fill(ground.bootstrap, source, bench_records(workload, expected))


async def _await_output(
    outsider: Outsider, ground: Ground, output: str, workload: Workload, due: int
) -> None:
    """Returns when the broker holds that many output records."""
    done, since = -1, time.monotonic()
    async with watched_end(ground.bootstrap, output, workload.partitions) as end:
        while done < due:
            await asyncio.sleep(OUTPUT_POLL_SECONDS)
            if outsider.process.poll() is not None:
                raise outsider.ended()
            now = await end()
            if now > done:
                done, since = now, time.monotonic()
            elif time.monotonic() - since > STALL_SECONDS_MAX:
                raise outsider.stalled(f"wrote {done:,} of {due:,} records and nothing more")
