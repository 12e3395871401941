"""A stand-in for gateway and owner behind `tollgate bench preflight`: decides in memory, writes the
ledger itself, and can be told to do it wrong.

Not a fake of Kafka: usage is read from the real topic and the ledger is appended to the real one.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from schemas import codec
from schemas.structs import ClosingEntry, DecisionEntry, GrantEntry, UsageEntry
from schemas.topics import LEDGER
from streams.bench.broker import Feeder, follow
from streams.bench.events import BenchRecord
from streams.bench.loaded import Loaded

FLUSH_SECONDS = 0.02
PLAN_UNITS = 1_000


@dataclass
class Decider:
    """`overspends`: approves everything; `leaks`: forgets to expire; `lies`: tells agents of a hold
    that the ledger does not have; `drops_one_in`: closes connections instead of answering."""

    loaded: Loaded
    overspends: bool = False
    leaks: bool = False
    lies: bool = False
    drops_one_in: int = 0
    left: dict[str, int] = field(default_factory=dict)
    holds: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    entries: list[bytes] = field(default_factory=list)
    sequence: int = 0
    asked: int = 0

    def write(self, kind: Any, topic: str, customer: str, event_id: str, **more: Any) -> None:
        self.entries.append(
            codec.encode(
                kind(
                    schema_version=1,
                    entry_id=f"e-{self.sequence}",
                    generation=1,
                    partition=0,
                    sequence=self.sequence,
                    cycle=1,
                    decided_at=0,
                    topic=topic,
                    source_offset=0,
                    entry_index=0,
                    appended_at=0,
                    occurred_at=0,
                    customer_id=customer,
                    source="bench",
                    event_id=event_id,
                    **more,
                )
            )
        )
        self.sequence += 1

    def grant(self, customer: str, units: int) -> None:
        self.left[customer] = self.left.get(customer, 0) + units
        self.write(
            GrantEntry,
            "budgets",
            customer,
            f"g-{customer}",
            denomination="unit",
            amount=str(units),
            priority=1,
            effective_at=0,
        )

    def preflight(self, asked: dict[str, Any]) -> dict[str, Any]:
        key, customer = asked["idempotency_key"], asked["customer_id"]
        if key in self.answers and not key.startswith("probe"):
            return self.answers[key]
        if customer not in self.left:
            self.grant(customer, PLAN_UNITS)
        units = int(asked["estimate"])
        approved = units <= self.left[customer] or self.overspends
        hold = f"1-0-{self.sequence}"
        if not key.startswith("probe"):
            self.write(
                DecisionEntry,
                "preflights",
                customer,
                key,
                denomination="unit",
                amount=str(units),
                approved=approved,
                reservation_id=hold,
                expires_at=0,
            )
            if approved:
                self.left[customer] -= units
                due = asyncio.get_running_loop().time() + asked["ttl_seconds"]
                self.holds[hold] = (customer, units, due)
        told = hold + "-lie" if self.lies else hold
        self.answers[key] = {"approved": approved, "reservation_id": told}
        return self.answers[key]

    def close(self, hold: str, how: Any) -> None:
        customer, units, _ = self.holds.pop(hold)
        self.write(
            ClosingEntry,
            "preflights",
            customer,
            hold,
            reservation_id=hold,
            denomination="unit",
            amount=str(units),
            closed_as=how,
            released="0" if how == "settled" else str(units),
        )
        if how == "expired":
            self.left[customer] += units

    def take_usage(self, _partition: int, _key: bytes | None, value: bytes, _at_ms: int) -> None:
        usage = codec.decode_usage(value)
        if usage.reservation_id is None:
            return
        self.write(UsageEntry, "usage", usage.customer_id, usage.event_id, units=usage.units)
        if usage.reservation_id in self.holds:
            self.close(usage.reservation_id, "settled")

    # --- around it ---

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        ):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                method, path, _ = head.decode().split(" ", 2)
                self.asked += 1
                asked = json.loads(body) if body else {}
                if path == "/v1/preflights":
                    answer = self.preflight(asked)
                    if self.drops_one_in and self.asked % self.drops_one_in == 0:
                        writer.transport.abort()
                        return
                elif method == "POST":
                    customer = path.split("/")[3]
                    if customer not in self.left:
                        self.grant(customer, PLAN_UNITS)
                    self.grant(customer, int(asked["amount"]))
                    answer = {}
                else:
                    answer = {"balances": []}
                text = json.dumps(answer, separators=(",", ":")).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text) + text)
        writer.close()

    async def keep_books(self, feeder: Feeder) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            if not self.leaks:
                for hold, (_, _, due) in list(self.holds.items()):
                    if due < loop.time():
                        self.close(hold, "expired")
            entries, self.entries = self.entries, []
            await feeder.feed([BenchRecord(0, b"k", entry) for entry in entries])

    async def read_usage(self) -> None:
        settings = self.loaded.settings
        await follow(
            self.loaded.ground.bootstrap,
            self.loaded.usage_topic,
            settings.partitions,
            self.take_usage,
            lambda: False,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """The port on which it answers."""
        talks: set[asyncio.Task[Any]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            talks.add(task)
            await self.talk(reader, writer)

        ledger = LEDGER.full_name(self.loaded.settings.topic_prefix)
        feeder = Feeder(self.loaded.ground.bootstrap, ledger)
        await feeder.start()
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        tasks = [
            asyncio.create_task(self.keep_books(feeder)),
            asyncio.create_task(self.read_usage()),
        ]
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in [*tasks, *talks]:
                task.cancel()
            await asyncio.gather(*tasks, *talks, return_exceptions=True)
            await feeder.stop()
