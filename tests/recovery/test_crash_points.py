"""Real processes that kill themselves at each step of decisions 006 and 008, and their successors.

All points run at once, each in an installation of its own, so that the session timeouts (6 s until
a successor gets the partition) pass together.
"""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from streams.embedded.endpoints import Endpoints
from tests.recovery.cases import (
    STEP_SECONDS,
    check_books,
    committed,
    launch,
    one_partition,
    produce,
    wait_filled,
    with_tables,
)
from tests.recovery.launcher import SINK_STEPS, WORKER_STEPS

AT_ONCE: Final = 7
"""Points under way together: more would only wait for the two cores of a small machine."""

ONLY_ONCE: Final = frozenset({"fenced", "recovering", "placed"})
"""Steps that a process takes once in this test; the others die the second time."""


def crash_worker(endpoints: Endpoints, name: str, home: Path, step: str) -> None:
    """A worker dies at the step, another goes on, and what was committed stays as it was."""
    with one_partition(endpoints, name, home) as installation:
        produce(installation, "first")
        state = "state"
        if step == "recovering":
            # Only a lost disk gives recovery something to read here.
            worker = installation.start_worker()
            installation.wait_consumed()
            assert installation.stop(worker) == 0
            produce(installation, "second")
            state = "other-disk"
        nth = 1 if step in ONLY_ONCE else 2
        crashed = launch(installation, "worker", step, nth, "KILL", state)
        assert crashed.wait(STEP_SECONDS) == -signal.SIGKILL, installation.log_text(state)
        before = committed(installation)
        installation.start_worker(state)
        installation.wait_consumed()
        after = committed(installation)
        for topic, parts in before.items():
            if topic != "offsets":
                assert after[topic][0][: len(parts[0])] == parts[0], f"{topic} was rewritten"
        check_books(installation)


def crash_sink(endpoints: Endpoints, name: str, home: Path, step: str) -> None:
    """A sink dies at the step, another goes on, and ClickHouse holds each record once."""
    with with_tables(endpoints, name, home) as (installation, clickhouse):
        produce(installation, "first")
        worker = installation.start_worker()
        installation.wait_consumed()
        assert installation.stop(worker) == 0
        crashed = launch(installation, "sink", step, 1 if step in ONLY_ONCE else 2, "KILL", "sink")
        assert crashed.wait(STEP_SECONDS) == -signal.SIGKILL, installation.log_text("sink")
        installation.start(["streams", "sink"], "sink")
        wait_filled(installation, clickhouse)


@pytest.mark.timeout(300)
def test_a_process_killed_at_any_step_leaves_books_that_its_successor_completes(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        points = {
            f"{kind} {step}": pool.submit(
                run, endpoints, f"{unique_name}_{kind}_{step}", tmp_path / f"{kind}-{step}", step
            )
            for kind, steps, run in (
                ("worker", WORKER_STEPS, crash_worker),
                ("sink", SINK_STEPS, crash_sink),
            )
            for step in steps
        }
        faults = {point: done.exception() for point, done in points.items()}
    assert {point: fault for point, fault in faults.items() if fault is not None} == {}
