"""One installation under one seed: who lives in it, what happens to it, and how it ends."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from schemas import codec
from schemas.partitioner import partition_of
from schemas.structs import Void
from schemas.topics import ATTRIBUTIONS, BUDGETS, DEAD_LETTERS, LEDGER, UNASSIGNED, USAGE
from streams.domain.facts import SourceRecord
from streams.domain.folding import FOLD_ORDER
from streams.errors import FaultError, TransientError
from tests.builders import HOUR_US
from tests.property.logs import Event, random_log, records
from tests.simulation.broker import Broker, FencedError, Group, SimulatedLog, Stored, Transaction
from tests.simulation.invoices import CUSTOMERS, Invoices
from tests.simulation.nameless import Nameless, is_nameless, partition_of_trace
from tests.simulation.scheduler import Actor, InjectedError, Scheduler, ViolationError
from tests.simulation.shares import Shares
from tests.simulation.sinks import Database, Outbound, SimulatedRows, run_sink
from tests.simulation.traces import Owners, is_waiting, traced, void_of
from tests.simulation.views import PARTITIONS, VIEWS
from tests.simulation.workers import (
    CLOCK_BEHIND_US,
    CatalogTopic,
    Disk,
    Process,
    SimulatedClock,
)

WORKERS_MAX: Final = 3
EVENTS: Final = 36
STEPS_MAX: Final = 30_000
"""Far more than a healed installation needs to finish."""
OUTBOUND: Final = (LEDGER.name, ATTRIBUTIONS.name, DEAD_LETTERS.name)
MALFORMED: Final = (b"{", b"", b'{"schema_version":1}', b"\xff\xfe")
STARTED_US: Final = 1_768_478_400 * 10**6


@dataclass(frozen=True)
class Makes:
    """The classes of an installation; a broken one proves that the simulation notices."""

    log: type[SimulatedLog] = SimulatedLog
    disk: type[Disk] = Disk
    rows: type[SimulatedRows] = SimulatedRows
    process: type[Process] = Process


class World:
    """Everything of one seed."""

    def __init__(self, seed: int, makes: Makes | None = None) -> None:
        self.makes = makes = makes or Makes()
        self.chance = chance = random.Random(seed)
        self.scheduler = Scheduler(chance)
        self.scheduler.tolerate = self.tolerated
        self.broker = Broker(STARTED_US)
        self.group = Group(PARTITIONS)
        self.catalog = CatalogTopic(VIEWS, 3)
        self.database = Database()
        self.hints: dict[str, int] = {}
        self.events: dict[tuple[str, int, int], Event] = {}
        """What each inbound position holds, None of it malformed."""
        self.nameless = Nameless(PARTITIONS)
        self.voids: dict[tuple[str, int, int], Void] = {}
        """The same of those that take signals back."""
        self.invoices = Invoices(self.broker, PARTITIONS)
        self.owners = Owners(self.broker)
        self.shares = [Shares(self.broker, partition) for partition in range(PARTITIONS)]
        self.processes: dict[str, Process] = {}
        for number in range(chance.randint(1, WORKERS_MAX)):
            self.add_worker(number)
        for topic in OUTBOUND:
            for partition in range(PARTITIONS):
                for copy in range(2 if topic == LEDGER.name else 1):
                    self.add_sink(topic, partition, copy)
        self.scheduler.add(Actor("producer", self.produce, lambda: None))

    # --- actors ------------------------------------------------------------------------------

    def add_worker(self, number: int) -> None:
        """A worker process with a disk of its own."""
        name = f"worker-{number}"
        process = self.makes.process(
            name,
            self.broker,
            self.group,
            self.catalog,
            self.scheduler,
            self.makes.disk(self.scheduler),
            SimulatedClock(self.broker),
            make=self.makes.log,
            inspect=self.recovered,
        )
        self.processes[name] = process
        self.scheduler.add(Actor(name, process.run, lambda: self.worker_ended(process)))

    def worker_ended(self, process: Process) -> None:
        """Its session runs out; whatever was wrong with its machine may be repaired, or worse."""
        self.group.leave(process.name)
        process.clock.off_us = 0
        if self.scheduler.happens("store lost", 0.2):
            process.disk = self.makes.disk(self.scheduler)

    def recovered(self, table: Mapping[bytes, bytes], partition: int) -> None:
        """A worker has recovered a partition, and nobody else can have written to it since."""
        self.shares[partition].check_table(table)

    def add_sink(self, topic: str, partition: int, copy: int) -> None:
        """A sink of one table and partition."""
        name = f"sink-{topic}-{partition}-{copy}"

        async def start() -> None:
            log = Outbound(topic, partition, self.broker, self.scheduler, self.hints)
            target = self.makes.rows(self.database, self.scheduler)
            await run_sink(log, target, self.scheduler)

        self.scheduler.add(Actor(name, start, lambda: None))

    async def produce(self) -> None:
        """Events with repeats, conflicts and late ones, and what no worker can read."""
        log = [traced(event) for event in random_log(self.chance, EVENTS)]
        placed = list(zip(log, records(log), strict=True))
        at = 0
        while at < len(placed):
            await self.scheduler.point("produce")
            batch = placed[at : at + self.chance.randint(1, 3)]
            at += len(batch)
            for event, record in batch:
                if is_nameless(event):
                    self.append_nameless(event, record)
            batch = [one for one in batch if not is_nameless(one[0])]
            if self.scheduler.happens("batch aborted", 0.08):
                self.append_batch(batch, aborted=True)
            self.append_batch(batch)
            if self.scheduler.happens("batch sent twice", 0.08):
                self.append_batch(batch)
            if self.scheduler.happens("malformed", 0.1):
                self.append_malformed()

    def append_batch(self, batch: list[tuple[Event, Any]], *, aborted: bool = False) -> None:
        """Each record to its customer's partition."""
        for event, record in batch:
            self.broker.now_us = now_us = max(self.broker.now_us, event.appended_us)
            partition = partition_of(record.key, PARTITIONS)
            if self.scheduler.happens("wrong partition", 0.03):
                partition = (partition + 1) % PARTITIONS
            state = Transaction(0, "aborted") if aborted else None
            log = self.broker.logs[event.topic, partition]
            if not aborted:
                self.events[event.topic, partition, len(log)] = replace(event, appended_us=now_us)
            log.append(Stored(record.key, record.value, now_us, state))
            if aborted:
                log.append(Stored(None, None, now_us, marker=True))

    def append_nameless(self, event: Event, record: Any) -> None:
        """An event to the partition of its trace, with or without what says whose that is."""
        self.broker.now_us = max(self.broker.now_us, event.appended_us)
        for body in self.nameless.bodies(event, record.value, self.chance):
            partition = partition_of_trace(body, PARTITIONS)
            log = self.broker.logs[UNASSIGNED.name, partition]
            if body.customer_id is None:
                self.nameless.events[partition, len(log)] = event
            log.append(Stored(body.trace_id.encode(), codec.encode(body), self.broker.now_us))

    def append_malformed(self) -> None:
        """Something that nobody can read."""
        log = self.broker.logs[USAGE.name, self.chance.randrange(PARTITIONS)]
        log.append(Stored(b"c1", self.chance.choice(MALFORMED), self.broker.now_us))

    # --- what happens ------------------------------------------------------------------------

    def weather(self) -> None:
        """What happens around the actors, now and then."""
        happens, chance = self.scheduler.happens, self.chance
        process = chance.choice(list(self.processes.values()))
        if happens("session runs out", 0.006):
            self.group.leave(process.name)
        if len(self.processes) < WORKERS_MAX and happens("scaled up", 0.002):
            self.add_worker(len(self.processes))
        if self.catalog.length < len(VIEWS) - 1 and happens("catalog grows", 0.004):
            self.catalog.length += 1
        if happens("clock behind", 0.002):
            process.clock.off_us = -CLOCK_BEHIND_US
        if happens("clock ahead", 0.002):
            process.clock.off_us = CLOCK_BEHIND_US
        if chance.random() < 0.04:
            self.take_back(chance.randrange(PARTITIONS))
        if happens("invoice told", 0.03):
            self.invoices.tell(chance.choice(CUSTOMERS))
        if happens("tick", 0.01):
            self.owners.tick(chance.randrange(PARTITIONS))
        if happens("new lease", 0.003):
            partition = chance.randrange(PARTITIONS)
            self.owners.lease(partition)
            self.owners.tick(partition, 0)
        if happens("stamped ahead", 0.001):
            self.append_from_the_future()
        if happens("backup", 0.004):
            self.database.back_up()
        if happens("older backup restored", 0.001):
            self.database.restore()
            for name, actor in self.scheduler.actors.items():
                if name.startswith("sink"):
                    self.scheduler.crash(actor)

    def take_back(self, partition: int) -> None:
        """Administration takes a signal back; it may have been taken back before."""
        void = void_of(self.chance, self.broker, partition)
        if void is None:
            return
        self.scheduler.seen["signal taken back"] += 1
        log = self.broker.logs[BUDGETS.name, partition]
        self.voids[BUDGETS.name, partition, len(log)] = void
        log.append(Stored(void.customer_id.encode(), codec.encode(void), self.broker.now_us))

    def append_from_the_future(self) -> None:
        """A broker whose clock runs ahead of the workers' machines, until these follow."""
        for process in self.processes.values():
            process.clock.off_us = min(process.clock.off_us, -CLOCK_BEHIND_US)
        self.broker.now_us += CLOCK_BEHIND_US

    def tolerated(self, actor: Actor, fault: Exception) -> str | None:
        """Why a process may have ended by this fault."""
        if isinstance(fault, OSError):
            return "ended: disk full"
        if isinstance(fault, FencedError):
            return "ended: fenced"
        if isinstance(fault, InjectedError):
            return "ended: outcome unknown"
        process = self.processes.get(actor.name)
        if process is None:
            return "ended: patience" if isinstance(fault, TransientError) else None
        if isinstance(fault, FaultError) and "ahead of this" in fault.message:
            return "ended: clock"
        if any(process.log.is_fenced(partition) for partition in process.log.epochs):
            return "ended: overtaken"
        return None

    # --- the end -----------------------------------------------------------------------------

    def run(self) -> None:
        """Trouble until everything is produced and a while longer, then peace until all is done."""
        producer = self.scheduler.actors["producer"]
        left = self.chance.randint(50, 500)
        while not producer.finished or left:
            left -= producer.finished
            self.weather()
            self.scheduler.turn()
            self.bounded()
        self.scheduler.heal()
        for process in self.processes.values():
            process.clock.off_us = 0
        self.broker.now_us += 4 * HOUR_US
        self.finish()
        for partition in range(PARTITIONS):
            self.take_back(partition)
        self.finish()

    def finish(self) -> None:
        """Until everything is decided and copied, and every window has closed."""
        while not (self.decided() and self.copied()):
            for _ in range(20):
                self.scheduler.turn()
            self.bounded()
            if self.decided():
                self.let_windows_close()

    def let_windows_close(self) -> None:
        """Owners let time pass where windows wait: far enough for the last of them to be due."""
        for partition in range(PARTITIONS):
            if is_waiting(self.broker, partition):
                # What was passed on a moment ago, and says no time, happened a moment ago.
                self.broker.now_us += HOUR_US
                self.owners.tick(partition)

    def bounded(self) -> None:
        """Raises ViolationError where the installation does not come to an end."""
        if self.scheduler.step > STEPS_MAX:
            raise ViolationError("not drained: somebody waits for ever")

    def decided(self) -> bool:
        """Whether every inbound record is consumed and no transaction is open."""
        return not self.broker.open and all(
            not self.broker.read(topic, p, self.broker.offsets.get((topic, p), 0), 1)
            for topic in FOLD_ORDER
            for p in range(PARTITIONS)
        )

    def misplaced(self, record: SourceRecord, partition: int) -> bool:
        """Whether a record lies where its customer is not."""
        return partition_of(record.key or b"", PARTITIONS) != partition

    def copied(self) -> bool:
        """Whether the tables hold as many rows as the log records."""
        return all(
            len(self.database.rows.get((topic, 1, p), [])) >= len(self.broker.all(topic, p))
            for topic in OUTBOUND
            for p in range(PARTITIONS)
        )
