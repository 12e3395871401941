"""What goes past Faust: whole runs of records per partition, in a safe order (decision 005).

Faust keeps the group, the co-partitioned assignment, the tables and their recovery, the agents. Its
per-message conductor, its offset commits and its reading of changelogs are replaced here:

* `BatchThread`   the consumer reads `read_committed`, long-polls 100 ms instead of 1.5 s and hands
  over whole record batches (`whole_batches`);
* `BatchConsumer` fences before anything is read, seeks before anything is delivered, takes of
  inbound topics and changelogs alike only what joins on to what it took before, and applies
  changelogs by batch straight to the stores;
* recoveries end when only markers are left to read (`faust_recovery`).

Between the fetcher's thread and here records can get lost in many ways: rebalances, seeks, a fetch
that outlives its assignment. None of them is followed up; what counts is that a run joins on.

Uses names of Faust 0.15.3 and aiokafka 0.14.0 that are not public; both are pinned, and
tests/guard/test_private_names.py fails when one of them changes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

import faust
from aiokafka.structs import TopicPartition
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.adapters.batch_owner import BatchOwner
from streams.adapters.faust_recovery import BatchTableManager
from streams.adapters.whole_batches import (
    Run,
    behind,
    delivered_up_to,
    fetch_whole_batches,
    runs_of,
    shows_nothing,
)

log = logging.getLogger(__name__)

FETCH_WAIT_MS: Final = 100
"""Long-poll of the consumer. Faust's 1,500 ms make a recovery over many partitions take seconds."""

RECOVERY_POLL_SECONDS: Final = 0.1
"""Poll while recovering, so that the end is seen when it is reached."""

POLL_SECONDS: Final = 1.0
"""Poll otherwise; records end it at once."""


class BatchThread(driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka's consumer lives, with the isolation level the books need."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Both are read when the fetcher is built in start(), which comes after this.
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def on_start(self) -> None:
        """Starts the consumer. It has no partitions yet, so nothing has been fetched."""
        await super().on_start()
        fetch_whole_batches(cast(Any, self._consumer)._fetcher)

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], *args: Any, **kwargs: Any
    ) -> Any:
        # The set is Faust's own and changes meanwhile; of an empty one aiokafka makes "all", paused
        # partitions among them.
        wanted = set(active_partitions)
        if not wanted:
            return {}
        # Everything that has been fetched, whatever its number: how much that may be is bounded by
        # the bytes of a fetch, and the next one waits until these have found place in the inboxes.
        unbounded = kwargs | {"max_records": None}
        return runs_of(await super()._fetch_records(consumer, wanted, *args, **unbounded))

    def shows_nothing(self, tp: TP, first: int, last: int) -> bool:
        """Whether it has been read that the log shows no record from `first` to `last`."""
        fetcher = self._whole_batches()
        return fetcher is not None and shows_nothing(fetcher, _place(tp), first, last)

    def delivered_beyond(self, tp: TP, expected: int) -> bool:
        """Whether records of `expected` or later were delivered, whether or not they arrived."""
        fetcher = self._whole_batches()
        return fetcher is not None and delivered_up_to(fetcher, _place(tp)) > expected

    def behind(self, tp: TP) -> int:
        """Offsets that can be read and have not been delivered; 0 where that is not known."""
        fetcher = self._whole_batches()
        return 0 if fetcher is None else behind(fetcher, _place(tp))

    def _whole_batches(self) -> Any:
        return None if self._consumer is None else cast(Any, self._consumer)._fetcher


def _place(tp: TP) -> TopicPartition:
    return TopicPartition(tp.topic, tp.partition)


class BatchConsumer(driver.Consumer):
    """Faust's consumer, delivering runs instead of messages."""

    app: "BatchApp"

    def on_init(self) -> None:
        """Called at the start and at every restart."""
        super().on_init()
        self._expected: dict[TP, int] = {}
        self._seek_generation: int | None = None
        self._assignments_ended = 0

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Fences first: only what is read after that is final (decision 006)."""
        inbound = self.app.inbound_topics
        partitions = sorted({tp.partition for tp in assigned if tp.topic in inbound})
        log.info("assigned partitions %s in generation %d", partitions, generation_id)
        await self.app.owner.fence(partitions)
        log.info("fenced partitions %s in generation %d", partitions, generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Lets the running cycles end, then gives up."""
        self._assignments_ended += 1
        await self.app.owner.quiesce()
        self._expected = {}
        self._seek_generation = None
        await super().on_partitions_revoked(revoked)
        await self.app.owner.release()

    async def perform_seek(self) -> None:
        """Seeks to the committed offsets and owns the partitions from there.

        Nothing runs meanwhile: what waits was read from older positions and is dropped, and what
        was fetched early is fetched again. Where another rebalance comes in between, its own seek
        is the one that counts: nobody may take what is fenced no more.
        """
        ended = self._assignments_ended
        await self.app.owner.quiesce()
        await super().perform_seek()
        if self._assignments_ended != ended:
            log.info("a seek was given up for a rebalance")
            return
        inbound = self.app.inbound_topics
        committed: dict[int, dict[str, int | None]] = {}
        for tp in self.assignment():
            if tp.topic in inbound:
                committed.setdefault(tp.partition, {})[tp.topic] = self._read_offset.get(tp)
        try:
            expected = await self.app.owner.take_over(committed)
        except Exception as fault:
            self.app.halt(fault)
            raise
        if expected is None or self._assignments_ended != ended:
            log.info("a take was given up for a rebalance")
            return
        self._expected = expected
        thread = cast(BatchThread, self._thread)
        for tp, offset in self._expected.items():
            if thread.delivered_beyond(tp, offset) or offset != (self._read_offset.get(tp) or 0):
                await self._seek(tp, offset)
        self._seek_generation = self.app.consumer_generation_id

    async def _drain_messages(self, fetcher: Any) -> None:
        stopping = (self._stopped.is_set, fetcher._stopped.is_set)
        recovery = cast(BatchTableManager, self.app.tables).recovery
        thread = cast(BatchThread, self._thread)
        try:
            while not any(stopped() for stopped in stopping):
                recovery.pass_markers(thread)
                wait = RECOVERY_POLL_SECONDS if recovery.in_recovery else POLL_SECONDS
                runs, _ = await self._wait_next_records(wait)
                await asyncio.sleep(0)
                if runs:
                    await self._take(cast(Mapping[TP, Run], runs))
                elif self.flow_active:
                    await self._look_back(thread)
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except Exception as fault:
            if self.app.should_stop and isinstance(fault, self.consumer_stopped_errors):
                return
            # Faust would restart the fetcher and go on after whatever was lost.
            self.app.halt(fault)
            raise

    async def _take(self, runs: Mapping[TP, Run]) -> None:
        generation = self.app.consumer_generation_id
        changelogs = self.app.tables.changelog_topics
        for partition, run in runs.items():
            tp = ensure_TP(partition)
            if tp.topic in changelogs:
                await self._apply(tp, run)
                await asyncio.sleep(0)
            elif tp.topic in self.app.inbound_topics:
                await self._deliver(tp, run, generation)

    async def _look_back(self, thread: BatchThread) -> None:
        """Where nothing comes, nothing shows that what came last got lost on the way: seeks it."""
        recovery = cast(BatchTableManager, self.app.tables).recovery
        due = dict(self._expected) if self._seek_generation is not None else {}
        for tp in recovery.active_tps | recovery.standby_tps:
            if (applied := recovery.applied(tp)) is not None:
                due[tp] = applied + 1
        assigned = self.assignment()
        for tp, expected in due.items():
            if tp in assigned and thread.delivered_beyond(tp, expected):
                log.info("%s stands at %d, more was fetched; reading again", tp, expected)
                await self._seek(tp, expected)

    async def _apply(self, tp: TP, run: Run) -> None:
        """Applies a run of a changelog to its table. What comes during a rebalance is left out: its
        end seeks every changelog."""
        recovery = cast(BatchTableManager, self.app.tables).recovery
        applied = recovery.applied(tp)
        if not self.flow_active or applied is None:
            return
        if not await self._joins(tp, run, applied + 1) or recovery.applied(tp) != applied:
            return
        if records := run.beginning_at(applied + 1):
            recovery.apply(tp, records)
            self._read_offset[tp] = records[-1].offset

    async def _deliver(self, tp: TP, run: Run, generation: int) -> None:
        expected = self._expected.get(tp)
        if expected is None or not self._owned(generation):
            return
        if not await self._joins(tp, run, expected) or self._expected.get(tp) != expected:
            return
        if records := run.beginning_at(expected):
            to_offset = self._expected[tp] = records[-1].offset + 1
            await self.app.owner.deliver(tp.topic, tp.partition, to_offset, records)

    def _owned(self, generation: int) -> bool:
        """Whether what was fetched in this generation is for the present owner."""
        seeked, current = self._seek_generation, self.app.consumer_generation_id
        return self.flow_active and seeked == generation == current

    async def _joins(self, tp: TP, run: Run, expected: int) -> bool:
        """Whether nothing is missing between `expected` and this run. If something is, it is read
        again; but what the log has deleted cannot be."""
        if run.from_offset <= expected:
            return True
        first = (await self.earliest_offsets(tp)).get(tp) or 0
        if not self.flow_active:
            return False
        if run.from_offset > max(first, expected):
            log.info("%s goes on at %d, got %d; reading again", tp, expected, run.from_offset)
            await self._seek(tp, max(first, expected))
            return False
        log.error(
            "%s: nothing is left of the offsets %d to %d; if they were not yet consumed, restore "
            "the topic and lengthen its retention",
            tp,
            expected,
            run.from_offset - 1,
        )
        return True


class BatchTransport(driver.Transport):
    """Faust's Kafka transport with the consumer above."""

    Consumer = BatchConsumer


class BatchApp(faust.App):
    """A Faust app whose inbound topics are read in runs.

    Set `owner`, `inbound_topics` (full names), `halt` and `begin` before it starts. `halt` ends the
    process: after a fault nothing may be committed by anybody who does not know what happened.
    `begin` is awaited once, before anything connects.
    """

    owner: BatchOwner
    inbound_topics: frozenset[str] = frozenset()
    halt: Callable[[BaseException], None]
    begin: Callable[[], Awaitable[None]]

    def behind(self, tp: TP) -> int:
        """Offsets of a partition that have not been fetched yet; of one that is owned."""
        return cast(BatchThread, cast(Any, self.consumer)._thread).behind(tp)

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        """Subscribes to the inbound topics, which no stream of Faust's own reads."""
        await self.begin()
        for name in sorted(self.inbound_topics):
            self.topics.add(self.topic(name, key_type=bytes, value_type=bytes))
        await super().on_first_start()
