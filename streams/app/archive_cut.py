"""Where an archive is cut before it is restored: at whole cycles.

A backup of an installation that runs ends each topic at another moment, so that the last cycles are
in some of their topics and not in others. An owner would find their transactions torn. So every
partition is cut behind its last cycle that the accounts' changelog holds, which is asked for its
end first: all other topics hold at least that. What later cycles left in them is not restored; the
inbound records that those consumed are, and are decided anew.

What a partition has sent to another one is the exception: a later cycle's transfers lie in the
other's topic. One that nobody has consumed yet is left out, because its cycle will send it again.
One that has been consumed there moves the cut of the consumer back, before the cycle that did.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas import codec
from schemas.structs import Lease, Preflight
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    ATTRIBUTIONS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    INBOUND,
    LEDGER,
    PREFLIGHTS,
    TRANSFERS,
)
from streams.adapters.archive import ArchivedRecord, Manifest, Place, records_of
from streams.domain.appends import decode_progress
from streams.domain.decoding import RESERVED_KEY
from streams.domain.state import Progress
from streams.errors import SetupError

CYCLES_BACK_MAX: Final = 10_000
"""How many cycles a cut may move back: some minutes of an installation under load, while the ends
of one backup lie milliseconds apart."""

Keep = Callable[[ArchivedRecord], bool]
Stop = Callable[[ArchivedRecord], bool]


@dataclass(slots=True)
class Cut:
    """Where the partitions of an archive are cut."""

    progress: dict[int, Progress] = field(default_factory=dict)
    """The last cycle of each partition that has one."""
    accounts_ends: dict[int, int] = field(default_factory=dict)
    """How far the accounts' changelog goes."""

    def stop(self, place: Place) -> Stop | None:
        """Says which record is the first of a place that is not restored, nor any behind it; None
        where all are."""
        topic, partition = place
        last = self.progress.get(partition, Progress())
        if topic == ACCOUNTS_CHANGELOG.name:
            end = self.accounts_ends.get(partition, 0)
            return lambda record: record.offset >= end
        if topic == CLAIMS_CHANGELOG.name:
            return lambda record: _segment_number(record.key) > (last.generation, last.cycle)
        following = {
            LEDGER.name: last.next_sequence,
            ATTRIBUTIONS.name: last.next_attribution,
            DEAD_LETTERS.name: last.next_dead_letter,
        }.get(topic)
        if following is not None:
            due = (last.generation, following)
            return lambda record: _mark(record) >= due
        if topic == PREFLIGHTS.name:
            folded = last.consumed.get(topic, 0)
            return lambda record: record.offset >= folded and _seen_cycle(record) > last.cycle
        return None

    def keep(self, place: Place) -> Keep | None:
        """Says which records of a place are restored, None where all are."""
        if place[0] == TRANSFERS.name:
            return lambda record: not self.is_ahead(record)
        return None

    def is_ahead(self, record: ArchivedRecord) -> bool:
        """Whether a transfer was sent by a cycle that is cut off."""
        source = _source(record)
        if source is None:
            return False
        generation, topic, partition, offset = source
        last = self.progress.get(partition)
        if last is None or generation > last.generation:
            return True
        return generation == last.generation and offset >= last.consumed.get(topic, 0)


def find_cut(directory: Path, manifest: Manifest) -> Cut:
    """The latest cut at which everything is whole. Raises SetupError where there is none."""
    cut, earlier = Cut(), dict[int, deque[tuple[int, bytes]]]()
    for partition in range(manifest.partitions):
        found: deque[tuple[int, bytes]] = deque(maxlen=CYCLES_BACK_MAX)
        for block in records_of(directory, manifest, (ACCOUNTS_CHANGELOG.name, partition)):
            found.extend(
                (record.offset, record.value)
                for record in block
                if record.key == RESERVED_KEY and record.value is not None
            )
        earlier[partition] = found
        _take_last(cut, partition, found)
    while (moved := _consumed_ahead(directory, manifest, cut)) is not None:
        partition, offset = moved
        found = earlier[partition]
        while found and cut.progress[partition].consumed.get(TRANSFERS.name, 0) > offset:
            found.pop()
            if not found:
                raise SetupError(
                    f"the archive {directory} holds no state of partition {partition} that fits "
                    "the other partitions",
                    action="Restore an earlier or a later copy of the archive.",
                )
            _take_last(cut, partition, found)
    _check_inbound(directory, manifest, cut)
    return cut


def _take_last(cut: Cut, partition: int, found: deque[tuple[int, bytes]]) -> None:
    if found:
        offset, value = found[-1]
        cut.progress[partition] = decode_progress(value)
        # The progress is the last record of its cycle.
        cut.accounts_ends[partition] = offset + 1


def _consumed_ahead(directory: Path, manifest: Manifest, cut: Cut) -> tuple[int, int] | None:
    """Partition and offset of a transfer that was consumed there, and sent by no cycle that is
    left."""
    for partition, last in cut.progress.items():
        place, consumed = (TRANSFERS.name, partition), last.consumed.get(TRANSFERS.name, 0)
        for block in records_of(directory, manifest, place, end=consumed):
            for record in block:
                if cut.is_ahead(record):
                    return partition, record.offset
    return None


def _check_inbound(directory: Path, manifest: Manifest, cut: Cut) -> None:
    """What the last cycles consumed has to be in the archive."""
    for partition, last in cut.progress.items():
        for topic in INBOUND:
            consumed, end = last.consumed.get(topic.name, 0), manifest.end((topic.name, partition))
            if consumed > end:
                raise SetupError(
                    f"the archive {directory} ends at offset {end} of {topic.name}, partition "
                    f"{partition}, of which its last cycle consumed up to {consumed}",
                    action="The archive is not whole: run `tollgate backup verify`, and restore "
                    "another copy of it.",
                )


def _mark(record: ArchivedRecord) -> tuple[int, int]:
    mark = codec.decode_mark(record.value or b"")
    return mark.generation, mark.sequence


def _segment_number(key: bytes | None) -> tuple[int, int]:
    generation, _, cycle = (key or b"").decode().partition("-")
    return int(generation), int(cycle)


def _seen_cycle(record: ArchivedRecord) -> int:
    """The cycle whose state a record of `preflights` was decided on, 0 where it names none."""
    try:
        body = codec.decode_preflights(record.value)
    except ValueError:
        return 0
    if isinstance(body, Lease):
        return body.cycle
    return body.seen_cycle if isinstance(body, Preflight) else 0


def _source(record: ArchivedRecord) -> tuple[int, str, int, int] | None:
    """Generation, topic, partition and offset of the record that a transfer follows from."""
    try:
        parts = codec.decode_transfer(record.value or b"").entry_id.split("-")
        return int(parts[0]), parts[1], int(parts[2]), int(parts[3])
    except (ValueError, IndexError):
        return None
