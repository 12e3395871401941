"""Who takes part: how each is started, when it has begun and when it is done, how it is checked.

Tollgate is the real worker process with everything on. The peers do the same work as their makers
would have it done; their settings stand, with reasons, in the Java sources.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol

import orjson

from bench.measure import Command
from bench.onlooker import Onlooker
from bench.outputs import Outputs
from bench.peer_build import Tools, build, find_tools
from schemas.topics import LEDGER
from streams.bench.books import check_books
from streams.bench.broker import read_all
from streams.bench.check import check
from streams.bench.full_path import READY
from streams.bench.loaded import Loaded
from streams.embedded.wiring import role_argv

COMMIT_INTERVAL_MS: Final = 100
"""The default of Kafka Streams under exactly-once."""

USAGE_ENTRY: Final = b'{"kind":"usage"'
"""How an entry of usage begins in the ledger."""

JVM_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    # Fixed sizes, so that no run spends time on growing; the serial collector is the right one for
    # a single core. Most of what Kafka Streams keeps lies in RocksDB, outside of the heap; Flink's
    # state is the heap.
    "kafka-streams": ("-Xms1g", "-Xmx1g", "-XX:+UseSerialGC"),
    "flink": (
        "-Xms2g",
        "-Xmx2g",
        "-XX:+UseSerialGC",
        # Flink's serializers look into these; its own start scripts say the same.
        "--add-opens=java.base/java.util=ALL-UNNAMED",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
    ),
}


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a contender."""

    loaded: Loaded
    """The installation whose topic `usage` everybody reads."""
    name: str
    """Of groups and topics that a peer makes; no other run's begin so."""

    @property
    def folder(self) -> Path:
        """For state and logs; gone with the ground."""
        return self.loaded.ground.folder / self.name

    @property
    def peer_output(self) -> str:
        """The topic into which a peer writes."""
        return f"{self.name}-entries"


class Contender(Protocol):
    """One that takes part."""

    name: str

    def prepare(self, cache: Path) -> None:
        """Builds what it needs. Raises SetupError."""
        ...

    def output_topic(self, job: Job) -> str | None:
        """The topic that has to be made for it."""
        ...

    def command(self, job: Job) -> Command:
        """How it is started."""
        ...

    async def progress(self, job: Job, onlooker: Onlooker) -> int:
        """How much it has done, of `due`."""
        ...

    def due(self, job: Job) -> int:
        """What `progress` is when everything is done."""
        ...

    def check(self, job: Job) -> list[int]:
        """When each of its entries was appended, in milliseconds since the epoch.

        Raises FaultError where what it wrote is wrong.
        """
        ...


class Tollgate:
    """The worker as `tollgate worker` runs it: validation, rating, balances, ledger, a local store,
    one transaction for each cycle."""

    name = "tollgate"

    def prepare(self, cache: Path) -> None:
        """Nothing: it is Python."""

    def output_topic(self, job: Job) -> str | None:
        """None: its topics are those of the installation."""
        return None

    def command(self, job: Job) -> Command:
        """What the supervisor starts, too."""
        settings = job.loaded.settings
        log = job.folder / f"{self.name}.log"
        return Command(role_argv("worker"), settings.environment(), log, re.compile(READY))

    async def progress(self, job: Job, onlooker: Onlooker) -> int:
        """Records consumed by committed cycles."""
        return await onlooker.consumed(job.loaded.settings.app_id, job.loaded.usage_topic)

    def due(self, job: Job) -> int:
        """All records."""
        return job.loaded.expected.records

    def check(self, job: Job) -> list[int]:
        """Ledger and accounts, as `tollgate bench pipeline` checks them."""
        check_books(job.loaded)
        appended_ms: list[int] = []

        def take(_partition: int, _key: bytes | None, value: bytes, at_ms: int) -> None:
            if value.startswith(USAGE_ENTRY):
                appended_ms.append(at_ms)

        settings = job.loaded.settings
        topic = LEDGER.full_name(settings.topic_prefix)
        asyncio.run(read_all(job.loaded.ground.bootstrap, topic, settings.partitions, take))
        return appended_ms


@dataclass(slots=True)
class JavaPeer:
    """A peer of bench/java. It sums the costs that events bring, and rates nothing."""

    name: str
    module: str
    main_class: str
    ends_by: Literal["commits", "entries"]
    """Kafka Streams commits what it has consumed after each interval. Flink does with checkpoints
    only, so its run is over when all its entries are acknowledged."""
    guarantee: str = "of no meaning here"
    _java: list[str] = field(default_factory=list)

    def prepare(self, cache: Path) -> None:
        """Builds it unless it is there."""
        tools: Tools = find_tools()
        jars = build(tools, self.module, cache)
        path = ":".join(str(jar) for jar in jars)
        self._java = [str(tools.java), *JVM_OPTIONS[self.module], "-cp", path]

    def output_topic(self, job: Job) -> str | None:
        """One of its own."""
        return job.peer_output

    def command(self, job: Job) -> Command:
        """A Java process; it says READY or FIRST when it has begun, whichever comes first."""
        state = job.folder / "state"
        state.mkdir()
        env = {
            "BROKER": str(job.loaded.ground.bootstrap),
            "TOPIC": job.loaded.usage_topic,
            "OUT_TOPIC": job.peer_output,
            "APP_ID": job.name,
            "STATE_DIR": str(state),
            "GUARANTEE": self.guarantee,
            "COMMIT_INTERVAL_MS": str(COMMIT_INTERVAL_MS),
        }
        return Command(
            [*self._java, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", self.main_class],
            env,
            job.folder / f"{self.name}.log",
            re.compile(r"^(?:READY|FIRST) (\d+)$", re.MULTILINE),
        )

    async def progress(self, job: Job, onlooker: Onlooker) -> int:
        """Records committed as consumed, or entries acknowledged."""
        if self.ends_by == "commits":
            return await onlooker.consumed(job.name, job.loaded.usage_topic)
        return await onlooker.written(job.peer_output)

    def due(self, job: Job) -> int:
        """All records, or as many entries as there are distinct events."""
        expected = job.loaded.expected
        return expected.records if self.ends_by == "commits" else expected.distinct

    def check(self, job: Job) -> list[int]:
        """Its entries, every one."""
        outputs = Outputs()

        def take(_partition: int, _key: bytes | None, value: bytes, at_ms: int) -> None:
            outputs.take(orjson.loads(value), at_ms)

        loaded = job.loaded
        partitions = loaded.settings.partitions
        asyncio.run(read_all(loaded.ground.bootstrap, job.peer_output, partitions, take))
        check(loaded.expected, outputs.found(self.name, loaded.expected))
        return outputs.appended_ms


_kafka_streams: Final = partial(
    JavaPeer,
    module="kafka-streams",
    main_class="tollgate.bench.KafkaStreamsPeer",
    ends_by="commits",
)

CONTENDERS: Final[Mapping[str, Callable[[], Contender]]] = {
    "tollgate": Tollgate,
    "kafka-streams": partial(_kafka_streams, "kafka-streams", guarantee="exactly_once_v2"),
    "kafka-streams-alo": partial(_kafka_streams, "kafka-streams-alo", guarantee="at_least_once"),
    "flink": partial(JavaPeer, "flink", "flink", "tollgate.bench.FlinkPeer", "entries"),
}
"""All of them by name."""

USUAL: Final = ("tollgate", "kafka-streams", "flink")
"""Who takes part where nobody is named."""
