"""A seeded producer: many customers, repeats, conflicts, nonsense, wrong partitions, grants.

Remembers which sends were acknowledged. A send whose acknowledgement did not come may be in the log
or not, or in it twice; `books` reads the log back to know.
"""

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiokafka import AIOKafkaProducer

from schemas.partitioner import partition_of
from schemas.topics import BUDGETS, SIGNALS, USAGE
from tests.builders import json_of

CUSTOMERS: Final = 60
TICK_SECONDS: Final = 0.05
EVENTS_PER_TICK: Final = 8
BURST_EVENTS: Final = 1_500
VOIDS_PER_TICK: Final = 0.1
REMEMBERED: Final = 400
"""How many of the last events may be repeated."""
TRACE_EVENTS: Final = 800
"""Events of all customers after which a customer's next trace begins: some five seconds."""


@dataclass(frozen=True, slots=True)
class Event:
    """A record to be sent."""

    topic: str
    key: bytes
    value: bytes
    partition: int


@dataclass(slots=True)
class Sent:
    """What became of the sends. `acked` is (topic, partition, offset) to the bytes."""

    sends: int = 0
    acked: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    unknown: int = 0


class Load:
    """Sends events until told to stop."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int, seed: int) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._partitions = partitions
        self._dice = random.Random(seed)
        self._recent: list[Event] = []
        self._number = 0
        self._taken = 0
        self._burst = 0
        self._ending = False
        self._pending: set[asyncio.Future[object]] = set()
        self._voids = random.Random(f"{seed} voids")
        """Dice of their own: which signals there are to take back is the machine's affair."""
        self._signals: list[tuple[Event, int, int]] = []
        """Acknowledged signals, with their offsets and times."""
        self.sent = Sent()

    def burst(self) -> None:
        """Send so many at once with the next tick; from any thread."""
        self._burst += BURST_EVENTS

    def end(self) -> None:
        """Send no more; `run` returns when every acknowledgement is in or given up."""
        self._ending = True

    async def run(self) -> None:
        """Send a few events every tick."""
        # Not idempotent on purpose: a retry after a lost answer may append a record twice.
        async with AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            linger_ms=5,
            request_timeout_ms=15_000,
            enable_idempotence=False,
        ) as producer:
            while not self._ending:
                count, self._burst = EVENTS_PER_TICK + self._burst, 0
                for _ in range(count):
                    await self._send(producer, self._next())
                if self._signals and self._voids.random() < VOIDS_PER_TICK:
                    await self._send(producer, self._void())
                await asyncio.sleep(TICK_SECONDS)
            if self._pending:
                await asyncio.wait(set(self._pending))

    async def _send(self, producer: AIOKafkaProducer, event: Event) -> None:
        self.sent.sends += 1
        try:
            future = await producer.send(
                self._prefix + event.topic, event.value, event.key, partition=event.partition
            )
        except Exception:  # noqa: BLE001 - whatever it was: not acknowledged
            self.sent.unknown += 1
            return
        self._pending.add(future)
        future.add_done_callback(lambda done: self._note(done, event))

    def _note(self, future: "asyncio.Future[object]", event: Event) -> None:
        self._pending.discard(future)
        if future.cancelled() or future.exception() is not None:
            self.sent.unknown += 1
            return
        metadata = future.result()
        at = (event.topic, event.partition, metadata.offset)  # type: ignore[attr-defined]
        self.sent.acked[at] = event.value
        if event.topic == SIGNALS.name:
            self._signals.append((event, metadata.offset, metadata.timestamp))  # type: ignore[attr-defined]

    def _next(self) -> Event:
        dice, chance = self._dice, self._dice.random()
        self._number += 1
        if self._recent and chance < 0.10:
            return dice.choice(self._recent)
        customer = f"customer-{dice.randrange(CUSTOMERS)}"
        key = customer.encode()
        partition = partition_of(key, self._partitions)
        if chance < 0.12:
            return Event(USAGE.name, key, dice.choice((b"{not json", b"[]", b"\xff")), partition)
        if chance < 0.13:
            astray = (partition + 1) % self._partitions
            return Event(USAGE.name, key, self._usage(customer), astray)
        if chance < 0.15 and self._recent:
            return self._conflict(dice.choice(self._recent))
        if chance < 0.17:
            unit = dice.choice(("unit", "usd"))
            fields = {"kind": "grant", "denomination": unit, "amount": str(dice.randint(1, 50))}
            made = Event(BUDGETS.name, key, self._json(customer, fields), partition)
        elif chance < 0.25:
            made = Event(SIGNALS.name, key, self._signal(customer), partition)
        else:
            made = Event(USAGE.name, key, self._usage(customer), partition)
        self._recent = [*self._recent[-REMEMBERED:], made]
        return made

    def _json(self, customer: str, fields: Mapping[str, object]) -> bytes:
        return json_of(customer, f"e{self._number}", dict(fields))

    def _usage(self, customer: str) -> bytes:
        dice = self._dice
        cost = f"0.{dice.randrange(1, 10**6):06d}"
        fields = {"units": dice.randrange(100), "cost": cost, **self._named()}
        return self._json(customer, fields)

    def _signal(self, customer: str) -> bytes:
        dice = self._dice
        claims = {"cost_tracing": dice.random() < 0.8, "weight": dice.randint(1, 5)}
        return self._json(customer, {"name": "won", **claims, **self._named()})

    def _named(self) -> dict[str, str]:
        """The trace, now and then one that has long been closed, or the scope, or neither."""
        dice, number = self._dice, self._number // TRACE_EVENTS
        trace = {"trace_id": f"{number - (number > 0 and dice.random() < 0.1):032x}"}
        # Three at a time, and others after nine traces: what a scope shares grows with its signals.
        scope = {"scope_id": str(number // 9 * 3 + number % 3)}
        return dice.choice(({}, trace, trace, trace | scope, scope))

    def _void(self) -> Event:
        """Takes a signal back, which may have been taken back, or may not have been decided."""
        signal, offset, appended_ms = self._voids.choice(self._signals)
        body = json.loads(signal.value)
        fields = {
            "kind": "void",
            "signal_source": body["source"],
            "signal_event_id": body["event_id"],
            "signal_entry": f"1-{SIGNALS.name}-{signal.partition}-{offset}-0",
            "signal_decided_at": appended_ms * 1_000,
            "signal_name": body["name"],
            "trace_id": body.get("trace_id"),
            "scope_id": body.get("scope_id"),
            "cost": self._voids.choice(("unattributed", "move")),
        }
        self._taken += 1
        value = json_of(body["customer_id"], f"v{self._taken}", fields)
        return Event(BUDGETS.name, signal.key, value, signal.partition)

    def _conflict(self, event: Event) -> Event:
        """The same id with other content; for a kind that has no units, a plain repeat."""
        if event.topic != USAGE.name:
            return event
        value = event.value.replace(b'"units":', b'"units":1000')
        return Event(event.topic, event.key, value, event.partition)
