"""A producer that is killed at any moment: what its calls returned for is in the log, once.

The gateway is one that loses answers; its memory by identity counts as a worker's claims do (the
worker itself is in tests/integration/test_producer_client.py).
"""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from schemas.client import Spool, SpoolBusyError
from schemas.client.spool_file import FILE_NAME
from tests.client_fakes import FakeGateway, accept, answer, drop, lose

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 90.0


def child(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.recovery.producer_child", *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: "subprocess.Popen[str]") -> list[str]:
    """Kills it and returns what it had still said."""
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    assert process.stdin is not None
    rest = process.stdout.read().splitlines(keepends=True)
    process.wait(WAIT_SECONDS)
    process.stdout.close()
    process.stdin.close()
    return rest


def output(process: "subprocess.Popen[str]") -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def event_ids(directory: Path) -> list[str]:
    with Spool(directory) as spool:
        records = spool.take(0, spool.last_sequence, 1_000_000, 1 << 30)
        assert spool.waiting == len(records)
    return [json.loads(one.value)["event_id"] for one in records]


def test_what_was_said_to_be_taken_is_there_after_a_kill_in_the_midst_of_appending(
    tmp_path: Path,
) -> None:
    known = 0
    for round_number in range(4):
        process = child("append", tmp_path)
        lines = list(itertools.islice(output(process), 10 + 17 * round_number))
        # The last line may be torn; its call has returned, but nobody can read for what.
        lines += [line for line in kill(process) if line.endswith("\n")]
        said = [name for line in lines for name in line.split()]
        found = event_ids(tmp_path)[known:]
        known += len(found)
        assert found[: len(said)] == said
        # Beyond it: what was printed in a torn line, and a commit that the kill kept from printing.
        assert len(found) - len(said) <= 6
        number, _, part = found[-1].partition("-")
        assert int(part) == int(number) % 3, "a commit is there with all of its events"


def test_every_event_counts_once_although_answers_are_lost_and_the_producer_is_killed(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)  # the same losses in every run
    said: list[str] = []
    with FakeGateway() as gateway:
        plans = [accept, lose, drop, answer(503), answer(429, {}, retry_after="0")]
        first = 0
        for round_number in range(5):
            gateway.plans.extend(chance.choices(plans, [4, 4, 1, 1, 1], k=40))
            process = child("send", tmp_path, gateway.url, 400, first)
            said += map(str.strip, itertools.islice(output(process), 60 + 50 * round_number))
            said += [line.strip() for line in kill(process) if line.endswith("\n")]
            first = _next(said)
        gateway.plans.clear()
        last = child("send", tmp_path, gateway.url, 1, first)
        said += output(last).read().split()
        assert last.wait(WAIT_SECONDS) == 0
        output(last).close()
        assert last.stdin is not None
        last.stdin.close()
        stored = {event_id for _, _, event_id in gateway.log}
        assert set(said) <= stored
        # Beyond what was said, for each kill: a torn line, and a call that could not say so.
        assert len(stored - set(said)) <= 10
        assert all(source == "child" for _, source, _ in gateway.log)
        # Without repeats nothing of this would have been tested.
        assert max(gateway.times.values()) > 1
    assert event_ids(tmp_path) == []


def _next(said: list[str]) -> int:
    """A number above every one that a killed producer may have used."""
    return max(int(name[1:]) for name in said if name[1:].isdecimal()) + 10


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """A spool of 30 events as a loss of power might leave it: the files of a process that never
    closed them."""
    process = child("hold", tmp_path / "live", 30)
    assert output(process).readline() == "ready\n"
    # As the disk has it now, the write-ahead log included.
    shutil.copytree(tmp_path / "live", tmp_path / "copy")
    kill(process)
    assert (tmp_path / "copy" / f"{FILE_NAME}-wal").stat().st_size > 30_000
    return tmp_path / "copy"


EXPECTED = [f"e{number}" for number in range(30)]


def test_a_torn_write_ahead_log_loses_only_what_was_torn(torn: Path, tmp_path: Path) -> None:
    log = torn / f"{FILE_NAME}-wal"
    size = log.stat().st_size
    lengths = sorted({size * step // 24 for step in range(25)} | {size - 1, size - 4_000})
    counts = []
    for length in lengths:
        copy = tmp_path / f"cut-{length}"
        shutil.copytree(torn, copy)
        os.truncate(copy / log.name, length)
        found = event_ids(copy)
        assert found == EXPECTED[: len(found)]
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] == 30
    assert 0 < counts[len(counts) // 2] < 30


def test_a_flipped_bit_in_the_write_ahead_log_loses_only_what_follows(
    torn: Path, tmp_path: Path
) -> None:
    log = torn / f"{FILE_NAME}-wal"
    content = log.read_bytes()
    seen = set()
    for step in range(1, 12):
        copy = tmp_path / f"flip-{step}"
        shutil.copytree(torn, copy)
        broken = bytearray(content)
        broken[len(content) * step // 12] ^= 0x10
        (copy / log.name).write_bytes(broken)
        found = event_ids(copy)
        assert found == EXPECTED[: len(found)]
        seen.add(len(found))
    assert len(seen) > 5


def test_what_is_appended_after_a_torn_log_is_durable_again(torn: Path) -> None:
    log = torn / f"{FILE_NAME}-wal"
    os.truncate(log, log.stat().st_size // 2)
    before = event_ids(torn)
    process = child("append", torn)
    lines = [next(output(process)).split() for _ in range(5)]
    kill(process)
    names = [name for line in lines for name in line]
    assert event_ids(torn)[: len(before) + len(names)] == before + names


def test_a_spool_belongs_to_one_process_until_that_ends(tmp_path: Path) -> None:
    process = child("hold", tmp_path, 3)
    assert output(process).readline() == "ready\n"
    with pytest.raises(SpoolBusyError):
        Spool(tmp_path)
    # A paused owner is still the owner.
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(SpoolBusyError):
        Spool(tmp_path)
    kill(process)
    assert event_ids(tmp_path) == ["e0", "e1", "e2"]
