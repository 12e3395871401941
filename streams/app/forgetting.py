"""`tollgate customer forget`: what is personal of one customer, taken out of an archive and out of
ClickHouse, without a sum or a decision changing (F4).

Kafka never changes a record. What it still holds goes when the archive is restored, or when the
records that the archive has are deleted there (docs/backup.md).
"""

from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from schemas import codec
from schemas.structs import DeadLetter
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    BUDGETS,
    DEAD_LETTERS,
    PAID_CATALOGUE,
    SIGNALS,
    UNASSIGNED,
    USAGE,
)
from streams.adapters.archive import (
    ArchivedRecord,
    Manifest,
    read_manifest,
    records_of,
    remove_unnamed,
    write_manifest,
)
from streams.adapters.archive_files import rewrite_segment
from streams.adapters.dead_letter_rows import replace_values
from streams.app.backup import locked
from streams.app.warehouse import clickhouse
from streams.domain.decoding import decode_record
from streams.domain.facts import Rejected, SourceRecord
from streams.domain.personal import member, without_personal
from streams.domain.unassigned import is_event_row
from streams.settings import Settings

SEARCHED: Final = (USAGE, SIGNALS, UNASSIGNED, BUDGETS, DEAD_LETTERS, ACCOUNTS_CHANGELOG)
"""Topics that hold what is personal, by themselves or in a record that they carry."""

Show = Callable[[int, int], None]
"""Told how far it is: segments, done and in all."""


@dataclass(slots=True)
class Forgotten:
    """What was taken out. `left` are records that cannot be read, as `topic/partition@offset`: only
    a person can tell what is in them."""

    records: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    left: list[str] = field(default_factory=list)


def forget(settings: Settings, directory: Path, customer_id: str, show: Show) -> Forgotten:
    """Takes what is personal of a customer out of an archive and ClickHouse's dead letters.

    Running it again does no harm. Raises SetupError where there is no archive, and what ClickHouse
    raises after the archive has been written anew.
    """
    manifest = read_manifest(directory)
    found = Forgotten()
    with locked(directory):
        search = _Search(directory, manifest, customer_id, found)
        search.run(show)
        write_manifest(directory, manifest)
        remove_unnamed(directory, manifest)
    with closing(clickhouse(settings)) as warehouse:
        found.rows = replace_values(warehouse, search.letters)
    return found


class _Search:
    def __init__(
        self, directory: Path, manifest: Manifest, customer_id: str, found: Forgotten
    ) -> None:
        self._directory = directory
        self._manifest = manifest
        self._customer_id = customer_id
        self._key = customer_id.encode()
        self._found = found
        self._traces: set[str] = set()
        self._ids: set[str] = set()
        self.letters: list[DeadLetter] = []
        """The customer's dead letters, as they are now."""

    def run(self, show: Show) -> None:
        """Searches all there is, and takes it out."""
        self._traces = {
            str(member(record.value, "trace_id"))
            for record in self._records(UNASSIGNED.name)
            if record.value is not None and _named(record.value, "customer_id") == self._customer_id
        }
        topics = [topic.name for topic in (*SEARCHED, PAID_CATALOGUE)]
        places = [place for place in self._manifest.segments if place[0] in topics]
        total, done = sum(len(self._manifest.segments[place]) for place in places), 0
        for place in places:
            segments = self._manifest.segments[place]
            for at, segment in enumerate(segments):
                segments[at] = rewrite_segment(
                    self._directory, segment, partial(self._change, *place)
                )
                done += 1
                show(done, total)

    def _records(self, topic: str) -> Iterator[ArchivedRecord]:
        for partition in range(self._manifest.partitions):
            for block in records_of(self._directory, self._manifest, (topic, partition)):
                yield from block

    def _change(self, topic: str, partition: int, record: ArchivedRecord) -> ArchivedRecord:
        value = record.value
        if value is None or not self._is_theirs(topic, record.key, value):
            return record
        made = self._blank(topic, partition, record)
        if topic == DEAD_LETTERS.name:
            self.letters.append(codec.decode_dead_letter(made))
        if made == value:
            return record
        self._found.records[topic] = self._found.records.get(topic, 0) + 1
        return replace(record, value=made)

    def _is_theirs(self, topic: str, key: bytes | None, value: bytes) -> bool:
        if topic == ACCOUNTS_CHANGELOG.name:
            return is_event_row(key or b"") and _named(value, "trace_id") in self._traces
        if topic == PAID_CATALOGUE.name:
            return self._customer_id in (_named(value, "external_id"), _named(value, "id"))
        if key == self._key or _named(value, "customer_id") == self._customer_id:
            return True
        if topic in (UNASSIGNED.name, DEAD_LETTERS.name):
            return (key or b"").decode("utf-8", "replace") in self._traces
        return False

    def _blank(self, topic: str, partition: int, record: ArchivedRecord) -> bytes:
        """The record without what is personal, decided as before; the record itself where there is
        no such thing."""
        value = record.value or b""
        for shaped in (False, True):
            try:
                made = without_personal(topic, value, shaped=shaped)
            except ValueError:
                break
            if self._same(topic, partition, record, made):
                return made
        if topic not in (BUDGETS.name, ACCOUNTS_CHANGELOG.name):
            self._found.left.append(f"{topic}/{partition}@{record.offset}")
        return value

    def _same(self, topic: str, partition: int, record: ArchivedRecord, made: bytes) -> bool:
        """Whether what is decided about a record is the same without what was taken out."""
        if topic in (ACCOUNTS_CHANGELOG.name, PAID_CATALOGUE.name):
            return True
        source = SourceRecord(topic, record.offset, record.timestamp_ms, record.key, record.value)
        blank = SourceRecord(topic, record.offset, record.timestamp_ms, record.key, made)
        if topic == DEAD_LETTERS.name:
            source, blank = _original(source), _original(blank)
        partitions = self._manifest.partitions
        return _outcome(source, partition, partitions) == _outcome(blank, partition, partitions)


def _original(letter: SourceRecord) -> SourceRecord:
    """The record that a dead letter carries, where it lay."""
    body = codec.decode_dead_letter(letter.value or b"")
    key = None if body.record_key is None else b64decode(body.record_key)
    value = None if body.record_value is None else b64decode(body.record_value)
    return SourceRecord(body.topic, body.source_offset, body.appended_at, key, value)


def _outcome(record: SourceRecord, partition: int, partitions: int) -> tuple[str, str, str]:
    """What becomes of a record, as far as its content decides it."""
    fact = decode_record(record, partition, partitions)
    if isinstance(fact, Rejected):
        return fact.code.value, fact.reason, fact.field
    return type(fact).__name__, str(getattr(fact, "body_hash", "")), ""


def _named(value: bytes, name: str) -> str | None:
    """A text in a record, None where there is none, or no record that can be read."""
    try:
        found = member(value, name)
    except ValueError:
        return None
    return found if isinstance(found, str) else None
