"""What the partitions of an installation sent each other, compared once all of them are audited."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from schemas.topics import LEDGER, TRANSFERS
from streams.adapters.books import Bounds, KafkaBook, open_books, read_bounds
from streams.audit.report import PartitionReport
from streams.audit.transfers import (
    BOOK,
    Received,
    Sent,
    compare_transfers,
    due_transfers,
    found_transfers,
    partings,
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a partition sent, and what lies in its part of `transfers`."""

    partition: int
    partitions: int
    sent: Sent
    received: Received


def compare_exchanges(
    bootstrap: str,
    prefix: str,
    reports: Mapping[int, PartitionReport],
    exchanges: Sequence[Exchange],
    until_us: int | None,
    lives: Callable[[int, str], bool],
) -> None:
    """Notes in the reports every transfer that no cycle sent, or that was sent and is not there.

    Left out are sources that could not be audited to their end, and destinations whose oldest
    transfers are gone. Reads nothing where all is equal.
    """
    whole = [one for one in exchanges if not reports[one.partition].cannot_tell]
    found = partings(
        {one.partition: one.sent for one in whole},
        {one.partition: one.received for one in exchanges if one.received.whole},
    )
    if not found:
        return
    bounds = _bounds(bootstrap, prefix, exchanges[0].partitions)
    ends = {one.partition: one.sent.end for one in whole}
    with ExitStack() as opened:
        books: dict[int, dict[str, KafkaBook]] = {}

        def book(partition: int, topic: str) -> KafkaBook:
            if partition not in books:
                shelf = open_books(bootstrap, prefix, partition, bounds)
                books[partition] = opened.enter_context(shelf)
            return books[partition][topic]

        for parting in found:
            report, count = reports[parting.to], exchanges[0].partitions
            end, source = ends[parting.source], book(parting.source, LEDGER.name)
            due = due_transfers(source, parting, count, end, until_us, lives)
            there = found_transfers(book(parting.to, TRANSFERS.name), parting, count, until_us)
            if not compare_transfers(report, due, there) and parting.certain:
                what = f"not what the cycles of partition {parting.source} demand; its ledger is"
                report.differs(BOOK, f"from offset {parting.received.offset} on", what)


def _bounds(bootstrap: str, prefix: str, partitions: int) -> Bounds:
    """Where the books end now: the ledger is asked after `transfers`, so that it explains all of
    them."""
    first = read_bounds(bootstrap, prefix, partitions)
    then = read_bounds(bootstrap, prefix, partitions)
    return {at: (then if at[0] == LEDGER.name else first)[at] for at in first}
