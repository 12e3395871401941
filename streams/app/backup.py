"""`tollgate backup`: the log into an archive, each time what it has gained since the last."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.structs import Generation
from schemas.times import format_time
from streams.adapters.archive import (
    MANIFEST,
    SEGMENT_BYTES,
    Manifest,
    Segment,
    read_manifest,
    remove_unnamed,
    write_manifest,
)
from streams.adapters.archive_copy import begin_at, copy_places, read_archived_bounds
from streams.adapters.archive_files import Verified, verify_archive
from streams.adapters.clock import SystemClock
from streams.app.addresses import kafka_bootstrap
from streams.app.generations import check_topics, recorded_generation
from streams.domain.context import RULES_VERSION
from streams.errors import SetupError
from streams.settings import Settings

LOCK: Final = "backup.lock"

Show = Callable[[int, int], None]
"""Told how far it is: offsets, or segments, done and in all."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What a backup added. `offsets` include those that have no record; `ends` of the whole archive
    are in its manifest."""

    taken_at: str
    offsets: int
    records: int
    bytes: int
    archive_records: int
    archive_bytes: int


def back_up(settings: Settings, directory: Path, show: Show) -> BackupResult:
    """Brings an archive up to what the log holds now; makes it where there is none.

    May run at any time, and be run again after it was interrupted. Raises SetupError where the
    archive is of another installation or ahead of the log, and what reading the log raises.
    """
    bootstrap = kafka_bootstrap(settings)
    generation = asyncio.run(recorded_generation(settings))
    asyncio.run(check_topics(settings, generation))
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(directory):
        manifest = _manifest(directory, settings, generation)
        remove_unnamed(directory, manifest)
        before = sum(of.records for of in _all(manifest)), sum(of.bytes for of in _all(manifest))
        taken_at = format_time(SystemClock().now_us())
        bounds = read_archived_bounds(bootstrap, settings.topic_prefix, generation.partitions)
        spans = {
            place: (begin, end)
            for place, (start, end) in bounds.items()
            if (begin := begin_at(manifest, place, start, end)) < end
        }
        total, done, unsaved = sum(end - begin for begin, end in spans.values()), 0, 0

        def copied(offsets: int) -> None:
            nonlocal done
            done += offsets
            show(done, total)

        def finished(segment: Segment) -> None:
            nonlocal unsaved
            manifest.put(segment)
            unsaved += segment.bytes
            if unsaved >= SEGMENT_BYTES:
                write_manifest(directory, manifest)
                unsaved = 0

        archive = (directory, manifest)
        copy_places(bootstrap, settings.topic_prefix, archive, spans, copied, finished)
        manifest.ends = {place: end for place, (_, end) in bounds.items()}
        manifest.taken_at, manifest.rules_version = taken_at, RULES_VERSION
        manifest.topic_ids = generation.topic_ids
        write_manifest(directory, manifest)
        remove_unnamed(directory, manifest)
        records = sum(of.records for of in _all(manifest))
        size = sum(of.bytes for of in _all(manifest))
    return BackupResult(taken_at, total, records - before[0], size - before[1], records, size)


def _all(manifest: Manifest) -> Iterator[Segment]:
    return (one for of in manifest.segments.values() for one in of)


def _manifest(directory: Path, settings: Settings, generation: Generation) -> Manifest:
    """That of the archive, or of a new one."""
    if not (directory / MANIFEST).exists():
        strange = [path.name for path in directory.iterdir() if path.name != LOCK]
        if strange:
            raise SetupError(
                f"{directory} is not empty, and no archive: it holds {strange[0]}",
                action="Name an empty directory, or one that an earlier backup wrote.",
            )
        manifest = Manifest(
            prefix=settings.topic_prefix,
            partitions=generation.partitions,
            generation=generation.generation,
            topic_ids=generation.topic_ids,
            rules_version=RULES_VERSION,
        )
        write_manifest(directory, manifest)
        return manifest
    manifest = read_manifest(directory)
    check_same_topics(directory, manifest, generation)
    return manifest


def check_same_topics(directory: Path, manifest: Manifest, generation: Generation) -> None:
    """Raises SetupError where an archive is of other topics than those of a generation."""
    other = [
        name
        for name, topic_id in manifest.topic_ids.items()
        if generation.topic_ids.get(name) != topic_id
    ]
    if other or manifest.partitions != generation.partitions:
        raise SetupError(
            f"the archive {directory} is of other topics than these: {', '.join(other[:3])} "
            "was made anew since, or belongs to another installation",
            action="After a restore, and with each new generation, begin a new archive in an empty "
            "directory. Keep this one until the new one is verified.",
        )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One backup of a directory at a time; the kernel gives the lock back, also after kill -9."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError(
                f"another backup writes to {directory}",
                action="Wait for its end; two installations need two directories.",
            ) from error
        yield
    finally:
        os.close(descriptor)


def verify_backup(directory: Path, show: Show) -> Verified:
    """Reads a whole archive and compares it with its manifest. Raises SetupError where there is
    none."""
    manifest = read_manifest(directory)
    total = sum(1 for _ in _all(manifest))
    found = Verified()
    for found in verify_archive(directory, manifest):
        show(found.segments, total)
    return found
