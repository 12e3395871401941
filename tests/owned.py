"""A partition with its owner and its cycles, in memory: for tests of what an owner answers.

    owned = OwnedPartition(plan=[("unit", "10")])
    await owned.take()                       fence, lease, first cycle
    answer = await owned.ask(preflight("k1", estimate="3"))
    await owned.cycle(usage(units=2))        usage appended and folded with all that waits

The cycle is the real one, over the stores and logs in memory.
"""

import asyncio
import itertools
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Self

from schemas import codec
from schemas.partitioner import partition_of
from schemas.rpc import AccountAnswer, Answer, Ask, LookupAsk, PreflightAnswer, PreflightAsk
from schemas.structs import InboundFact, Unassigned
from schemas.topics import ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG, PREFLIGHTS, UNASSIGNED
from streams.adapters.memory import (
    MemoryBroker,
    MemoryCatalog,
    MemoryClock,
    MemoryCycleLog,
    MemoryStore,
)
from streams.adapters.memory_lease import MemoryLeaseLog, MemoryTopic
from streams.adapters.store import expand_segments
from streams.agents.cycle import FOLD_ORDER, CycleOutcome, PartitionCycle, TopicSlice, read_progress
from streams.agents.lease import Surroundings
from streams.agents.preflights import OwnerDesk
from streams.domain.facts import SourceRecord
from streams.ports import Changes, Clock, CycleLog, LeaseLog, Table
from tests.builders import NOON_US, context, record

CUSTOMER: Final = "acme"
PARTITION: Final = partition_of(CUSTOMER.encode(), 8)
TIMEOUT_SECONDS: Final = 5.0
"""A deadline, not a pause."""


class ScannedStore(MemoryStore):
    """A store that can be read from end to end."""

    def scan(self, table: Table, partition: int) -> Generator[tuple[bytes, bytes], None, None]:
        """All rows, as they stand when the first is asked for."""
        yield from list(self._rows[table, partition].items())


def preflight(key: str, customer: str = CUSTOMER, **more: Any) -> PreflightAsk:
    """An ask of a customer for one unit."""
    fields: dict[str, Any] = {"account_kind": "customer", "account_id": customer}
    return PreflightAsk(**(fields | {"source": "test", "idempotency_key": key} | more))


def other_customers(count: int) -> list[str]:
    """Customers of the same partition."""
    names = (f"c{number}" for number in itertools.count())
    return list(
        itertools.islice((n for n in names if partition_of(n.encode(), 8) == PARTITION), count)
    )


@dataclass
class Shared:
    """What outlives an owner: the logs and the tables, which every owner recovers to their end."""

    topic: MemoryTopic = field(default_factory=lambda: MemoryTopic(now_us=NOON_US))
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    store: ScannedStore = field(default_factory=ScannedStore)
    inbound: dict[str, list[SourceRecord]] = field(
        default_factory=lambda: {topic: [] for topic in FOLD_ORDER}
    )


class OwnedPartition(AbstractAsyncContextManager["OwnedPartition"]):
    """One process that owns one partition."""

    def __init__(
        self,
        *,
        shared: Shared | None = None,
        log: LeaseLog | None = None,
        cycle_log: CycleLog | None = None,
        clock: Clock | None = None,
        plan: Sequence[tuple[Any, ...]] = (("unit", "10"),),
        nonces: Iterable[str] | None = None,
        **rules: Any,
    ) -> None:
        self.shared = shared = shared or Shared()
        self.clock = MemoryClock(NOON_US)
        self.context = context(plan, **rules)
        self.inbox: list[SourceRecord] = []
        self.halted: list[BaseException] = []
        self.waiting_since_us: int | None = None
        made = iter(nonces) if nonces else (f"{number:016x}" for number in itertools.count())
        self.desk = OwnerDesk(
            Surroundings(
                log or MemoryLeaseLog(shared.topic),
                shared.store,
                MemoryCatalog(self.context),
                clock or self.clock,
                self._hand_over,
                lambda _partition: self.waiting_since_us,
                self.halted.append,
                lambda: next(made),
                "127.0.0.1:1",
            )
        )
        self.cycle_log = cycle_log or MemoryCycleLog(shared.broker)
        self._cycle = PartitionCycle(
            PARTITION,
            shared.store,
            self.cycle_log,
            clock or self.clock,
            MemoryCatalog(self.context),
        )

    async def __aexit__(self, *_exc: object) -> None:
        await self.desk.release()

    def _hand_over(self, partition: int, records: Sequence[SourceRecord]) -> None:
        assert partition == PARTITION
        self.inbox += records

    async def lease(self) -> Self:
        """Fences, recovers, and appends the lease; nothing is folded yet."""
        await self.cycle_log.fence([PARTITION])
        await self.desk.fence([PARTITION])
        await self.recover()
        progress = read_progress(self.shared.store, PARTITION)
        self.inbox[:] = await self.desk.take(PARTITION, progress, self.context)
        return self

    async def recover(self) -> None:
        """Brings the tables to the end of their changelogs. Owners here share their tables."""

    async def take(self) -> Self:
        """Fences, appends the lease, and folds it."""
        await self.lease()
        await self.cycle()
        return self

    def append(self, *bodies: InboundFact) -> list[SourceRecord]:
        """Records of these facts, in the log and not folded."""
        made = []
        for body in bodies:
            probe = record(body)
            log = self.shared.inbound[probe.topic]
            probe.offset, probe.appended_at_us = len(log), self.shared.topic.now_us
            log.append(probe)
            made.append(probe)
        self.shared.topic.usage_ends[PARTITION] = len(self.shared.inbound["usage"])
        return made

    def append_nameless(self, *bodies: Unassigned) -> None:
        """Records of `unassigned`, in the log and not folded. Keys are those of this partition."""
        log = self.shared.inbound[UNASSIGNED.name]
        for body in bodies:
            key, now_us = body.trace_id.encode(), self.shared.topic.now_us
            assert partition_of(key, 8) == PARTITION
            log.append(SourceRecord(UNASSIGNED.name, len(log), now_us, key, codec.encode(body)))
        self.shared.topic.unassigned_ends[PARTITION] = len(log)

    async def cycle(self, *bodies: InboundFact) -> CycleOutcome:
        """One cycle over everything that waits, these facts among it; the owner is told."""
        self.append(*bodies)
        consumed = read_progress(self.shared.store, PARTITION).consumed
        slices = []
        for topic in FOLD_ORDER:
            start = consumed.get(topic, 0)
            records = self.shared.inbound[topic][start:]
            if topic == PREFLIGHTS.name:
                records, self.inbox = self.inbox, []
                assert [r.offset for r in records] == list(range(start, start + len(records)))
            slices.append(TopicSlice(topic, start, start + len(records), records))
        outcome = await self._cycle.run(slices)
        self.desk.committed(PARTITION, outcome)
        return outcome

    async def ask(self, ask: Ask, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
        """The owner's answer."""
        return await self.desk.ask(PARTITION, ask, timeout_seconds)

    async def decide(self, key: str, customer: str = CUSTOMER, **more: Any) -> PreflightAnswer:
        """The decision about a preflight."""
        answer = await self.ask(preflight(key, customer, **more))
        assert isinstance(answer, PreflightAnswer), answer
        return answer


class RecoveringPartition(OwnedPartition):
    """One process with tables of its own, which it recovers from the changelogs: what it knows is
    as old as its last cycle, whatever others have committed since."""

    def __init__(self, *, shared: Shared, **more: Any) -> None:
        own = Shared(shared.topic, shared.broker, ScannedStore(), shared.inbound)
        super().__init__(shared=own, **more)

    async def recover(self) -> None:
        """Both tables from the beginning of their changelogs."""
        topics, store = self.shared.broker.topics, self.shared.store
        accounts = topics[ACCOUNTS_CHANGELOG.name, PARTITION]
        rows = [(key or b"", value) for key, value in accounts]
        store.write(Table.ACCOUNTS, PARTITION, Changes(rows, len(accounts)))
        segments = topics[CLAIMS_CHANGELOG.name, PARTITION]
        claims = expand_segments([(key or b"", value) for key, value in segments])
        store.write(Table.CLAIMS, PARTITION, Changes(claims, len(segments)))


async def settled(turns: int = 20) -> None:
    """Lets everything that can go on go on."""
    for _ in range(turns):
        await asyncio.sleep(0)


def bodies(owned: OwnedPartition) -> list[Any]:
    """What lies in the topic `preflights`."""
    return [codec.decode_preflights(r.value) for r in owned.shared.topic.records[PARTITION]]


def available(answer: object, denomination: str = "unit") -> str | None:
    """What an account has left."""
    assert isinstance(answer, AccountAnswer)
    return next(b.available for b in answer.balances if b.denomination == denomination)


def look(customer: str = CUSTOMER, *, holds: bool = False) -> LookupAsk:
    """An ask for a customer's account."""
    return LookupAsk("customer", customer, holds)
