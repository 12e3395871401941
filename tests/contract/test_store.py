"""One suite for every store: memory, and RocksDB under Faust's tables."""

import multiprocessing
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from streams.adapters.memory import MemoryStore
from streams.adapters.store import (
    FOLLOWING_KEY,
    BatchStore,
    BatchTable,
    FaustStore,
    expand_segments,
)
from streams.app.worker import make_app
from streams.domain.identity import Claim, pack_claim, pack_segment
from streams.ports import Changes, Store, Table
from streams.settings import Settings


def rocksdb_store(directory: Path) -> FaustStore:
    settings = Settings(home=directory, topic_prefix="store.")
    app = make_app(settings, "127.0.0.1:1")
    return FaustStore(
        {
            table: BatchTable(app, name=table.value, key_type=bytes, value_type=bytes)
            for table in Table
        }
    )


@pytest.fixture(params=["memory", "rocksdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else rocksdb_store(tmp_path)


def test_a_key_that_was_never_written_is_none(store: Store) -> None:
    assert store.read(Table.ACCOUNTS, 0, [b"a", b"b"]) == [None, None]


def test_nothing_asked_is_nothing_answered(store: Store) -> None:
    assert store.read(Table.CLAIMS, 0, []) == []


def test_values_come_back_in_the_order_of_the_keys(store: Store) -> None:
    store.write(Table.ACCOUNTS, 0, Changes([(b"a", b"1"), (b"b", b"2")], 7))
    assert store.read(Table.ACCOUNTS, 0, [b"b", b"x", b"a"]) == [b"2", None, b"1"]


def test_the_last_value_of_a_key_counts_and_none_deletes_it(store: Store) -> None:
    store.write(Table.ACCOUNTS, 0, Changes([(b"a", b"1"), (b"b", b"1")], 7))
    store.write(Table.ACCOUNTS, 0, Changes([(b"a", b"2"), (b"b", None)], 8))
    assert store.read(Table.ACCOUNTS, 0, [b"a", b"b"]) == [b"2", None]


def test_partitions_and_tables_do_not_see_each_other(store: Store) -> None:
    store.write(Table.ACCOUNTS, 0, Changes([(b"a", b"1")], 7))
    assert store.read(Table.ACCOUNTS, 1, [b"a"]) == [None]
    assert store.read(Table.CLAIMS, 0, [b"a"]) == [None]


def test_a_scan_shows_the_rows_of_its_beginning(tmp_path: Path) -> None:
    store = rocksdb_store(tmp_path)
    store.write(Table.ACCOUNTS, 0, Changes([(b"a", b"1"), (b"b", b"1"), (b"c", b"1")], 7))
    scan = store.scan(Table.ACCOUNTS, 0)
    first = next(scan)
    store.write(Table.ACCOUNTS, 0, Changes([(b"b", b"2"), (b"c", None), (b"d", b"2")], 8))
    assert [first, *scan] == [(b"a", b"1"), (b"b", b"1"), (b"c", b"1")]


def test_a_scan_that_is_closed_leaves_the_database_to_its_next_owner(tmp_path: Path) -> None:
    store = rocksdb_store(tmp_path)
    store.write(Table.ACCOUNTS, 0, Changes([(b"a", b"1"), (b"b", b"1")], 7))
    scan = store.scan(Table.ACCOUNTS, 0)
    next(scan)
    store._store(Table.ACCOUNTS)._dbs.pop(0).close()
    again = rocksdb_store(tmp_path)
    with pytest.raises(Exception, match="lock hold by"):
        again.read(Table.ACCOUNTS, 0, [b"a"])
    scan.close()
    assert again.read(Table.ACCOUNTS, 0, [b"a"]) == [b"1"]


def write_and_die(directory: Path) -> None:
    rocksdb_store(directory).write(Table.ACCOUNTS, 3, Changes([(b"a", b"1")], 41))
    os.kill(os.getpid(), signal.SIGKILL)


def test_rows_and_changelog_offset_survive_kill_9(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=write_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    again = rocksdb_store(tmp_path)
    assert again.read(Table.ACCOUNTS, 3, [b"a"]) == [b"1"]
    assert again.changelog_offset(Table.ACCOUNTS, 3) == 41


def follow_settle_write_and_die(directory: Path) -> None:
    store = rocksdb_store(directory)
    accounts = cast(BatchStore, store._tables[Table.ACCOUNTS].data)
    accounts.apply_changelog(3, [SimpleNamespace(key=b"a", value=b"1", offset=4)])
    store.settle(3)
    store.write(Table.ACCOUNTS, 3, Changes([(b"b", b"2")], 6))
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_recovered_survives_kill_9_once_it_is_settled(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=follow_settle_write_and_die, args=(tmp_path,)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    again = rocksdb_store(tmp_path)
    assert again.read(Table.ACCOUNTS, 3, [b"a", b"b"]) == [b"1", b"2"]
    assert again.changelog_offset(Table.ACCOUNTS, 3) == 6


def follow_and_die(directory: Path) -> None:
    accounts = cast(BatchStore, rocksdb_store(directory)._tables[Table.ACCOUNTS].data)
    for offset in range(4, 9):
        row = SimpleNamespace(key=b"%d" % offset, value=b"1", offset=offset)
        accounts.apply_changelog(3, [row])
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_recovery_cut_short_by_kill_9_goes_on_where_its_rows_end(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=follow_and_die, args=(tmp_path,))
    process.start()
    process.join()
    again = rocksdb_store(tmp_path)
    reached = again.changelog_offset(Table.ACCOUNTS, 3) or 3
    rows = again.read(Table.ACCOUNTS, 3, [b"%d" % offset for offset in range(4, 9)])
    assert rows == [b"1" if offset <= reached else None for offset in range(4, 9)]


def test_a_claims_segment_becomes_the_rows_that_were_packed() -> None:
    claims = {bytes([i] * 16): Claim(bytes([i + 1] * 16), 1_000 + i, i) for i in range(3)}
    rows = expand_segments([(b"1", pack_segment(claims)), (b"2", None)])
    assert rows == [(key, pack_claim(claim)) for key, claim in claims.items()]


def test_a_table_that_follows_its_changelog_says_so_until_it_is_settled(tmp_path: Path) -> None:
    store = rocksdb_store(tmp_path)
    accounts = cast(BatchStore, store._tables[Table.ACCOUNTS].data)
    accounts.apply_changelog(0, [SimpleNamespace(key=b"a", value=b"1", offset=4)])
    assert store.read(Table.ACCOUNTS, 0, [b"a", FOLLOWING_KEY]) == [b"1", b"1"]

    store.settle(0)
    assert store.read(Table.ACCOUNTS, 0, [b"a", FOLLOWING_KEY]) == [b"1", None]
    assert store.changelog_offset(Table.ACCOUNTS, 0) == 4
    accounts.apply_changelog(0, [SimpleNamespace(key=b"a", value=b"2", offset=6)])
    assert store.read(Table.ACCOUNTS, 0, [FOLLOWING_KEY]) == [b"1"], "a standby again"
