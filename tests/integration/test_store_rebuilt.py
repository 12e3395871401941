"""A worker whose local tables are damaged, foreign or full: what the log holds is what counts."""

import gc
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.partitioner import partition_of
from schemas.structs import CycleEntry, UsageEntry
from schemas.topics import USAGE
from streams.adapters.store import BatchTable, FaustStore
from streams.app.worker import EXIT_FAULT, make_app
from streams.embedded.endpoints import Endpoints
from streams.ports import Changes, Table
from tests.builders import json_of
from tests.installation import Installation

CUSTOMER = "acme"
PARTITION = partition_of(CUSTOMER.encode(), 2)
EVENTS = 40
FILE_BYTES_MAX = 150_000
"""Files of a worker on a "full" disk: its log is smaller, the rows of BURST are larger."""
BURST = 4_000


def events(count: int, first: int = 0) -> list[bytes]:
    return [json_of(CUSTOMER, f"e{n}", {"units": 1}) for n in range(first, first + count)]


@pytest.fixture
def installation(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> Any:
    with Installation.create(endpoints, topic_prefix, tmp_path / "home") as made:
        yield made


def tables(installation: Installation) -> FaustStore:
    """The stopped worker's tables, as another process opens them."""
    state = installation.settings.home / "state"
    app = make_app(installation.settings.model_copy(update={"state_dir": state}), "127.0.0.1:1")
    return FaustStore(
        {t: BatchTable(app, name=t.value, key_type=bytes, value_type=bytes) for t in Table}
    )


def path_of(installation: Installation, table: Table) -> Path:
    return tables(installation)._store(table).database(PARTITION).path


def no_manifest(installation: Installation) -> None:
    for table in Table:
        for manifest in path_of(installation, table).glob("MANIFEST-*"):
            os.truncate(manifest, 0)


def ahead_of_its_changelog(installation: Installation) -> None:
    for table in Table:
        tables(installation).write(table, PARTITION, Changes([], 1_000_000))


def filled_by_another_topic(installation: Installation) -> None:
    """The claims of another life of the topic are no claims of this one."""
    store = tables(installation)
    store.identify({Table.CLAIMS: "another topic", Table.ACCOUNTS: "another topic"})
    for table in Table:
        database = store._store(table).database(PARTITION)
        database._stamp()


def assert_exact(installation: Installation, accepted: int, duplicates: int) -> None:
    ledger = [entry for part in installation.entries() for entry in part]
    ids = [entry.event_id for entry in ledger if isinstance(entry, UsageEntry)]
    assert sorted(ids) == sorted(f"e{n}" for n in range(accepted))
    cycles = [entry for entry in ledger if isinstance(entry, CycleEntry)]
    assert sum(cycle.duplicates for cycle in cycles) == duplicates


@pytest.mark.parametrize("damage", [no_manifest, ahead_of_its_changelog, filled_by_another_topic])
def test_a_store_that_cannot_be_trusted_is_set_aside_and_rebuilt_from_the_log(
    installation: Installation, damage: Callable[[Installation], None]
) -> None:
    installation.produce(USAGE.name, events(EVENTS), key=CUSTOMER)
    worker = installation.start_worker()
    installation.wait_consumed()
    assert installation.stop(worker) == 0
    damage(installation)
    gc.collect()  # what was opened here to be damaged is locked until it is gone
    # Every id again: only the claims tell that they were billed, only the progress tells from where
    # to go on.
    installation.produce(USAGE.name, [*events(EVENTS), *events(1, EVENTS)], key=CUSTOMER)
    worker = installation.start_worker()
    installation.wait_consumed()
    assert_exact(installation, EVENTS + 1, duplicates=EVENTS)
    said = installation.log_text()
    for table in Table:
        name = path_of(installation, table).name
        assert f"is set aside as {name}.damaged-1" in said
    assert worker.poll() is None


def test_a_worker_on_a_full_disk_ends_and_the_next_one_goes_on_from_the_log(
    installation: Installation,
) -> None:
    installation.produce(USAGE.name, events(EVENTS), key=CUSTOMER)
    worker = installation.start_worker()
    installation.wait_consumed()
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, resource.RLIM_INFINITY))
    installation.produce(USAGE.name, events(BURST, EVENTS), key=CUSTOMER)
    assert worker.wait(60) == EXIT_FAULT, installation.log_text()
    assert "the disk of the state directory is full" in installation.log_text()
    assert "Make room on the disk" in installation.log_text()
    installation.produce(USAGE.name, events(EVENTS), key=CUSTOMER)
    installation.start_worker()
    installation.wait_consumed()
    assert_exact(installation, EVENTS + BURST, duplicates=EVENTS)
    assert "set aside" not in installation.log_text(), "a full disk damages nothing"
