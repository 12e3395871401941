"""Two processes that both take themselves for the owner of one partition, under one seed.

They run the real owner and the real cycle, each over tables of its own that it recovers from the
changelogs. Each is paused and killed between decision, append and answer; appends of dead owners
may arrive late. What was answered is kept, and compared with the log by a reader of its own.
"""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.rpc import (
    Answer,
    ErrorAnswer,
    ExtendAsk,
    PreflightAnswer,
    PreflightAsk,
    ReleaseAnswer,
    ReleaseAsk,
)
from streams.adapters.memory import MemoryBroker, MemoryCycleLog
from streams.adapters.memory_lease import MemoryLeaseLog, MemoryTopic
from streams.domain.appends import decode_account
from streams.domain.facts import SourceRecord
from streams.errors import FaultError
from streams.ports import Appended, Appends, Table
from tests.builders import usage
from tests.owned import (
    PARTITION,
    OwnedPartition,
    RecoveringPartition,
    Shared,
    other_customers,
    preflight,
)
from tests.simulation.points import Points

BUDGET: Final = 20
CUSTOMERS: Final = other_customers(2)
CLIENTS: Final = 4
STEPS: Final = 320
TAKE_AFTER: Final = (8, 50)
"""Steps for which a process is content to be no owner."""
PATIENCE_SECONDS: Final = 3_600.0
"""An asker's: nobody here is told by a clock that it has waited long enough."""


class SimulatedLeaseLog(MemoryLeaseLog):
    """`LeaseLog` of one process, with a point on either side of the append."""

    fenced = True
    """Whether the broker refuses older epochs."""

    def __init__(self, topic: MemoryTopic, points: Points) -> None:
        super().__init__(topic)
        self._points = points

    async def append(
        self, partition: int, records: Sequence[tuple[bytes | None, bytes]]
    ) -> Appended:
        """May happen late, or never; its answer may be lost."""
        points, lease = self._points, records[0][0] is None
        epoch = self._epochs.get(partition, -1)
        try:
            await points.point("lease" if lease else "decided")
        except asyncio.CancelledError:
            # Killed with the request on its way.
            if points.happens("arrives after its sender's death", 0.5):
                self._topic_append_late(partition, records, epoch)
            raise
        if points.happens("request lost", 0.01):
            raise FaultError("unknown outcome: request lost", action="Stop.")
        appended = await self._append(partition, records)
        await points.point("lease appended" if lease else "appended")
        if points.happens("answer lost", 0.01):
            raise FaultError("unknown outcome: answer lost", action="Stop.")
        return appended

    async def _append(
        self, partition: int, records: Sequence[tuple[bytes | None, bytes]]
    ) -> Appended:
        if not self.fenced:
            self._topic.written[partition] = -1
        try:
            return await super().append(partition, records)
        except FaultError:
            self._points.seen["refused by the broker"] += 1
            raise

    def _topic_append_late(
        self, partition: int, records: Sequence[tuple[bytes | None, bytes]], epoch: int
    ) -> None:
        ghost = type(self)(self._topic, self._points)
        ghost._epochs[partition] = epoch

        async def arrive() -> None:
            await self._points.point("on its way", self._points.chance.randint(1, 40))
            with suppress(FaultError):
                await ghost._append(partition, records)

        asyncio.get_running_loop().create_task(arrive())


class SimulatedCycleLog(MemoryCycleLog):
    """Cycles whose commit may come late."""

    def __init__(self, broker: MemoryBroker, points: Points) -> None:
        super().__init__(broker)
        self._points = points

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        """A point before the commit, and one before its answer."""
        await self._points.point("commit")
        last = await super().commit(partition, appends, offsets)
        await self._points.point("committed")
        return last


class SimulatedOwner(RecoveringPartition):
    """One life of a process: tables that begin empty and are recovered."""

    log: type[SimulatedLeaseLog] = SimulatedLeaseLog

    def __init__(self, shared: Shared, points: Points, nonces: list[str]) -> None:
        super().__init__(
            shared=shared,
            log=self.log(shared.topic, points),
            cycle_log=SimulatedCycleLog(shared.broker, points),
            plan=[("unit", str(BUDGET))],
            nonces=nonces,
        )
        self._points = points

    async def recover(self) -> None:
        """Between the fence and the tables anything may happen."""
        await self._points.point("recover")
        await super().recover()

    async def live(self) -> None:
        """Takes the partition and runs its cycles, until it is noticed that somebody else has."""
        await self.lease()
        while not self.halted:
            await self.cycle()
            await self._points.point("between cycles")


@dataclass
class Told:
    """What somebody was answered."""

    ask: PreflightAsk
    answer: PreflightAnswer


@dataclass
class World:
    """Everything of one seed."""

    seed: int
    make: type[SimulatedOwner] = SimulatedOwner
    told: list[Told] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    """Holds of which somebody was told that they are released."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.points = Points(self.chance)
        self.shared = Shared()
        self.owners: list[SimulatedOwner | None] = [None, None]
        self.lives: list[asyncio.Task[None] | None] = [None, None]
        self.asked = 0
        self.taken = 0

    @property
    def log(self) -> list[SourceRecord]:
        """The topic `preflights`."""
        return self.shared.topic.records[PARTITION]

    async def run(self) -> None:
        """The whole run, and its healthy end."""
        loop = asyncio.get_running_loop()
        processes = [loop.create_task(self.process(number)) for number in range(2)]
        clients = [loop.create_task(self.client()) for _ in range(CLIENTS)]
        for _ in range(STEPS):
            self.shared.topic.now_us += 1_000
            await self.points.go_on()
            for number, life in enumerate(self.lives):
                if life is not None and self.points.happens("killed", 0.004):
                    life.cancel()
                    self.lives[number] = None
        everybody = [*processes, *clients, *(life for life in self.lives if life is not None)]
        for task in everybody:
            task.cancel()
        await asyncio.wait(everybody)
        for owner in self.owners:
            if owner is not None:
                await owner.desk.release()
        self.points.heal()
        await self.points.run()
        async with self.make(self.shared, self.points, ["f" * 16]) as last:
            await last.take()
            self.books = dict(last.shared.store.scan(Table.ACCOUNTS, PARTITION))

    async def process(self, number: int) -> None:
        """One process after the other in one place."""
        while True:
            await self.points.point("take", self.chance.randint(*TAKE_AFTER))
            self.taken += 1
            owner = self.owners[number] = self.make(
                self.shared, self.points, [f"{self.taken:016x}"]
            )
            life = self.lives[number] = asyncio.get_running_loop().create_task(owner.live())
            await asyncio.wait([life])
            if not life.cancelled() and life.exception() is not None:
                assert isinstance(life.exception(), FaultError), life.exception()
                self.points.seen["ended by a fault"] += 1
            self.points.seen["hand-overs"] += 1
            await owner.desk.release()

    async def client(self) -> None:
        """Asks, asks again with the same key wherever it may be, releases, uses."""
        unanswered: list[PreflightAsk] = []
        mine: list[str] = []
        while True:
            await self.points.point("client")
            owner = self.chance.choice(self.owners)
            if owner is None:
                continue
            kind = self.chance.random()
            if mine and kind < 0.2:
                await self.give_back(owner, mine.pop())
            elif mine and kind < 0.3:
                self.use(mine.pop())
            else:
                again = [*unanswered, *([t.ask for t in self.told[-5:]] if kind > 0.8 else [])]
                ask = self.chance.choice(again) if again and kind > 0.5 else self.new_ask()
                answer = await owner.ask(ask, PATIENCE_SECONDS)
                self.take_answer(ask, answer, unanswered, mine)

    def new_ask(self) -> PreflightAsk:
        """A preflight with a key of its own."""
        self.asked += 1
        customer = self.chance.choice(CUSTOMERS)
        return preflight(f"k{self.asked}", customer, estimate=str(self.chance.randint(1, 6)))

    def take_answer(
        self, ask: PreflightAsk, answer: Answer, unanswered: list[PreflightAsk], mine: list[str]
    ) -> None:
        """Notes what was answered."""
        if isinstance(answer, PreflightAnswer):
            self.told.append(Told(ask, answer))
            if ask in unanswered:
                unanswered.remove(ask)
            if answer.approved and not answer.replayed:
                mine.append(f"{ask.account_id} {answer.reservation_id} {answer.estimate}")
        else:
            assert isinstance(answer, ErrorAnswer)
            self.points.seen[answer.code] += 1
            if ask not in unanswered:
                unanswered.append(ask)

    async def give_back(self, owner: SimulatedOwner, hold: str) -> None:
        """Releases a hold, or extends it."""
        customer, name, _ = hold.split()
        if self.chance.random() < 0.3:
            await owner.ask(ExtendAsk("customer", customer, name, 7_200_000), PATIENCE_SECONDS)
            return
        answer = await owner.ask(ReleaseAsk("customer", customer, name), PATIENCE_SECONDS)
        if isinstance(answer, ReleaseAnswer) and answer.changed and answer.committed:
            self.released.append(name)

    def use(self, hold: str) -> None:
        """Usage that settles a hold whole."""
        customer, name, estimate = hold.split()
        body = usage(customer, f"u-{name}", units=int(estimate), reservation_id=name)
        OwnedPartition.append(self.owners[0] or self.owners[1], body)  # type: ignore[arg-type]


# --- what is checked ---------------------------------------------------------------------------


class Reader:
    """A reader of the log that shares no code with the owner: which records count, and what they
    hold. Releases free money when they are appended, which is earlier than an owner may think."""

    def __init__(self, log: Sequence[SourceRecord]) -> None:
        self.valid: dict[int, dict[str, Any]] = {}
        self.void: list[int] = []
        self.overspent: list[int] = []
        self.closed: set[str] = set()
        lease: tuple[int, str] | None = None
        held: dict[str, dict[str, int]] = {customer: {} for customer in CUSTOMERS}
        for record in log:
            body = json.loads(record.value or b"")
            if body["kind"] == "lease":
                lease = (record.offset, body["nonce"])
                continue
            if (body["lease"], body["nonce"]) != lease:
                self.void.append(record.offset)
                continue
            self.valid[record.offset] = body
            holds = held[body["account_id"]]
            if body["kind"] == "release":
                holds.pop(body["reservation_id"], None)
                self.closed.add(body["reservation_id"])
            elif body["kind"] == "preflight" and body["approved"]:
                holds[f"1-{PARTITION}-{record.offset}"] = int(body["estimate"])
                if sum(holds.values()) > BUDGET:
                    self.overspent.append(record.offset)


def check(
    log: Sequence[SourceRecord],
    answered: Sequence[Told],
    released: Sequence[str],
    books: Mapping[bytes, bytes],
) -> Reader:
    """Every promise about answers, held against the log and the tables of its last owner."""
    reader = Reader(log)
    by_key: dict[str, tuple[bool, str]] = {}
    decided = {
        body["idempotency_key"]: offset
        for offset, body in reader.valid.items()
        if body["kind"] == "preflight"
    }
    for told in answered:
        key, answer = told.ask.idempotency_key, told.answer
        offset = decided.get(key)
        assert offset is not None, f"{key} was answered, and its decision is void"
        assert reader.valid[offset]["approved"] == answer.approved, f"{key}: another decision"
        said = (answer.approved, answer.reservation_id)
        assert by_key.setdefault(key, said) == said, f"{key} was answered in two ways"
        if answer.approved:
            assert answer.reservation_id == f"1-{PARTITION}-{offset}", f"{key}: another hold"
    for name in released:
        assert name in reader.closed, f"{name} was told to be released, and is not"
    keys = [b["idempotency_key"] for b in reader.valid.values() if b["kind"] == "preflight"]
    assert len(keys) == len(set(keys)), "a key was decided twice"
    assert not reader.overspent, f"overspent at {reader.overspent}"
    _check_books(books, reader)
    return reader


def _check_books(books: Mapping[bytes, bytes], reader: Reader) -> None:
    """What the last owner folded is what the reader found."""
    placed = {
        f"1-{PARTITION}-{offset}"
        for offset, body in reader.valid.items()
        if body["kind"] == "preflight" and body["approved"]
    }
    for customer in CUSTOMERS:
        row = books.get(customer.encode())
        if row is None:
            continue
        account = decode_account(row)
        holds = set(account.holds)
        assert holds <= placed - reader.closed, "the books hold what nobody decided"
        spent = account.used_units + sum(hold.open for hold in account.holds.values())
        assert spent <= BUDGET, f"{customer} spent {spent} of {BUDGET}"
