"""The tables of a worker: Faust tables whose rows are read and written by whole batches.

Faust keeps its part (which partitions are open, the changelog offset each is at, recovery); this
store adds batch reads, batch writes together with the offset, and the unpacking of claims segments.
One RocksDB database per table and partition.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

import faust
import rocksdict
from faust.stores.rocksdb import RocksDBOptions
from faust.stores.rocksdb import Store as RocksDBStore
from faust.types import TP

from streams.domain.identity import split_segment
from streams.ports import Changes, Table

BLOCK_CACHE_BYTES: Final = 16 * 1024 * 1024
"""Per database; with 2 tables and 8 partitions 256 MiB at the most, of which claims touch little,
because their bloom filters answer for new ids."""

WRITE_BUFFER_BYTES: Final = 8 * 1024 * 1024
"""Per database: what a few cycles write; small, because there are sixteen databases."""

BLOOM_BITS_PER_KEY: Final = 10
"""One false positive in a hundred: a new id then costs one read of a block."""

OPEN_FILES_MAX: Final = 64
"""Per database, so that sixteen stay far below a usual limit of 1,024 descriptors."""

Row = tuple[bytes, bytes | None]


class BatchOptions(RocksDBOptions):
    """RocksDB options for point reads of mostly absent keys, and batches of puts."""

    def as_options(self) -> rocksdict.Options:
        """Options of one database."""
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_max_open_files(OPEN_FILES_MAX)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_max_write_buffer_number(2)
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, block_based=False)
        blocks.set_block_cache(rocksdict.Cache(BLOCK_CACHE_BYTES))
        blocks.set_cache_index_and_filter_blocks(True)
        options.set_block_based_table_factory(blocks)
        return options


class BatchStore(RocksDBStore):
    """A Faust table store with batches. `expand` turns changelog records into rows."""

    expand: Callable[[Iterable[Row]], list[Row]]

    def __init__(self, url: Any, app: Any, table: Any, **kwargs: Any) -> None:
        super().__init__(url, app, table, driver="rocksdict", **kwargs)
        self.rocksdb_options = BatchOptions(use_rocksdict=True)
        self.expand = expand_segments if table.name == Table.CLAIMS else list

    def read(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of these keys, in their order."""
        if not keys:
            return []
        values: list[bytes | None] = self._db_for_partition(partition).get(list(keys))
        return values

    def write(self, partition: int, rows: Iterable[Row], changelog_offset: int) -> None:
        """All rows and the changelog offset in one atomic batch."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in rows:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self.offset_key, b"%d" % changelog_offset)
        self._db_for_partition(partition).write(batch)

    def apply_changelog(self, partition: int, records: Sequence[Any]) -> None:
        """A run of changelog records, whole, as recovery reads them."""
        rows = self.expand((record.key, record.value) for record in records)
        self.write(partition, rows, records[-1].offset)


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

    def _store(self, table: Table) -> BatchStore:
        return cast(BatchStore, self._tables[table].data)

    def changelog_offset(self, table: Table, partition: int) -> int | None:
        """The offset of the last changelog record in the table, None before the first."""
        store = self._store(table)
        return store.persisted_offset(TP(store.table_name, partition))
