"""Real processes that kill themselves at each step of decisions 006 and 008, and their successors.

All points run at once, each worker in an installation of its own, so that the session timeouts (6 s
until a successor gets the partition) pass together.
"""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from streams.embedded.endpoints import Endpoints
from tests.installation import Installation
from tests.recovery.cases import (
    STEP_SECONDS,
    check_attributed,
    check_books,
    committed,
    launch,
    one_partition,
    produce,
    wait_filled,
    with_tables,
)
from tests.recovery.launcher import SINK_STEPS, WORKER_STEPS
from tests.sinks import migrated_database
from tests.soak.shares import close_soon

AT_ONCE: Final = 7
"""Points under way together: more would only wait for the two cores of a small machine."""

ONLY_ONCE: Final = frozenset({"fenced", "recovering", "placed"})
"""Steps that a process takes once in this test; the others die the second time."""


def crash_worker(endpoints: Endpoints, name: str, home: Path, step: str) -> None:
    """A worker dies at the step, another goes on, and what was committed stays as it was:
    attributions like entries, some of them made before and some after."""
    with one_partition(endpoints, name, home) as installation:
        close_soon(installation, grace_seconds=0)
        produce(installation, "first", traced=True)
        state = "state"
        if step == "recovering":
            # Only a lost disk gives recovery something to read here.
            worker = installation.start_worker()
            installation.wait_consumed()
            assert installation.stop(worker) == 0
            produce(installation, "second", traced=True)
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
        check_attributed(installation)


def crash_sink(endpoints: Endpoints, log: Installation, home: Path, step: str) -> None:
    """A sink dies at the step, another goes on, and ClickHouse holds each record of the log once.
    All these sinks read one log, each pair as a group and into a database of its own."""
    name = f"{log.settings.app_id}_{step}"
    with migrated_database(endpoints, name) as clickhouse:
        more = {"app_id": name, "home": home, "clickhouse_database": name}
        installation = Installation(log.settings.model_copy(update=more))
        try:
            nth = 1 if step in ONLY_ONCE else 2
            crashed = launch(installation, "sink", step, nth, "KILL", "sink")
            assert crashed.wait(STEP_SECONDS) == -signal.SIGKILL, installation.log_text("sink")
            installation.start_sink()
            wait_filled(installation, clickhouse)
        finally:
            installation.end()


@pytest.mark.timeout(600)
def test_a_process_killed_at_any_step_leaves_books_that_its_successor_completes(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    with (
        with_tables(endpoints, f"{unique_name}_sinks", tmp_path / "log") as (log, _),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        points = {
            f"worker {step}": pool.submit(
                crash_worker, endpoints, f"{unique_name}_{step}", tmp_path / step, step
            )
            for step in WORKER_STEPS
        }
        produce(log, "first")
        worker = log.start_worker()
        log.wait_consumed()
        assert log.stop(worker) == 0
        points |= {
            f"sink {step}": pool.submit(crash_sink, endpoints, log, tmp_path / f"sink-{step}", step)
            for step in SINK_STEPS
        }
        faults = {point: done.exception() for point, done in points.items()}
    assert {point: fault for point, fault in faults.items() if fault is not None} == {}
