"""The topic `transfers`: what the cycles of all partitions appended to it, no more and no less.

A cycle sends to the partitions of its tasks, so what lies in one partition comes from all of them,
in the order of the cycles of each. Whoever decides a partition again tallies what it sends, and
what lies in it by the partition that it comes from. Where two tallies part, both sides are read
once more from there, side by side, and every difference is named.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Final, Generic, NamedTuple, TypeVar

from schemas import codec
from schemas.errors import RejectError
from schemas.partitioner import partition_of
from schemas.structs import CycleEntry, LedgerEntry, Transfer
from schemas.topics import TRANSFERS
from streams.audit.aligned import NOT_OURS
from streams.audit.books import ledger_cycles
from streams.audit.differ import field_difference, shown
from streams.audit.forwards import PassedOn
from streams.audit.report import PartitionReport
from streams.domain.appends import transfer_records
from streams.domain.facts import SourceRecord
from streams.ports import Book

BOOK: Final = TRANSFERS.name

STEP: Final = 1_000
"""Records between two marks: what is read once more where something differs."""

RECENT_MAX: Final = 4_096
"""Latest records that have a mark each: on an installation that goes on running one side is a
little ahead, and only these are read again."""

WINDOW: Final = 1_000
"""How far ahead a record is looked for on the other side before it counts as missing there."""

NAMED_MAX: Final = 100
"""Differences with which a comparison of two partitions ends: the first ones tell most."""

DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Mark:
    """After `count` records they have this digest, and the next is to be looked for from `offset`
    of the ledger or of `transfers` on; `skip` more of it lie before it in that cycle."""

    count: int
    digest: bytes
    offset: int
    skip: int = 0


@dataclass(slots=True)
class Tally:
    """What one partition sends to another, as a digest that grows with each record."""

    count: int = 0
    digest: bytes = b""
    marks: list[Mark] = field(default_factory=lambda: [Mark(0, b"", 0)])
    recent: deque[Mark] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))

    def add(self, key: bytes | None, value: bytes, offset: int, skip: int = 0) -> None:
        """One more record; the next one lies at `offset` and `skip` or behind it."""
        key = key or b""
        content = b"%b%d:%d:%b%b" % (self.digest, len(key), len(value), key, value)
        self.digest = blake2b(content, digest_size=DIGEST_BYTES).digest()
        self.count += 1
        mark = Mark(self.count, self.digest, offset, skip)
        self.recent.append(mark)
        if self.count % STEP == 0:
            self.marks.append(mark)

    def by_count(self) -> dict[int, Mark]:
        """All marks."""
        return {mark.count: mark for mark in (*self.marks, *self.recent)}


class Sent:
    """What the cycles of a partition send, by the partition that it goes to."""

    def __init__(self, partitions: int) -> None:
        self.tallies: dict[int, Tally] = {}
        self.end = 0
        """The offset after the last record of the ledger that was tallied."""
        self.passed_on = PassedOn(partitions)
        """And to customers, of what cycles were decided again."""
        self._partitions = partitions

    def add(self, offset: int, end: int, entries: Iterable[LedgerEntry]) -> None:
        """The entries of one cycle, which lie in the ledger from `offset` up to `end`."""
        counts: dict[int, int] = {}
        for key, value in transfer_records(list(entries)):
            to = partition_of(key or b"", self._partitions)
            counts[to] = counts.get(to, 0) + 1
            self.tallies.setdefault(to, Tally()).add(key, value, offset, counts[to])
        self.end = end


class Received:
    """What lies in a partition of `transfers`, by the partition that it comes from."""

    def __init__(self, partitions: int, until_us: int | None) -> None:
        self.tallies: dict[int, Tally] = {}
        self.whole = True
        """False where the oldest records are gone."""
        self._partitions = partitions
        self._until_us = until_us

    def read(self, report: PartitionReport, book: Book) -> None:
        """Tallies the whole book; records of nobody are named and left out."""
        if book.start:
            self.whole = False
            report.notes.append(f"{BOOK}: begins at offset {book.start}, not compared")
            return
        for batch in book.batches(book.start):
            for record in batch:
                body = _decoded(record)
                if body is None:
                    report.differs(BOOK, f"offset {record.offset}", NOT_OURS)
                elif self._until_us is None or body.decided_at < self._until_us:
                    tally = self.tallies.setdefault(_source(body, self._partitions), Tally())
                    tally.add(record.key, record.value or b"", record.offset + 1)


class Parting(NamedTuple):
    """Up to here both tallies are equal, and not to their ends. `certain` says that they differ,
    and not only end at different places."""

    source: int
    to: int
    sent: Mark
    received: Mark
    certain: bool


def partings(sent: Mapping[int, Sent], received: Mapping[int, Received]) -> list[Parting]:
    """Where tallies part, by source and destination; none where everything sent lies there and
    nothing else does. Sources and destinations that are not given are not compared."""
    found = []
    for source, given in sorted(sent.items()):
        for to, taken in sorted(received.items()):
            one = given.tallies.get(to, Tally())
            other = taken.tallies.get(source, Tally())
            if (one.count, one.digest) != (other.count, other.digest):
                mine, theirs = one.by_count(), other.by_count()
                both = mine.keys() & theirs.keys()
                last = max(count for count in both if mine[count].digest == theirs[count].digest)
                found.append(Parting(source, to, mine[last], theirs[last], last < max(both)))
    return found


# --- side by side -------------------------------------------------------------------------------


class Due(NamedTuple):
    """A transfer that the ledger demands. `audited` says that its cycle was, so that it must be
    there; one that has been appended since may lie beyond what was read."""

    entry_id: str
    key: bytes | None
    value: bytes
    audited: bool


T = TypeVar("T")


class _Window(Generic[T]):
    """A stream with its next WINDOW items at hand."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self.ahead: deque[T] = deque()

    def peek(self) -> T | None:
        """The next item, None at the end."""
        self._fill(1)
        return self.ahead[0] if self.ahead else None

    def advance(self) -> None:
        """Passes it."""
        self.ahead.popleft()

    def holds(self, wanted: Callable[[T], bool]) -> bool:
        """Whether an item behind the next one is wanted."""
        self._fill(WINDOW)
        return any(wanted(item) for item in islice(self.ahead, 1, None))

    def _fill(self, count: int) -> None:
        self.ahead.extend(islice(self._items, max(0, count - len(self.ahead))))


def due_transfers(
    ledger: Book,
    parting: Parting,
    partitions: int,
    audited_to: int,
    until_us: int | None,
    lives: Callable[[int, str], bool],
) -> Iterator[Due]:
    """What the ledger of a partition, as recorded, demands of another one from a parting on."""
    skip, last = parting.sent.skip, (0, 0)
    for cycle in ledger_cycles(ledger, parting.sent.offset):
        entries = [_entry(record) for record in cycle.records]
        own = entries[0]
        if not isinstance(own, CycleEntry) or (own.generation, own.cycle) <= last:
            continue  # `replay` names it
        if until_us is not None and own.decided_at >= until_us:
            return
        last = (own.generation, own.cycle)
        if not lives(own.generation, TRANSFERS.name):
            continue
        audited = cycle.records[-1].offset < audited_to
        for key, value in transfer_records([entry for entry in entries if entry is not None]):
            if partition_of(key or b"", partitions) != parting.to:
                continue
            if skip:
                skip -= 1
                continue
            yield Due(codec.decode_transfer(value).entry_id, key, value, audited)
        skip = 0


def found_transfers(
    book: Book, parting: Parting, partitions: int, until_us: int | None
) -> Iterator[SourceRecord]:
    """What lies in a partition of `transfers` from a parting on and comes from its source."""
    for batch in book.batches(max(book.start, parting.received.offset)):
        for record in batch:
            body = _decoded(record)
            if body is None or _source(body, partitions) != parting.source:
                continue
            if until_us is None or body.decided_at < until_us:
                yield record


def compare_transfers(
    report: PartitionReport, due: Iterator[Due], found: Iterator[SourceRecord]
) -> int:
    """Names the differences between two streams that are in the same order; returns how many."""
    ours, theirs = _Window(due), _Window(found)
    before = report.differences_total
    while (named := report.differences_total - before) < NAMED_MAX:
        one, other = ours.peek(), theirs.peek()
        if other is None:
            if one is None:
                return named
            if one.audited:
                report.differs(BOOK, "record", f"missing: {one.entry_id}")
            ours.advance()
        elif one is not None and (one.key, one.value) == (other.key, other.value):
            ours.advance()
            theirs.advance()
        elif one is not None and one.entry_id == _name(other):
            report.differs(BOOK, f"offset {other.offset}", _altered(one, other))
            ours.advance()
            theirs.advance()
        elif one is not None and ours.holds(_called(_name(other))):
            # The found one comes later: the due one is missing.
            report.differs(BOOK, "record", f"missing: {one.entry_id}")
            ours.advance()
        else:
            what = f"nothing in the log demands this record, {shown(_name(other))}"
            report.differs(BOOK, f"offset {other.offset}", what)
            theirs.advance()
    return named


def _called(name: str) -> Callable[[Due], bool]:
    return lambda due: due.entry_id == name


def _altered(due: Due, found: SourceRecord) -> str:
    what = ""
    if found.value != due.value:
        what = field_difference(codec.decode_transfer, found.value or b"", due.value)
    return f"{due.entry_id}: {what or f'key is {shown(found.key)}, due is {shown(due.key)}'}"


def _decoded(record: SourceRecord) -> Transfer | None:
    try:
        return codec.decode_transfer(record.value)
    except RejectError:
        return None


def _name(record: SourceRecord) -> str:
    body = _decoded(record)
    return "" if body is None else body.entry_id


def _source(body: Transfer, partitions: int) -> int:
    """The partition whose cycle appended a transfer: that of the customer."""
    return partition_of(body.customer_id.encode(), partitions)


def _entry(record: SourceRecord) -> LedgerEntry | None:
    try:
        return codec.decode_entry(record.value or b"")
    except ValueError:
        return None
