"""Events that come in while something else is measured: appended by a process of its own, so that
drawing and batching them takes nothing from the loop that makes the other load.
"""

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from streams.bench.events import Workload, bench_records
from streams.bench.loaded import Loaded
from streams.bench.pace import pace
from streams.errors import TransientError

INGEST_READY_SECONDS_MAX: Final = 120.0
"""Within which the events that are ingested beside a load have been drawn: 8 microseconds each."""


@contextmanager
def ingesting(
    loaded: Loaded, rate: float, seconds: float
) -> Iterator[tuple[Callable[[], None], Any]]:
    """A process that appends usage of other customers, `rate` events a second for some seconds.
    Gives what makes it begin, and a value shared with it: how many were acknowledged in the end.

    Raises TransientError where it does not get ready. Nothing is started for a rate of 0.
    """
    context = multiprocessing.get_context("spawn")
    count = context.Value("q", 0)
    if not rate:
        yield (lambda: None), count
        return
    ready, go = context.Event(), context.Event()
    process = context.Process(
        target=_ingest,
        args=(
            loaded.ground.bootstrap,
            loaded.usage_topic,
            replace(loaded.workload, count=int(rate * seconds)),
            rate,
            (ready, go, count),
        ),
        daemon=True,
    )
    process.start()
    try:
        if not ready.wait(INGEST_READY_SECONDS_MAX):
            raise TransientError(
                "the events to be ingested are not ready",
                action="Run the benchmark again while the machine has less to do.",
            )
        yield go.set, count
        process.join(seconds)
    finally:
        if process.is_alive():
            process.terminate()
        process.join()


def _ingest(bootstrap: str, topic: str, workload: Workload, rate: float, shared: Any) -> None:
    ready, go, count = shared
    # Drawn before: it takes more of the core than the broker can spare.
    records = list(bench_records(workload))
    ready.set()
    go.wait()
    paced = asyncio.run(pace(bootstrap, topic, workload.partitions, iter(records), rate))
    count.value = paced.records
