"""The outbound topics on Kafka, as logs of one partition each, shared out by a consumer group.

Owns the consumer, the group's comings and goings, and the stored offsets, which are hints for the
next start and nothing else. Reads committed records only."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from schemas.client.kafka_access import Bootstrap, client_options
from streams.adapters.kafka_trouble import kafka_trouble
from streams.errors import SetupError, TollgateError, TransientError
from streams.ports import OutboundLog, OutboundRecord

logger = logging.getLogger(__name__)

FETCH_BYTES: Final = 4 * 1024 * 1024
"""What the broker sends of one partition at once. Held in memory per partition; a larger record
still comes."""

FETCH_WAIT_MS: Final = 100
"""How long the broker may hold back an answer that would be empty. Part of the time until a row
is visible."""

FIRST_RECORD_WAIT_MS: Final = 1_000
"""How long `take` waits for a first record before it gives its caller a turn."""

HEARTBEAT_MS: Final = 300
"""A member learns of a rebalance by its next heartbeat: the larger part of a planned hand-over."""

HINT_EVERY_SECONDS: Final = 1.0
"""How often the hints are stored: a stale hint costs a few searches at the next start, a stored
one a round trip per partition."""

HINT_SECONDS_MAX: Final = 5.0
"""How long storing hints may take: the client would try for ever where the broker is gone, and
neither a rebalance nor SIGTERM should wait for a hint."""

REBALANCE_MS_MAX: Final = 10_000
"""How long the group waits for a member to come back to it: giving partitions up takes moments,
and storing hints HINT_SECONDS_MAX. The client's default is its poll interval, so that a member that
left in the middle of a rebalance, and is waited for, would keep all others waiting for five
minutes."""

CANCEL_AGAIN_SECONDS: Final = 0.5
"""When a task that was cancelled and still runs is cancelled again. In Python 3.11
`asyncio.wait_for`, which the client uses, swallows a cancellation that meets its result."""

PEEK_SECONDS_MAX: Final = 20.0
"""A fetch takes milliseconds; where nothing comes for this long, the broker is in trouble."""

Serve = Callable[[OutboundLog], Awaitable[None]]
Check = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How to read. `topics` maps the topic's name on the broker to the table it fills."""

    bootstrap: Bootstrap
    group: str
    topics: Mapping[str, str]
    linger_ms: int
    session_timeout_ms: int


class KafkaLog:
    """One assigned partition; see `ports.OutboundLog`. Worthless once the partition is revoked."""

    def __init__(
        self, consumer: Any, place: TopicPartition, table: str, linger_ms: int, done: dict[Any, int]
    ) -> None:
        """Take the shared consumer, and the hints that the source stores."""
        self._consumer = consumer
        self._place = place
        self._table = table
        self._linger_seconds = linger_ms / 1000
        self._done = done
        self._passed = 0

    @property
    def table(self) -> str:
        """See `ports.OutboundLog`."""
        return self._table

    @property
    def partition(self) -> int:
        """See `ports.OutboundLog`."""
        return int(self._place.partition)

    async def bounds(self) -> tuple[int, int]:
        """See `ports.OutboundLog`."""
        with _broker_troubles():
            begins = await self._consumer.beginning_offsets([self._place])
            ends = await self._consumer.end_offsets([self._place])
        return int(begins[self._place]), int(ends[self._place])

    async def hint(self) -> int | None:
        """See `ports.OutboundLog`."""
        with _broker_troubles():
            committed = await self._consumer.committed(self._place)
        return None if committed is None else int(committed)

    async def peek(self, offset: int) -> OutboundRecord | None:
        """See `ports.OutboundLog`."""
        _, end = await self.bounds()
        deadline = asyncio.get_running_loop().time() + PEEK_SECONDS_MAX
        with _broker_troubles():
            self._consumer.seek(self._place, offset)
            # Markers and aborted records move the position without giving a record.
            while await self._consumer.position(self._place) < end:
                found = await self._fetch(FETCH_WAIT_MS, 1)
                if found:
                    return found[0]
                if asyncio.get_running_loop().time() > deadline:
                    raise TransientError(
                        f"no answer to a fetch of {self._place} at offset {offset}",
                        action="Look at the broker's log.",
                    )
        return None

    async def seek(self, offset: int) -> None:
        """See `ports.OutboundLog`."""
        self._passed = 0
        with _broker_troubles():
            self._consumer.seek(self._place, offset)

    async def take(self, rows_max: int, bytes_max: int) -> Sequence[OutboundRecord]:
        """See `ports.OutboundLog`."""
        loop = asyncio.get_running_loop()
        taken = await self._fetch(FIRST_RECORD_WAIT_MS, rows_max)
        size = sum(len(record.value) for record in taken)
        deadline = loop.time() + self._linger_seconds
        while taken and len(taken) < rows_max and size < bytes_max:
            left_ms = int((deadline - loop.time()) * 1000)
            if left_ms <= 0:
                break
            more = await self._fetch(left_ms, rows_max - len(taken))
            taken += more
            size += sum(len(record.value) for record in more)
        if not taken:
            # Whoever takes again has done what it took before: markers alone lie in between.
            with _broker_troubles():
                self._passed = int(await self._consumer.position(self._place))
        return taken

    def done(self, offset: int) -> None:
        """See `ports.OutboundLog`."""
        self._done[self._place] = offset

    @property
    def reached(self) -> int | None:
        """The offset below which everything is in the table, None before that is known."""
        return max(self._done.get(self._place, 0), self._passed) or None

    def lag(self) -> int:
        """Offsets between what is in the table and the log's end; the markers at the end count
        until they have been read."""
        end = self._consumer.last_stable_offset(self._place) or 0
        return max(0, int(end) - (self.reached or 0)) if end else 0

    async def _fetch(self, wait_ms: int, rows_max: int) -> list[OutboundRecord]:
        records = await self._next_records(wait_ms, rows_max)
        return [
            OutboundRecord(record.offset, record.value or b"", record.timestamp * 1000)
            for record in records
        ]

    async def _next_records(self, wait_ms: int, records_max: int) -> Sequence[Any]:
        """What follows, as the client knows it. Raises TransientError."""
        with _broker_troubles():
            found = await self._consumer.getmany(
                self._place, timeout_ms=wait_ms, max_records=records_max
            )
        records: Sequence[Any] = found.get(self._place, ())
        return records


class LedgerSource:
    """Serves every partition that the group assigns, each in a task of its own."""

    def __init__(self, options: SourceOptions) -> None:
        """Connect to nothing yet."""
        self._options = options
        self._consumer: Any = None
        self._done: dict[Any, int] = {}
        self._logs: dict[Any, KafkaLog] = {}
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] | None = None
        self._ending = False
        self._is_member = False

    async def run(self, serve: Serve, stop: asyncio.Event, check: Check | None = None) -> None:
        """Serve until `stop` is set, or until one partition's task raises, which is raised again.

        `check` is awaited at every assignment before anything of it is served; what it raises is
        raised as well.
        Raises SetupError where a topic is missing, TransientError where no broker answers.
        """
        options = self._options
        self._failed = asyncio.get_running_loop().create_future()
        self._consumer = AIOKafkaConsumer(
            **client_options(options.bootstrap),
            group_id=options.group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=options.session_timeout_ms,
            rebalance_timeout_ms=REBALANCE_MS_MAX,
            heartbeat_interval_ms=HEARTBEAT_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        try:
            with _broker_troubles():
                await self._consumer.start()
            await self._require_topics()
            self._consumer.subscribe(list(options.topics), listener=_Listener(self, serve, check))
            await self._until_stopped(stop)
        finally:
            self._ending = True
            await self._give_up(list(self._tasks))
            await self._consumer.stop()

    def lag(self) -> int:
        """Offsets between the tables and the logs' ends, over all partitions served here."""
        return sum(log.lag() for log in self._logs.values())

    @property
    def tables(self) -> Sequence[str]:
        """The tables that the topics fill."""
        return sorted(self._options.topics.values())

    def places(self) -> list[tuple[str, int, int, int | None]]:
        """Of each partition served here: its table, its number, its lag, and the offset below which
        everything is in the table, None before that is known."""
        return [(log.table, log.partition, log.lag(), log.reached) for log in self._logs.values()]

    @property
    def is_member(self) -> bool:
        """Whether the group has assigned partitions to this sink, or none, since it began."""
        return self._is_member

    def partitions(self) -> int:
        """How many partitions are served here."""
        return len(self._tasks)

    async def _require_topics(self) -> None:
        with _broker_troubles():
            missing = sorted(set(self._options.topics) - set(await self._consumer.topics()))
        if missing:
            raise SetupError(
                f"topics are missing on {self._options.bootstrap}: {', '.join(missing)}",
                action="Run `tollgate topics create`, or check TOLLGATE_TOPIC_PREFIX.",
            )

    async def _until_stopped(self, stop: asyncio.Event) -> None:
        assert self._failed is not None
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        try:
            while not stopped.done() and not self._failed.done():
                await asyncio.wait(
                    {stopped, self._failed},
                    timeout=HINT_EVERY_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                await self._store_hints(self._tasks)
        finally:
            stopped.cancel()
        if self._failed.done():
            self._failed.result()

    def take_over(self, places: Sequence[Any], serve: Serve) -> None:
        """Start serving newly assigned partitions; none where a rebalance meets the end."""
        if self._ending:
            return
        self._is_member = True
        for place in places:
            log = self._logs[place] = self._make_log(place)
            task = asyncio.ensure_future(serve(log))
            self._tasks[place] = task
            task.add_done_callback(self._note_end)

    def _make_log(self, place: TopicPartition) -> KafkaLog:
        options = self._options
        table = options.topics[place.topic]
        return KafkaLog(self._consumer, place, table, options.linger_ms, self._done)

    async def hand_over(self, places: Sequence[Any]) -> None:
        """Stop serving partitions that go to somebody else. An insert under way may still take
        effect; the next owner reads the mark."""
        await self._give_up(places)

    async def _give_up(self, places: Sequence[Any]) -> None:
        await end_tasks([self._tasks.pop(place) for place in places if place in self._tasks])
        await self._store_hints(places)
        for place in places:
            self._logs.pop(place, None)
            self._done.pop(place, None)

    async def _store_hints(self, places: Any) -> None:
        hints = {place: self._done[place] for place in places if place in self._done}
        if not hints:
            return
        try:
            async with asyncio.timeout(HINT_SECONDS_MAX):
                await self._consumer.commit(hints)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            # A hint that is lost costs a search at the next start.
            logger.info("offsets not stored: %r", error)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Ends `run` with this error, unless another one came first."""
        assert self._failed is not None
        if not self._failed.done():
            self._failed.set_exception(error)


async def end_tasks(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancels tasks and returns when all of them have ended, however they end."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_SECONDS)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, source: LedgerSource, serve: Serve, check: Check | None) -> None:
        self._source = source
        self._serve = serve
        self._check = check

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await self._source.hand_over(list(revoked))

    async def on_partitions_assigned(self, assigned: Any) -> None:
        if self._check is not None and assigned:
            try:
                await self._check()
            except TollgateError as error:
                self._source.fail(error)
                return
        self._source.take_over(list(assigned), self._serve)


@contextlib.contextmanager
def _broker_troubles() -> Any:
    try:
        yield
    except IllegalStateError as error:
        # The partition was revoked while this ran; its task is being cancelled.
        raise TransientError(str(error), action="None: the partition moved on.") from error
    except KafkaError as error:
        raise kafka_trouble(
            error,
            f"Kafka: {type(error).__name__}: {error}",
            action="Check that Kafka runs and that TOLLGATE_KAFKA_BOOTSTRAP names it.",
        ) from error
