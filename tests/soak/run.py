"""One schedule on a running stack: load, troubles, healing, draining, checks."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from schemas.topics import ATTRIBUTIONS, DEAD_LETTERS, LEDGER
from streams.adapters.clickhouse import ClickHouse
from streams.cli.main import COMMANDS
from streams.embedded.kafka import broker_answers
from streams.embedded.stack import EmbeddedStack
from streams.settings import Settings
from tests.embedded_waiting import until
from tests.installation import Installation, drop_topics
from tests.sinks import migrated_database
from tests.soak import books
from tests.soak.books import Verdict
from tests.soak.drain import drain
from tests.soak.fleet import Fleet
from tests.soak.load import Load
from tests.soak.proxy import FaultProxy
from tests.soak.schedule import OUTAGE_SECONDS, SINKS, WORKERS, Action, Schedule
from tests.soak.shares import Shares, close_soon

PARTITIONS: Final = 8
READY_SECONDS: Final = 180.0
AUDIT_SECONDS: Final = 300.0


@dataclass(slots=True)
class Report:
    """What one schedule did and what was found."""

    seed: int
    kind: str
    actions: list[str]
    verdict: Verdict
    sends: int = 0
    unknown: int = 0
    seconds: float = 0.0
    drain_seconds: float = 0.0
    exits: dict[str, dict[int, int]] = field(default_factory=dict)
    orphans: int = 0
    """Times that a new owner ended what a restarted broker had left open."""
    audit: str = "no audit"
    logs: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything is as it must be."""
        return not self.verdict.faults


class Background:
    """An event loop in a thread: the load and the proxy run there while the schedule waits."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Starts a coroutine; returns its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Ends the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Trouble:
    """Carries out the actions of a schedule."""

    def __init__(self, stack: EmbeddedStack, fleet: Fleet, proxy: FaultProxy, load: Load) -> None:
        self._stack = stack
        self._fleet = fleet
        self._proxy = proxy
        self._load = load
        self._silent: list[int] = []
        self._threads: list[threading.Thread] = []
        self.late: list[str] = []
        """Who did not end when asked to, in a planned restart."""

    def act(self, action: Action) -> None:
        """Do it; outages of the broker go on in the background."""
        target = action.target
        match action.verb:
            case "burst":
                self._load.burst()
            case "kill":
                self._fleet.kill(target)
            case "kill-and-lose-disk":
                self._fleet.kill(target, lose_disk=True)
            case "scale-down":
                self._fleet.scale_down(target)
            case "scale-up":
                self._fleet.start(target)
            case "pause":
                self._fleet.pause(target)
            case "wake":
                self._fleet.wake(target)
            case "roll":
                self._begin(self._roll, target)
            case "clickhouse":
                self._proxy.set_mode(target)
            case "clickhouse-kill":
                os.kill(self._stack.endpoints().pids["clickhouse"], signal.SIGKILL)
            case verb:
                self._begin(self._outage, verb, target or "kafka")

    def _begin(self, work: Callable[..., None], *what: str) -> None:
        thread = threading.Thread(target=work, args=what, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _roll(self, name: str) -> None:
        if not self._fleet.restart(name):
            self.late.append(name)

    def _outage(self, verb: str, name: str) -> None:
        if verb == "broker-silent":
            self._stand_still(self._stack.endpoints().pids[name])
            return
        # Of three brokers one at a time is away: so much is promised.
        self._all_answer()
        restarts = self._stack.supervisor.restarts(name)
        os.kill(self._stack.endpoints().pids[name], signal.SIGKILL)
        if verb == "broker-refused":
            # Its successor is stopped before it listens: connections are refused meanwhile.
            pids = self._stack.supervisor.pids
            until(
                lambda: self._stack.supervisor.restarts(name) > restarts and pids().get(name),
                "a new broker",
            )
            self._stand_still(pids()[name])

    def _stand_still(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self._silent.append(pid)
        threading.Event().wait(OUTAGE_SECONDS)
        self._resume(pid)

    def _resume(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, ValueError):
            self._silent.remove(pid)
            os.kill(pid, signal.SIGCONT)

    def _all_answer(self) -> None:
        servers = [s.partition(":") for s in self._stack.endpoints().kafka_bootstrap.split(",")]
        until(
            lambda: all(broker_answers(host, int(port)) for host, _, port in servers),
            "every broker is back",
            READY_SECONDS,
        )

    def heal(self) -> None:
        """Everything runs again, and both servers answer."""
        self._proxy.set_mode("pass")
        for thread in self._threads:
            thread.join(OUTAGE_SECONDS + READY_SECONDS)
        for pid in list(self._silent):
            self._resume(pid)
        self._fleet.heal()
        self._all_answer()
        self._stack.supervisor.wait_ready("clickhouse", timeout_seconds=READY_SECONDS)


def run_schedule(
    stack: EmbeddedStack, schedule: Schedule, folder: Path, name: str, **more: Any
) -> Report:
    """Runs a schedule under names of its own and says what was found. Leaves nothing running; logs
    stay in `folder`. `more` are settings."""
    begun = time.monotonic()
    actions = [str(action) for action in schedule.actions]
    report = Report(schedule.seed, schedule.kind, actions, Verdict(), logs=str(folder))
    endpoints = stack.endpoints()
    background = Background()
    proxy = FaultProxy(urlsplit(endpoints.clickhouse_url).port or 8123)
    background.begin(proxy.start()).result(READY_SECONDS)
    try:
        with migrated_database(endpoints, name) as clickhouse:
            installation = Installation.create(
                endpoints, f"{name}.", folder, partitions=PARTITIONS, log_level="info", **more
            )
            close_soon(installation)
            try:
                _run(stack, schedule, installation, clickhouse, background, proxy, report)
            except (AssertionError, TimeoutError) as fault:
                report.verdict.faults.append(f"{type(fault).__name__}: {fault}")
            finally:
                if not report.ok:
                    _keep_topics(stack, name, folder)
                drop_topics(installation.settings)
    finally:
        background.begin(proxy.stop()).result(READY_SECONDS)
        background.close()
    report.seconds = time.monotonic() - begun
    return report


def _keep_topics(stack: EmbeddedStack, name: str, folder: Path) -> None:
    """For whoever looks into a fault: the broker's own files of this schedule's topics."""
    for found in stack.home.kafka.glob("data/*"):
        if found.name.startswith((f"{name}.", "__transaction_state")):
            shutil.copytree(found, folder / "kafka" / found.name, dirs_exist_ok=True)


def _run(
    stack: EmbeddedStack,
    schedule: Schedule,
    installation: Installation,
    clickhouse: ClickHouse,
    background: Background,
    proxy: FaultProxy,
    report: Report,
) -> None:
    endpoints, settings = stack.endpoints(), installation.settings
    warehouse = {
        "clickhouse_url": f"http://127.0.0.1:{proxy.port}",
        "clickhouse_user": endpoints.clickhouse_user,
        "clickhouse_password": SecretStr(endpoints.clickhouse_password),
        "clickhouse_database": clickhouse.address.database,
        "sink_linger_ms": 50,
    }
    sinks = settings.model_copy(update=warehouse)
    load = Load(str(settings.kafka_bootstrap), settings.topic_prefix, PARTITIONS, schedule.seed)
    with _fleet(settings, sinks) as fleet:
        for number in range(WORKERS):
            fleet.start(f"worker{number}")
        for number in range(SINKS):
            fleet.start(f"sink{number}")
        loading = background.begin(load.run())
        fleet.wait_for_log("worker0", "fenced partitions", READY_SECONDS)
        trouble = Trouble(stack, fleet, proxy, load)
        try:
            _play(schedule, trouble)
        finally:
            load.end()
            trouble.heal()
        loading.result(READY_SECONDS)
        report.sends, report.unknown = load.sent.sends, load.sent.unknown
        drained = time.monotonic()
        late = []
        try:
            late += drain(installation, clickhouse, fleet)
        finally:
            report.drain_seconds = time.monotonic() - drained
            late += fleet.stop()
            report.exits = fleet.exits()
            report.orphans = fleet.count_in_logs("ending transactions that the broker left open")
        report.verdict.faults += fleet.strange_exits()
        report.verdict.faults += [f"{who} did not end when asked to" for who in late]
    _check(installation, clickhouse, load, report.verdict)
    direct = sinks.model_copy(update={"clickhouse_url": endpoints.clickhouse_url})
    _audit(direct, report)


@contextlib.contextmanager
def _fleet(settings: Settings, sinks: Settings) -> Iterator[Fleet]:
    fleet = Fleet(settings, sinks, settings.home)
    try:
        yield fleet
    finally:
        fleet.kill_all()


def _play(schedule: Schedule, trouble: Trouble) -> None:
    begun = time.monotonic()
    pause = threading.Event()
    for action in schedule.actions:
        pause.wait(max(0.0, begun + action.at - time.monotonic()))
        trouble.act(action)
    pause.wait(max(0.0, begun + schedule.load_seconds - time.monotonic()))


def _hidden(installation: Installation) -> list[str]:
    """For a fault's message: where records are in the log that `read_committed` does not show."""
    told = []
    for topic in (LEDGER, ATTRIBUTIONS, DEAD_LETTERS):
        shown, all_of_it = (installation.read(topic.name, committed=c) for c in (True, False))
        for partition, (some, every) in enumerate(zip(shown, all_of_it, strict=True)):
            if hidden := sorted({r.offset for r in every} - {r.offset for r in some}):
                told.append(f"not shown of {topic.name}-{partition}: {hidden[-5:]}")
    return told


def _check(
    installation: Installation, clickhouse: ClickHouse, load: Load, verdict: Verdict
) -> None:
    found = books.check_log(installation, verdict)
    present = {
        (topic, partition, record.offset): record.value
        for topic, parts in found.inbound.items()
        for partition, records in enumerate(parts)
        for record in records
    }
    gone = [place for place, value in load.sent.acked.items() if present.get(place) != value]
    if gone:
        verdict.lost += len(gone)
        verdict.faults.append(f"{len(gone)} acknowledged records are not in the log: {gone[:5]}")
    books.check_tables(clickhouse, found.ledger, found.letters, verdict)
    Shares(found.ledger, verdict).check(installation, clickhouse)
    if verdict.faults:
        verdict.faults += _hidden(installation)


def _audit(settings: Settings, report: Report) -> None:
    """`tollgate audit --json`, where this release has it; it must find nothing."""
    if "audit" not in COMMANDS:
        return
    result = subprocess.run(
        [sys.executable, "-m", "streams", "audit", "--json"],
        env=os.environ | settings.environment(),
        capture_output=True,
        text=True,
        timeout=AUDIT_SECONDS,
        check=False,
    )
    Path(report.logs, "audit.log").write_text(result.stdout + result.stderr, "utf-8")
    report.audit = f"exit {result.returncode}"
    if result.returncode != 0:
        told = (result.stdout + result.stderr).strip()
        with contextlib.suppress(ValueError):
            told = json.dumps(json.loads(result.stdout))
        report.verdict.faults.append(f"the audit ended with {result.returncode}: {told[-800:]}")
