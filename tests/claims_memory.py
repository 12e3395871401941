"""How much memory and time ten million claims take: `python -m tests.claims_memory DIRECTORY`.

Writes claims into 8 partitions as cycles would, then reads new and known ids by batches, and prints
what the process and RocksDB hold. Takes two minutes and half a gigabyte of disk; no test runs it.
Give the directory of an earlier run and `--read` to measure after a restart.
"""

import hashlib
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from streams.adapters.databases import shared_memory
from streams.ports import Changes, Table
from tests.contract.test_store_damage import open_store

CLAIMS = 10_000_000
PARTITIONS = 8
CYCLE = 5_000
BATCHES = 200
BATCH = 2_000


def key(number: int) -> bytes:
    """A claim's key, as random as a real one."""
    return hashlib.blake2b(b"%d" % number, digest_size=16).digest()


def memory_mib() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss) >> 20


def known_keys(partition: int) -> list[bytes]:
    """Ids that were claimed in a partition."""
    cycles = range(partition, CLAIMS // CYCLE, PARTITIONS)
    return [key(random.choice(cycles) * CYCLE + random.randrange(CYCLE)) for _ in range(BATCH)]


def new_keys(_partition: int) -> list[bytes]:
    """Ids that nobody has claimed."""
    return [os.urandom(16) for _ in range(BATCH)]


def main() -> None:
    """Measure and print."""
    store = open_store(Path(sys.argv[1]))
    peak = memory_mib()
    print(f"empty: {peak} MiB")
    if "--read" not in sys.argv:
        seconds = 0.0
        for cycle in range(CLAIMS // CYCLE):
            numbers = range(cycle * CYCLE, (cycle + 1) * CYCLE)
            rows = [(key(n), os.urandom(16) + n.to_bytes(16, "big")) for n in numbers]
            began = time.perf_counter()
            store.write(Table.CLAIMS, cycle % PARTITIONS, Changes(rows, cycle))
            seconds += time.perf_counter() - began
            peak = max(peak, memory_mib())
        print(f"write: {seconds / CLAIMS * 1e6:.2f} us per claim, peak {peak} MiB")
    reads: tuple[tuple[str, Callable[[int], list[bytes]]], ...] = (
        ("new", new_keys),
        ("known", known_keys),
    )
    for name, keys_of in reads:
        seconds, worst = 0.0, 0.0
        for batch in range(BATCHES):
            keys = keys_of(batch % PARTITIONS)
            began = time.perf_counter()
            found = store.read(Table.CLAIMS, batch % PARTITIONS, keys)
            took = time.perf_counter() - began
            seconds, worst = seconds + took, max(worst, took)
            assert all(row is not None for row in found) == (name == "known")
            peak = max(peak, memory_mib())
        each = seconds / BATCHES / BATCH
        print(f"{name} ids: {each * 1e6:.2f} us each, worst batch {worst * 1e3:.0f} ms")
    cache, buffers = shared_memory()
    print(f"cache {cache.get_usage() >> 20} MiB, unwritten {buffers.get_usage() >> 20} MiB")
    print(f"peak {peak} MiB")


if __name__ == "__main__":
    main()
