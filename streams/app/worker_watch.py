"""What a worker shows of its work: counts of its committed cycles, whether it is ready, and, when
somebody asks, how far it is behind and what its tables hold.

A cycle costs it some dictionary updates and one look at each accepted entry; everything else is
gathered when it is scraped.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from faust.types import TP

from schemas.errors import RejectCode
from schemas.structs import CycleEntry, UsageEntry
from streams.adapters.catalog import CatalogFollower
from streams.adapters.clock import SystemClock
from streams.adapters.faust_batches import BatchApp
from streams.adapters.spans import Spans
from streams.adapters.store import FaustStore
from streams.agents.cycle import CycleOutcome
from streams.agents.ownership import Ownership
from streams.app.owning import Owning
from streams.domain.facts import Rejected
from streams.domain.state import Progress
from streams.metrics import Metrics
from streams.metrics.worker import (
    CLAIMS,
    CYCLE_SECONDS,
    DEAD_LETTERS,
    EVENT_TIME,
    EVENTS,
    HOLDS,
    HOP_CONNECTIONS,
    INBOX,
    LAG,
    LAG_SECONDS,
    LEASES,
    NAMELESS,
    PARTITION_OWNED,
    PARTITIONS,
    REBALANCES,
    RECORDS,
    STORE_SIZE,
    STORES_SET_ASIDE,
    TAKE_SECONDS,
    UNPRICED,
)
from streams.ports import Table

log = logging.getLogger(__name__)

DEAD_LETTER_LINES_MAX: Final = 10
"""Dead letters of one cycle that get a line each: a producer that sends nothing else makes
thousands a second, and `tollgate dead-letters list` has them all."""

ACCEPTED: Final = "accepted"
DUPLICATE: Final = "duplicate"
VOID: Final = "void"
UNPRICED_BASIS: Final = "unpriced"


class WorkerWatch:
    """Belongs to the worker's event loop, as everything that it looks at."""

    def __init__(
        self,
        metrics: Metrics,
        spans: Spans | None,
        *,
        app: BatchApp,
        prefix: str,
        ownership: Ownership,
        owning: Owning,
        store: FaustStore,
        clock: SystemClock,
        catalog: CatalogFollower,
    ) -> None:
        """The catalog says how many partitions the installation has."""
        self._metrics = metrics
        self._spans = spans
        self._app = app
        self._prefix = prefix
        self._ownership = ownership
        self._owning = owning
        self._store = store
        self._clock = clock
        self._catalog = catalog
        self._standing = "it is no member of its group yet"
        self._assigned_at: float | None = None
        self._progress: dict[int, Progress] = {}
        # So that the first step of a series is seen as one.
        for outcome in (ACCEPTED, DUPLICATE, VOID):
            metrics.set(EVENTS, 0, outcome)
        for code in RejectCode:
            metrics.set(DEAD_LETTERS, 0, code.value)
        metrics.gather(self._gather)

    # --- what the worker tells -----------------------------------------------------------------

    def assigned(self, partitions: Sequence[int]) -> None:
        """The group has assigned partitions, or none: then nothing is taken."""
        self._metrics.add(REBALANCES)
        self._standing = "it takes its partitions" if partitions else ""
        if partitions and self._assigned_at is None:
            self._assigned_at = asyncio.get_running_loop().time()

    def taken(self, progress: Mapping[int, Progress]) -> None:
        """The partitions are owned, from where their tables are."""
        self._standing = ""
        self._progress = dict(progress)
        if self._assigned_at is not None:
            took = asyncio.get_running_loop().time() - self._assigned_at
            self._metrics.observe(TAKE_SECONDS, took)
            self._assigned_at = None

    def released(self) -> None:
        """The partitions are given up for a new assignment."""
        self._standing = "its partitions are handed over"
        self._progress = {}

    def committed(self, partition: int, outcome: CycleOutcome, seconds: float) -> None:
        """A cycle has committed."""
        metrics, entry = self._metrics, outcome.entry
        metrics.observe(CYCLE_SECONDS, seconds)
        metrics.add(EVENTS, ACCEPTED, by=entry.accepted)
        metrics.add(EVENTS, DUPLICATE, by=entry.duplicates)
        metrics.add(EVENTS, VOID, by=entry.void)
        for piece in entry.consumed:
            metrics.add(RECORDS, piece.topic, by=piece.to_offset - piece.from_offset)
        for refused in outcome.rejected:
            metrics.add(DEAD_LETTERS, refused.code.value)
        if self._spans is not None:
            self._spans.done(
                "cycle",
                seconds,
                {
                    "tollgate.partition": partition,
                    "tollgate.cycle": entry.cycle,
                    "tollgate.records": outcome.records,
                    "tollgate.accepted": entry.accepted,
                    "tollgate.dead_letters": entry.dead_letters,
                },
            )
        _log_refused(entry, outcome.rejected)
        unpriced = _unpriced(outcome.entries)
        if unpriced:
            metrics.add(UNPRICED, by=unpriced)
        self._progress[partition] = outcome.progress

    # --- what others ask -----------------------------------------------------------------------

    def not_ready(self) -> str:
        """Why partitions are not served, '' where all are that this worker should serve."""
        if self._standing:
            return self._standing
        missing = len(self._ownership.partitions) - self._owning.leases
        return f"{missing} of its partitions have no lease yet" if missing > 0 else ""

    def _gather(self) -> None:
        metrics, owned = self._metrics, sorted(self._ownership.partitions)
        generation = self._catalog.view.generation
        if generation is not None:
            metrics.set(PARTITIONS, generation.partitions)
        metrics.replace(PARTITION_OWNED, {(str(partition),): 1 for partition in owned})
        metrics.set(LEASES, self._owning.leases)
        metrics.set(HOLDS, self._owning.open_holds)
        metrics.set(HOP_CONNECTIONS, self._owning.connections)
        self._gather_lag(owned)
        metrics.replace(
            EVENT_TIME,
            {
                (str(partition),): progress.event_time_us / 1e6
                for partition, progress in self._progress.items()
                if progress.event_time_us
            },
        )
        metrics.set(NAMELESS, sum(progress.waiting for progress in self._progress.values()))
        sizes = {table: self._store.size(table, owned) for table in Table}
        metrics.set(CLAIMS, sizes[Table.CLAIMS].keys)
        metrics.replace(STORE_SIZE, {(table.value,): size.bytes for table, size in sizes.items()})
        metrics.set(STORES_SET_ASIDE, self._store.set_aside_count())

    def _gather_lag(self, owned: Iterable[int]) -> None:
        metrics, waiting = self._metrics, self._ownership.waiting_records()
        metrics.set(INBOX, sum(waiting.values()))
        behind = self._app.behind
        metrics.replace(
            LAG,
            {
                (topic, str(partition)): records + behind(TP(self._prefix + topic, partition))
                for (topic, partition), records in waiting.items()
            },
        )
        now_us = self._clock.now_us()
        ages = {p: self._ownership.waiting_since_us(p) for p in owned}
        metrics.replace(
            LAG_SECONDS,
            {
                (str(partition),): 0 if since is None else max(0, now_us - since) / 1e6
                for partition, since in ages.items()
            },
        )


def _log_refused(entry: CycleEntry, rejected: Sequence[Rejected]) -> None:
    """Says where the dead letters of a cycle come from; nothing of what is in them."""
    partition, cycle = entry.partition, entry.cycle
    for refused in rejected[:DEAD_LETTER_LINES_MAX]:
        source = refused.record
        log.log(
            logging.ERROR if refused.code is RejectCode.INTERNAL else logging.INFO,
            "dead letter: %s at offset %d of %s, partition %d",
            refused.code,
            source.offset,
            source.topic,
            partition,
            extra={
                "code": refused.code,
                "event_id": f"{entry.generation}-{source.topic}-{partition}-{source.offset}",
                "topic": source.topic,
                "partition": partition,
                "offset": source.offset,
                "cycle": cycle,
            },
        )
    if len(rejected) > DEAD_LETTER_LINES_MAX:
        log.info(
            "%d more dead letters in cycle %d of partition %d",
            len(rejected) - DEAD_LETTER_LINES_MAX,
            cycle,
            partition,
            extra={"partition": partition, "cycle": cycle},
        )


def _unpriced(entries: Iterable[object]) -> int:
    return sum(
        type(entry) is UsageEntry and entry.cost_basis == UNPRICED_BASIS for entry in entries
    )
