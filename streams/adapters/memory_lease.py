"""The topic `preflights` in memory: for tests of owners, and for simulations of hand-overs.

Keeps the same promises as the real one (tests/contract runs one suite on both).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.topics import PREFLIGHTS
from streams.domain.facts import SourceRecord
from streams.errors import FaultError
from streams.ports import Appended


@dataclass(slots=True)
class MemoryTopic:
    """What several `MemoryLeaseLog`s share: the records, the epochs, the ends of other topics."""

    now_us: int = 0
    """The log's own time."""
    records: defaultdict[int, list[SourceRecord]] = field(default_factory=lambda: defaultdict(list))
    epochs: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    """The last epoch given out."""
    written: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    """The epoch of the last append."""
    usage_ends: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    unassigned_ends: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))


class MemoryLeaseLog:
    """`streams.ports.LeaseLog` on a `MemoryTopic`."""

    def __init__(self, topic: MemoryTopic) -> None:
        self._topic = topic
        self._epochs: dict[int, int] = {}

    async def fence(self, partition: int) -> None:
        """A higher epoch, which counts from its first append on."""
        self._topic.epochs[partition] += 1
        self._epochs[partition] = self._topic.epochs[partition]

    async def append(
        self, partition: int, records: Sequence[tuple[bytes | None, bytes]]
    ) -> Appended:
        """All records, or FaultError and none."""
        topic, epoch = self._topic, self._epochs.get(partition, -1)
        if epoch < topic.written[partition]:
            raise FaultError(
                f"unknown outcome: partition {partition} is fenced",
                action="Stop; its new owner goes on.",
            )
        topic.written[partition] = epoch
        log = topic.records[partition]
        base = len(log)
        log += [
            SourceRecord(PREFLIGHTS.name, offset, topic.now_us, key, value)
            for offset, (key, value) in enumerate(records, base)
        ]
        return Appended(base, topic.now_us)

    async def read(self, partition: int, from_offset: int, to_offset: int) -> list[SourceRecord]:
        """The records, or FaultError where one of them is not there."""
        found = self._topic.records[partition][from_offset:to_offset]
        if len(found) != max(0, to_offset - from_offset):
            raise FaultError(
                f"preflights lacks records between {from_offset} and {to_offset}",
                action="Restore the topic.",
            )
        return found

    async def usage_end(self, partition: int) -> int:
        """As the topic says."""
        return self._topic.usage_ends[partition]

    async def unassigned_end(self, partition: int) -> int:
        """As the topic says."""
        return self._topic.unassigned_ends[partition]

    async def release(self) -> None:
        """Gives all partitions up."""
        self._epochs = {}
