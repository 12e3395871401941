"""An archive of the log: files in a directory, one folder per partition of a topic.

    manifest.json                       what there is, and how far it may be read
    usage/0/<from>-<to>.seg             records of a range of offsets, in order
    ...

A segment holds every committed record of its range with its offset, append time, key, value and
headers. Offsets without a record (markers of transactions, aborted records, what compaction took)
belong to the range and have no bytes. It is a row of blocks: the length of each, then its bytes
under zstd. The manifest names each segment with its SHA-256 and is written last, whole, under
another name first: what it does not name is not there. Knows files, not Kafka.
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import cramjam

from streams.errors import FaultError, SetupError

FORMAT: Final = 1
"""Of manifest and segments. A release refuses a newer one."""

MANIFEST: Final = "manifest.json"

BLOCK_BYTES: Final = 1024 * 1024
"""Of records before they are compressed. A reader holds one block of each place; zstd gains little
beyond."""

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Of records before they are compressed: what an interrupted backup copies again at the most, and a
file that any storage takes."""

JOINED_BYTES: Final = 4 * 1024 * 1024
"""A last segment smaller than this is written anew with what follows it, so that a backup every few
minutes does not end in millions of files."""

BLOCK_BYTES_MAX: Final = 64 * 1024 * 1024
"""What a reader believes of a block's length: a block ends with the record that fills it."""

_head: Final = struct.Struct("<qqiiH")
"""Offset, append time in milliseconds, lengths of key and value (-1: none), number of headers."""
_length: Final = struct.Struct("<i")

Place = tuple[str, int]
"""Logical topic and partition."""

Header = tuple[str, bytes | None]


@dataclass(frozen=True, slots=True)
class ArchivedRecord:
    """A record as the log had it. `timestamp_ms` is its append time."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of an archive. `start` to `end` is its range, markers included; `sha256` is that of
    the file."""

    topic: str
    partition: int
    start: int
    end: int
    records: int
    bytes: int
    sha256: str
    revision: int = 0
    """How often its records were written anew, after what is personal was taken out of them."""

    @property
    def name(self) -> str:
        """Its path inside the archive."""
        revision = f"-{self.revision}" if self.revision else ""
        return f"{self.topic}/{self.partition}/{self.start:020d}-{self.end:020d}{revision}.seg"


@dataclass(slots=True)
class Manifest:
    """What an archive holds.

    `ends` is how far each place may be read: the ends of all places at one moment, as one finished
    backup found them. Segments that reach further are of a backup that was interrupted; the next
    one goes on behind them.
    """

    prefix: str
    partitions: int
    generation: int
    topic_ids: dict[str, str]
    format: int = FORMAT
    rules_version: int = 0
    taken_at: str = ""
    """When the last finished backup began (RFC 3339), '' before the first."""
    ends: dict[Place, int] = field(default_factory=dict)
    segments: dict[Place, list[Segment]] = field(default_factory=dict)

    def start(self, place: Place) -> int:
        """The first archived offset of a place."""
        segments = self.segments.get(place)
        return segments[0].start if segments else self.ends.get(place, 0)

    def end(self, place: Place) -> int:
        """How far a place may be read."""
        return self.ends.get(place, 0)

    def put(self, segment: Segment) -> None:
        """Takes a new segment, in the place of one that it was joined to."""
        of = self.segments.setdefault((segment.topic, segment.partition), [])
        if of and of[-1].start == segment.start:
            of.pop()
        of.append(segment)

    def copied(self, place: Place) -> int | None:
        """Where the next backup goes on, None for a place without segments."""
        segments = self.segments.get(place)
        return segments[-1].end if segments else None

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "format": self.format,
            "prefix": self.prefix,
            "partitions": self.partitions,
            "generation": self.generation,
            "rules_version": self.rules_version,
            "topic_ids": self.topic_ids,
            "taken_at": self.taken_at,
            "ends": {f"{topic}/{number}": end for (topic, number), end in self.ends.items()},
            "segments": [asdict(one) for of in self.segments.values() for one in of],
        }


def read_manifest(directory: Path) -> Manifest:
    """What an archive holds. Raises SetupError where there is none, where a newer release wrote it,
    or where it cannot be read."""
    path = directory / MANIFEST
    try:
        plain = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise SetupError(
            f"{directory} is no archive of the log: it has no {MANIFEST}",
            action="Name the directory that `tollgate backup --to` wrote. A first backup that was "
            "interrupted left nothing to restore: run it again.",
        ) from error
    except (OSError, ValueError) as error:
        raise SetupError(
            f"{path} cannot be read: {error}",
            action="Check the rights of the file; restore a damaged one from a copy.",
        ) from error
    check_format(directory, plain.get("format"))
    try:
        return _manifest(plain)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SetupError(
            f"{path} is no manifest of an archive: {error!r}",
            action="Restore it from a copy of the archive.",
        ) from error


def check_format(directory: Path, found: object) -> None:
    """Raises SetupError for an archive of another format than this release's."""
    if found == FORMAT:
        return
    raise SetupError(
        f"the archive {directory} has format {found}, this release knows format {FORMAT}",
        action="Use the release of Tollgate that wrote it, or a later one.",
    )


def _manifest(plain: dict[str, Any]) -> Manifest:
    manifest = Manifest(
        prefix=plain["prefix"],
        partitions=plain["partitions"],
        generation=plain["generation"],
        topic_ids=plain["topic_ids"],
        rules_version=plain["rules_version"],
        taken_at=plain["taken_at"],
    )
    for name, end in plain["ends"].items():
        topic, _, number = name.rpartition("/")
        manifest.ends[topic, int(number)] = int(end)
    for one in plain["segments"]:
        segment = Segment(**one)
        manifest.segments.setdefault((segment.topic, segment.partition), []).append(segment)
    return manifest


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Puts a manifest in the place of the one that is there, in one step and durably."""
    path = directory / MANIFEST
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(json.dumps(manifest.plain(), indent=1).encode())
        sync_file(file)
    part.replace(path)
    sync_directory(directory)


def sync_file(file: BinaryIO) -> None:
    """Returns when the file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Returns when the names in a directory are on the disk."""
    opened = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove_unnamed(directory: Path, manifest: Manifest) -> None:
    """Removes files of segments that the manifest does not name: of a backup that was interrupted,
    or joined to a later one."""
    named = {directory / one.name for of in manifest.segments.values() for one in of}
    for path in directory.glob("*/*/*"):
        if path.suffix in (".seg", ".part") and path not in named:
            path.unlink()


# --- records --------------------------------------------------------------------------------------


def length_of(body: bytes) -> bytes:
    """What stands before a block."""
    return _length.pack(len(body))


def pack(record: ArchivedRecord) -> bytes:
    """A record as a block holds it."""
    key, value = record.key, record.value
    parts = [
        _head.pack(
            record.offset,
            record.timestamp_ms,
            -1 if key is None else len(key),
            -1 if value is None else len(value),
            len(record.headers),
        ),
        key or b"",
        value or b"",
    ]
    for name, content in record.headers:
        encoded = name.encode()
        parts += [_length.pack(len(encoded)), encoded]
        parts += [_length.pack(-1 if content is None else len(content)), content or b""]
    return b"".join(parts)


# --- reading --------------------------------------------------------------------------------------


def segment_records(directory: Path, segment: Segment) -> Iterator[list[ArchivedRecord]]:
    """The records of a segment, block by block. Raises FaultError for a file that is damaged."""
    digest, size = hashlib.sha256(), 0
    path = directory / segment.name
    try:
        with path.open("rb") as file:
            while head := file.read(_length.size):
                digest.update(head)
                (length,) = _length.unpack(head)
                if not 0 < length <= BLOCK_BYTES_MAX:
                    raise ValueError(f"a block of {length} bytes")
                body = file.read(length)
                digest.update(body)
                size += len(head) + len(body)
                yield list(_unpacked(bytes(cramjam.zstd.decompress(body))))
    except OSError as error:
        raise damaged(path, str(error)) from error
    except (ValueError, struct.error, cramjam.DecompressionError) as error:
        raise damaged(path, f"it holds no records: {error}") from error
    if digest.hexdigest() != segment.sha256:
        raise damaged(path, f"its SHA-256 is not {segment.sha256}")


def damaged(path: Path, why: str) -> FaultError:
    """What is said of a segment that cannot be used."""
    return FaultError(
        f"the segment {path} is damaged: {why}",
        action="Put the file of another copy of the archive in its place, then run `tollgate "
        "backup verify`.",
    )


def _unpacked(block: bytes) -> Iterator[ArchivedRecord]:
    at = 0
    while at < len(block):
        offset, timestamp_ms, key_length, value_length, headers = _head.unpack_from(block, at)
        at += _head.size
        key, at = _taken(block, at, key_length)
        value, at = _taken(block, at, value_length)
        found: list[Header] = []
        for _ in range(headers):
            (length,) = _length.unpack_from(block, at)
            name, at = _taken(block, at + _length.size, length)
            (length,) = _length.unpack_from(block, at)
            content, at = _taken(block, at + _length.size, length)
            found.append(((name or b"").decode(), content))
        yield ArchivedRecord(offset, timestamp_ms, key, value, tuple(found))


def _taken(block: bytes, at: int, length: int) -> tuple[bytes | None, int]:
    if length < 0:
        return None, at
    if at + length > len(block):
        raise ValueError("a record that does not end")
    return block[at : at + length], at + length


def records_of(
    directory: Path, manifest: Manifest, place: Place, offset: int = 0, end: int | None = None
) -> Iterator[Sequence[ArchivedRecord]]:
    """The records of a place from an offset on, to where it may be read or to `end`, in blocks.

    Raises FaultError for a damaged file.
    """
    end = manifest.end(place) if end is None else min(end, manifest.end(place))
    for segment in manifest.segments.get(place, ()):
        if segment.end <= offset:
            continue
        if segment.start >= end:
            return
        for block in segment_records(directory, segment):
            found: Sequence[ArchivedRecord] = block
            if block[0].offset < offset or block[-1].offset >= end:
                found = [one for one in block if offset <= one.offset < end]
            if found:
                yield found
