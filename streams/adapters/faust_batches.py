"""What goes past Faust: whole runs of records per partition, in a safe order (decision 005).

Faust keeps the group, the co-partitioned assignment, the tables and their recovery, the agents. Its
per-message conductor, its offset commits and its reading of changelogs are replaced here:

* `BatchThread`   the consumer reads `read_committed`, long-polls 100 ms instead of 1.5 s and
hands over
  whole record batches (`whole_batches`);
* `BatchConsumer` fences before anything is read, seeks before anything is delivered, checks that
runs are
  contiguous, and applies changelogs by batch straight to the stores;
* `BatchRecovery` ends when the position has passed the high watermark, because commit markers take
  offsets and are never delivered.

Uses names of Faust 0.15.3 and aiokafka 0.14.0 that are not public; both are pinned, and
tests/guard/test_private_names.py fails when one of them changes.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

import faust
from aiokafka.structs import TopicPartition
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from streams.adapters.whole_batches import LogRecord, fetch_whole_batches, records_of

log = logging.getLogger(__name__)

FETCH_WAIT_MS: Final = 100
"""Long-poll of the consumer. Faust's 1,500 ms make a recovery over many partitions take seconds."""

RECOVERY_POLL_SECONDS: Final = 0.1
"""Poll while recovering, so that the end is seen when it is reached."""

POLL_SECONDS: Final = 1.0
"""Poll otherwise; records end it at once."""


class BatchOwner(Protocol):
    """What this adapter needs from `streams.agents.ownership` and the log."""

    async def fence(self, partitions: list[int]) -> None:
        """Before anything of a new assignment is read."""
        ...

    async def release(self) -> None:
        """After the last cycle of a revoked assignment."""
        ...

    async def quiesce(self) -> None:
        """Drops what waits and returns when no cycle runs."""
        ...

    async def take_over(self, committed: dict[int, dict[str, int | None]]) -> dict[TP, int]:
        """Owns these partitions, whose group has committed these offsets, by full topic name.

        The tables are recovered by now. Returns where each topic goes on.
        """
        ...

    async def deliver(self, topic: str, partition: int, to_offset: int, records: list[Any]) -> None:
        """The next run of one topic."""
        ...


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

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> dict[Any, list[LogRecord]]:
        # Everything that has been fetched, whatever its number: how much that may be is bounded by
        # the bytes of a fetch, and the next one waits until these have found place in the inboxes.
        fetched = await super()._fetch_records(*args, **kwargs | {"max_records": None})
        return records_of(fetched)

    def past_high_watermark(self, tp: TP, highwater: int) -> bool:
        """Whether the position of a partition lies beyond the last offset `highwater`: everything
        up to there has been fetched, markers and aborted records among it."""
        if self._consumer is None:
            return False
        subscription = self._consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return False
        try:
            state = subscription.assignment.state_value(TopicPartition(tp.topic, tp.partition))
        except KeyError:
            return False
        return bool(state and state.has_valid_position and state.position > highwater)


class BatchConsumer(driver.Consumer):
    """Faust's consumer, delivering runs instead of messages."""

    app: "BatchApp"

    def on_init(self) -> None:
        """Called at the start and at every restart."""
        super().on_init()
        self._expected: dict[TP, int] = {}
        self._gap_seen: dict[TP, tuple[int, int]] = {}
        self._fetched_early: set[TP] = set()
        self._seek_generation: int | None = None
        self._seeks = 0

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Fences first: only what is read after that is final (decision 006)."""
        inbound = self.app.inbound_topics
        partitions = sorted({tp.partition for tp in assigned if tp.topic in inbound})
        await self.app.owner.fence(partitions)
        log.info("fenced partitions %s in generation %d", partitions, generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Lets the running cycles end, then gives up."""
        await self.app.owner.quiesce()
        self._expected = {}
        self._seek_generation = None
        await super().on_partitions_revoked(revoked)
        await self.app.owner.release()

    async def perform_seek(self) -> None:
        """Seeks to the committed offsets and owns the partitions from there.

        Nothing runs meanwhile: what waits was read from older positions and is dropped. Records
        that were fetched before the seek had finished are fetched again, or an idle partition would
        hang with its last records unread.
        """
        await self.app.owner.quiesce()
        await super().perform_seek()
        self._seeks += 1
        inbound = self.app.inbound_topics
        committed: dict[int, dict[str, int | None]] = {}
        for tp in self.assignment():
            if tp.topic in inbound:
                committed.setdefault(tp.partition, {})[tp.topic] = self._read_offset.get(tp)
        try:
            self._expected = await self.app.owner.take_over(committed)
        except Exception as fault:
            self.app.halt(fault)
            raise
        early, self._fetched_early = self._fetched_early, set()
        for tp, offset in self._expected.items():
            if tp in early or offset != (self._read_offset.get(tp) or 0):
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
                seeks = self._seeks
                records, _ = await self._wait_next_records(wait)
                if not records:
                    await asyncio.sleep(0)
                elif not self.flow_active:
                    # Fetched before a rebalance, whose end seeks every partition anew.
                    self._fetched_early |= {ensure_TP(tp) for tp in records}
                elif self._seeks != seeks:
                    await self._fetch_again(records)
                else:
                    await self._deliver_all(records)
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise
        except Exception as fault:
            if self.app.should_stop and isinstance(fault, self.consumer_stopped_errors):
                return
            # Faust would restart the fetcher and go on after whatever was lost.
            self.app.halt(fault)
            raise

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seeks; counted, so that what was fetched meanwhile can be told from what follows."""
        await super().seek_wait(partitions)
        self._seeks += 1

    async def _fetch_again(self, records: Mapping[TP, list[Any]]) -> None:
        """Drops records that were fetched while somebody sought elsewhere: whether they lie before
        or after the new position is not known, and a changelog applied with a hole in it would end
        the recovery too early."""
        recovery = cast(BatchTableManager, self.app.tables).recovery
        for partition in records:
            tp = ensure_TP(partition)
            if tp in self._expected:
                await self._seek(tp, self._expected[tp])
            elif tp.topic in self.app.inbound_topics:
                self._fetched_early.add(tp)
            elif (applied := recovery.applied(tp)) is not None:
                await self._seek(tp, applied + 1)

    async def _deliver_all(self, records: Mapping[TP, list[Any]]) -> None:
        generation = self.app.consumer_generation_id
        changelogs = self.app.tables.changelog_topics
        for partition, batch in records.items():
            tp = ensure_TP(partition)
            if not batch or not self.flow_active or self.app.consumer_generation_id != generation:
                continue
            if tp.topic in self.app.inbound_topics:
                await self._deliver(tp, batch, generation)
            elif tp.topic in changelogs:
                cast(BatchTableManager, self.app.tables).recovery.apply(tp, batch)
                self._read_offset[tp] = batch[-1].offset
                await asyncio.sleep(0)

    async def _deliver(self, tp: TP, batch: list[Any], generation: int) -> None:
        expected = self._expected.get(tp)
        if expected is None or self._seek_generation != generation:
            self._fetched_early.add(tp)
            return
        if batch[0].offset < expected:
            batch = [record for record in batch if record.offset >= expected]
            if not batch:
                return
        first = batch[0].offset
        if first > expected and self._gap_seen.get(tp) != (expected, first):
            # Either records were lost on the way, or there is none at these offsets (markers,
            # aborted batches). Reading once more tells: a gap that repeats is real (K3).
            self._gap_seen[tp] = (expected, first)
            log.debug("gap in %s: expected %d, got %d; reading again", tp, expected, first)
            await self._seek(tp, expected)
            return
        self._gap_seen.pop(tp, None)
        to_offset = batch[-1].offset + 1
        self._expected[tp] = to_offset
        await self.app.owner.deliver(tp.topic, tp.partition, to_offset, batch)


class BatchRecovery(Recovery):
    """Faust's table recovery, fed by whole batches and aware of markers."""

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Faust reads changelog messages from a queue here; batches never go through it."""

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """A new assignment: an end signalled for the last one must not end this one."""
        self.signal_recovery_end.clear()
        await super().on_rebalance(*args, **kwargs)

    async def _build_highwaters(
        self, consumer: Any, tps: set[TP], destination: Any, title: str
    ) -> None:
        """A store that is ahead of its changelog holds what never was committed, or belongs to
        another topic: it is set aside and read anew. Faust would stop for ever."""
        await super()._build_highwaters(consumer, tps, destination, title)
        standby = title == "standby"
        offsets = self.standby_offsets if standby else self.active_offsets
        for tp in sorted(tps):
            offset = offsets.get(tp)
            if offset is None or offset <= destination[tp]:
                continue
            table = cast(Any, self.tables._changelogs[tp.topic])
            table.data.set_aside(
                tp.partition,
                f"it is at offset {offset} of {tp.topic}, which ends at {destination[tp]}",
            )
            offsets[tp] = -1
            if standby:  # Those have been sought already.
                await self._seek_offsets(consumer, {tp}, offsets, title)

    def applied(self, tp: TP) -> int | None:
        """The offset of the last changelog record applied, -1 before the first; None for a
        partition that is neither active nor standby here."""
        for mine, offsets in (
            (self.active_tps, self.active_offsets),
            (self.standby_tps, self.standby_offsets),
        ):
            if tp in mine:
                offset = offsets.get(tp)
                return -1 if offset is None else offset
        return None

    def apply(self, tp: TP, batch: list[Any]) -> None:
        """Applies a run of changelog records straight to its store."""
        table = cast(Any, self.tables._changelogs[tp.topic])
        table.data.apply_changelog(tp.partition, batch)
        offsets = self.active_offsets if tp in self.active_tps else self.standby_offsets
        offsets[tp] = batch[-1].offset
        self._maybe_end()

    def pass_markers(self, thread: BatchThread) -> None:
        """Counts what lies before a position beyond the high watermark as applied, and ends the
        recovery when nothing is left. Runs between polls, when all that was fetched has been
        applied."""
        if not self.in_recovery:
            return
        for tp, highwater in self.active_highwaters.items():
            offset = self.active_offsets.get(tp)
            if (
                offset is not None
                and offset < highwater
                and thread.past_high_watermark(tp, highwater)
            ):
                self.active_offsets[tp] = highwater
        self._maybe_end()

    def _maybe_end(self) -> None:
        if self.in_recovery and self.active_highwaters and not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()


class BatchTableManager(TableManager):
    """Faust's table manager with the recovery above."""

    @property
    def recovery(self) -> BatchRecovery:
        """The recovery service, made once."""
        if self._recovery is None:
            self._recovery = BatchRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return cast(BatchRecovery, self._recovery)


class BatchTransport(driver.Transport):
    """Faust's Kafka transport with the consumer above."""

    Consumer = BatchConsumer


class BatchApp(faust.App):
    """A Faust app whose inbound topics are read in runs.

    Set `owner`, `inbound_topics` (full names) and `halt` before it starts. `halt` ends the process:
    after a fault nothing may be committed by anybody who does not know what happened.
    """

    owner: BatchOwner
    inbound_topics: frozenset[str] = frozenset()
    halt: Callable[[BaseException], None]

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        """Subscribes to the inbound topics, which no stream of Faust's own reads."""
        for name in sorted(self.inbound_topics):
            self.topics.add(self.topic(name, key_type=bytes, value_type=bytes))
        await super().on_first_start()
