"""The ports of the worker in memory: for tests of the cycle, and for simulations of crashes.

They keep the same promises as the real ones (tests/contract runs one suite on both).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streams.domain.context import Context
from streams.errors import FaultError
from streams.ports import Appends, Changes, Table


class MemoryStore:
    """`streams.ports.Store` in dictionaries."""

    def __init__(self) -> None:
        self._rows: defaultdict[tuple[Table, int], dict[bytes, bytes]] = defaultdict(dict)
        self.changelog_offsets: dict[tuple[Table, int], int] = {}

    def read(self, table: Table, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, in their order."""
        rows = self._rows[table, partition]
        return [rows.get(key) for key in keys]

    def write(self, table: Table, partition: int, changes: Changes) -> None:
        """All rows and the changelog offset."""
        rows = self._rows[table, partition]
        for key, value in changes.rows:
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        self.changelog_offsets[table, partition] = changes.changelog_offset


@dataclass(slots=True)
class MemoryBroker:
    """The log that several `MemoryCycleLog`s share: topics, committed offsets, epochs per
    partition."""

    topics: defaultdict[tuple[str, int], list[tuple[bytes | None, bytes]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    epochs: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))


class MemoryCycleLog:
    """`streams.ports.CycleLog` on a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._epochs: dict[int, int] = {}

    async def fence(self, partitions: Sequence[int]) -> None:
        """Takes the partitions; whoever held them is refused from now on."""
        self._epochs = {}
        for partition in partitions:
            self._broker.epochs[partition] += 1
            self._epochs[partition] = self._broker.epochs[partition]

    async def release(self) -> None:
        """Gives all partitions up."""
        self._epochs = {}

    async def commit(
        self, partition: int, appends: Sequence[Appends], offsets: Mapping[str, int]
    ) -> dict[str, int]:
        """Appends everything and the offsets at once, or raises FaultError and changes nothing."""
        broker = self._broker
        if self._epochs.get(partition) != broker.epochs[partition]:
            raise FaultError(
                f"partition {partition} is fenced", action="Stop; its new owner goes on."
            )
        last: dict[str, int] = {}
        for append in appends:
            if append.records:
                log = broker.topics[append.topic, partition]
                # The end of a row is kept as an empty value: nothing reads a table back from here.
                log.extend((key, value or b"") for key, value in append.records)
                last[append.topic] = len(log) - 1
        for topic, offset in offsets.items():
            broker.offsets[topic, partition] = offset
        return last


class MemoryCatalog:
    """`streams.ports.Catalog` that says what it is told to."""

    def __init__(self, context: Context) -> None:
        self.current = context

    async def context(self, at_least: int = 0) -> Context:
        """The context, where it covers enough; raises FaultError where it does not."""
        if self.current.catalog_offset < at_least:
            raise FaultError("the catalog lost records", action="Restore it.")
        return self.current


class MemoryClock:
    """A clock that stands where it is set."""

    def __init__(self, now_us: int) -> None:
        self.time_us = now_us

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self.time_us
