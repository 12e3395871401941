"""Waiting until ClickHouse has everything that follows from what `budgets` holds now: what is
decided from rows alone (closing a period, rating anew) would otherwise be decided a second time, or
without terms that were told before.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from schemas import codec
from schemas.topics import BUDGETS, LEDGER
from streams.adapters.positions import end_offsets
from streams.adapters.tails import Tail, read_tails
from streams.app.addresses import kafka_bootstrap
from streams.errors import TransientError
from streams.ports import Warehouse
from streams.settings import Settings

SILENCE_SECONDS_MAX: Final = 90.0
"""How long nothing may arrive while something is waited for: a worker that was killed is back
within ten seconds, a sink sooner."""

POLL_SECONDS: Final = 0.1
"""Between two looks at the rows."""

CONSUMED_SQL: Final = """
SELECT `partition`, max(piece.to_offset)
FROM ledger
ARRAY JOIN consumed AS piece
WHERE customer_id = '' AND kind = 'cycle' AND generation = {generation:UInt64}
    AND piece.topic = 'budgets'
GROUP BY `partition`
"""

MARKS_SQL: Final = """
SELECT `partition`, max(sequence) FROM ledger
WHERE generation = {generation:UInt64} GROUP BY `partition`
"""

By = Mapping[int, int]
"""A number for each partition; one that is missing counts as nothing."""


async def await_rows(
    settings: Settings, warehouse: Warehouse, generation: int, partitions: int
) -> None:
    """Returns when the rows hold what follows from every record that `budgets` held at the call.

    A cycle's own row comes first and says what it consumed, and an insert may end behind it: so the
    ledger is looked at once more when those rows are there, and all of it has to come. Raises
    TransientError where nothing comes for SILENCE_SECONDS_MAX.
    """

    def ask(sql: str) -> By:
        rows = warehouse.query(sql, {"generation": generation}).rows
        return {int(partition): int(number) for partition, number in rows}

    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    ends = await end_offsets(bootstrap, BUDGETS.full_name(prefix), partitions)
    due = {partition: end for partition, end in enumerate(ends) if end}
    await reached(lambda: ask(CONSUMED_SQL), due, BUDGETS.name)
    ledger = LEDGER.full_name(prefix)
    tails = await read_tails(bootstrap, [ledger], range(partitions))
    last = {partition: last_sequence(tail, generation) for (_, partition), tail in tails.items()}
    await reached(lambda: ask(MARKS_SQL), last, LEDGER.name)


def last_sequence(tail: Tail, generation: int) -> int:
    """The sequence with which a partition of the ledger ends in a generation; 0 before it has one:
    the first cycle's own entry, of which nothing else can be missing."""
    if tail.value is None:
        return 0
    mark = codec.decode_mark(tail.value)
    return mark.sequence if mark.generation == generation else 0


async def reached(
    look: Callable[[], By],
    due: By,
    topic: str,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Returns when what is seen has come to what is due. Raises TransientError where nothing moves
    for SILENCE_SECONDS_MAX."""
    before: By | None = None
    deadline = 0.0
    while True:
        seen = await asyncio.to_thread(look)
        behind = [partition for partition, end in due.items() if seen.get(partition, 0) < end]
        if not behind:
            return
        if seen != before:
            before, deadline = seen, now() + SILENCE_SECONDS_MAX
        if now() > deadline:
            first = behind[0]
            raise TransientError(
                f"ClickHouse has the entries of {topic}/{first} up to {seen.get(first, 0)}, the "
                f"topic goes up to {due[first]}",
                action="Check that workers and sinks run, then give the command again.",
            )
        await asyncio.sleep(POLL_SECONDS)
