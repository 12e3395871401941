"""The tables of a worker: Faust tables whose rows are read and written by whole batches.

Faust keeps its part (which partitions are open, the changelog offset each is at, recovery); this
store adds batch reads, batch writes together with the offset, and the unpacking of claims segments.
One RocksDB database per table and partition: `databases`.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, cast

import faust
import rocksdict
from faust.stores.rocksdb import Store as RocksDBStore
from faust.types import TP

from streams.adapters.databases import Database, is_locked
from streams.domain.identity import split_segment
from streams.ports import Changes, Table

Row = tuple[bytes, bytes | None]

_ROW: Final = attrgetter("key", "value")

FOLLOWING_KEY: Final = b"__tollgate\0following__"
"""There while a table follows its changelog: batches of a recovery do not end where cycles do, so a
table that a crash leaves then may stand in the middle of one (the audit must know)."""


RELAXED: Final = rocksdict.WriteOptions()
"""Writes of a recovery. What a crash takes from them the changelog still holds, and RocksDB loses
only from the end; without its own log they cost half. `settle` makes them durable."""
RELAXED.disable_wal = True  # type: ignore[method-assign,assignment] # a property; its stub errs


class BatchStore(RocksDBStore):
    """A Faust table store with batches. `expand` turns changelog records into rows.

    `changelog_id` is the broker's id of the changelog, where somebody has set it: a database that
    another topic filled is not opened.
    """

    expand: Callable[[Iterable[Row]], Iterable[Row]]

    def __init__(self, url: Any, app: Any, table: Any, **kwargs: Any) -> None:
        super().__init__(url, app, table, driver="rocksdict", **kwargs)
        self.changelog_id: str | None = None
        self._settled: set[int] = set()
        self.expand = expand_segments if table.name == Table.CLAIMS else iter

    def database(self, partition: int) -> Database:
        """The database of a partition: where it is and what it must be."""
        path = Path(self.partition_path(partition))
        return Database(path, self.table.name == Table.CLAIMS, self.changelog_id)

    def _open_for_partition(self, partition: int) -> Any:
        try:
            return self.database(partition).open(self.offset_key)
        except Exception as error:
            # Faust waits for a lock. Anything else it would only log, and own the partition
            # without a table.
            if not is_locked(error) and (halt := getattr(self.app, "halt", None)) is not None:
                halt(error)
            raise

    def set_aside(self, partition: int, reason: str) -> None:
        """Gives up what a partition holds: the next access finds an empty database."""
        self._settled.discard(partition)
        opened = self._dbs.pop(partition, None)
        if opened is not None:
            opened.close()
        self.database(partition).set_aside(reason)

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, in their order."""
        if not keys:
            return []
        database = self._db_for_partition(partition)
        try:
            values: list[bytes | None] = database.get(list(keys))
        except Exception as error:
            raise self.database(partition).fault(error) from error
        return values

    def write(self, partition: int, rows: Iterable[Row], changelog_offset: int) -> None:
        """All rows and the changelog offset in one atomic batch."""
        self._write(partition, rows, changelog_offset)

    def _write(
        self,
        partition: int,
        rows: Iterable[Row],
        changelog_offset: int,
        options: rocksdict.WriteOptions | None = None,
    ) -> None:
        batch = rocksdict.WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                put(key, value)
        put(self.offset_key, b"%d" % changelog_offset)
        database = self._db_for_partition(partition)
        try:
            database.write(batch, options)
        except Exception as error:
            raise self.database(partition).fault(error) from error

    def scan(self, partition: int) -> Generator[tuple[bytes, bytes], None, None]:
        """All rows of a partition, by key, but those that are about the table itself: as they
        stand when the first is asked for. An open scan keeps the database open."""
        database = self._db_for_partition(partition)
        own = (self.offset_key, FOLLOWING_KEY)
        try:
            yield from ((key, value) for key, value in database.items() if key not in own)
        except Exception as error:
            raise self.database(partition).fault(error) from error

    def apply_changelog(self, partition: int, records: Sequence[Any]) -> None:
        """A run of changelog records, whole, as recovery reads them. A crash may take the last of
        these runs, never one from among them."""
        self._settled.discard(partition)
        rows = self.expand(map(_ROW, records))
        self._write(partition, chain(rows, [(FOLLOWING_KEY, b"1")]), records[-1].offset, RELAXED)

    def settle(self, partition: int) -> None:
        """The recovery is over and what it wrote is on the disk: from now on only whole cycles are
        written, each behind RocksDB's own log."""
        if partition in self._settled:
            return
        # Before anything goes through the log again: after a crash the log would be read back onto
        # a table that lacks what was written beside it.
        database = self._db_for_partition(partition)
        try:
            database.flush()
        except Exception as error:
            raise self.database(partition).fault(error) from error
        offset = self.persisted_offset(TP(self.table_name, partition))
        if offset is not None:
            self.write(partition, [(FOLLOWING_KEY, None)], offset)
        self._settled.add(partition)


def expand_segments(records: Iterable[Row]) -> list[Row]:
    """Claims segments as the rows that they pack."""
    rows: list[Row] = []
    for _, segment in records:
        if segment is not None:
            rows.extend(split_segment(segment))
    return rows


class BatchTable(faust.Table[bytes, bytes]):
    """A Faust table on a BatchStore."""

    def _new_store(self) -> BatchStore:
        return BatchStore("rocksdb://", self.app, self)


@dataclass(frozen=True, slots=True)
class TableSize:
    """Rows, and bytes on the disk and in write buffers."""

    keys: int
    bytes: int


def _size(database: Any) -> TableSize:
    counted = database.property_int_value
    files = counted("rocksdb.total-sst-files-size") or 0
    buffers = counted("rocksdb.cur-size-all-mem-tables") or 0
    return TableSize(counted("rocksdb.estimate-num-keys") or 0, files + buffers)


class FaustStore:
    """`streams.ports.Store` over the app's tables."""

    def __init__(self, tables: dict[Table, BatchTable]) -> None:
        self._tables = tables

    def read(self, table: Table, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, in their order."""
        return self._store(table).read(partition, keys)

    def write(self, table: Table, partition: int, changes: Changes) -> None:
        """All rows and the changelog offset, atomically."""
        self._store(table).write(partition, changes.rows, changes.changelog_offset)

    def scan(self, table: Table, partition: int) -> Generator[tuple[bytes, bytes], None, None]:
        """All rows of a partition's table but those that are about the table itself, as they stand
        when the first is asked for."""
        return self._store(table).scan(partition)

    def settle(self, partition: int) -> None:
        """Says that a partition's tables are recovered, before its first cycle."""
        for table in Table:
            self._store(table).settle(partition)

    def identify(self, changelog_ids: Mapping[Table, str | None]) -> None:
        """Says which topic, by the broker's id, fills each table; for databases opened from now
        on."""
        for table, changelog_id in changelog_ids.items():
            self._store(table).changelog_id = changelog_id

    def size(self, table: Table, partitions: Iterable[int]) -> TableSize:
        """What a table holds in those of these partitions that are open, as RocksDB estimates."""
        opened = self._store(table)._dbs
        sizes = [_size(opened[partition]) for partition in partitions if partition in opened]
        return TableSize(sum(size.keys for size in sizes), sum(size.bytes for size in sizes))

    def set_aside_count(self) -> int:
        """How many databases lie beside their successors because they were found damaged."""
        folders = {self._store(table).database(0).path.parent for table in Table}
        return sum(1 for folder in folders for _ in folder.glob("*.damaged-*"))

    def _store(self, table: Table) -> BatchStore:
        return cast(BatchStore, self._tables[table].data)

    def changelog_offset(self, table: Table, partition: int) -> int | None:
        """The offset of the last changelog record in the table, None before the first."""
        store = self._store(table)
        return store.persisted_offset(TP(store.table_name, partition))
