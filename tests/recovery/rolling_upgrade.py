"""Three workers behind a gateway are replaced one after another, as a StatefulSet does it, while
agents ask: every ask is answered, nothing is overspent. Run by `make test-deploy`, which prints the
longest pauses.
"""

import itertools
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from streams.bench.preflight_books import Told
from streams.bench.preflight_stack import probes
from streams.embedded.endpoints import Endpoints
from streams.embedded.ports import pick_free_ports
from tests.composed import is_ready
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.recovery.agents import call, check_audit, check_decisions, wait_answering
from tests.recovery.cases import STEP_SECONDS

PARTITIONS: Final = 6
WORKERS: Final = ("worker-2", "worker-1", "worker-0")
"""In the order in which a StatefulSet replaces them."""
AGENTS: Final = 6
ESTIMATE: Final = 5
PACE_SECONDS: Final = 0.05
"""Between two calls of an agent: the load of an installation that does other things too."""
CLIENT_SECONDS: Final = 30.0
"""Until then a client tries again with the same key. Gateways hold an ask for 3 s."""


@dataclass
class Asking:
    """What all agents were told, and how long the slowest had to wait."""

    url: str
    customers: list[str]
    stop: threading.Event = field(default_factory=threading.Event)
    told: dict[tuple[str, str], Told] = field(default_factory=dict)
    waited: list[float] = field(default_factory=list)
    """Seconds from the first try to the answer, for each ask."""
    tries: Counter[int] = field(default_factory=Counter)
    """Status to how many tries were answered with it; 0 where nobody answered."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, number: int) -> None:
        """One agent: asks and records what it used, until told to stop."""
        for turn in itertools.count():
            customer = self.customers[(number + turn) % len(self.customers)]
            key = f"{number}-{turn}"
            begun = time.monotonic()
            answer = self._answer(
                "/v1/preflights",
                {"customer_id": customer, "idempotency_key": key, "estimate": str(ESTIMATE)},
            )
            waited = time.monotonic() - begun
            told = Told(answer["approved"], answer["reservation_id"])
            with self._lock:
                self.told[customer, key] = told
                self.waited.append(waited)
            if told.approved:
                record = {"schema_version": 1, "event_id": key, "source": "test", "units": ESTIMATE}
                held = {"customer_id": customer, "reservation_id": told.reservation_id}
                self._answer("/v1/records", record | held)
            if self.stop.wait(PACE_SECONDS):
                return

    def _answer(self, path: str, body: Any) -> Any:
        answers: list[Any] = []

        def answered() -> bool:
            status, told = call(self.url, "POST", path, body)
            with self._lock:
                self.tries[status] += 1
            answers.append(told)
            # 202: in the log and not decided yet. 503: no owner at this moment; try again.
            assert status in (200, 202, 503), told
            return status == 200

        until(answered, f"{path} is answered", CLIENT_SECONDS)
        return answers[-1]


@pytest.mark.timeout(600)
def test_workers_replaced_one_after_another_leave_no_ask_unanswered(
    endpoints: Endpoints, topic_prefix: str, tmp_path: Path
) -> None:
    with Installation.create(
        endpoints, topic_prefix, tmp_path / "home", partitions=PARTITIONS
    ) as installation:
        ports = pick_free_ports(len(WORKERS) + 1)
        gateway, *watched = (f"127.0.0.1:{port}" for port in ports)
        addresses = dict(zip(WORKERS, watched, strict=True))
        workers = {
            name: installation.start_worker(name, metrics_listen=address)
            for name, address in addresses.items()
        }
        installation.start(["streams", "gateway"], "gateway", gateway_listen=gateway)
        wait_answering(installation, f"http://{gateway}")
        until(lambda: all(map(is_ready, addresses.values())), "all are ready", STEP_SECONDS)

        asking = Asking(f"http://{gateway}", probes(PARTITIONS))
        with ThreadPoolExecutor(AGENTS) as pool:
            running = [pool.submit(asking.run, number) for number in range(AGENTS)]
            try:
                for name in WORKERS:
                    before = len(asking.waited)
                    until(lambda seen=before: len(asking.waited) > seen + 50, "asks go on")  # type: ignore[misc]
                    assert installation.stop(workers[name]) == 0
                    workers[name] = installation.start_worker(name, metrics_listen=addresses[name])
                    until(lambda at=addresses[name]: is_ready(at), f"{name} is ready", STEP_SECONDS)  # type: ignore[misc]
                before = len(asking.waited)
                until(lambda: len(asking.waited) > before + 50, "asks go on")
            finally:
                asking.stop.set()
            for agent in running:
                agent.result()

        assert len(asking.told) == len(asking.waited)
        assert any(told.approved for told in asking.told.values())
        check_decisions(installation, asking.told)
        check_audit(installation)
        slowest = sorted(asking.waited)[-5:]
        print(
            f"rolling upgrade of {len(WORKERS)} workers: {len(asking.waited)} asks, all answered; "
            f"slowest {', '.join(f'{one:.2f}' for one in reversed(slowest))} s; tries by status "
            f"{dict(sorted(asking.tries.items()))}",
            file=sys.stderr,
        )
