"""What an installation holds before a measurement begins: claims and accounts of earlier days.

Written into the changelogs in the form in which a worker writes them; the worker that is measured
recovers its tables from there. The ledger of those days is left out: nothing reads it.
"""

import asyncio
import random
from collections.abc import Iterator
from typing import Final

from schemas.budget import Denomination
from schemas.partitioner import partition_of
from schemas.topics import ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG
from streams.bench.broker import fill
from streams.bench.events import DAY_US, BenchRecord, customer_id
from streams.bench.loaded import Loaded
from streams.domain.appends import encode_account, encode_progress
from streams.domain.budget import Account
from streams.domain.decoding import RESERVED_KEY
from streams.domain.grants import OpenGrant
from streams.domain.identity import KEYED_CLAIM_BYTES
from streams.domain.ledger import segment_key
from streams.domain.state import Progress

CLAIMS_PER_SEGMENT: Final = 5_000
"""A large cycle's: 240,000 bytes, which fit into one batch."""

GENERATION: Final = 1
"""The one that a new installation begins with."""

GRANTED_UNITS: Final = 10**9
"""What is left of each account's grant: more than any workload takes."""

HASH_BYTES: Final = 16


def earlier_claims(loaded: Loaded, count: int) -> int:
    """Makes an installation remember so many claims, rounded up to whole segments in every
    partition; returns how many. Nothing may have been decided in it yet. Raises TransientError."""
    workload = loaded.workload
    rounds = -(-count // (CLAIMS_PER_SEGMENT * workload.partitions))
    _fill(
        loaded,
        CLAIMS_CHANGELOG.full_name(loaded.settings.topic_prefix),
        claims_segments(rounds, workload.partitions, workload.begins_at_us - DAY_US, workload.seed),
    )
    _fill(
        loaded,
        ACCOUNTS_CHANGELOG.full_name(loaded.settings.topic_prefix),
        progress_rows(rounds, workload.partitions),
    )
    return rounds * workload.partitions * CLAIMS_PER_SEGMENT


def earlier_accounts(loaded: Loaded) -> None:
    """Gives every customer of the workload an account with a grant that covers all of it. Raises
    TransientError."""
    topic = ACCOUNTS_CHANGELOG.full_name(loaded.settings.topic_prefix)
    workload = loaded.workload
    rows = account_rows(workload.customers, workload.partitions, workload.begins_at_us - DAY_US)
    _fill(loaded, topic, rows)


def claims_segments(
    rounds: int, partitions: int, appended_at_us: int, seed: int
) -> Iterator[BenchRecord]:
    """The claims' changelog after so many cycles of each partition, all of them at one time."""
    rng = random.Random(seed)  # noqa: S311 - ids only have to differ
    for cycle in range(rounds):
        for partition in range(partitions):
            first = cycle * CLAIMS_PER_SEGMENT
            drawn = rng.randbytes(CLAIMS_PER_SEGMENT * 2 * HASH_BYTES)
            at = appended_at_us.to_bytes(8, "big")
            value = b"".join(
                drawn[i * 2 * HASH_BYTES : (i + 1) * 2 * HASH_BYTES]
                + at
                + (first + i).to_bytes(8, "big")
                for i in range(CLAIMS_PER_SEGMENT)
            )
            assert len(value) == CLAIMS_PER_SEGMENT * KEYED_CLAIM_BYTES
            yield BenchRecord(partition, segment_key(GENERATION, cycle).encode(), value)


def progress_rows(rounds: int, partitions: int) -> Iterator[BenchRecord]:
    """What each partition says of itself after so many cycles that left nothing but claims."""
    progress = Progress(
        cycle=rounds, generation=GENERATION, claims_segment=segment_key(GENERATION, rounds - 1)
    )
    for partition in range(partitions):
        yield BenchRecord(partition, RESERVED_KEY, encode_progress(progress))


def account_rows(customers: int, partitions: int, granted_at_us: int) -> Iterator[BenchRecord]:
    """The accounts' changelog with one row for each customer, nothing used yet."""
    for rank in range(1, customers + 1):
        name = customer_id(rank)
        key = name.encode()
        grant = OpenGrant(
            f"{GENERATION}-usage-0-{rank}-0",
            Denomination.UNIT.value,
            GRANTED_UNITS,
            100,
            granted_at_us,
        )
        row = encode_account(Account(name, [grant]))
        yield BenchRecord(partition_of(key, partitions), key, row)


def _fill(loaded: Loaded, topic: str, records: Iterator[BenchRecord]) -> None:
    count = asyncio.run(fill(loaded.ground.bootstrap, topic, records))
    loaded.ground.say(f"{count:,} records in {topic}")
