"""Sink processes for tests: topics and a database of their own, cycles appended, rows counted."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from schemas.topics import LEDGER
from streams.adapters.clickhouse import ClickHouse
from streams.app import installation
from streams.embedded.endpoints import Endpoints
from streams.settings import Settings
from tests.embedded_waiting import until
from tests.installation import drop_topics
from tests.outbound import append
from tests.rows import rows
from tests.sinks import migrated_database

PARTITIONS: Final = 2
CYCLE: Final = 40
CYCLES: Final = 60
WAIT_SECONDS: Final = 60.0


class Sinks:
    """A database, topics, and the sink processes that are to bring the two together."""

    def __init__(self, settings: Settings, clickhouse: ClickHouse) -> None:
        self.settings = settings
        self.clickhouse = clickhouse
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        """One more sink."""
        with (self.settings.home / "sink.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "streams", "sink"],
                env=os.environ | self.settings.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def log_text(self) -> str:
        """What all sinks have said."""
        return (self.settings.home / "sink.log").read_text("utf-8", "replace")

    def count(self, table: str = "ledger") -> int:
        """How many rows there are."""
        return int(self.clickhouse.query(f"SELECT count() FROM {table}").rows[0][0])

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Until a condition holds; says what the sinks said where it never does."""
        until(
            condition, lambda: f"{what}; the sinks said:\n{self.log_text()}\n", WAIT_SECONDS, 0.05
        )

    def wait_rows(self, wanted: int, table: str = "ledger") -> None:
        """Until a table has that many rows."""
        there = 0

        def enough() -> bool:
            nonlocal there
            there = self.count(table)
            return there >= wanted

        until(
            enough,
            lambda: f"{wanted} rows of {table}, but {there}; the sinks said:\n{self.log_text()}\n",
            WAIT_SECONDS,
            0.05,
        )

    def exact(self, table: str = "ledger") -> dict[int, tuple[int, int, int]]:
        """Per partition: rows, different sequences, largest sequence."""
        answer = self.clickhouse.query(
            f"SELECT partition, count(), uniqExact(sequence), max(sequence) FROM {table} GROUP BY 1"
        )
        return {int(p): (int(n), int(unique), int(last)) for p, n, unique, last in answer.rows}


@contextlib.contextmanager
def running_sinks(
    endpoints: Endpoints, unique_name: str, topic_prefix: str, home: Path
) -> Iterator[Sinks]:
    """A database and settings for sinks, all of which are killed at the end."""
    with migrated_database(endpoints, unique_name) as clickhouse:
        settings = Settings(
            home=home,
            kafka_bootstrap=endpoints.kafka_bootstrap,
            topic_prefix=topic_prefix,
            app_id=unique_name,
            clickhouse_url=endpoints.clickhouse_url,
            clickhouse_user=endpoints.clickhouse_user,
            clickhouse_password=SecretStr(endpoints.clickhouse_password),
            clickhouse_database=unique_name,
            partitions=PARTITIONS,
            sink_batch_rows_max=100,
            sink_linger_ms=20,
        )
        made = Sinks(settings, clickhouse)
        try:
            yield made
        finally:
            for process in made.processes:
                process.kill()
                process.wait()
            drop_topics(settings)


def fill(sinks: Sinks, first: int = 0, cycles: int = CYCLES, *, abort_every: int = 7) -> int:
    """Appends cycles of every partition's ledger, and returns how many rows they are in all."""

    def cycle(number: int) -> list[tuple[int, bytes]]:
        sequences = range(number * CYCLE, (number + 1) * CYCLE)
        return [(p, value) for p in range(PARTITIONS) for value in rows(sequences, partition=p)]

    asyncio.run(
        append(
            str(sinks.settings.kafka_bootstrap),
            LEDGER.full_name(sinks.settings.topic_prefix),
            (cycle(number) for number in range(first, first + cycles)),
            abort_every=abort_every,
        )
    )
    return PARTITIONS * (first + cycles) * CYCLE


def create_topics(sinks: Sinks) -> None:
    """All topics of an installation."""
    asyncio.run(installation.create_topics(sinks.settings))


def assert_exact(sinks: Sinks, total: int) -> None:
    """Every row is there once, the same number in each partition."""
    each = total // PARTITIONS
    assert sinks.exact() == dict.fromkeys(range(PARTITIONS), (each, each, each - 1))
