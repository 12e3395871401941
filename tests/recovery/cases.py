"""What the recovery tests on the real broker share: an installation of one partition, its input,
and what has to be in the books afterwards."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    BUDGETS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    LEDGER,
    PRODUCED,
    SIGNALS,
    USAGE,
)
from streams.adapters.clickhouse import ClickHouse
from streams.adapters.groups import group_offsets
from streams.embedded.endpoints import Endpoints
from tests import whole
from tests.builders import json_of
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.soak.books import Verdict, check_log, check_tables
from tests.soak.shares import Shares, all_closed

CUSTOMERS: Final = ("a", "b", "c")
STEP_SECONDS: Final = 180.0
"""A deadline for one process to get somewhere on a machine where many start at once."""
CYCLE_RECORDS: Final = 10
"""So that the input takes several cycles."""
ONE_PARTITION: Final = {"partitions": 1, "cycle_records_max": CYCLE_RECORDS}
WRITTEN: Final = (LEDGER, ATTRIBUTIONS, DEAD_LETTERS, ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG)


@contextlib.contextmanager
def one_partition(
    endpoints: Endpoints, name: str, home: Path, **more: Any
) -> Iterator[Installation]:
    """An installation with a single partition and small cycles."""
    made = Installation.create(endpoints, f"{name}.", home, **ONE_PARTITION, **more)
    with made:
        yield made


@contextlib.contextmanager
def with_tables(
    endpoints: Endpoints, name: str, home: Path
) -> Iterator[tuple[Installation, ClickHouse]]:
    """The same with a database that sinks of it fill."""
    with whole.with_tables(endpoints, name, home, **ONE_PARTITION, sink_batch_rows_max=15) as made:
        yield made


def produce(installation: Installation, batch: str, *, traced: bool = False) -> None:
    """Fifty records: usage of three customers with repeats, a conflict and nonsense; grants;
    signals. `traced`: nine of ten calls name a trace or its scope, and the signals share them."""
    claims = {"trace_id": "1", "cost_tracing": True} if traced else {}
    named = ({"trace_id": "1"}, {"trace_id": "2", "scope_id": "3"}) if traced else ({},)
    for customer in CUSTOMERS:
        grant = {"kind": "grant", "denomination": "usd", "amount": "0.7"}
        value = json_of(customer, f"{batch}-g", grant)
        installation.produce(BUDGETS.name, [value], key=customer)
        value = json_of(customer, f"{batch}-s", {"name": "won"} | claims)
        installation.produce(SIGNALS.name, [value, value], key=customer)
        events = [
            json_of(
                customer,
                f"{batch}-{n}",
                {"units": n, "cost": f"0.{n}1", **(named[n % len(named)] if n else {})},
            )
            for n in range(11)
        ]
        conflict = json_of(customer, f"{batch}-3", {"units": 99, "cost": "9"})
        values = [*events, events[0], conflict, b"{not json"]
        installation.produce(USAGE.name, values, key=customer)


def launch(
    installation: Installation, command: str, at: str, nth: int, number: str, state: str = "state"
) -> subprocess.Popen[bytes]:
    """A process that kills (KILL) or pauses (STOP) itself when it reaches a step."""
    words = ["tests.recovery.launcher", command, "--at", at, "--nth", str(nth), "--signal", number]
    return installation.start(words, state)


def wait_paused(process: subprocess.Popen[bytes]) -> None:
    """Returns when a process stands still."""
    until(
        lambda: (
            process.poll() is not None
            or psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
        ),
        "the process stands still",
        STEP_SECONDS,
    )
    assert process.poll() is None, f"ended with {process.returncode} before it stood still"


def check_books(installation: Installation) -> Verdict:
    """Compares ledger and dead letters with what the inbound topics say must be there."""
    verdict = Verdict()
    check_log(installation, verdict)
    assert verdict.faults == []
    assert verdict.accepted > 0
    return verdict


def check_attributed(installation: Installation) -> None:
    """Waits until every window has closed; then each cost of a trace is shared out to the
    pico-dollar."""
    until(lambda: all_closed(installation), "all trace windows closed", STEP_SECONDS)
    verdict = Verdict()
    shares = Shares(installation.entries(), verdict)
    shares.check(installation)
    assert verdict.faults == []
    assert shares.roles >= {"share", "unattributed"}


def wait_filled(installation: Installation, clickhouse: ClickHouse) -> None:
    """Returns when as many rows are in ClickHouse as there are records, and compares them."""
    due = {
        table: sum(len(part) for part in installation.read(topic.name))
        for topic, table in ((LEDGER, "ledger"), (DEAD_LETTERS, "dead_letters"))
    }
    until(
        lambda: all(
            clickhouse.query(f"SELECT count() FROM {table}").rows[0][0] >= count
            for table, count in due.items()
        ),
        "all rows",
        STEP_SECONDS,
    )
    verdict = Verdict()
    books = check_log(installation, verdict)
    check_tables(clickhouse, books.ledger, books.letters, verdict)
    assert verdict.faults == []


def committed(installation: Installation) -> dict[str, list[Any]]:
    """Everything that a worker has committed: records of every topic it writes, with their
    offsets, and the group's offsets."""
    found: dict[str, list[Any]] = {
        topic.name: [
            [(record.offset, record.key, record.value) for record in part]
            for part in installation.read(topic.name)
        ]
        for topic in WRITTEN
    }
    found["offsets"] = asyncio.run(_group_offsets(installation))
    return found


async def _group_offsets(installation: Installation) -> list[Any]:
    settings = installation.settings
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        places = [TopicPartition(settings.topic_prefix + topic.name, 0) for topic in PRODUCED]
        found = await group_offsets(admin, settings.app_id, places)
        return [(place.topic, found[place]) for place in places]
    finally:
        await admin.close()
