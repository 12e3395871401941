"""What the partitions of an installation sent each other, compared once all of them are audited."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from schemas.topics import LEDGER, TRANSFERS
from streams.adapters.books import Bounds, Library
from streams.audit.forwards import compare_forwards, due_at
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
from streams.ports import Book


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a partition sent, and what lies in its part of `transfers`."""

    partition: int
    partitions: int
    sent: Sent
    received: Received


def compare_exchanges(
    library: Library,
    reports: Mapping[int, PartitionReport],
    exchanges: Sequence[Exchange],
    until_us: int | None,
    lives: Callable[[int, str], bool],
) -> None:
    """Notes in the reports every transfer that no cycle sent, or that was sent and is not there,
    and every event that was passed on to a customer and is not there.

    Left out are sources that could not be audited to their end, and destinations whose oldest
    records are gone. Reads no transfers where all is equal, and customers' topics only where
    something was passed on to them.
    """
    whole = [one for one in exchanges if not reports[one.partition].cannot_tell]
    found = partings(
        {one.partition: one.sent for one in whole},
        {one.partition: one.received for one in exchanges if one.received.whole},
    )
    due_forwards = due_at(one.sent.passed_on for one in whole)
    for one in whole:
        if one.sent.passed_on.forgotten:
            what = f"the oldest {one.sent.passed_on.forgotten:,} that were passed on: not compared"
            reports[one.partition].notes.append(what)
    if not found and not due_forwards:
        return
    bounds = _bounds(library)
    ends = {one.partition: one.sent.end for one in whole}
    with ExitStack() as opened:
        books: dict[int, Mapping[str, Book]] = {}

        def book(partition: int, topic: str) -> Book:
            if partition not in books:
                shelf = library.open(partition, bounds)
                books[partition] = opened.enter_context(shelf)
            return books[partition][topic]

        for parting in found:
            report, count = reports[parting.to], exchanges[0].partitions
            end, source = ends[parting.source], book(parting.source, LEDGER.name)
            due = due_transfers(source, parting, count, end, until_us, lives)
            found_there = found_transfers(
                book(parting.to, TRANSFERS.name), parting, count, until_us
            )
            if not compare_transfers(report, due, found_there) and parting.certain:
                what = f"not what the cycles of partition {parting.source} demand; its ledger is"
                report.differs(BOOK, f"from offset {parting.received.offset} on", what)
        for (topic, to), due_there in sorted(due_forwards.items()):
            there = book(to, topic)
            if there.start:
                what = f"the oldest records of {topic} are gone: what was passed on is not compared"
                reports[to].notes.append(what)
                continue
            compare_forwards(reports[to], due_there, topic, there)


def _bounds(library: Library) -> Bounds:
    """Where the books end now: the ledger is asked after `transfers`, so that it explains all of
    them."""
    first = library.bounds()
    then = library.bounds()
    return {at: (then if at[0] == LEDGER.name else first)[at] for at in first}
