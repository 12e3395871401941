"""Measuring a process from outside: what it and its children use, between two moments."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from streams.bench.affinity import choose_cores, on_cores, pin
from streams.bench.measure import Meter, Usage, cpu_seconds, rss_bytes, stop

SPINNER = """
import subprocess, sys, time
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=sys.stdout)
begun = time.process_time()
while time.process_time() - begun < 0.3:
    pass
print("done", flush=True)
sys.stdin.read()
"""


def spinner(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SPINNER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def hear(process: subprocess.Popen[bytes], lines: int) -> None:
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(lines)] == [b"done\n"] * lines


def end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    stop(process)
    process.stdout.close()


def test_the_cpu_of_children_counts() -> None:
    alone, both = spinner(), spinner(SPINNER)
    try:
        hear(alone, 1)
        hear(both, 2)
        assert cpu_seconds(alone.pid) >= 0.3
        assert cpu_seconds(both.pid) >= 0.6
    finally:
        end(alone)
        end(both)


def test_what_was_used_before_the_beginning_does_not_count() -> None:
    process = spinner()
    try:
        hear(process, 1)
        with Meter(process.pid) as meter:
            meter.begin()
            usage = meter.end(10)
        assert usage.cpu_seconds < 0.3 <= cpu_seconds(process.pid)
        assert usage.rss_bytes_max >= rss_bytes(process.pid) > 0
    finally:
        end(process)


def test_rates_are_per_record() -> None:
    usage = Usage(records=1_000, seconds=4.0, cpu_seconds=2.0, rss_bytes_max=1)
    assert (usage.per_second, usage.per_cpu_second, usage.cpu_us) == (250, 500, 2_000)


def test_a_process_that_is_gone_uses_nothing_more() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert cpu_seconds(process.pid) == rss_bytes(process.pid) == 0
    pin(process.pid, {0})


def test_the_contender_has_a_core_of_its_own() -> None:
    cores = choose_cores()
    assert not cores.contender & cores.others
    assert len(cores.contender) == cores.pinned


def test_a_pinned_process_stays_on_its_core_with_its_threads() -> None:
    cores = choose_cores()
    process = spinner()
    try:
        hear(process, 1)
        pin(process.pid, cores.contender)
        if cores.pinned:
            tasks = [int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()]
            assert {frozenset(os.sched_getaffinity(task)) for task in tasks} == {cores.contender}
        assert psutil.pid_exists(process.pid)
    finally:
        end(process)


def test_a_process_begins_its_life_on_the_chosen_core() -> None:
    cores = choose_cores()
    before = os.sched_getaffinity(0)
    with on_cores(cores.contender):
        process = spinner()
    try:
        assert os.sched_getaffinity(0) == before
        assert os.sched_getaffinity(process.pid) == (cores.contender or before)
    finally:
        end(process)
