"""`make failover`: how long a partition stands still when its owner is killed, or asked to stop.

Two workers share eight partitions under a steady load. One of them gets SIGKILL or SIGTERM; the
time runs from the signal until every partition that it owned has a committed cycle of its new
owner, as a reader of committed records sees it (at the end of the longest silence). Then it is
started again, and so on.
"""

import argparse
import asyncio
import itertools
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.partitioner import partition_of
from schemas.topics import LEDGER, USAGE
from streams.embedded.endpoints import Endpoints
from tests.builders import json_of
from tests.embedded_waiting import until_async
from tests.installation import Installation
from tests.integration.embedded_stack import running_stack

PARTITIONS: Final = 8
EVERY_SECONDS: Final = 0.02
WAIT_SECONDS: Final = 90.0
STEADY_CYCLES: Final = 20
"""Cycles of every partition before the next signal, so that both owners are at work."""
SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGTERM}


class Watch:
    """When the last committed cycle of each partition was seen, and how many there were."""

    def __init__(self, installation: Installation) -> None:
        self._settings = installation.settings
        self.seen: dict[int, list[float]] = {number: [] for number in range(PARTITIONS)}

    async def load(self) -> None:
        """One event for each partition every few milliseconds."""
        customers: dict[int, str] = {}
        number = 0
        while len(customers) < PARTITIONS:
            number += 1
            customers.setdefault(partition_of(f"c{number}".encode(), PARTITIONS), f"c{number}")
        async with AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap, linger_ms=2
        ) as producer:
            topic = self._settings.topic_prefix + USAGE.name
            while True:
                number += 1
                for partition, customer in customers.items():
                    value = json_of(customer, f"e{number}", {"units": 1})
                    await producer.send(topic, value, customer.encode(), partition=partition)
                await asyncio.sleep(EVERY_SECONDS)

    async def watch(self) -> None:
        """Reads the end of the ledger."""
        topic = LEDGER.full_name(self._settings.topic_prefix)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=20,
        )
        try:
            await consumer.start()
            consumer.assign([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
            while True:
                for place in await consumer.getmany(timeout_ms=50):
                    self.seen[place.partition].append(time.monotonic())
        finally:
            await consumer.stop()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Returns when a condition holds."""

        def told() -> str:
            return f"{what}; cycles seen {[len(seen) for seen in self.seen.values()]}"

        await until_async(condition, told, WAIT_SECONDS, 0.01)

    async def steady(self) -> None:
        """Returns when every partition has gone on for a while."""
        due = {partition: len(seen) + STEADY_CYCLES for partition, seen in self.seen.items()}
        await self.until(lambda: all(len(self.seen[p]) >= due[p] for p in due), "steady")

    def new_owner(self, partition: int, begun: float) -> float:
        """When the new owner's first cycle was seen: at the end of the longest silence since then.

        A worker that was asked to stop commits until it gives its partitions up.
        """
        times = [begun, *(moment for moment in self.seen[partition] if moment > begun)]
        return max(itertools.pairwise(times), key=lambda pair: pair[1] - pair[0])[1]


def owned(installation: Installation, state: str) -> list[int]:
    """The partitions that a worker says it has fenced last."""
    found = re.findall(r"fenced partitions \[([\d, ]*)\]", installation.log_text(state))
    return [int(number) for number in found[-1].split(",") if number.strip()] if found else []


def shared(installation: Installation, states: tuple[str, ...]) -> bool:
    """Whether the workers own all partitions between them, each some."""
    parts = [owned(installation, state) for state in states]
    together = sorted(partition for part in parts for partition in part)
    return all(parts) and together == list(range(PARTITIONS))


def owns_all(installation: Installation, state: str) -> bool:
    """Whether a worker owns every partition."""
    return owned(installation, state) == list(range(PARTITIONS))


async def measure(installation: Installation, times: int, how: str) -> list[float]:
    """Seconds from the signal to the last of the partitions' first cycles, for each repetition."""
    watch = Watch(installation)
    states = ("first", "second")
    workers = {state: installation.start_worker(state) for state in states}
    tasks = [asyncio.create_task(watch.load()), asyncio.create_task(watch.watch())]
    found = []
    try:
        for number in range(times):
            await watch.until(lambda: shared(installation, states), "both own partitions")
            await watch.steady()
            victim = states[number % 2]
            taken = owned(installation, victim)
            begun = time.monotonic()
            workers[victim].send_signal(SIGNALS[how])
            await ended(workers[victim])
            gone = time.monotonic() - begun
            await watch.until(
                lambda heir=states[1 - number % 2]: owns_all(installation, heir),  # type: ignore[misc]
                "taken over",
            )
            await watch.steady()
            found.append(max(watch.new_owner(p, begun) for p in taken) - begun)
            print(
                f"{how} {number + 1}: {len(taken)} partitions, process gone after "
                f"{gone:.2f} s, all go on after {found[-1]:.2f} s",
                file=sys.stderr,
            )
            workers[victim] = installation.start_worker(victim)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def ended(process: subprocess.Popen[bytes]) -> None:
    """Returns when a process has ended."""
    while process.poll() is None:  # noqa: ASYNC110 - asks the operating system
        await asyncio.sleep(0.01)


def run(endpoints: Endpoints, home: Path, times: int, how: str) -> dict[str, float]:
    """Measures one way of ending, and sums it up."""
    with Installation.create(
        endpoints, f"failover-{how}.", home, partitions=PARTITIONS
    ) as installation:
        found = sorted(asyncio.run(measure(installation, times, how)))
    return {"times": times, "p50": statistics.median(found), "max": found[-1]}


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.failover", description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--how", choices=("both", *SIGNALS), default="both")
    parser.add_argument("--keep", type=Path, help="copy the workers' logs here")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="tollgate-failover-"))
    found = {}
    try:
        with running_stack(root / "stack") as stack:
            for how in SIGNALS if given.how == "both" else (given.how,):
                found[how] = run(stack.endpoints(), root / how, given.times, how)
    finally:
        if given.keep is not None:
            shutil.copytree(root, given.keep, dirs_exist_ok=True)
        shutil.rmtree(root, ignore_errors=True)
    names = {"kill": "kill -9 of an owner", "stop": "planned hand-over (SIGTERM)"}
    for how, figures in found.items():
        print(
            f"{names[how]}: p50 {figures['p50']:.2f} s, max {figures['max']:.2f} s "
            f"({figures['times']} times)"
        )
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
