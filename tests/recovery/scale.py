"""`make scale`: what one, two and three workers do on this machine, and how long an agent waits
when one of them is stopped or killed.

`tests.recovery.failover` measures the same hand-overs by the commits of the new owner. Here a
client of the gateway asks for a customer of every partition, each again as soon as it is answered;
the pause is the longest time that any of them waited for a decision, tries again included, from the
signal until every partition decides anew.

Throughput is measured end to end: workers that own their partitions, then events appended as fast
as the broker takes them, until the group has committed all. Broker, load and workers share the
machine's cores, so that it says what this machine does and not what a worker could.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from schemas.topics import TOPICS, USAGE
from streams.adapters.clock import SystemClock
from streams.adapters.positions import InboundPositions
from streams.app.addresses import kafka_bootstrap
from streams.bench.broker import fill
from streams.bench.events import Workload, bench_records, yesterday_us
from streams.bench.preflight_stack import probes
from streams.embedded.endpoints import Endpoints
from streams.embedded.ports import pick_free_ports
from tests.embedded_waiting import until, until_async
from tests.installation import Installation
from tests.integration.embedded_stack import running_stack
from tests.recovery.agents import call, wait_answering
from tests.recovery.failover import PARTITIONS, SIGNALS, ended, shared

WAIT_SECONDS: Final = 180.0
STEADY_ANSWERS: Final = 10
"""Answers of every agent before the next signal, and after the last one."""
PAUSE_SECONDS: Final = 0.02
"""Between an answer and the next ask: the load of an agent that has something else to do."""
POLL_SECONDS: Final = 0.05
"""Between two looks at the offsets: what they may add to a run of seconds."""
TARGETS: Final = {"stop": 2.0, "kill": 10.0}


@dataclass
class Agents:
    """One agent for each partition; when it asked and when it was answered."""

    url: str
    waits: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, partition: int, customer: str) -> None:
        """Asks until it is told to end, each question until it is answered."""
        mine = self.waits.setdefault(partition, [])
        number = 0
        while not self._over.wait(PAUSE_SECONDS):
            number += 1
            body = {
                "customer_id": customer,
                "idempotency_key": f"k{number}",
                "estimate": "1",
                "ttl_seconds": 60,
            }
            begun = time.monotonic()
            while call(self.url, "POST", "/v1/preflights", body)[0] != 200:
                if self._over.wait(PAUSE_SECONDS):
                    return
            mine.append((begun, time.monotonic()))

    @contextmanager
    def running(self) -> Iterator[None]:
        """The agents at work."""
        threads = [
            threading.Thread(target=self.run, args=(partition, customer), daemon=True)
            for partition, customer in enumerate(probes(PARTITIONS))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def steady(self) -> None:
        """Returns when everybody was answered a few times more."""
        due = {partition: len(found) + STEADY_ANSWERS for partition, found in self.waits.items()}

        def answered() -> bool:
            return all(len(self.waits[partition]) >= count for partition, count in due.items())

        until(answered, "every agent is answered", WAIT_SECONDS)

    def longest_since(self, moment: float) -> float:
        """The longest wait of any agent for an answer that came after a moment."""
        return max(
            answered - begun
            for found in self.waits.values()
            for begun, answered in found
            if answered > moment
        )


def hand_overs(installation: Installation, workers: int, times: int, how: str) -> list[float]:
    """The pause of each repetition, in seconds."""
    states = tuple(f"{how}-{number}" for number in range(workers))
    running = {state: installation.start_worker(state) for state in states}
    [port] = pick_free_ports(1)
    address = f"127.0.0.1:{port}"
    installation.start(["streams", "gateway"], f"gateway-{how}", gateway_listen=address)
    url = f"http://{address}"
    agents, found = Agents(url), []
    until(lambda: shared(installation, states), "all own partitions", WAIT_SECONDS)
    wait_answering(installation, url)
    with agents.running():
        until(lambda: len(agents.waits) == PARTITIONS, "all agents run", WAIT_SECONDS)
        for number in range(times):
            agents.steady()
            victim = states[number % workers]
            begun = time.monotonic()
            running[victim].send_signal(SIGNALS[how])
            asyncio.run(ended(running[victim]))
            others = tuple(state for state in states if state != victim)
            until(lambda: shared(installation, others), "taken over", WAIT_SECONDS)  # noqa: B023
            agents.steady()
            found.append(agents.longest_since(begun))
            print(f"{how} {number + 1}: an agent waited {found[-1]:.2f} s", file=sys.stderr)
            running[victim] = installation.start_worker(victim)
            until(lambda: shared(installation, states), "shared again", WAIT_SECONDS)
    return found


def throughput(installation: Installation, workers: int, events: int) -> dict[str, float]:
    """Events per second of so many workers, and the CPU that they used."""
    settings = installation.settings
    states = tuple(f"worker-{number}" for number in range(workers))
    running = [installation.start_worker(state) for state in states]
    until(lambda: shared(installation, states), "all own partitions", WAIT_SECONDS)
    now_us = SystemClock().now_us()
    workload = Workload(
        count=events,
        begins_at_us=yesterday_us(now_us),
        partitions=settings.partitions,
    )
    records = list(bench_records(workload))
    before = sum(map(cpu_seconds, running))
    begun = time.monotonic()
    topic = USAGE.full_name(settings.topic_prefix)
    asyncio.run(fill(kafka_bootstrap(settings), topic, records))
    asyncio.run(all_committed(installation))
    seconds = time.monotonic() - begun
    used = sum(map(cpu_seconds, running)) - before
    return {
        "workers": workers,
        "events_per_second": events / seconds,
        "events_per_cpu_second": events / used,
        "cores_of_workers": used / seconds,
    }


async def all_committed(installation: Installation) -> None:
    """Returns when the group has committed all usage. By offsets: reading the ledger takes longer
    than the workers take to write it."""
    settings = installation.settings
    async with InboundPositions(
        kafka_bootstrap(settings), settings.topic_prefix, settings.app_id, settings.partitions
    ) as positions:
        ends = await positions.end_offsets()
        behind: dict[object, tuple[int, int]] = {}

        async def reached() -> bool:
            committed = await positions.committed()
            behind.clear()
            for place, end in ends.items():
                if committed.get(place, 0) < end:
                    behind[place] = (committed.get(place, 0), end)
            return not behind

        await until_async(
            reached, lambda: f"all usage committed (at, end): {behind}", WAIT_SECONDS, POLL_SECONDS
        )


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """What a process has used."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def log_bytes(stack_home: Path, prefix: str) -> dict[str, int]:
    """What each topic of an installation takes on the broker's disk, indexes left out."""
    sizes = {}
    for topic in TOPICS:
        name = topic.full_name(prefix)
        files = stack_home.rglob(f"{name}-[0-9]*/*.log")
        if size := sum(file.stat().st_size for file in files):
            sizes[topic.name] = size
    return sizes


def measured(endpoints: Endpoints, root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for."""
    found: dict[str, Any] = {"throughput": [], "pauses": {}}
    for workers in range(1, given.workers + 1) if given.events else ():
        prefix = f"scale-{workers}."
        with Installation.create(
            endpoints, prefix, root / f"events-{workers}", partitions=PARTITIONS
        ) as installation:
            figures = throughput(installation, workers, given.events)
            found["throughput"].append(figures)
            sizes = log_bytes(root / "stack", prefix)
            found["log_bytes_per_event"] = {
                name: round(size / given.events, 1) for name, size in sizes.items()
            }
    for workers in range(2, given.workers + 1) if given.times else ():
        for how in SIGNALS:
            with Installation.create(
                endpoints,
                f"scale-{how}-{workers}.",
                root / f"{how}-{workers}",
                partitions=PARTITIONS,
            ) as installation:
                pauses = sorted(hand_overs(installation, workers, given.times, how))
            found["pauses"][f"{how}, {workers} workers"] = {
                "p50": statistics.median(pauses),
                "max": pauses[-1],
                "target": TARGETS[how],
                "times": given.times,
            }
    return found


def main() -> int:
    """Measures and prints; 1 where a pause is longer than its target."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery.scale", description=__doc__)
    parser.add_argument("--workers", type=int, default=3, help="the most at a time")
    parser.add_argument("--events", type=int, default=200_000, help="0 measures no throughput")
    parser.add_argument("--times", type=int, default=5, help="0 measures no hand-over")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="tollgate-scale-"))
    try:
        with running_stack(root / "stack") as stack:
            found = measured(stack.endpoints(), root, given)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for one in found["throughput"]:
        print(
            f"{one['workers']} workers: {one['events_per_second']:,.0f} events/s, "
            f"{one['events_per_cpu_second']:,.0f} per CPU second of the workers, which used "
            f"{one['cores_of_workers']:.2f} cores"
        )
    names = {"kill": "kill -9", "stop": "planned (SIGTERM)"}
    for what, pause in found["pauses"].items():
        how, _, rest = what.partition(", ")
        print(
            f"{names[how]}, {rest}: an agent waits p50 {pause['p50']:.2f} s, max "
            f"{pause['max']:.2f} s, target {pause['target']:.0f} s ({pause['times']} times)"
        )
    print(json.dumps(found))
    return int(any(pause["max"] > pause["target"] for pause in found["pauses"].values()))


if __name__ == "__main__":
    sys.exit(main())
