"""The worker: a Faust app whose tables and agent own the partitions, put together with the core.

Read it top to bottom: the tables, the agent, the parts around them, the run.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import faust
from faust.types import TP
from mode import loop as mode_loop

from schemas.client.kafka_access import Bootstrap
from schemas.topics import ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG, SUBSCRIBED
from streams.adapters import faust_process
from streams.adapters.catalog import CatalogFollower
from streams.adapters.clock import SystemClock
from streams.adapters.faust_batches import BatchApp
from streams.adapters.faust_recovery import BatchTableManager
from streams.adapters.kafka_door import faust_credentials
from streams.adapters.log import KafkaCycleLog
from streams.adapters.state_lock import lock_state_directory
from streams.adapters.store import BatchTable, FaustStore
from streams.agents.cycle import CycleOutcome, PartitionCycle
from streams.agents.ownership import CycleBounds, Ownership
from streams.agents.pace import PERIOD_SECONDS_WHILE_ASKED
from streams.agents.turns import TURNS_FOR_ANSWERS, TURNS_WHILE_BEHIND, SharedTurns
from streams.app.addresses import kafka_bootstrap
from streams.app.garbage import look_for_garbage_seldom
from streams.app.generations import check_installation, check_topics
from streams.app.observed import Observed
from streams.app.owning import Owning
from streams.app.taking import Takes, is_overtaken
from streams.app.worker_watch import WorkerWatch
from streams.errors import SetupError, TollgateError
from streams.limits import CYCLE_BYTES_MAX
from streams.ports import Table
from streams.settings import Settings

log = logging.getLogger(__name__)

EXIT_FAULT: Final = 70
"""Exit status after a fault (EX_SOFTWARE): the supervisor restarts the worker from the last
commit."""

CYCLES_AT_ONCE: Final = 16
"""Partitions whose transactions may be in flight together: committing is waiting, and eight
partitions that commit one after the other would wait eight times."""

CYCLE_RECORDS_WHILE_ASKED: Final = 1_000
"""Records of a cycle while agents wait for decisions: encoding and storing what becomes of them
takes some 6 ms, in which nobody is answered."""

CATCH_UP_US: Final = 1_000_000
"""How long usage may wait before cycles stand back less for answers: a fifth of the lag with which
an owner gives none."""

FETCH_BYTES_MAX: Final = 512 * 1024
"""Bytes that one fetch brings from one partition: some 1,300 records of usual size. Larger ones
were no faster and took 85 MiB more (decision 015)."""


HEARTBEAT_SECONDS: Final = 0.3
"""A member learns of a rebalance by its next heartbeat, so this is the larger part of a planned
hand-over; a heartbeat is one small request."""


STOP_SECONDS_MAX: Final = 8.0
"""How long a worker that was asked to stop may take after its last cycle: below the 15 s after
which a supervisor kills."""


def state_directory(settings: Settings) -> Path:
    """Where a worker with these settings keeps its tables."""
    return settings.state_dir or settings.home / "state"


def make_app(settings: Settings, bootstrap: Bootstrap) -> BatchApp:
    """The Faust app with everything of Faust's own that Tollgate does not use turned off."""
    return BatchApp(
        settings.app_id,
        broker="kafka://" + str(bootstrap).replace(",", ";kafka://"),
        broker_credentials=faust_credentials(bootstrap),
        store="memory://",
        datadir=str(state_directory(settings)),
        topic_partitions=settings.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        autodiscover=False,
        stream_wait_empty=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES_MAX,
        broker_max_poll_records=settings.cycle_records_max,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=HEARTBEAT_SECONDS,
        broker_rebalance_timeout=settings.session_timeout_seconds,
        broker_request_timeout=30.0,
        broker_commit_interval=60.0,  # nothing is ever committed this way
        TableManager=BatchTableManager,
    )


def make_tables(app: BatchApp, settings: Settings) -> dict[Table, BatchTable]:
    """The tables of a worker, each with its changelog."""
    return {
        table: BatchTable(
            app,
            name=table.value,
            key_type=bytes,
            value_type=bytes,
            partitions=settings.partitions,
            changelog_topic=app.topic(
                changelog.full_name(settings.topic_prefix), key_type=bytes, value_type=bytes
            ),
            help=changelog.purpose,
        )
        for table, changelog in (
            (Table.ACCOUNTS, ACCOUNTS_CHANGELOG),
            (Table.CLAIMS, CLAIMS_CHANGELOG),
        )
    }


def cycle_bounds(settings: Settings) -> tuple[CycleBounds, CycleBounds]:
    """What a cycle may take, usually and while agents wait for decisions."""
    records_max, pause_seconds = settings.cycle_records_max, settings.cycle_pause_ms / 1000
    return (
        CycleBounds(records_max, CYCLE_BYTES_MAX, pause_seconds),
        CycleBounds(
            min(records_max, CYCLE_RECORDS_WHILE_ASKED),
            CYCLE_BYTES_MAX,
            pause_seconds,
            PERIOD_SECONDS_WHILE_ASKED,
        ),
    )


class Worker:
    """A worker process: `run()` returns when it was asked to stop."""

    def __init__(self, settings: Settings, observed: Observed) -> None:
        bootstrap = kafka_bootstrap(settings)
        prefix = settings.topic_prefix
        self._settings = settings
        self._bootstrap = bootstrap
        self._prefix = prefix
        self.app = app = make_app(settings, bootstrap)
        tables = make_tables(app, settings)
        for table in tables.values():
            app.tables.add(table)
        self._log = KafkaCycleLog(bootstrap, settings.app_id, prefix)
        self._catalog = CatalogFollower(bootstrap, prefix)
        self._store = store = FaustStore(tables)
        self._clock = clock = SystemClock()
        ready = app.channel()
        turns = SharedTurns(self._turns_for_answers)
        usual, while_asked = cycle_bounds(settings)
        self._ownership = Ownership(
            make_cycle=lambda partition: PartitionCycle(
                partition, store, self._log, clock, self._catalog, turns
            ),
            announce=lambda partition: _announce(ready, partition),
            bounds=lambda: while_asked if self._owning.is_asked else usual,
            halt=halt,
            observe=self._committed,
        )
        self._owning = Owning(
            settings,
            bootstrap,
            tables=store,
            catalog=self._catalog,
            clock=clock,
            hand_over=self._ownership.hand_over,
            waiting_since_us=self._ownership.waiting_since_us,
            generation=self._generation,
            halt=halt,
            metrics=observed.metrics,
            spans=observed.spans,
        )
        self._observed = observed
        self._watch = WorkerWatch(
            observed.metrics,
            observed.spans,
            app=app,
            prefix=prefix,
            ownership=self._ownership,
            owning=self._owning,
            store=store,
            clock=clock,
            catalog=self._catalog,
        )
        self._takes = Takes(bootstrap, prefix, store, self._catalog, self._generation)
        self._over = asyncio.Event()
        observed.not_ready = self._watch.not_ready
        app.owner = self
        app.halt = halt
        app.begin = observed.start
        app.inbound_topics = frozenset(topic.full_name(prefix) for topic in SUBSCRIBED)
        app.on_before_shutdown.connect(_end_in_time)
        app.on_before_shutdown.connect(self._stop_answering)

        @app.agent(ready, name="tollgate.cycles", concurrency=CYCLES_AT_ONCE)
        async def cycles(partitions: faust.StreamT[int]) -> None:
            """Whose turn it is: one cycle for each announcement of a partition with records."""
            async for partition in partitions:
                await self._ownership.turn(partition)

    def _turns_for_answers(self) -> int:
        """How many turns of the loop stand between two pieces of a cycle now."""
        if not self._owning.is_asked:
            return 0
        return TURNS_WHILE_BEHIND if self._is_behind() else TURNS_FOR_ANSWERS

    def _is_behind(self) -> bool:
        """Whether folding is what answers wait for: usage that is too old ends them all (P7)."""
        waiting = (self._ownership.waiting_since_us(p) for p in self._ownership.partitions)
        oldest_us = min((since for since in waiting if since is not None), default=None)
        return oldest_us is not None and self._clock.now_us() - oldest_us > CATCH_UP_US

    def _generation(self) -> int:
        generation = self._catalog.view.generation
        assert generation is not None, "an owner without a generation"
        return generation.generation

    def _committed(self, partition: int, outcome: CycleOutcome, seconds: float) -> None:
        self._owning.desk.committed(partition, outcome)
        self._watch.committed(partition, outcome, seconds)
        _log_cycle(partition, outcome)

    def run(self) -> None:
        """Runs until SIGTERM or SIGINT."""
        worker = faust_process.Worker(self.app)
        worker.execute_from_commandline()

    # What `streams.adapters.faust_batches` asks of an owner.

    async def fence(self, partitions: list[int]) -> None:
        """Fences these partitions, once it is sure that the topics are the recorded ones (K5)."""
        self._watch.assigned(partitions)
        if self._catalog.view.next_offset == 0:
            await self._catalog.start()
        await self._catalog.context()
        generation = self._catalog.view.generation
        assert generation is not None, "a context without a generation"
        try:
            await check_topics(self._settings, generation)
        except SetupError as fault:
            halt(fault)
        self._store.identify(
            {
                Table.ACCOUNTS: generation.topic_ids.get(ACCOUNTS_CHANGELOG.name),
                Table.CLAIMS: generation.topic_ids.get(CLAIMS_CHANGELOG.name),
            }
        )
        try:
            await self._owning.start()
        except SetupError as fault:
            halt(fault)
        # Both producers of a partition, or neither (P6).
        await asyncio.gather(self._log.fence(partitions), self._owning.desk.fence(partitions))

    async def _stop_answering(self, *_args: Any, **_kwargs: Any) -> None:
        await self._owning.stop()
        await self._observed.stop()

    async def release(self) -> None:
        """Gives up the transactional ids and the leases."""
        self._watch.released()
        self._over.set()
        await asyncio.gather(self._log.release(), self._owning.release())

    async def quiesce(self) -> None:
        """Waits for running cycles. A take that is under way is for an assignment that is over."""
        self._over.set()
        await self._ownership.quiesce()

    async def take_over(self, committed: dict[int, dict[str, int | None]]) -> dict[TP, int] | None:
        """Owns partitions from where their tables are; None where a rebalance overtook that."""
        over = self._over = asyncio.Event()
        try:
            taken = await self._takes.read(committed)
            context = await self._catalog.context()
            desk, tables = self._owning.desk, taken.tables
            leases = await asyncio.gather(
                *(desk.take(partition, progress, context) for partition, progress in tables.items())
            )
        except TollgateError as fault:
            if not await is_overtaken(over, self._settings.session_timeout_seconds):
                raise
            # The rebalance took the leases' readers away, or somebody has written behind the
            # tables; the take of the next assignment is the one that counts.
            log.info("a take was overtaken by a rebalance: %s", fault.message)
            return None
        if over.is_set():
            return None
        self._ownership.take_over(taken.positions)
        for partition, records in zip(tables, leases, strict=True):
            self._ownership.hand_over(partition, records)
        self._watch.taken(tables)
        return {
            TP(self._prefix + topic.name, partition): offsets[topic.name]
            for partition, offsets in taken.positions.items()
            for topic in SUBSCRIBED
        }

    async def deliver(
        self, topic: str, partition: int, to_offset: int, records: Sequence[Any]
    ) -> None:
        """The next run of one topic."""
        await self._ownership.deliver(topic[len(self._prefix) :], partition, to_offset, records)


def halt(fault: BaseException) -> None:
    """Ends the process at once: nobody here knows any more what is true, the next start does."""
    log.critical("stopping after a fault: %s", fault, exc_info=fault)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(EXIT_FAULT)


async def _announce(ready: faust.ChannelT[int], partition: int) -> None:
    await ready.send(value=partition)


def _log_cycle(partition: int, outcome: CycleOutcome) -> None:
    entry = outcome.entry
    log.debug(
        "partition %d cycle %d: %d records, %d accepted, %d duplicates, %d dead letters",
        partition,
        entry.cycle,
        outcome.records,
        entry.accepted,
        entry.duplicates,
        entry.dead_letters,
        extra={"partition": partition, "cycle": entry.cycle},
    )


def _end_in_time(*_args: Any, **_kwargs: Any) -> None:
    # A rebalance that meets the end of a worker can leave Faust waiting for its consumer for ever.
    timer = threading.Timer(STOP_SECONDS_MAX, _end_now)
    timer.daemon = True
    timer.start()


def _end_now() -> None:
    log.warning("the consumer does not stop; ending all the same: whatever counts is committed")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def run_worker(settings: Settings) -> None:
    """Runs a worker with these settings until it is told to stop.

    Raises SetupError where there is no catalog or the topics are not the recorded ones, before it
    becomes a member of the group.
    """
    asyncio.run(check_installation(settings))
    lock = lock_state_directory(state_directory(settings))
    mode_loop.use("uvloop")
    worker = Worker(settings, Observed(settings, "worker"))
    look_for_garbage_seldom()
    try:
        worker.run()
    finally:
        os.close(lock)
