"""The rounds: a fresh installation with the records in it, then everybody in turn.

  1. topics, prices, all records                     (the same topic `usage` for everybody)
  2. each contender: anchor, run, anchor, check      (another one begins in every round)
  3. the round's topics are deleted

A figure is made only of a run whose result was right.
"""

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from bench.contenders import Contender, Job
from bench.figures import Run
from bench.measure import Course, anchor, measure
from bench.onlooker import Onlooker
from bench.outputs import half_at_ms
from streams.bench.broker import make_topics
from streams.bench.events import Workload, bench_records
from streams.bench.ground import BROKER, Ground
from streams.bench.loaded import Loaded, load
from streams.embedded.endpoints import find_running

ANCHOR_RECORDS: Final = 50_000
"""Values that the anchor decodes in each pass: enough for a tenth of a second."""

OUTPUT_CONFIG: Final = {"message.timestamp.type": "LogAppendTime"}
"""Of a peer's output: the broker says when an entry was stored."""


def run_rounds(
    ground: Ground, contenders: Sequence[Contender], workload: Workload, rounds: int
) -> Iterator[Run]:
    """Yields the runs as they are made, each after its result was found right.

    Raises FaultError where a result is wrong or a contender fails.
    """
    sample = [record.value for record in islice(bench_records(workload), ANCHOR_RECORDS)]
    for number in range(1, rounds + 1):
        loaded = load(ground, workload)
        for contender in turns(contenders, number):
            ground.say(f"round {number} of {rounds}: {contender.name}")
            yield _run(contender, loaded, sample, number)
        loaded.drop()


def turns(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """Everybody once, each round beginning with the next: nobody always runs after a rest."""
    first = (number - 1) % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def _run(contender: Contender, loaded: Loaded, sample: Sequence[bytes], number: int) -> Run:
    ground = loaded.ground
    job = Job(loaded, ground.name(contender.name))
    job.folder.mkdir()
    before = anchor(sample, ground.cores.contender)
    course = asyncio.run(_measured(contender, job))
    after = anchor(sample, ground.cores.contender)
    half_at = half_at_ms(contender.check(job)) / 1e3
    ground.drop(job.name)
    shutil.rmtree(job.folder)
    return Run(
        contender=contender.name,
        round=number,
        events=loaded.expected.records,
        seconds=course.seconds,
        cpu_seconds=course.cpu_since(course.begun_at),
        half_seconds=course.ended_at - half_at,
        half_cpu_seconds=course.cpu_since(half_at),
        rss_mb=course.rss_mb,
        broker_cpu_seconds=course.broker_cpu_seconds,
        anchor_before=before,
        anchor_after=after,
    )


async def _measured(contender: Contender, job: Job) -> Course:
    ground, partitions = job.loaded.ground, job.loaded.settings.partitions
    output = contender.output_topic(job)
    if output is not None:
        await make_topics(ground.bootstrap, [output], partitions, OUTPUT_CONFIG)
    running = find_running(ground.settings.home)
    async with Onlooker(ground.bootstrap, partitions) as onlooker:
        return await measure(
            contender.command(job),
            lambda: contender.progress(job, onlooker),
            contender.due(job),
            cores=ground.cores.contender,
            broker_pid=running.pids.get(BROKER) if running else None,
        )
