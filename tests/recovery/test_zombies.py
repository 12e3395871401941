"""A paused process whose partition was taken over changes nothing when it wakes."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.structs import CycleEntry
from streams.app.worker import EXIT_FAULT
from streams.embedded.endpoints import Endpoints
from tests.embedded_waiting import until
from tests.recovery.cases import (
    STEP_SECONDS,
    check_books,
    committed,
    launch,
    one_partition,
    produce,
    wait_filled,
    wait_paused,
    with_tables,
)

WORKER_PAUSES: Final = ("checked", "begun", "appended", "offsets", "committed")
SINK_PAUSES: Final = ("inserting", "inserted")
TABLES: Final = ("ledger", "dead_letters")


def rows(clickhouse: Any) -> list[Any]:
    return [clickhouse.query(f"SELECT * FROM {table} ORDER BY sequence").rows for table in TABLES]


def wake_worker(endpoints: Endpoints, name: str, home: Path, step: str) -> None:
    """Paused at the step; another consumes everything; awake again it ends, and nothing changed."""
    with with_tables(endpoints, name, home) as (installation, clickhouse):
        produce(installation, "first")
        installation.start_sink()
        zombie = launch(installation, "worker", step, 2, "STOP", "zombie")
        wait_paused(zombie)
        cycles = cycle_count(installation)
        heir = installation.start_worker("heir")
        installation.wait_consumed()
        produce(installation, "second")
        installation.wait_consumed()
        wait_filled(installation, clickhouse)
        before = (committed(installation), rows(clickhouse))
        assert cycle_count(installation) > cycles, "the partition was taken over"

        zombie.send_signal(signal.SIGCONT)
        if step == "committed":
            wait_rejoined_or_ended(installation, zombie)
        else:
            assert zombie.wait(STEP_SECONDS) == EXIT_FAULT, installation.log_text("zombie")
        assert (committed(installation), rows(clickhouse)) == before
        assert heir.poll() is None
        # What comes afterwards is decided as if there had never been a zombie.
        produce(installation, "third")
        installation.wait_consumed()
        wait_filled(installation, clickhouse)
        check_books(installation)


def wait_rejoined_or_ended(installation: Any, zombie: Any) -> None:
    """After its commit a worker has nothing open: it may learn of the rebalance first, give its
    partition up, and come back as a member like any other."""
    until(
        lambda: (
            zombie.poll() == EXIT_FAULT
            or installation.log_text("zombie").count("fenced partitions") > 1
        ),
        "the woken worker has ended or joined again",
        STEP_SECONDS,
    )


@pytest.mark.timeout(600)
def test_a_worker_overtaken_while_it_takes_partitions_gives_them_up_and_joins_again(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    with one_partition(endpoints, unique_name, tmp_path) as installation:
        zombie = launch(installation, "worker", "reading", 1, "STOP", "zombie")
        wait_paused(zombie)
        installation.start_worker("heir")
        produce(installation, "first")
        installation.wait_consumed()
        zombie.send_signal(signal.SIGCONT)
        until(
            lambda: (
                zombie.poll() is not None
                or "a take was given up" in installation.log_text("zombie")
            ),
            "the woken worker has ended or given up",
            STEP_SECONDS,
        )
        assert zombie.poll() is None, installation.log_text("zombie")
        assert "somebody else wrote to the topic" not in installation.log_text("zombie")
        wait_rejoined_or_ended(installation, zombie)
        produce(installation, "second")
        installation.wait_consumed()
        check_books(installation)
        assert installation.stop(zombie) == 0, installation.log_text("zombie")


def cycle_count(installation: Any) -> int:
    return sum(isinstance(e, CycleEntry) for part in installation.entries() for e in part)


def wake_sink(endpoints: Endpoints, name: str, home: Path, step: str) -> None:
    """The same for a sink: another fills the tables; awake again it adds no row."""
    with with_tables(endpoints, name, home) as (installation, clickhouse):
        produce(installation, "first")
        installation.start_worker()
        installation.wait_consumed()
        zombie = launch(installation, "sink", step, 2, "STOP", "zombie")
        wait_paused(zombie)
        installation.start_sink("heir")
        wait_filled(installation, clickhouse)

        # Nothing fences a sink: it goes on with its old insert, and the table refuses it.
        zombie.send_signal(signal.SIGCONT)
        produce(installation, "second")
        installation.wait_consumed()
        wait_filled(installation, clickhouse)
        assert installation.stop(zombie) == 0, installation.log_text("zombie")
        wait_filled(installation, clickhouse)


@pytest.mark.timeout(600)
def test_a_paused_process_whose_partition_was_taken_over_changes_nothing_when_it_wakes(
    endpoints: Endpoints, unique_name: str, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(len(WORKER_PAUSES) + len(SINK_PAUSES)) as pool:
        pauses = {
            f"{kind} {step}": pool.submit(
                run, endpoints, f"{unique_name}_{kind}_{step}", tmp_path / f"{kind}-{step}", step
            )
            for kind, steps, run in (
                ("worker", WORKER_PAUSES, wake_worker),
                ("sink", SINK_PAUSES, wake_sink),
            )
            for step in steps
        }
        faults = {pause: done.exception() for pause, done in pauses.items()}
    assert {pause: fault for pause, fault in faults.items() if fault is not None} == {}
