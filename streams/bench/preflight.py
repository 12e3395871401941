"""`tollgate bench preflight`: may I spend this, asked through the gateway on a real broker.

  1. for each topology an installation of its own, its workers and its gateway     (preflight_stack)
  2. each scenario: budgets granted, load in an open loop with latency from the scheduled time
     (http_load), what was approved settled meanwhile                                      (agents)
     or usage recorded, one answer after the other                               (preflight_records)
  3. what nobody answered is asked again with the same keys, as agents do
  4. the rest of the holds expires; then the ledger says what was overspent, and what leaked
                                                                                  (preflight_books)

Budgets are granted less than what is asked for where a rate is given, so that they run out while
fifty agents ask at once: overspend has its chance.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import psutil
import uvloop

from schemas.topics import LEDGER
from streams.bench.agents import TTL_SECONDS, Agents, merged, settle
from streams.bench.broker import Feeder, follow
from streams.bench.events import SEED, Workload, yesterday_us
from streams.bench.ground import Ground
from streams.bench.http_load import HttpLoad, Make, Measured, Plan, Take
from streams.bench.ingesting import ingesting
from streams.bench.latency import percentile
from streams.bench.loaded import Loaded, install
from streams.bench.preflight_books import DecisionBooks, Verdict
from streams.bench.preflight_plan import NAMES, PLANNED, Scenario, granted_units, targets
from streams.bench.preflight_records import Recorders
from streams.bench.preflight_stack import Stack, Topology, running
from streams.bench.report import Report, at_most, machine
from streams.embedded.ports import LOOPBACK
from streams.errors import TransientError

WARM_SECONDS: Final = 3.0
"""Code gets warm and connections stand; answers of this time do not count."""

ASK_AGAIN_RATE: Final = 500.0
"""Requests a second when what was not answered is asked again."""

ASK_AGAIN_SECONDS_MAX: Final = 60.0
"""Within which every ask must have an answer: a killed worker's partitions are taken over within
ten."""

CLOSING_SECONDS_MAX: Final = TTL_SECONDS + 40.0
"""Within which every hold must be closed. A hold of a dead owner waits for the next one first."""


@dataclass(frozen=True, slots=True)
class PreflightOptions:
    """`seconds` of load in each scenario, the warm ones beside them."""

    seconds: int = 20
    partitions: int = 8
    seed: int = SEED
    topologies: frozenset[str] = frozenset(NAMES)
    scenarios: frozenset[str] = frozenset()
    """All, where none is named."""
    ingest: float | None = None
    """Other than the planned rate of what is ingested."""


@dataclass(slots=True)
class Done:
    """A scenario that has run."""

    scenario: Scenario
    agents: Agents
    measured: Measured
    busy_per_cent: float
    cpu_seconds: float
    """Of workers and gateway, the warm time included."""
    asked_again: int
    ingested: int
    """Events that other customers used meanwhile, all of them acknowledged."""


def run_preflight(ground: Ground, options: PreflightOptions, now_us: int) -> Report:
    """Measures everything that is planned and chosen.

    Raises FaultError where a process of ours ended, TransientError where one hangs.
    """
    report = Report(
        machine()
        | {"contender_pinned": ground.cores.pinned, "broker_pinned": ground.broker_pinned}
        | {"seconds": options.seconds, "partitions": options.partitions, "seed": options.seed}
    )
    for topology, scenarios in PLANNED:
        chosen = [
            scenario
            if options.ingest is None or not scenario.ingest
            else replace(scenario, ingest=options.ingest)
            for scenario in scenarios
            if not options.scenarios or scenario.name in options.scenarios
        ]
        if topology.name in options.topologies and chosen:
            _measure(ground, options, now_us, topology, chosen, report)
    return report


def _measure(
    ground: Ground,
    options: PreflightOptions,
    now_us: int,
    topology: Topology,
    scenarios: list[Scenario],
    report: Report,
) -> None:
    workload = Workload(0, yesterday_us(now_us), seed=options.seed, partitions=options.partitions)
    loaded = install(ground, workload)
    with running(ground, loaded.settings, topology) as stack:
        done, books = uvloop.run(run_scenarios(loaded, stack, options, topology, scenarios))
    for each in done:
        verdict = books.judge(each.agents.told, each.agents.customers)
        _add(report, topology, each, verdict)
        if isinstance(each.agents, Recorders):
            name = f"{topology.name}, {each.scenario.name}, lost or counted twice"
            report.add(name, each.agents.miscounted(books), "records", at_most(0))
    verdict = books.judge(merged([each.agents for each in done]))
    for fault in verdict.faults:
        ground.say(f"{topology.name}: {fault}")
    report.add(f"{topology.name}, decided or closed twice", verdict.doubled, "times", at_most(0))
    report.add(f"{topology.name}, void decisions in the log", books.void_records, "records")
    loaded.drop()


async def run_scenarios(
    loaded: Loaded,
    stack: Stack,
    options: PreflightOptions,
    topology: Topology,
    scenarios: list[Scenario],
) -> tuple[list[Done], DecisionBooks]:
    """Runs these scenarios one after the other on a stack that has been started, and reads what the
    ledger says in the end. Raises FaultError and TransientError."""
    loaded.ground.say(f"starting {topology.name}")
    await stack.await_ready()
    feeder = Feeder(loaded.ground.bootstrap, loaded.usage_topic)
    await feeder.start()
    done = []
    try:
        for number, scenario in enumerate(scenarios):
            loaded.ground.say(f"{topology.name}: {scenario.name}")
            done.append(await _run(loaded, stack, options, scenario, number, feeder))
        await feeder.flush()
        books = await _read_until_closed(loaded, [each.agents for each in done])
    finally:
        await feeder.stop()
    return done, books


async def _run(
    loaded: Loaded,
    stack: Stack,
    options: PreflightOptions,
    scenario: Scenario,
    number: int,
    feeder: Feeder,
) -> Done:
    customers = [f"bench-{number:02d}-{budget:02d}" for budget in range(scenario.budgets)]
    kind = Recorders if scenario.records else Agents
    agents = kind(f"{number:02d}", customers, options.partitions)
    acts = _acts(scenario, agents)
    plan = Plan(scenario.connections, options.seconds, scenario.rate, WARM_SECONDS)
    asks = None if plan.rate is None else plan.rate * (plan.seconds + plan.warm_seconds)
    units = granted_units(asks, scenario.budgets)
    await asyncio.gather(*(stack.grant(customer, units) for customer in customers))
    dead = []
    with ingesting(loaded, scenario.ingest, plan.warm_seconds + plan.seconds) as (go, ingested):
        load = HttpLoad(LOOPBACK, stack.port, plan, acts.make, acts.take)
        settling = asyncio.create_task(settle(agents, feeder))
        if scenario.kills:
            victim = stack.workers[0]
            dead.append(victim)
            asyncio.get_running_loop().call_later(
                plan.warm_seconds + plan.seconds / 2, victim.process.kill
            )
        go()
        before, cpu_before = psutil.cpu_times(), stack.cpu_seconds()
        try:
            measured = await load.run()
        finally:
            busy = _busy_per_cent(before, psutil.cpu_times())
            cpu = stack.cpu_seconds() - cpu_before
            settling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await settling
    stack.check(dead)
    left = acts.unanswered(measured.sent)
    await _ask_again(stack, acts, left)
    await feeder.feed(agents.settlements())
    return Done(scenario, agents, measured, busy, cpu, len(left), ingested.value)


@dataclass(frozen=True, slots=True)
class Acts:
    """What the agents of a scenario do: a request by its number, what is done with its answer, and
    the numbers below another one that have none yet."""

    make: Make
    take: Take
    unanswered: Callable[[int], list[int]]


def _acts(scenario: Scenario, agents: Agents) -> Acts:
    if scenario.lookups:
        return Acts(agents.lookup, lambda *_: None, lambda _sent: [])
    if isinstance(agents, Recorders):
        return Acts(agents.record, agents.take_record, agents.unrecorded)
    return Acts(agents.preflight, agents.take, agents.unanswered)


async def _ask_again(stack: Stack, acts: Acts, numbers: list[int]) -> None:
    """Asks what nobody answered until somebody does. Raises TransientError."""
    deadline = time.monotonic() + ASK_AGAIN_SECONDS_MAX
    while numbers:
        asked = numbers

        def make(index: int, asked: list[int] = asked) -> bytes:
            return acts.make(asked[index])

        def take(index: int, status: int, body: bytes, asked: list[int] = asked) -> None:
            acts.take(asked[index], status, body)

        plan = Plan(8, len(asked) / ASK_AGAIN_RATE, ASK_AGAIN_RATE, warm_seconds=0)
        await HttpLoad(LOOPBACK, stack.port, plan, make, take).run()
        missing = set(acts.unanswered(max(asked) + 1))
        numbers = [number for number in asked if number in missing]
        if numbers and time.monotonic() > deadline:
            raise TransientError(
                f"{len(numbers)} requests have no answer {ASK_AGAIN_SECONDS_MAX:.0f} s after the "
                "load",
                action="Read the logs of worker and gateway, then run the benchmark again.",
            )


async def _read_until_closed(loaded: Loaded, parts: list[Agents]) -> DecisionBooks:
    """The ledger, read until every hold is closed and every answer stands there, or the time for
    that is over."""
    settings, books, told = loaded.settings, DecisionBooks(), merged(parts)
    customers = [customer for agents in parts for customer in agents.customers]
    deadline = time.monotonic() + CLOSING_SECONDS_MAX

    def enough() -> bool:
        if time.monotonic() > deadline:
            return True
        counted = all(not one.miscounted(books) for one in parts if isinstance(one, Recorders))
        # What the probes of a start hold stays open for its hour.
        return counted and not books.open_holds(customers) and books.knows(told)

    await follow(
        loaded.ground.bootstrap,
        LEDGER.full_name(settings.topic_prefix),
        settings.partitions,
        books.take,
        enough,
    )
    return books


# --- what goes on beside the load ---------------------------------------------------------------


def _busy_per_cent(before: Any, after: Any) -> float:
    """How much of all cores was used between two looks, by anybody."""
    spent = [late - early for early, late in zip(before, after, strict=True)]
    whole = sum(spent)
    idle = spent[before._fields.index("idle")]
    return 100 * (1 - idle / whole) if whole else 0.0


def _add(report: Report, topology: Topology, done: Done, verdict: Verdict) -> None:
    scenario, measured = done.scenario, done.measured
    due = targets(topology, scenario)
    name = f"{topology.name}, {scenario.name}"
    if measured.latencies_ms:
        for label, share in (("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)):
            value = percentile(measured.latencies_ms, share)
            report.add(f"{name}, {label}", value, "ms", due.get(label))
    report.add(f"{name}, per second", measured.per_second, "answers/s", due.get("per second"))
    failed = measured.sent + measured.unsent - measured.statuses[200]
    tolerated = None if scenario.kills else at_most(0)
    report.add(f"{name}, not answered at first", failed, "requests", tolerated)
    if scenario.kills:
        report.add(f"{name}, asked again", done.asked_again, "requests")
    if not scenario.lookups and not scenario.records:
        report.add(f"{name}, approved", verdict.approved, "decisions")
        report.add(f"{name}, refused", verdict.refused, "decisions")
        report.add(f"{name}, overspent", verdict.overspent_units, "units", at_most(0))
        report.add(f"{name}, leaked holds", verdict.leaked_holds, "holds", at_most(0))
        report.add(f"{name}, void answers", verdict.void_answers, "answers", at_most(0))
    if scenario.ingest:
        per_second = done.ingested / (measured.seconds + WARM_SECONDS)
        report.add(f"{name}, ingested", per_second, "events/s")
    report.add(f"{name}, machine busy", done.busy_per_cent, "%")
    if not scenario.kills and not scenario.ingest:
        report.add(f"{name}, CPU per answer", done.cpu_seconds / measured.sent * 1e6, "µs")
    used = 100 * measured.cpu_seconds / (measured.seconds + WARM_SECONDS)
    report.add(f"{name}, of it load", used / (psutil.cpu_count() or 1), "%")
    report.add(f"{name}, load late on average", measured.late_ms_mean, "ms")
    report.add(f"{name}, load late by at most", measured.late_ms_max, "ms")
