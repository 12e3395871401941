"""Eight agents ask and record through two gateways, and the worker behind one of them is killed."""

import itertools
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.structs import UsageEntry
from streams.bench.preflight_books import Told
from streams.embedded.endpoints import Endpoints
from streams.embedded.ports import pick_free_ports
from tests.embedded_waiting import until
from tests.installation import Installation
from tests.recovery.agents import call, check_audit, check_decisions, kinds_of, wait_answering
from tests.recovery.cases import STEP_SECONDS
from tests.recovery.failover import owned

PARTITIONS: Final = 4
CUSTOMERS: Final = ("acme", "globex", "initech")
"""Of three of the four partitions, so that either worker owns some."""
AGENTS: Final = 8
CALLS: Final = 42
"""Of each agent, in turn for each customer."""
ESTIMATE: Final = 15
"""The 112 calls of each customer ask for more than its 1,000 units, so that the last ones are
refused while others wait for what is given back."""
JOB: Final = "job/1"
JOB_CEILING: Final = AGENTS * CALLS * ESTIMATE
ON_THE_JOB: Final = 4
"""Agents whose calls belong to the job. The job has enough for all, so that whatever is refused is
refused by a customer and the job's hold has to be given back."""
LOOKS: Final = 25
"""Without a call that ends, until they all wait: half a second. Fewer would only disturb less."""
HOLD_SECONDS: Final = 600
"""Longer than the test: a hold that nobody closes is still there when it is looked for."""


@dataclass
class Agents:
    """What all agents were told by customer and key, and what they have used of it."""

    urls: list[str]
    told: dict[tuple[str, str], Told] = field(default_factory=dict)
    used: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Customer and units, by event id."""
    calls_done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, number: int) -> None:
        """One agent: asks, uses what it was allowed, records that."""
        urls = itertools.cycle(self.urls if number % 2 else self.urls[::-1])
        agent = Agent(f"agent-{number}", urls, JOB if number < ON_THE_JOB else None)
        for turn in range(CALLS):
            customer, key = CUSTOMERS[(number + turn) % len(CUSTOMERS)], f"{number}-{turn}"
            told = agent.ask(customer, key)
            units = ESTIMATE - turn % 3
            if told.approved:
                agent.record(customer, key, units, told.reservation_id)
            with self._lock:
                self.told[customer, key] = told
                if told.approved:
                    self.used[key] = (customer, units)
                self.calls_done += 1


class Agent:
    """Sends each request until it is answered, at the other gateway where it is not."""

    def __init__(self, name: str, urls: Iterator[str], job: str | None) -> None:
        self._name = name
        self._urls = urls
        self._url = next(urls)
        self._job = {} if job is None else {"task_ref": job}

    def ask(self, customer: str, key: str) -> Told:
        """The decision."""
        body = {"customer_id": customer, "idempotency_key": key, "estimate": str(ESTIMATE)}
        more = {"agent_id": self._name, "ttl_seconds": HOLD_SECONDS, **self._job}
        ceiling = {"task_ceiling": str(JOB_CEILING)} if self._job else {}
        answer = self._answer("/v1/preflights", body | more | ceiling)
        return Told(answer["approved"], answer["reservation_id"])

    def record(self, customer: str, key: str, units: int, reservation: str) -> None:
        """Returns when the record is decided."""
        body = {"schema_version": 1, "event_id": key, "source": "test", "customer_id": customer}
        more = {"agent_id": self._name, "units": units, "reservation_id": reservation}
        self._answer("/v1/records", body | more | self._job)

    def _answer(self, path: str, body: Any) -> Any:
        answers: list[Any] = []

        def answered() -> bool:
            status, told = call(self._url, "POST", path, body)
            if status == 200:
                answers.append(told)
                return True
            # 202: in the log and not decided yet. 0: nobody is there any more.
            assert status in (0, 202, 503), told
            self._url = next(self._urls)
            return False

        until(answered, f"{path} is answered", STEP_SECONDS)
        return answers[0]


@pytest.mark.timeout(600)
def test_a_worker_killed_under_agents_costs_nobody_an_answer_or_a_unit(
    endpoints: Endpoints, topic_prefix: str, tmp_path: Path
) -> None:
    with Installation.create(
        endpoints, topic_prefix, tmp_path / "home", partitions=PARTITIONS
    ) as installation:
        addresses = [f"127.0.0.1:{port}" for port in pick_free_ports(2)]
        victim, _ = (
            installation.start_worker(state, gateway_listen=address)
            for state, address in zip(("victim", "heir"), addresses, strict=True)
        )
        urls = [f"http://{address}" for address in addresses]
        until(lambda: both_own(installation), "both own partitions", STEP_SECONDS)
        for url in urls:
            wait_answering(installation, url)

        agents = Agents(urls)
        with ThreadPoolExecutor(AGENTS) as pool:
            running = [pool.submit(agents.run, number) for number in range(AGENTS)]
            until(
                lambda: agents.calls_done >= AGENTS * CALLS // 3 or any(a.done() for a in running),
                "a third of the calls",
                STEP_SECONDS,
            )
            # Paused first, so that everybody waits for an answer that never comes.
            victim.send_signal(signal.SIGSTOP)
            until(standing_still(agents), "all wait for the paused worker", STEP_SECONDS)
            victim.kill()
            assert victim.wait() == -signal.SIGKILL
            killed_at = agents.calls_done
            for agent in running:
                agent.result()
        assert killed_at < AGENTS * CALLS, "somebody was still at work"
        check(installation, agents, urls[1])


def standing_still(agents: Agents) -> Callable[[], bool]:
    """Whether no call has ended for many looks."""
    seen: list[int] = []

    def stands() -> bool:
        seen.append(agents.calls_done)
        return seen[-LOOKS:] == [agents.calls_done] * LOOKS

    return stands


def both_own(installation: Installation) -> bool:
    """Whether the two workers own all partitions between them, each some."""
    parts = [owned(installation, state) for state in ("victim", "heir")]
    return all(parts) and sorted(itertools.chain(*parts)) == list(range(PARTITIONS))


def check(installation: Installation, agents: Agents, url: str) -> None:
    """The log says what everybody was told: nothing lost, nothing twice, nothing overspent."""
    units = Counter[str]()
    for customer, used in agents.used.values():
        units[customer] += used
    on_job = sum(used for key, (_, used) in agents.used.items() if int(key[0]) < ON_THE_JOB)

    def job_stands() -> bool:
        status, told = call(url, "GET", "/v1/tasks/job%2F1")
        return status == 200 and (told["used"], told["held"]) == (str(on_job), "0")

    until(job_stands, f"the job has used {on_job} and holds nothing", STEP_SECONDS)
    installation.wait_consumed()
    check_decisions(installation, agents.told)
    assert len(agents.told) == AGENTS * CALLS
    assert len(agents.used) < len(agents.told), "nobody was refused: the budgets were no bound"
    found = kinds_of(installation, UsageEntry)
    assert Counter(entry.event_id for entry in found) == Counter(agents.used.keys())
    counted = Counter[str]()
    for entry in found:
        counted[entry.customer_id] += entry.units
    assert counted == units
    for customer in CUSTOMERS:
        _, told = call(url, "GET", f"/v1/customers/{customer}/budget")
        [balance] = [one for one in told["balances"] if one["denomination"] == "unit"]
        assert (balance["used"], balance["held"]) == (str(units[customer]), "0")
    check_audit(installation)
