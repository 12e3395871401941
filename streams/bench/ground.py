"""What a benchmark runs on: a broker, cores, a folder that is gone afterwards.

The broker is the embedded one on a home of its own, which the operator's installation never sees,
or the one that the settings name. Topics get a prefix that nobody else has.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from schemas.client.kafka_access import Bootstrap
from streams.app.addresses import kafka_bootstrap
from streams.bench.affinity import Cores, choose_cores, pin
from streams.bench.broker import drop_topics
from streams.embedded.home import Home, HomeLock
from streams.embedded.stack import EmbeddedStack, StackOptions
from streams.settings import Settings

FOLDER_PREFIX: Final = "run-"

NO_CLICKHOUSE: Final = "http://127.0.0.1:1"
"""Given as ClickHouse so that none is started: no figure of these needs one."""

BROKER: Final = "kafka"
"""The broker's name among the children of the stack."""

Say = Callable[[str], None]
"""Tells a person what is being done."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where contenders run."""

    settings: Settings
    """With the address of the broker filled in."""
    cores: Cores
    broker_pinned: bool
    folder: Path
    """For states and logs; removed afterwards."""
    prefix: str
    """Begins every topic, group and transactional id of this run."""
    say: Say
    numbers: Iterator[int]
    """Tells the parts of a run apart."""

    @property
    def bootstrap(self) -> Bootstrap:
        """The broker's address."""
        return kafka_bootstrap(self.settings)

    def name(self, what: str) -> str:
        """A name for a part of the run that nothing else has."""
        return f"{self.prefix}{next(self.numbers)}-{what}"

    def drop(self, *prefixes: str) -> None:
        """Deletes the topics of a part that is over, so that disks hold one part at a time."""
        asyncio.run(drop_topics(self.bootstrap, prefixes))


@contextlib.contextmanager
def open_ground(settings: Settings, say: Say, *, pinned: bool = True) -> Iterator[Ground]:
    """A broker and a folder for a benchmark, all of it gone when it is over.

    This process is held to the cores that are not the contender's, unless nothing is to be
    `pinned`: where several processes are measured together. One benchmark at a time: two
    would measure each other. Raises SetupError.
    """
    Home(settings.home).prepare()
    root = settings.home / "bench"
    root.mkdir(mode=0o700, exist_ok=True)
    with HomeLock(Home(root)):
        for left in root.glob(f"{FOLDER_PREFIX}*"):  # by a benchmark that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=root))
        cores = choose_cores() if pinned else Cores(frozenset(), frozenset())
        free = os.sched_getaffinity(0) if cores.pinned else set()
        try:
            pin(os.getpid(), cores.others)
            with _broker(settings, folder, cores, say) as bootstrap:
                yield Ground(
                    settings=settings.model_copy(
                        update={"home": folder / "home", "kafka_bootstrap": bootstrap}
                    ),
                    cores=cores,
                    broker_pinned=cores.pinned and settings.embedded_kafka,
                    folder=folder,
                    prefix=f"bench-{secrets.token_hex(4)}-",
                    say=say,
                    numbers=count(1),
                )
        finally:
            pin(os.getpid(), free)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _broker(settings: Settings, folder: Path, cores: Cores, say: Say) -> Iterator[str]:
    if settings.kafka_bootstrap is not None:
        yield settings.kafka_bootstrap
        return
    options = StackOptions(
        root=folder / "home",
        clickhouse_url=NO_CLICKHOUSE,
        kafka_heap_mb=settings.kafka_heap_mb,
        restart_limit=0,
    )
    say("starting Kafka")
    with EmbeddedStack(options, say=say) as stack:
        pin(stack.supervisor.pids()[BROKER], cores.others)
        yield stack.endpoints().kafka_bootstrap
