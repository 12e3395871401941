"""A look at the log for an onlooker: ends, offsets of groups, owners, tails. Nothing is decided by
it, no group is joined and nothing is written.

One consumer and one admin client for all looks. Each part of a look has its own deadline and its
own fault: a coordinator that is away hides the offsets of its groups and nothing else.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from schemas import codec
from schemas.client.kafka_access import Bootstrap, client_options
from schemas.structs import Owner, Preflight
from schemas.topics import (
    ATTRIBUTIONS,
    CATALOG,
    DEAD_LETTERS,
    LEDGER,
    OWNERS,
    PREFLIGHTS,
    TOPICS,
    USAGE,
)
from streams.adapters.groups import describe_group, group_offsets
from streams.adapters.tails import read_tails
from streams.adapters.topic_ids import UNKNOWN_TOPIC, _MetadataRequest
from streams.errors import TransientError
from streams.status.seen import Broker, Decided, Group, LogSeen, Member, Place, Tail

T = TypeVar("T")

PART_SECONDS_MAX: Final = 5.0
"""One question to the broker. It answers in milliseconds; one that does not is named."""

START_SECONDS_MAX: Final = 8.0
"""Connecting, also where the first of several brokers is away."""

STOP_SECONDS_MAX: Final = 2.0
"""How long a client may take to stop; what hangs ends with the command."""

DECISIONS_MAX: Final = 5_000
"""Records of `preflights` that one look reads: what five seconds at full speed append on one
owner. What lies beyond is counted by its offsets alone."""

FETCH_BYTES_MAX: Final = 256 * 1024
"""Of one partition in one fetch."""

MINUTE_MS: Final = 60_000

POLL_MS: Final = 100

TAILED: Final = (LEDGER, ATTRIBUTIONS, DEAD_LETTERS)

UNANSWERED: Final = (KafkaError, TimeoutError, OSError, TransientError)


class LogStatus:
    """Looks at one installation's log. Use as an async context manager, from one loop."""

    def __init__(
        self,
        bootstrap: Bootstrap,
        prefix: str,
        groups: Mapping[str, str],
        now: Callable[[], float],
        now_us: Callable[[], int],
    ) -> None:
        """`groups` are the consumer groups of `workers`, `sinks` and `gateways`. Nothing is
        connected yet."""
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._groups = groups
        self._now, self._now_us = now, now_us
        self._names = {topic.full_name(prefix): topic.name for topic in TOPICS}
        self._owners: dict[int, Owner] = {}
        self._owners_read = 0
        self._decisions_read: dict[int, int] = {}
        self._faults: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        """Connects. Raises TransientError where no broker answers."""
        options = client_options(self._bootstrap)
        self._admin = AIOKafkaAdminClient(
            **options, request_timeout_ms=int(PART_SECONDS_MAX * 1_000)
        )
        self._consumer = AIOKafkaConsumer(
            **options,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=POLL_MS,
        )
        try:
            with unsaid():
                async with asyncio.timeout(START_SECONDS_MAX):
                    await self._admin.start()
                    await self._consumer.start()
        except UNANSWERED as error:
            await self._stop()
            raise TransientError(
                f"no broker answers at {self._bootstrap}: {_why(error)}",
                action="Check that Kafka runs and that TOLLGATE_KAFKA_BOOTSTRAP names it.",
            ) from error
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Disconnects."""
        await self._stop()

    async def _stop(self) -> None:
        with unsaid():
            for close in (self._admin.close, self._consumer.stop):
                with contextlib.suppress(*UNANSWERED):
                    await asyncio.wait_for(close(), STOP_SECONDS_MAX)

    async def look(self) -> LogSeen:
        """The log now. Raises TransientError where not even the topics can be told."""
        with unsaid():
            return await self._look()

    async def _look(self) -> LogSeen:
        self._faults = {}
        try:
            async with asyncio.timeout(PART_SECONDS_MAX):
                metadata = await self._admin._send_request(_MetadataRequest(list(self._names)))
        except UNANSWERED as error:
            raise TransientError(
                f"no broker answers at {self._bootstrap}: {_why(error)}",
                action="Check that Kafka runs and that TOLLGATE_KAFKA_BOOTSTRAP names it.",
            ) from error
        partitions, missing, leaderless = self._topics(metadata)
        places = [
            TopicPartition(self._prefix + name, number)
            for name, count in partitions.items()
            for number in range(count)
            if (name, number) not in leaderless
        ]
        at, now_us = self._now(), self._now_us()
        none: dict[Place, int] = {}
        ends = await self._part("ends of topics", lambda: self._ends(places), none)
        committed, asks = await asyncio.gather(
            self._offsets("workers", places),
            self._offsets("gateways", places),
        )
        workers, sinks, gateways = await asyncio.gather(
            *(self._group(who) for who in ("workers", "sinks", "gateways"))
        )
        owners = await self._part("owners", lambda: self._read_owners(ends), dict(self._owners))
        no_tails: dict[Place, Tail] = {}
        tails = await self._part("ends of the ledger", lambda: self._tails(ends), no_tails)
        decided = await self._part("decisions", lambda: self._decisions(ends), None)
        dead = await self._part("dead letters", lambda: self._dead(ends, tails, now_us), None)
        return LogSeen(
            at=at,
            now_us=now_us,
            brokers=tuple(
                Broker(int(node), f"{host}:{port}") for node, host, port, *_ in metadata.brokers
            ),
            partitions=partitions,
            missing_replicas=missing,
            leaderless=len(leaderless),
            ends=ends,
            committed=committed,
            asks_committed=asks,
            workers=workers,
            sinks=sinks,
            gateways=gateways,
            owners=owners,
            tails=tails,
            decided=decided,
            dead_last_minute=dead,
            faults=dict(self._faults),
        )

    async def _part(self, what: str, ask: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """The answer to one question, or `otherwise` and a fault in words."""
        try:
            async with asyncio.timeout(PART_SECONDS_MAX):
                return await ask()
        except UNANSWERED as error:
            self._faults[what] = _why(error)
            return otherwise

    def _topics(self, metadata: Any) -> tuple[dict[str, int], int, set[Place]]:
        """Partition counts, how many partitions lack a replica, and those without a leader."""
        counts: dict[str, int] = {}
        missing, leaderless = 0, set()
        for code, full, _id, _internal, partitions, *_ in metadata.topics:
            if code == UNKNOWN_TOPIC:
                continue
            name = self._names[full]
            counts[name] = len(partitions)
            for _code, number, leader, _epoch, replicas, in_step, *_ in partitions:
                missing += len(in_step) < len(replicas)
                if leader < 0:
                    leaderless.add((name, int(number)))
        return counts, missing, leaderless

    def _place(self, place: TopicPartition) -> Place:
        return self._names[place.topic], int(place.partition)

    async def _ends(self, places: list[TopicPartition]) -> dict[Place, int]:
        found = await self._consumer.end_offsets(places)
        return {self._place(place): int(offset) for place, offset in found.items()}

    async def _offsets(self, who: str, places: list[TopicPartition]) -> dict[Place, int]:
        async def ask() -> dict[Place, int]:
            found = await group_offsets(self._admin, self._groups[who], places, seconds_max=0)
            return {self._place(place): offset for place, offset in found.items() if offset >= 0}

        return await self._part(f"offsets of the {who}", ask, {})

    async def _group(self, who: str) -> Group | None:
        async def ask() -> Group:
            described = await describe_group(self._admin, self._groups[who])
            members = tuple(self._member(member) for member in described["members"])
            return Group(str(described["state"]), members)

        return await self._part(f"group of the {who}", ask, None)

    def _member(self, member: Mapping[str, Any]) -> Member:
        given: frozenset[Place] = frozenset()
        if member["member_assignment"]:
            assignment = ConsumerProtocolMemberAssignment.decode(
                BytesIO(member["member_assignment"])
            )
            given = frozenset(
                self._place(place)
                for place in assignment.partitions()
                if place.topic in self._names
            )
        return Member(member["member_id"], member["client_host"].lstrip("/"), given)

    async def _read_owners(self, ends: Mapping[Place, int]) -> dict[int, Owner]:
        """Folds what was announced since the last look: the topic is compacted and small."""
        end = ends.get((OWNERS.name, 0), 0)
        place = TopicPartition(OWNERS.full_name(self._prefix), 0)
        if self._owners_read < end:
            async for record in self._records({place: (self._owners_read, end)}):
                self._fold_owner(record.value)
            self._owners_read = end
        return dict(self._owners)

    def _fold_owner(self, value: bytes | None) -> None:
        try:
            owner = codec.decode_owner(value or b"")
        except ValueError:
            return  # None of ours: gateways pass it over as well.
        known = self._owners.get(owner.partition)
        if known is None or (known.generation, known.lease) <= (owner.generation, owner.lease):
            self._owners[owner.partition] = owner

    async def _tails(self, ends: Mapping[Place, int]) -> dict[Place, Tail]:
        known = {number for name, number in ends if name == LEDGER.name}
        if not known:
            return {}
        topics = [topic.full_name(self._prefix) for topic in TAILED]
        found = await read_tails(self._bootstrap, topics, sorted(known))
        tails = {}
        for (topic, number), tail in found.items():
            if tail.value is not None:
                mark = codec.decode_mark(tail.value)
                tails[self._names[topic], number] = Tail(
                    mark.generation, mark.sequence, mark.decided_at
                )
        return tails

    async def _decisions(self, ends: Mapping[Place, int]) -> Decided | None:
        """What was decided since the look before; None at the first."""
        now = {number: end for (name, number), end in ends.items() if name == PREFLIGHTS.name}
        before, self._decisions_read = self._decisions_read, now
        if not before:
            return None
        topic = PREFLIGHTS.full_name(self._prefix)
        room, complete = DECISIONS_MAX, True
        bounds = {}
        for number, end in now.items():
            start = max(before.get(number, end), end - room)
            complete = complete and start <= before.get(number, end)
            if start < end:
                bounds[TopicPartition(topic, number)] = (start, end)
                room -= end - start
        outcomes: Counter[str] = Counter()
        async for record in self._records(bounds):
            fact = codec.decode_preflights(record.value)
            if isinstance(fact, Preflight):
                outcomes["approved" if fact.approved else fact.reason or "refused"] += 1
        return Decided(dict(outcomes), complete)

    async def _dead(
        self, ends: Mapping[Place, int], tails: Mapping[Place, Tail], now_us: int
    ) -> int:
        """How many dead letters were appended in the last minute: by their dense sequence."""
        topic = DEAD_LETTERS.full_name(self._prefix)
        places = [
            TopicPartition(topic, number) for name, number in tails if name == DEAD_LETTERS.name
        ]
        if not places:
            return 0
        since_ms = now_us // 1_000 - MINUTE_MS
        found = await self._consumer.offsets_for_times(dict.fromkeys(places, since_ms))
        bounds = {
            place: (int(first.offset), ends[self._place(place)])
            for place, first in found.items()
            if first is not None
        }
        count = 0
        missing = set(bounds)
        async for record in self._records(bounds, once=True):
            place = TopicPartition(record.topic, record.partition)
            if place in missing:
                missing.discard(place)
                first = codec.decode_mark(record.value)
                count += tails[self._place(place)].sequence - first.sequence + 1
        return max(0, count)

    async def _records(
        self, bounds: Mapping[TopicPartition, tuple[int, int]], *, once: bool = False
    ) -> Any:
        """The records of places between two offsets; with `once`, at least the first of each."""
        bounds = {place: found for place, found in bounds.items() if found[0] < found[1]}
        if not bounds:
            return
        self._consumer.assign(list(bounds))
        for place, (start, _) in bounds.items():
            self._consumer.seek(place, start)
        waiting = set(bounds)
        try:
            while waiting:
                for place, records in (await self._consumer.getmany(timeout_ms=POLL_MS)).items():
                    for record in records:
                        if record.offset < bounds[place][1]:
                            yield record
                    if once and records:
                        waiting.discard(place)
                        self._consumer.pause(place)
                for place in list(waiting):
                    if await self._consumer.position(place) >= bounds[place][1]:
                        waiting.discard(place)
                        self._consumer.pause(place)
        finally:
            # Else it would go on fetching what nobody wants.
            self._consumer.unsubscribe()


def usage_partitions(places: Iterable[Place]) -> list[int]:
    """The installation's partitions among the places of a worker."""
    return sorted(number for name, number in places if name == USAGE.name)


def catalog_end(ends: Mapping[Place, int]) -> int:
    """The end of the catalog, 0 where there is none."""
    return ends.get((CATALOG.name, 0), 0)


def _why(error: BaseException) -> str:
    if isinstance(error, TransientError):
        return error.message
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


@contextmanager
def unsaid() -> Iterator[None]:
    """Keeps the servers' clients from logging what a report says in words."""
    loggers = [logging.getLogger(name) for name in ("aiokafka", "clickhouse_connect")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
