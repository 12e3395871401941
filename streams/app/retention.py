"""`tollgate retention`: how long what is kept, and deleting from Kafka what an archive has."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.times import MICROSECONDS
from schemas.topics import DAY_MS, FOR_EVER, SIGNALS, TOPICS, USAGE, Topic
from streams.adapters.archive import Place, read_manifest
from streams.adapters.archive_copy import first_since, read_archived_bounds
from streams.adapters.archive_refill import delete_before
from streams.adapters.clock import SystemClock
from streams.adapters.positions import InboundPositions
from streams.app.addresses import kafka_bootstrap
from streams.app.backup import Show, check_same_topics, verify_backup
from streams.app.generations import recorded_generation
from streams.errors import SetupError
from streams.settings import Settings

DELETED: Final = (USAGE, SIGNALS)
"""What may be deleted where an archive has it: the audit goes on without, taking cycles as
recorded. Without the others it could not go on."""

KEEP_DAYS_MIN: Final = 35
"""The horizon of claims: within it a restore of single records by hand still finds its claims."""

DAY_US: Final = 86_400 * MICROSECONDS

TABLES: Final = (
    ("ledger", "for ever", "invoices follow from it; law asks for it for years"),
    ("attributions", "for ever", "what an outcome cost"),
    ("dead_letters", "for ever", "what was refused, until it is replayed"),
    ("catalog_records", "for ever", "prices and cards that entries name"),
    ("draft_lines, draft_runs", "until the next run", "drafts are computed anew"),
)
"""Tables of ClickHouse: none has a TTL, all are made again from the log."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How long something is kept, and why."""

    what: str
    name: str
    kept: str
    why: str


def kept() -> list[Kept]:
    """Every topic and table."""
    topics = [Kept("topic", topic.name, _how_long(topic), topic.purpose) for topic in TOPICS]
    return topics + [Kept("table", *table) for table in TABLES]


def _how_long(topic: Topic) -> str:
    if topic.cleanup == "compact":
        return "the last of each key"
    if topic.retention_ms != FOR_EVER:
        return f"{topic.retention_ms // DAY_MS} days"
    return "for ever, or archived" if topic in DELETED else "for ever"


@dataclass(frozen=True, slots=True)
class Deletion:
    """Offsets of a place that go: from where it begins to before `before`."""

    topic: str
    partition: int
    start: int
    before: int


def plan_deletions(settings: Settings, directory: Path, keep_days: int) -> list[Deletion]:
    """What may be deleted: older than so many days, archived, and decided.

    Raises SetupError where the archive is not of these topics.
    """
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    generation = asyncio.run(recorded_generation(settings))
    manifest = read_manifest(directory)
    check_same_topics(directory, manifest, generation)
    bounds = read_archived_bounds(bootstrap, prefix, generation.partitions)
    names = {topic.name for topic in DELETED}
    places = [place for place in bounds if place[0] in names]
    since_ms = (SystemClock().now_us() - keep_days * DAY_US) // 1000
    since = asyncio.run(first_since(bootstrap, prefix, places, since_ms))
    decided = asyncio.run(_decided(settings, generation.partitions))
    found = []
    for place in places:
        start, end = bounds[place]
        before = min(since.get(place, end), decided.get(place, 0), manifest.end(place))
        if before > start:
            found.append(Deletion(*place, start, before))
    return found


async def _decided(settings: Settings, partitions: int) -> Mapping[Place, int]:
    bootstrap, prefix = kafka_bootstrap(settings), settings.topic_prefix
    async with InboundPositions(bootstrap, prefix, settings.app_id, partitions) as positions:
        return await positions.committed()


def delete(settings: Settings, directory: Path, deletions: list[Deletion], show: Show) -> None:
    """Deletes what was planned, after the whole archive has been read. Raises SetupError where
    something of it is damaged."""
    found = verify_backup(directory, show)
    if found.faults:
        raise SetupError(
            f"the archive {directory} is damaged: {found.faults[0]}",
            action="Nothing was deleted. Mend the archive (`tollgate backup verify`).",
        )
    starts = {(one.topic, one.partition): one.before for one in deletions}
    asyncio.run(delete_before(kafka_bootstrap(settings), settings.topic_prefix, starts))
