"""A soak of everything: two gateways, three workers, two sinks, Kafka and ClickHouse, under every
kind of load and fault; then the books.

  1. topics, tables, processes; every partition answers over both gateways
  2. load over Kafka (load) and HTTP (all_clients), faults (all_plan), samples (all_samples), lag
  3. the load ends; everything heals and is drained
  4. books: Kafka's records, decisions, what HTTP was told, ClickHouse, `tollgate audit`
  5. flatness of every process that lived long enough
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from schemas import codec
from schemas.structs import SignalEntry, UsageEntry
from streams.adapters.clickhouse import ClickHouse
from streams.bench.preflight_books import DecisionBooks
from streams.bench.preflight_books import Verdict as Decisions
from streams.cli.main import COMMANDS
from streams.embedded.ports import pick_free_ports
from streams.embedded.stack import EmbeddedStack
from tests.installation import Installation, drop_topics
from tests.recovery.agents import wait_answering
from tests.sinks import migrated_database
from tests.soak import books
from tests.soak.all_clients import Clients
from tests.soak.all_plan import GATEWAYS, SINKS, WORKERS, Plan
from tests.soak.all_samples import Flatness, Sampler, Series, judge
from tests.soak.all_watch import Lag, LagWatch
from tests.soak.books import Books, Verdict
from tests.soak.drain import drain
from tests.soak.fleet import Fleet
from tests.soak.load import Load
from tests.soak.proxy import FaultProxy
from tests.soak.run import PARTITIONS, READY_SECONDS, Background, Trouble
from tests.soak.shares import Shares, close_soon

CUSTOMERS_OF_LOAD: Final = "customer-"
START_SECONDS: Final = 300.0
"""A deadline: seven processes that start at once load 4 CPU seconds of modules each."""
TELL_SECONDS: Final = 10.0
AUDIT_SECONDS: Final = 900.0
STATUS_SECONDS: Final = 180.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Result:
    """What a soak did and what was found."""

    plan: Plan
    verdict: Verdict = field(default_factory=Verdict)
    decisions: Decisions | None = None
    clients: Clients | None = None
    done: list[tuple[float, str]] = field(default_factory=list)
    """Faults, and when they were really done."""
    series: list[Series] = field(default_factory=list)
    flat: list[Flatness] = field(default_factory=list)
    disk: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    lags: list[Lag] = field(default_factory=list)
    exits: dict[str, dict[int, int]] = field(default_factory=dict)
    status: Any = None
    """What `tollgate status --json` said right after a worker was killed."""
    audit: str = "no audit"
    begun: float = 0.0
    """On the monotonic clock."""
    load_seconds: float = 0.0
    drain_seconds: float = 0.0
    kafka_sends: int = 0
    kafka_unknown: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything is as it must be."""
        return not self.verdict.faults


def run_everything(
    stack: EmbeddedStack, plan: Plan, folder: Path, name: str, say: Say = lambda _line: None
) -> Result:
    """Runs it under names of its own. Leaves nothing running; logs stay in `folder`."""
    result = Result(plan)
    endpoints = stack.endpoints()
    background = Background()
    proxy = FaultProxy(urlsplit(endpoints.clickhouse_url).port or 8123)
    background.begin(proxy.start()).result(READY_SECONDS)
    try:
        with migrated_database(endpoints, name) as clickhouse:
            installation = Installation.create(
                endpoints, f"{name}.", folder, partitions=PARTITIONS, log_level="info"
            )
            close_soon(installation)
            try:
                soak = Soak(stack, installation, clickhouse, background, proxy, result, say)
                soak.run()
            except (
                AssertionError,
                TimeoutError,
                RuntimeError,
                subprocess.SubprocessError,
            ) as fault:
                result.verdict.faults.append(f"{type(fault).__name__}: {fault}")
            finally:
                drop_topics(installation.settings)
    finally:
        background.begin(proxy.stop()).result(READY_SECONDS)
        background.close()
    return result


class Soak:
    """One of them, with everything that takes part."""

    def __init__(
        self,
        stack: EmbeddedStack,
        installation: Installation,
        clickhouse: ClickHouse,
        background: Background,
        proxy: FaultProxy,
        result: Result,
        say: Say,
    ) -> None:
        self._stack = stack
        self._installation = installation
        self._clickhouse = clickhouse
        self._background = background
        self._result = result
        self._say = say
        self._asking: list[threading.Thread] = []
        endpoints, settings = stack.endpoints(), installation.settings
        sinks = settings.model_copy(
            update={
                "clickhouse_url": f"http://127.0.0.1:{proxy.port}",
                "clickhouse_user": endpoints.clickhouse_user,
                "clickhouse_password": SecretStr(endpoints.clickhouse_password),
                "clickhouse_database": clickhouse.address.database,
                "sink_linger_ms": 50,
            }
        )
        self._direct = sinks.model_copy(update={"clickhouse_url": endpoints.clickhouse_url})
        places = [f"127.0.0.1:{port}" for port in pick_free_ports(len(GATEWAYS))]
        own = {
            gateway: {"gateway_listen": at} for gateway, at in zip(GATEWAYS, places, strict=True)
        }
        self._urls = [f"http://{at}" for at in places]
        self._fleet = Fleet(settings, sinks, settings.home, own)
        seed = result.plan.seed
        self._load = Load(str(settings.kafka_bootstrap), settings.topic_prefix, PARTITIONS, seed)
        self._clients = result.clients = Clients(self._urls, seed)
        self._trouble = Trouble(stack, self._fleet, proxy, self._load)

    def run(self) -> None:
        """From the start to the verdict."""
        try:
            for slot in (*WORKERS, *SINKS, *GATEWAYS):
                self._fleet.start(slot)
            for url in self._urls:
                wait_answering(self._installation, url, START_SECONDS)
            self._say(f"{len(WORKERS)} workers, {len(SINKS)} sinks, {len(GATEWAYS)} gateways ready")
            self._under_load()
            self._drained()
        finally:
            self._fleet.kill_all()
        self._check()

    def _under_load(self) -> None:
        result = self._result
        begun = result.begun = time.monotonic()
        lag = LagWatch(self._installation.settings, self._clickhouse, begun)
        sampler = Sampler(self._pids, self._folders(), begun)
        loading, watching = (self._background.begin(w.run()) for w in (self._load, lag))
        self._clients.start()
        sampler.start()
        try:
            self._play(lag)
        finally:
            self._load.end()
            self._trouble.heal()
            self._say("load ends; waiting for the last answers")
            self._clients.end()
            for thread in self._asking:
                thread.join(STATUS_SECONDS)
            lag.end()
            result.load_seconds = time.monotonic() - begun
            result.series, result.disk = sampler.end(), sampler.disk
        loading.result(READY_SECONDS)
        watching.result(READY_SECONDS)
        result.lags = lag.seen
        result.kafka_sends, result.kafka_unknown = self._load.sent.sends, self._load.sent.unknown

    def _pids(self) -> dict[str, int]:
        return self._fleet.pids() | self._stack.supervisor.pids()

    def _folders(self) -> dict[str, Path]:
        home = self._installation.settings.home
        stores = {name: home / f"{name}.state" for name in WORKERS}
        return stores | {"kafka": self._stack.home.kafka, "clickhouse": self._stack.home.clickhouse}

    def _play(self, lag: LagWatch) -> None:
        begun, pause = self._result.begun, threading.Event()
        due = [*self._result.plan.actions]
        told = 0.0
        # Who is slow does everything late, and the load lasts until all of it is done.
        while (now := time.monotonic() - begun) < self._result.plan.seconds or due:
            if due and due[0].at <= now:
                action = due.pop(0)
                self._trouble.act(action)
                self._result.done.append((now, f"{action.verb} {action.target}".rstrip()))
                self._say(f"{now:5.0f} s  {self._result.done[-1][1]}")
                if action.verb.startswith("kill") and action.target in WORKERS:
                    self._asking.append(self._begin(self._ask_status))
            elif now >= told:
                told = now + TELL_SECONDS
                self._tell(now, lag)
            else:
                pause.wait(min(1.0, told - now, (due[0].at - now) if due else 1.0))

    def _tell(self, now: float, lag: LagWatch) -> None:
        answers = sum(len(kind.times) for kind in list(self._clients.answers.values()))
        seen = lag.seen[-1] if lag.seen else None
        self._say(
            f"{now:5.0f} s  {answers} answers, {len(self._clients.told)} decisions, "
            f"{self._load.sent.sends} records sent to Kafka"
            + (f", lag {seen.workers} records" if seen else "")
        )

    def _ask_status(self) -> None:
        """Once, while the partitions of a killed worker wait for their new owners."""
        if len(self._asking) > 1 or "status" not in COMMANDS:
            return
        try:
            done = self._command(STATUS_SECONDS, "status", "--json")
        except subprocess.TimeoutExpired:
            self._result.verdict.faults.append(f"no status within {STATUS_SECONDS:.0f} s")
            return
        try:
            self._result.status = {"exit": done.returncode, "said": json.loads(done.stdout)}
        except ValueError:
            self._result.status = {"exit": done.returncode, "said": None}
            told = (done.stdout + done.stderr)[-400:]
            self._result.verdict.faults.append(f"`tollgate status --json` gave no JSON: {told}")

    def _begin(self, work: Callable[[], None]) -> threading.Thread:
        """Beside the load: faults keep their times."""
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def _command(self, seconds: float, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "streams", *words],
            env=os.environ | self._direct.environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def _drained(self) -> None:
        self._say("draining")
        begun = time.monotonic()
        late = self._trouble.late
        try:
            late += drain(self._installation, self._clickhouse, self._fleet)
        finally:
            self._result.drain_seconds = time.monotonic() - begun
            late += self._fleet.stop()
            self._result.exits = self._fleet.exits()
        faults = self._result.verdict.faults
        faults += self._fleet.strange_exits()
        faults += [f"{who} did not end when asked to" for who in late]

    def _check(self) -> None:
        self._say("checking the books")
        result, verdict, installation = self._result, self._result.verdict, self._installation
        verdict.faults += self._clients.faults
        found = books.read_books(installation, verdict)
        present = {
            (topic, partition, record.offset): record.value
            for topic, parts in found.inbound.items()
            for partition, records in enumerate(parts)
            for record in records
        }
        acked = self._load.sent.acked
        if gone := [place for place, value in acked.items() if present.get(place) != value]:
            verdict.lost += len(gone)
            verdict.faults.append(f"{len(gone)} acknowledged records are gone: {gone[:5]}")
        books.check_customers(found, PARTITIONS, CUSTOMERS_OF_LOAD, verdict)
        books.check_burns(found.ledger, verdict)
        books.check_tables(self._clickhouse, found.ledger, found.letters, verdict)
        Shares(found.ledger, verdict).check(installation, self._clickhouse)
        self._check_clients(found)
        for series in result.series:
            if (flat := judge(series)) is not None:
                result.flat.append(flat)
                verdict.faults += flat.faults
        self._say("auditing")
        done = self._command(AUDIT_SECONDS, "audit", "--json")
        result.audit = f"exit {done.returncode}"
        if done.returncode != 0:
            told = (done.stdout + done.stderr).strip()[-800:]
            verdict.faults.append(f"the audit ended with {done.returncode}: {told}")

    def _check_clients(self, found: Books) -> None:
        """What clients over HTTP were told is what the ledger says."""
        verdict = self._result.verdict
        counted = Counter(
            f"{'usage' if isinstance(entry, UsageEntry) else 'signal'} "
            f"{entry.customer_id.partition('-')[0]}"
            for part in found.ledger
            for entry in part
            if isinstance(entry, UsageEntry | SignalEntry)
            and not entry.customer_id.startswith(CUSTOMERS_OF_LOAD)
        )
        sent = self._clients.sent
        if counted != sent:
            verdict.lost += sum((sent - counted).values())
            verdict.doubled += sum((counted - sent).values())
            verdict.faults.append(f"over HTTP {dict(sent)} were accepted; found {dict(counted)}")
        decided = DecisionBooks()
        for partition, part in enumerate(found.ledger):
            for entry in part:
                decided.take(partition, None, codec.encode(entry), 0)
        mine = {customer for customer, _ in self._clients.told}
        self._result.decisions = judged = decided.judge(self._clients.told, mine)
        if not judged.is_right:
            verdict.faults.append(f"decisions: {judged}")
