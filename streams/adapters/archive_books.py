"""The books of an installation as an archive of its log holds them: `ports.Book` over files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.topics import CATALOG
from streams.adapters.archive import Manifest, records_of
from streams.adapters.books import AUDITED, Bounds, LogEnds
from streams.domain.facts import SourceRecord


@dataclass(frozen=True, slots=True)
class ArchiveBook:
    """One partition of one topic in an archive. `topic` is the logical name."""

    directory: Path
    manifest: Manifest
    topic: str
    partition: int
    start: int
    end: int

    def batches(self, offset: int) -> Iterator[Sequence[SourceRecord]]:
        """See `ports.Book`. Raises FaultError for a damaged file."""
        topic, place = self.topic, (self.topic, self.partition)
        for block in records_of(self.directory, self.manifest, place, offset, self.end):
            yield [
                SourceRecord(topic, r.offset, r.timestamp_ms * 1000, r.key, r.value) for r in block
            ]


@dataclass(frozen=True, slots=True)
class ArchiveLibrary:
    """All books of an archive; see `books.Library`. What a last backup that was interrupted left is
    not read."""

    directory: Path
    manifest: Manifest

    @property
    def partitions(self) -> int:
        """How many partitions the customer topics had."""
        return self.manifest.partitions

    def bounds(self) -> Bounds:
        """First offset and end of every book."""
        manifest = self.manifest
        return {
            (topic.name, partition): (
                manifest.start((topic.name, partition)),
                manifest.end((topic.name, partition)),
            )
            for topic in AUDITED
            for partition in range(topic.partitions or manifest.partitions)
        }

    def ends(self) -> LogEnds:
        """The same, with the whole catalog."""
        catalog = [
            (record.offset, record.value)
            for block in records_of(self.directory, self.manifest, (CATALOG.name, 0))
            for record in block
            if record.value is not None
        ]
        return LogEnds(self.bounds(), catalog)

    @contextmanager
    def open(self, partition: int, bounds: Bounds) -> Iterator[dict[str, ArchiveBook]]:
        """The books of a partition by logical topic."""
        yield {
            topic.name: ArchiveBook(
                self.directory, self.manifest, topic.name, partition, *bounds[topic.name, partition]
            )
            for topic in AUDITED
            if topic is not CATALOG
        }
