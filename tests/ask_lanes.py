"""A partition of asks over fakes: a log in memory, owners that answer what a test says, and a clock
that moves when somebody sleeps."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import schemas.rpc as rpc
from schemas.codec import decode_answer_record
from schemas.partitioner import partition_of
from schemas.structs import AnswerRecord
from schemas.times import MICROSECONDS
from schemas.topics import ANSWERS, ASKS
from streams.domain.facts import SourceRecord
from streams.errors import TransientError
from streams.gateway.ask_lane import AskLane, LaneSetting
from streams.gateway.asking import Asking
from streams.metrics import metrics_of
from tests.gateway_fakes import (
    PARTITIONS,
    FakeDirectory,
    FakeInbound,
    FakeOwners,
    FakeTime,
    approved,
)

DEADLINE_SECONDS: Final = 60
"""For the machine; the clock of these tests moves by itself."""

EPOCH_US: Final = 1_800_000_000_000_000
ACME: Final = partition_of(b"acme", PARTITIONS)
NEIGHBOURS: Final = [
    name
    for name in (f"customer-{number}" for number in range(200))
    if partition_of(name.encode(), PARTITIONS) == ACME
]
"""Customers of the same partition."""


@dataclass
class FakeAskLog:
    """A partition of `asks` in memory. `positions` are those that were said to be done."""

    partition: int = ACME
    waiting: deque[SourceRecord] = field(default_factory=deque)
    positions: list[int] = field(default_factory=list)
    troubles: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: list[int] = field(default_factory=list)

    async def asks(self, records_max: int) -> Sequence[SourceRecord]:
        self.wanted.append(records_max)
        if self.troubles:
            self.troubles -= 1
            raise TransientError("no broker", action="Wait.")
        while not self.waiting:
            self.arrived.clear()
            await self.arrived.wait()
        return [self.waiting.popleft() for _ in range(min(records_max, len(self.waiting)))]

    def done(self, offset: int) -> None:
        self.positions.append(offset)


class Lane:
    """A lane, its fakes, and the answers that it appended."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.owners: Any = FakeOwners()
        self.inbound = FakeInbound()
        self.log = FakeAskLog()
        self.metrics = metrics_of("gateway")
        self._next = 0
        self._task: asyncio.Task[None] | None = None

    def now_us(self) -> int:
        return EPOCH_US + int(self.time.now() * MICROSECONDS)

    async def sleep(self, seconds: float) -> None:
        await self.time.sleep(seconds)
        await asyncio.sleep(0)

    def put(self, fields: dict[str, Any] | None = None, **changes: Any) -> int:
        """Appends an ask of acme, or what `fields` says, and returns its offset."""
        sent = {
            "schema_version": 1,
            "customer_id": "acme",
            "source": "bot",
            "idempotency_key": f"k{self._next}",
            "estimate": "5",
        }
        sent = (sent | changes) if fields is None else ({"schema_version": 1} | fields)
        return self.put_bytes(str(sent["customer_id"]).encode(), json.dumps(sent).encode())

    def put_bytes(self, key: bytes | None, value: bytes | None) -> int:
        offset, self._next = self._next, self._next + 1
        record = SourceRecord(ASKS.name, offset, self.now_us(), key, value)
        self.log.waiting.append(record)
        self.log.arrived.set()
        return offset

    @property
    def answers(self) -> list[AnswerRecord]:
        assert {topic for topic, _, _ in self.inbound.records} <= {ANSWERS.name}
        return [decode_answer_record(value) for _, _, value in self.inbound.records]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A process that answers, until the block ends: then it is gone at whatever await."""
        asking = Asking(self.owners, self.inbound, FakeDirectory(), self.time.now, self.time.sleep)
        setting = LaneSetting(asking, PARTITIONS, self.metrics, self.now_us, 1.0, self.sleep)
        self._task = task = asyncio.create_task(AskLane(setting, self.log).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns once something holds, which the running process brings about."""

        async def a_turn_later() -> bool:
            await asyncio.sleep(0)
            assert self._task is not None, "nothing runs that could bring it about"
            assert not self._task.done(), self._task
            return holds()

        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await a_turn_later():
                pass

    async def answered(self, count: int) -> list[AnswerRecord]:
        """Runs until there are so many answers, and returns all."""
        async with self.running():
            await self.until(lambda: len(self.answers) >= count)
        return self.answers


@dataclass
class GatedOwners:
    """Answers about a customer once its gate is open."""

    shut: dict[str, asyncio.Event] = field(default_factory=dict)
    asked: list[rpc.Ask] = field(default_factory=list)

    async def ask(self, partition: int, ask: rpc.Ask, timeout_seconds: float) -> rpc.Answer:
        self.asked.append(ask)
        gate = self.shut.get(ask.account_id)
        if gate is not None:
            await gate.wait()
        return approved()

    def keys(self, customer: str = "acme") -> list[str]:
        return [
            ask.idempotency_key
            for ask in self.asked
            if isinstance(ask, rpc.PreflightAsk) and ask.account_id == customer
        ]
