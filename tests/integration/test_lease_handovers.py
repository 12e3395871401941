"""Hand-overs of a partition on the real broker: two owners alive at once, one paused between
decision, append and answer. Nothing that was answered is void, nothing is overspent.

The topic `preflights`, its producers and their fences are real; cycles run over logs in memory.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from schemas.rpc import PreflightAnswer, PreflightAsk, ReleaseAnswer, ReleaseAsk
from streams.adapters.clock import SystemClock
from streams.adapters.lease_log import KafkaLeaseLog
from streams.app.installation import create_topics
from streams.embedded.endpoints import Endpoints
from streams.errors import FaultError, TransientError
from streams.ports import Appended, Table
from streams.settings import Settings
from tests.owned import PARTITION, RecoveringPartition, Shared, preflight
from tests.property.seed import SEED
from tests.simulation.handovers import BUDGET, CUSTOMERS, Told, check

HAND_OVERS: Final = 44
CLIENTS: Final = 6
ASK_SECONDS: Final = 0.5
WAIT_SECONDS: Final = 20.0
"""Deadlines, not pauses."""


class PausedLog(KafkaLeaseLog):
    """A real log whose owner can be held on either side of an append."""

    def __init__(self, bootstrap: str, app_id: str, prefix: str) -> None:
        super().__init__(bootstrap, app_id, prefix)
        self.gates = {"before": asyncio.Event(), "after": asyncio.Event()}
        self.held = asyncio.Event()
        for gate in self.gates.values():
            gate.set()

    async def append(
        self, partition: int, records: Sequence[tuple[bytes | None, bytes]]
    ) -> Appended:
        await self._pass("before")
        appended = await super().append(partition, records)
        await self._pass("after")
        return appended

    async def _pass(self, name: str) -> None:
        if not self.gates[name].is_set():
            self.held.set()
            await self.gates[name].wait()


class Owner(RecoveringPartition):
    """One process, whose cycles run until somebody else has taken the partition."""

    def __init__(self, shared: Shared, log: PausedLog, nonce: str) -> None:
        super().__init__(
            shared=shared,
            log=log,
            clock=SystemClock(),
            plan=[("unit", str(BUDGET))],
            nonces=[nonce],
        )
        self.log = log
        self._cycles: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Takes the partition. Raises FaultError where another process is quicker."""
        await self.take()
        self._cycles = asyncio.create_task(self._run())

    async def _run(self) -> None:
        with suppress(FaultError):
            while not self.halted:
                await self.cycle()
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """The end of the process, wherever it is."""
        for gate in self.log.gates.values():
            gate.set()
        if self._cycles is not None:
            self._cycles.cancel()
            await asyncio.wait([self._cycles])
        await self.desk.release()


class World:
    """The partition, its former and present owners, and who asks them."""

    def __init__(self, chance: random.Random, settings: Settings) -> None:
        self.chance = chance
        self.settings = settings
        self.shared = Shared()
        self.made: list[Owner] = []
        self.alive: list[Owner] = []
        self.told: list[Told] = []
        self.released: list[str] = []
        self.seen: Counter[str] = Counter()
        self._keys = itertools.count()
        self._nonces = itertools.count()

    def make(self) -> Owner:
        """A process that owns nothing yet."""
        settings = self.settings
        assert settings.kafka_bootstrap is not None
        log = PausedLog(settings.kafka_bootstrap, settings.app_id, settings.topic_prefix)
        self.made.append(Owner(self.shared, log, f"{next(self._nonces):016x}"))
        return self.made[-1]

    async def client(self) -> None:
        """Asks whoever is alive; asks again elsewhere what was not answered; releases some."""
        again: list[PreflightAsk] = []
        mine: list[tuple[str, str]] = []
        while True:
            await asyncio.sleep(0.001)
            if not self.alive:
                continue
            owner = self.chance.choice(self.alive)
            if mine and self.chance.random() < 0.5:
                customer, name = mine.pop()
                gone = await owner.ask(ReleaseAsk("customer", customer, name), ASK_SECONDS)
                if not isinstance(gone, ReleaseAnswer) or not gone.committed:
                    mine.append((customer, name))
                elif gone.changed:
                    self.released.append(name)
                continue
            ask = again.pop() if again and self.chance.random() < 0.7 else self._new_ask()
            answer = await owner.ask(ask, ASK_SECONDS)
            if isinstance(answer, PreflightAnswer):
                self.told.append(Told(ask, answer))
                if answer.approved and answer.hold_state == "open":
                    mine.append((ask.account_id, answer.reservation_id))
            else:
                self.seen[getattr(answer, "code", "")] += 1
                again.append(ask)

    def _new_ask(self) -> PreflightAsk:
        customer = self.chance.choice(CUSTOMERS)
        estimate = str(self.chance.randint(1, 6))
        return preflight(f"k{next(self._keys)}", customer, estimate=estimate)

    async def answered(self, more: int) -> None:
        """Returns when so many more answers have been given. Where two processes have kept each
        other from the partition, a third one takes it, as the group would let one try again."""
        due = len(self.told) + more
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.told) < due:
                await asyncio.sleep(0.002)
                if not self.alive or self.alive[-1].halted:
                    self.seen["nobody won"] += 1
                    heir = self.make()
                    await heir.start()
                    self.alive.append(heir)

    async def hand_over(self, kind: str) -> None:
        """From the present owner to a new one."""
        old, new = self.alive[-1], self.make()
        if kind in ("before", "after"):
            old.log.held.clear()
            old.log.gates[kind].clear()
            async with asyncio.timeout(WAIT_SECONDS):
                await old.log.held.wait()
        if kind == "race":
            await self._race(new)
        else:
            if kind == "killed":
                await old.stop()
            await new.start()
            self.alive.append(new)
        # The former owner goes on; it notices by itself, and is told nothing.
        old.log.gates["before"].set()
        old.log.gates["after"].set()
        await self.answered(4)
        for former in self.alive[:-1]:
            self.seen["noticed by its append"] += bool(former.halted)
            await former.stop()
        del self.alive[:-1]

    async def _race(self, first: Owner) -> None:
        second = self.make()
        results = await asyncio.gather(first.start(), second.start(), return_exceptions=True)
        won = [
            owner
            for owner, result in zip((first, second), results, strict=True)
            if result is None and owner.desk.leases
        ]
        for owner, result in zip((first, second), results, strict=True):
            assert result is None or isinstance(result, FaultError | TransientError), result
            if owner not in won:
                await owner.stop()
        # Of two that both got so far, the later lease counts.
        won.sort(key=lambda owner: owner.desk.leases[PARTITION].offset)
        self.alive += won


@pytest.fixture
async def world(endpoints: Endpoints, topic_prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    settings = Settings(
        home=tmp_path,
        kafka_bootstrap=endpoints.kafka_bootstrap,
        topic_prefix=topic_prefix,
        app_id=topic_prefix.rstrip("."),
        partitions=8,
    )
    await create_topics(settings)
    made = World(random.Random(SEED), settings)
    yield made
    for owner in made.made:
        await owner.stop()


async def test_no_answer_is_void_and_nothing_is_overspent_over_many_hand_overs(
    world: World,
) -> None:
    first = world.make()
    await first.start()
    world.alive.append(first)
    clients = [asyncio.create_task(world.client()) for _ in range(CLIENTS)]
    kinds = list(itertools.islice(itertools.cycle(["alive", "before", "after", "killed"]), 36))
    kinds += (HAND_OVERS - len(kinds)) * ["race"]
    world.chance.shuffle(kinds)
    for kind in kinds:
        await world.hand_over(kind)
    for client in clients:
        client.cancel()
    await asyncio.wait(clients)

    last = world.make()
    await last.take()
    lease = last.desk.leases[PARTITION]
    log = await last.log.read(PARTITION, 0, lease.offset + 1)
    books = dict(last.shared.store.scan(Table.ACCOUNTS, PARTITION))
    await last.stop()
    print(f"seed {SEED}: {len(log)} records, {len(world.told)} answers, {dict(world.seen)}")
    reader = check(log, world.told, world.released, books)
    assert reader.void == [], "behind the broker's fence nothing void is appended"
    leases = [record for record in log if b'"kind":"lease"' in (record.value or b"")]
    assert len(leases) > HAND_OVERS
    assert world.seen["noticed by its append"] > 5
    assert sum(told.answer.approved for told in world.told) > HAND_OVERS
