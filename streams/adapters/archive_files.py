"""Writes the segments of an archive, writes them anew, and checks them; `archive` says what they
are."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cramjam

from streams.adapters.archive import (
    BLOCK_BYTES,
    ArchivedRecord,
    Manifest,
    Place,
    Segment,
    damaged,
    length_of,
    pack,
    segment_records,
    sync_directory,
    sync_file,
)
from streams.errors import FaultError


class SegmentWriter:
    """Writes one segment: open at its first offset, `add` records in order, `close` at its end.

    With `joined`, the segment begins with the records of that one, whose file stays until the
    manifest no longer names it.
    """

    def __init__(
        self, directory: Path, place: Place, start: int, joined: Segment | None = None
    ) -> None:
        self._place = place
        self._start = start if joined is None else joined.start
        self._folder = directory / place[0] / str(place[1])
        self._folder.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._part = self._folder / f"{self._start:020d}.part"
        self._file = self._part.open("wb")
        self._digest = hashlib.sha256()
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._records = self._size = 0
        self.held = 0
        """Bytes of records so far, before compression; of those that were joined, after it."""
        if joined is not None:
            self._join(joined)

    def _join(self, joined: Segment) -> None:
        body = (self._directory / joined.name).read_bytes()
        if hashlib.sha256(body).hexdigest() != joined.sha256:
            raise damaged(self._directory / joined.name, f"its SHA-256 is not {joined.sha256}")
        self._file.write(body)
        self._digest.update(body)
        self._size = self.held = len(body)
        self._records = joined.records

    def add(self, record: ArchivedRecord) -> None:
        """The next record."""
        packed = pack(record)
        self._block.append(packed)
        self._block_bytes += len(packed)
        self.held += len(packed)
        self._records += 1
        if self._block_bytes >= BLOCK_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._block:
            return
        body = bytes(cramjam.zstd.compress(b"".join(self._block), level=3))
        for piece in (length_of(body), body):
            self._file.write(piece)
            self._digest.update(piece)
            self._size += len(piece)
        self._block, self._block_bytes = [], 0

    def close(self, end: int, revision: int = 0) -> Segment:
        """Makes the file durable under its name and returns what the manifest says of it."""
        self._flush()
        sync_file(self._file)
        self._file.close()
        digest = self._digest.hexdigest()
        found = Segment(*self._place, self._start, end, self._records, self._size, digest, revision)
        self._part.replace(self._directory / found.name)
        sync_directory(self._folder)
        return found

    def abandon(self) -> None:
        """Removes what was written."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def rewrite_segment(
    directory: Path, segment: Segment, change: Callable[[ArchivedRecord], ArchivedRecord]
) -> Segment:
    """Writes a segment anew where `change` changes a record of it; the same segment where it
    changes none. The old file stays until the manifest no longer names it."""
    changed = False
    writer = SegmentWriter(directory, (segment.topic, segment.partition), segment.start)
    try:
        for block in segment_records(directory, segment):
            for record in block:
                made = change(record)
                changed = changed or made is not record
                writer.add(made)
    except BaseException:
        writer.abandon()
        raise
    if changed:
        return writer.close(segment.end, segment.revision + 1)
    writer.abandon()
    return segment


@dataclass(slots=True)
class Verified:
    """What a check of an archive found."""

    segments: int = 0
    records: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


def verify_archive(directory: Path, manifest: Manifest) -> Iterator[Verified]:
    """Reads every segment and compares it with the manifest; yields after each, the last is the
    result."""
    found = Verified()
    for place, segments in manifest.segments.items():
        due = segments[0].start if segments else 0
        for segment in segments:
            if segment.start != due:
                found.faults.append(f"{segment.name}: begins where {due} is due")
            due = segment.end
            _verify_segment(directory, segment, found)
            yield found
        if due < manifest.end(place):
            end = manifest.end(place)
            found.faults.append(f"{place[0]}/{place[1]}: ends at {due}, the manifest says {end}")
    for place, end in manifest.ends.items():
        if end and place not in manifest.segments:
            found.faults.append(f"{place[0]}/{place[1]}: has no segment, the manifest says {end}")
    yield found


def _verify_segment(directory: Path, segment: Segment, found: Verified) -> None:
    records, last = 0, segment.start - 1
    try:
        for block in segment_records(directory, segment):
            records += len(block)
            if block[0].offset <= last or not _grows(one.offset for one in block):
                found.faults.append(f"{segment.name}: its offsets do not grow")
            last = block[-1].offset
    except FaultError as error:
        found.faults.append(error.message)
        return
    if last >= segment.end or records != segment.records:
        found.faults.append(f"{segment.name}: not the records that the manifest says")
    found.segments += 1
    found.records += records
    found.bytes += segment.bytes


def _grows(offsets: Iterable[int]) -> bool:
    last = -1
    for offset in offsets:
        if offset <= last:
            return False
        last = offset
    return True
