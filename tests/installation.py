"""A small installation for a test: its own topics on the shared broker, worker processes, the log
read back.

with Installation(endpoints, prefix, home) as inst:
    inst.produce("usage", [record, ...])
    worker = inst.start_worker()
    inst.wait_consumed()
    entries = inst.entries()
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import CycleEntry, DeadLetter, LedgerEntry
from schemas.topics import DEAD_LETTERS, INBOUND, LEDGER, TOPICS
from streams.app.installation import create_topics, import_prices
from streams.embedded.endpoints import Endpoints
from streams.embedded.kafka import broker_answers
from streams.settings import Settings
from tests.embedded_waiting import until, until_async

POLL_SECONDS = 0.2
"""Between two looks at the whole ledger. Without it the looks take the processor from the workers
that are waited for."""

DROP_SECONDS = 10.0
"""How long topics are deleted at the most: a broker that does not answer keeps them."""

WAIT_SECONDS = 180.0
"""A deadline, not a pause: the slowest wait (two session timeouts on a busy machine) takes a sixth
of it."""


@dataclass
class Installation:
    """Topics under a prefix, with the processes that were started for them."""

    settings: Settings
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def create(cls, endpoints: Endpoints, prefix: str, home: Path, **more: Any) -> "Installation":
        """Topics, rules and prices for this prefix on the shared broker."""
        settings = Settings(
            home=home,
            kafka_bootstrap=endpoints.kafka_bootstrap,
            topic_prefix=prefix,
            app_id=prefix.rstrip("."),
            **({"partitions": 2} | more),
        )
        asyncio.run(create_topics(settings))
        asyncio.run(import_prices(settings))
        return cls(settings)

    def __enter__(self) -> "Installation":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()
        drop_topics(self.settings)

    def end(self) -> None:
        """Kills every process that was started here."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()

    # --- processes
    # ---------------------------------------------------------------------------------

    def start_worker(self, state: str = "state", **more: Any) -> subprocess.Popen[bytes]:
        """A worker process with a state directory of this name; its log is beside it."""
        return self.start(["streams", "worker"], state, **more)

    def start_sink(self, state: str = "sink") -> subprocess.Popen[bytes]:
        """A sink process, with a log of this name."""
        return self.start(["streams", "sink"], state)

    def start(
        self, command: Sequence[str], state: str = "state", **more: Any
    ) -> subprocess.Popen[bytes]:
        """The process of `python -m` with these words, with a state directory and a log of this
        name."""
        settings = self.settings.model_copy(
            update={"state_dir": self.settings.home / state, **more}
        )
        self.settings.home.mkdir(exist_ok=True)
        with (self.settings.home / f"{state}.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=os.environ | settings.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        self.workers.append(worker)
        return worker

    def stop(self, worker: subprocess.Popen[bytes]) -> int:
        """Asks a worker to stop and returns its exit status."""
        worker.send_signal(signal.SIGTERM)
        return worker.wait(WAIT_SECONDS)

    def log_text(self, state: str = "state") -> str:
        """What the workers with this state directory have logged."""
        return (self.settings.home / f"{state}.log").read_text("utf-8", "replace")

    # --- the log
    # -----------------------------------------------------------------------------------

    def produce(
        self,
        topic: str,
        values: Iterable[bytes],
        key: str | None = "",
        partition: int | None = None,
        **producer: Any,
    ) -> None:
        """Appends values under a key (the partition follows from it unless given)."""
        asyncio.run(self._produce(topic, values, key, partition, producer))

    async def _produce(
        self,
        topic: str,
        values: Iterable[bytes],
        key: str | None,
        partition: int | None,
        options: dict[str, Any],
    ) -> None:
        raw_key = None if key is None else key.encode()
        if partition is None:
            partition = partition_of(raw_key or b"", self.settings.partitions)
        async with AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka_bootstrap, linger_ms=5, **options
        ) as producer:
            for value in values:
                await producer.send(
                    self.settings.topic_prefix + topic, value, key=raw_key, partition=partition
                )
            await producer.flush()

    def read(self, topic: str, *, committed: bool = True) -> list[list[Any]]:
        """All records of a topic by partition."""
        found = asyncio.run(self._read(topic, range(self.settings.partitions), committed))
        return list(found.values())

    def read_partition(self, topic: str, partition: int) -> list[Any]:
        """The committed records of one partition: a long run's are more than memory holds."""
        return asyncio.run(self._read(topic, [partition], True))[partition]

    async def _read(
        self, topic: str, numbers: Sequence[int], committed: bool
    ) -> dict[int, list[Any]]:
        partitions = [TopicPartition(self.settings.topic_prefix + topic, p) for p in numbers]
        found: dict[int, list[Any]] = {p: [] for p in numbers}
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_bootstrap,
            isolation_level="read_committed" if committed else "read_uncommitted",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        await consumer.start()
        try:
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)

            async def read_on() -> bool:
                if all([await consumer.position(tp) >= ends[tp] for tp in partitions]):
                    return True
                for tp, records in (await consumer.getmany(timeout_ms=100)).items():
                    found[tp.partition] += records
                return False

            def read() -> str:
                there = {place: len(records) for place, records in found.items()}
                return f"{topic} read to {list(ends.values())}, records so far {there}"

            await until_async(read_on, read, WAIT_SECONDS, pause_seconds=0)
        finally:
            await consumer.stop()
        return found

    def entries(self) -> list[list[LedgerEntry]]:
        """The ledger by partition."""
        return [[codec.decode_entry(r.value) for r in part] for part in self.read(LEDGER.name)]

    def dead_letters(self) -> list[DeadLetter]:
        """All dead letters."""
        found = self.read(DEAD_LETTERS.name)
        return [codec.decode_dead_letter(r.value) for part in found for r in part]

    def consumed(self) -> dict[tuple[str, int], int]:
        """Up to which offset the ledger says each inbound topic has been consumed."""
        ends: dict[tuple[str, int], int] = {}
        for partition, entries in enumerate(self.entries()):
            for entry in entries:
                if isinstance(entry, CycleEntry):
                    for piece in entry.consumed:
                        assert piece.from_offset >= ends.get((piece.topic, partition), 0)
                        ends[piece.topic, partition] = piece.to_offset
        return ends

    def record_ends(self) -> dict[tuple[str, int], int]:
        """The offset after the last visible record of each inbound topic's partition."""
        return {
            (topic.name, partition): records[-1].offset + 1
            for topic in INBOUND
            for partition, records in enumerate(self.read(topic.name))
            if records
        }

    def wait_consumed(self) -> None:
        """Returns when every record that is in the inbound topics now is in a cycle of the
        ledger."""
        due = self.record_ends()
        consumed: dict[tuple[str, int], int] = {}

        def missing() -> dict[tuple[str, int], int]:
            return {at: end for at, end in due.items() if consumed.get(at, 0) < end}

        def all_consumed() -> bool:
            consumed.update(self.consumed())
            return not missing()

        until(
            all_consumed,
            lambda: f"consumed up to {missing()}, but {consumed}",
            WAIT_SECONDS,
            POLL_SECONDS,
        )

    def wait_generation(self, generation: int, accepted: int) -> None:
        """Returns when the cycles of a generation have accepted that many records."""

        def done() -> int:
            return sum(
                entry.accepted
                for part in self.entries()
                for entry in part
                if isinstance(entry, CycleEntry) and entry.generation == generation
            )

        until(
            lambda: done() >= accepted,
            lambda: f"{accepted} records accepted by generation {generation}, but {done()}",
            WAIT_SECONDS,
            POLL_SECONDS,
        )


def drop_topics(settings: Settings) -> None:
    """Deletes an installation's topics, where the broker still answers: it reads what is there at
    each of its starts, and all tests share it."""
    servers = str(settings.kafka_bootstrap).split(",")
    places = [server.partition(":") for server in servers]
    if any(broker_answers(host, int(port)) for host, _, port in places):
        with contextlib.suppress(KafkaError, TimeoutError):
            asyncio.run(asyncio.wait_for(_delete_topics(settings), DROP_SECONDS))


async def _delete_topics(settings: Settings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await admin.start()
        await admin.delete_topics([topic.full_name(settings.topic_prefix) for topic in TOPICS])
    finally:
        await admin.close()
