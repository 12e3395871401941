"""What cycles passed on to customers: every event that named none and found the customer of its
trace lies under that customer, as often as it was passed on.

Anybody may append to `usage` and `signals`, so that nothing can be said of a record that no cycle
passed on: only a missing one is a difference. Whoever decides a partition again remembers what it
passes on; each destination is read once more for it, and only where there is anything to look for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from schemas import codec
from schemas.partitioner import partition_of
from schemas.topics import USAGE
from streams.audit.report import PartitionReport
from streams.domain.nameless import Forward
from streams.ports import Book

FORWARDS_MAX: Final = 1_000_000
"""What is remembered of one partition: some 300 MB. Beyond it the oldest are forgotten, with a
note."""

DIGEST_BYTES: Final = 16

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(slots=True)
class PassedOn:
    """What the cycles of one partition passed on, by destination: for each record, by its digest,
    how often and what it is called."""

    partitions: int
    due: dict[tuple[str, int, bytes], tuple[int, str]] = field(default_factory=dict)
    forgotten: int = 0

    def add(self, forwards: Iterable[Forward], cycle: str) -> None:
        """What one cycle passed on; `cycle` is what that is called."""
        for topic, key, value in forwards:
            at = (topic, partition_of(key, self.partitions), _digest(key, value))
            count, name = self.due.pop(at, (0, ""))
            if not count:
                decode = codec.decode_usage if topic == USAGE.name else codec.decode_signal
                name = f"{decode(value).event_id!a}, which {cycle} passed on"
            self.due[at] = (count + 1, name)
            if len(self.due) > FORWARDS_MAX:
                count, _ = self.due.pop(next(iter(self.due)))
                self.forgotten += count


def due_at(passed: Iterable[PassedOn]) -> dict[Place, dict[bytes, tuple[int, str]]]:
    """What has to lie in each place, whoever passed it on."""
    found: dict[Place, dict[bytes, tuple[int, str]]] = {}
    for one in passed:
        for (topic, to, digest), (count, name) in one.due.items():
            there = found.setdefault((topic, to), {})
            there[digest] = (there.get(digest, (0, ""))[0] + count, name)
    return found


def compare_forwards(
    report: PartitionReport, due: Mapping[bytes, tuple[int, str]], topic: str, book: Book
) -> None:
    """Notes what was passed on to a partition of a topic and does not lie in it."""
    if book.start:
        what = f"begins at offset {book.start}, not compared with what was passed on"
        report.notes.append(f"{topic}: {what}")
        return
    left = dict(due)
    for batch in book.batches(0):
        for record in batch:
            digest = _digest(record.key or b"", record.value or b"")
            if digest in left:
                count, name = left.pop(digest)
                if count > 1:
                    left[digest] = (count - 1, name)
        if not left:
            return
    for count, name in left.values():
        for _ in range(count):
            report.differs(topic, "record", f"missing: {name}")


def _digest(key: bytes, value: bytes) -> bytes:
    return blake2b(b"%d:%b%b" % (len(key), key, value), digest_size=DIGEST_BYTES).digest()
