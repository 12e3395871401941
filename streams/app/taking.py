"""What a worker reads before it owns partitions: where their tables are, whether the rest of the
last transaction is there too, and where each topic goes on."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.client.kafka_access import Bootstrap
from schemas.topics import PREFLIGHTS
from streams.adapters.catalog import CatalogFollower
from streams.adapters.store import FaustStore
from streams.adapters.tails import read_tails
from streams.agents.cycle import read_progress
from streams.agents.positions import start_positions
from streams.agents.wholeness import TAILS, check_recovered, check_versions, check_whole
from streams.domain.state import Progress
from streams.ports import Table


@dataclass(frozen=True, slots=True)
class Taken:
    """By partition: what its tables say, and the next offset of each topic, by logical name."""

    tables: Mapping[int, Progress]
    positions: Mapping[int, Mapping[str, int]]


class Takes:
    """Reads partitions whose tables are recovered. `generation` is that of the catalog."""

    def __init__(
        self,
        bootstrap: Bootstrap,
        prefix: str,
        store: FaustStore,
        catalog: CatalogFollower,
        generation: Callable[[], int],
    ) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._store = store
        self._catalog = catalog
        self._generation = generation

    async def read(self, committed: Mapping[int, Mapping[str, int | None]]) -> Taken:
        """What there is to own of these partitions, whose group has committed these offsets, by
        full topic name.

        Raises FaultError where a table lacks the end of its changelog, or the end of another topic
        is not what the tables say: a transaction is not
        whole, or another owner has written since they were recovered. TransientError where the
        broker does not answer.
        """
        cut = len(self._prefix)
        tables: dict[int, Progress] = {}
        positions: dict[int, dict[str, int]] = {}
        tails = await read_tails(
            self._bootstrap, [self._prefix + topic for topic in TAILS], committed
        )
        for partition, offsets in committed.items():
            self._store.settle(partition)
            progress = read_progress(self._store, partition)
            ends = {topic: tails[self._prefix + topic, partition] for topic in TAILS}
            check_versions(partition, progress)
            at = {table: self._store.changelog_offset(table, partition) for table in Table}
            check_recovered(partition, at, ends)
            check_whole(partition, progress, ends)
            await self._catalog.context(progress.catalog_offset)
            positions[partition] = start_positions(
                partition,
                progress,
                {topic[cut:]: offset for topic, offset in offsets.items()},
                self._catalog.view,
            )
            same = progress.generation == self._generation()
            decided = progress.consumed.get(PREFLIGHTS.name, 0) if same else 0
            positions[partition][PREFLIGHTS.name] = decided
            tables[partition] = progress
        return Taken(tables, positions)


async def is_overtaken(over: asyncio.Event, session_seconds: float) -> bool:
    """Whether an assignment is over. A newer owner may have written before this member is told that
    it lost its partitions; it is told within a session, by a heartbeat."""
    try:
        await asyncio.wait_for(over.wait(), session_seconds)
    except TimeoutError:
        return False
    return True
