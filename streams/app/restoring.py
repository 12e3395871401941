"""`tollgate restore`: an archive into an empty Kafka, every record at the position that it had.

Entry ids, claims, the ranges of cycles and the cuts of invoices are positions, so the log that is
restored is the log that was lost, up to whole cycles (`archive_cut`), and its generation goes on.
The tables' changelogs and what Paid's clients keep are filled without gaps: nothing points there.
The catalog comes last, with a record that says which topics were made anew: nothing starts before.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import Restoration
from schemas.topics import (
    ACCOUNTS_CHANGELOG,
    CATALOG,
    CLAIMS_CHANGELOG,
    PAID_CATALOGUE,
    TOPICS,
)
from streams.adapters.archive import ArchivedRecord, Manifest, Place, read_manifest, records_of
from streams.adapters.archive_refill import (
    PlaceRefill,
    Refill,
    clear_unfinished,
    create_filling,
    delete_before,
    finish_topics,
)
from streams.adapters.audited_rows import ClickHouseAuditedRows
from streams.adapters.clock import SystemClock
from streams.adapters.topic_ids import all_identities
from streams.app.addresses import kafka_bootstrap
from streams.app.archive_cut import Cut, find_cut
from streams.app.warehouse import clickhouse
from streams.domain.context import RULES_VERSION, CatalogView
from streams.errors import SetupError, TollgateError
from streams.settings import Settings

DENSE: Final = frozenset(
    topic.name for topic in (ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG, PAID_CATALOGUE)
)
"""Topics whose offsets nothing points to, and which are full of gaps."""

PLACES_AT_ONCE: Final = 8
"""Places that are filled at the same time: each waits for the broker most of the time."""

Show = Callable[[int, int], None]


@dataclass(slots=True)
class RestoreResult:
    """What was restored. `cut` are offsets that the archive holds and that belong to no whole
    cycle. `clickhouse_ahead` are tables that hold rows which the log does not have any more, None
    where ClickHouse could not be asked."""

    taken_at: str
    records: int = 0
    offsets: int = 0
    cut: int = 0
    cleared: list[str] = field(default_factory=list)
    clickhouse_ahead: list[str] | None = None


def restore(settings: Settings, directory: Path, reason: str, show: Show) -> RestoreResult:
    """Fills an empty installation from an archive.

    A restore that was cut short is removed and begun anew. Raises SetupError where the target is
    not empty, or the archive is of another partition count or a newer release; FaultError where the
    archive is damaged or somebody else writes to the topics.
    """
    manifest = read_manifest(directory)
    _check(settings, directory, manifest)
    cut = find_cut(directory, manifest)
    result = RestoreResult(manifest.taken_at)
    asyncio.run(_Restore(settings, directory, manifest, cut, result, show).run(reason))
    result.clickhouse_ahead = _ahead(settings, cut)
    return result


def _check(settings: Settings, directory: Path, manifest: Manifest) -> None:
    if not manifest.taken_at:
        raise SetupError(
            f"the archive {directory} holds no finished backup",
            action="Run `tollgate backup` to its end, or restore another archive.",
        )
    if manifest.partitions != settings.partitions:
        raise SetupError(
            f"the archive has {manifest.partitions} partitions, the settings {settings.partitions}",
            action=f"Set TOLLGATE_PARTITIONS to {manifest.partitions}: positions belong to a "
            "partition.",
        )
    if manifest.rules_version > RULES_VERSION:
        raise SetupError(
            f"the archive was written with version {manifest.rules_version} of the rules, this "
            f"release has version {RULES_VERSION}",
            action="Restore it with the release that wrote it, or a later one.",
        )


class _Restore:
    def __init__(
        self,
        settings: Settings,
        directory: Path,
        manifest: Manifest,
        cut: Cut,
        result: RestoreResult,
        show: Show,
    ) -> None:
        self._settings = settings
        self._bootstrap = kafka_bootstrap(settings)
        self._directory = directory
        self._manifest = manifest
        self._cut = cut
        self._result = result
        self._show = show
        self._total = sum(manifest.end(place) - manifest.start(place) for place in manifest.ends)
        self._read = 0

    async def run(self, reason: str) -> None:
        bootstrap, settings, manifest = self._bootstrap, self._settings, self._manifest
        prefix = settings.topic_prefix
        self._result.cleared = await clear_unfinished(bootstrap, prefix)
        await create_filling(bootstrap, prefix, manifest.partitions, settings.replication_factor)
        identities = await all_identities(bootstrap, prefix)
        topic_ids = {name: one.topic_id for name, one in identities.items() if name != CATALOG.name}
        places = [place for place in manifest.ends if place[0] != CATALOG.name]
        waiting = asyncio.Semaphore(PLACES_AT_ONCE)
        async with Refill(bootstrap, prefix) as refill:

            async def fill(place: Place) -> None:
                async with waiting, refill.place(*place) as filling:
                    await self._fill(place, filling)

            async with asyncio.TaskGroup() as filled:
                for place in places:
                    filled.create_task(fill(place))
            await delete_before(
                bootstrap,
                prefix,
                {
                    place: manifest.start(place)
                    for place in places
                    if place[0] not in DENSE and manifest.start(place)
                },
            )
            others = [topic for topic in TOPICS if topic is not CATALOG]
            await finish_topics(bootstrap, prefix, others)
            async with refill.place(CATALOG.name, 0) as filling:
                await self._fill((CATALOG.name, 0), filling)
                await filling.write([self._restoration(topic_ids, reason, filling.next_offset)])
        await finish_topics(bootstrap, prefix, [CATALOG])

    async def _fill(self, place: Place, filling: PlaceRefill) -> None:
        """Fills one place, as far as the cut lets it."""
        manifest, dense = self._manifest, place[0] in DENSE
        stop, keep = self._cut.stop(place), self._cut.keep(place)
        end = manifest.end(place)
        for block in records_of(self._directory, manifest, place):
            records = list(block)
            if stop is not None and (at := next(filter(stop, records), None)) is not None:
                self._result.cut += end - at.offset
                end = at.offset
                records = [one for one in records if one.offset < end]
            if keep is not None:
                records = list(filter(keep, records))
            if dense:
                dense_records = [
                    replace(one, offset=filling.next_offset + number)
                    for number, one in enumerate(records)
                ]
                if dense_records:
                    await filling.write(dense_records)
            else:
                await filling.write(records)
            self._result.records += len(records)
            self._progress(len(block))
            if end < manifest.end(place):
                break
        if not dense:
            await filling.write([], end)
        self._result.offsets += filling.next_offset

    def _progress(self, records: int) -> None:
        self._read += records
        self._show(self._read, self._total)

    def _restoration(self, topic_ids: dict[str, str], reason: str, offset: int) -> ArchivedRecord:
        view = CatalogView()
        for block in records_of(self._directory, self._manifest, (CATALOG.name, 0)):
            for record in block:
                if record.value is not None:
                    view.fold(record.offset, codec.decode_catalog(record.value))
        number = 1
        while view.holds(made := self._record(number, topic_ids, reason)):
            number += 1
        view.fold(offset, made)
        now_ms = SystemClock().now_us() // 1000
        return ArchivedRecord(offset, now_ms, codec.catalog_key(made), codec.encode(made))

    def _record(self, number: int, topic_ids: dict[str, str], reason: str) -> Restoration:
        generation = self._manifest.generation
        return Restoration(
            schema_version=SCHEMA_VERSION,
            id="topics",
            version=f"{generation}-{number}",
            generation=generation,
            topic_ids=topic_ids,
            reason=reason,
        )


def _ahead(settings: Settings, cut: Cut) -> list[str] | None:
    """Tables that hold rows of cycles that the restored log does not have."""
    try:
        with closing(clickhouse(settings, analyst=True)) as warehouse:
            marks = ClickHouseAuditedRows(warehouse).marks()
    except TollgateError:
        return None
    found = set()
    for (table, generation, partition), mark in marks.items():
        last = cut.progress.get(partition)
        following = {
            "ledger": 0 if last is None else last.next_sequence,
            "attributions": 0 if last is None else last.next_attribution,
            "dead_letters": 0 if last is None else last.next_dead_letter,
        }.get(table)
        number = 0 if last is None else last.generation
        if following is not None and (generation, mark + 1) > (number, following):
            found.add(f"{table}, partition {partition}")
    return sorted(found)
