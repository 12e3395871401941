"""What the claims' databases promise on RocksDB: rows that go by time, filters, bounded memory."""

import os
import re
from pathlib import Path

import pytest

from schemas.topics import CLAIMS_RETENTION_DAYS
from streams.adapters import databases
from streams.adapters.databases import SHARED_BUFFER_BYTES, SHARED_CACHE_BYTES, shared_memory
from streams.adapters.store import FaustStore
from streams.domain.identity import Claim, Verdict, judge, pack_claim, unpack_claim
from streams.ports import Changes, Table
from tests.builders import DAY_US, NOON_US
from tests.contract.test_store_damage import open_store, place
from tests.embedded_waiting import until

KEYS = [b"%016d" % number for number in range(1_000)]
WAIT_SECONDS = 30.0


def compact(store: FaustStore, table: Table) -> None:
    """What RocksDB does by itself in time: rewrites files without what has expired."""
    database = store._store(table)._db_for_partition(0)
    database.flush()
    database.compact_range(None, None)


def close(store: FaustStore) -> None:
    for table in Table:
        for database in store._store(table)._dbs.values():
            database.close()
        store._store(table)._dbs.clear()


def newest_options(path: Path) -> str:
    """How RocksDB says it has opened a database."""
    return max(path.glob("OPTIONS-*"), key=lambda found: int(found.name[8:])).read_text()


def test_claims_go_by_time_without_a_scan_and_accounts_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "CLAIM_SECONDS", 1)
    store = open_store(tmp_path)
    for table in Table:
        store.write(table, 0, Changes([(key, b"x" * 32) for key in KEYS], 7))

    def expired() -> bool:
        compact(store, Table.CLAIMS)
        return not any(store.read(Table.CLAIMS, 0, KEYS))

    until(expired, "every claim expired", WAIT_SECONDS)
    compact(store, Table.ACCOUNTS)
    assert store.read(Table.ACCOUNTS, 0, KEYS) == [b"x" * 32] * len(KEYS)


def test_a_claim_is_kept_as_long_as_its_changelog_and_files_are_rewritten_by_age(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    store.write(Table.CLAIMS, 0, Changes([(key, b"x" * 32) for key in KEYS], 7))
    compact(store, Table.CLAIMS)
    assert all(store.read(Table.CLAIMS, 0, KEYS)), "nothing goes before its time"
    options = newest_options(place(tmp_path).path)
    assert f"ttl={CLAIMS_RETENTION_DAYS * 86_400};" in options
    assert f"periodic_compaction_seconds={7 * 86_400}\n" in options


def test_a_lost_offset_of_an_idle_partition_reads_the_changelog_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offset expires with the claims where nothing was written for so long."""
    monkeypatch.setattr(databases, "CLAIM_SECONDS", 1)
    store = open_store(tmp_path)
    store.write(Table.CLAIMS, 0, Changes([(KEYS[0], b"x")], 7))

    def expired() -> bool:
        compact(store, Table.CLAIMS)
        return store.changelog_offset(Table.CLAIMS, 0) is None

    until(expired, "the offset expired", WAIT_SECONDS)
    close(store)
    again = open_store(tmp_path)
    assert again.changelog_offset(Table.CLAIMS, 0) is None
    assert not list(place(tmp_path).path.parent.glob("*.damaged-*")), "and is no damage"


@pytest.mark.parametrize("stored", [True, False])
def test_what_the_store_has_dropped_or_still_has_never_decides(
    tmp_path: Path, stored: bool
) -> None:
    """I6: beyond the horizon the verdict is the same with the claim and without it."""
    store = open_store(tmp_path)
    if stored:
        row = pack_claim(Claim(b"h" * 16, NOON_US, 7))
        store.write(Table.CLAIMS, 0, Changes([(KEYS[0], row)], 7))
    (found,) = store.read(Table.CLAIMS, 0, KEYS[:1])
    claim = None if found is None else unpack_claim(found)
    appended_us, horizon_us = NOON_US + 35 * DAY_US + 1, 35 * DAY_US
    assert judge(claim, b"h" * 16, appended_us, 8, horizon_us) is Verdict.FRESH


@pytest.mark.parametrize("reopened", [False, True])
def test_filters_and_the_shared_cache_are_on_also_after_a_restart(
    tmp_path: Path, reopened: bool
) -> None:
    """rocksdict forgets the options of what exists unless they are given for its column family."""
    store = open_store(tmp_path)
    for table in Table:
        store.write(table, 0, Changes([(b"a", b"b")], 1))
    if reopened:
        close(store)
        store = open_store(tmp_path)
        store.read(Table.CLAIMS, 0, [b"a"])
        store.read(Table.ACCOUNTS, 0, [b"a"])
    for table in Table:
        path = store._store(table).database(0).path
        assert "filter_policy=bloomfilter" in newest_options(path)
        assert "cache_index_and_filter_blocks=true" in newest_options(path)
        capacity = re.search(r"capacity : (\d+)", (path / "LOG").read_text())
        assert capacity is not None
        assert int(capacity[1]) == SHARED_CACHE_BYTES


def test_sixteen_databases_share_one_cache_and_one_bound_on_what_is_unwritten(
    tmp_path: Path,
) -> None:
    store = open_store(tmp_path)
    cache, buffers = shared_memory()
    rows = [(os.urandom(16), os.urandom(32)) for _ in range(20_000)]
    for partition in range(8):
        for table in Table:
            for offset in range(5):
                store.write(table, partition, Changes(rows[offset::5], offset))
    assert 0 < buffers.get_usage() <= SHARED_BUFFER_BYTES
    for partition in range(8):
        for table in Table:
            store._store(table)._db_for_partition(partition).flush()
            store.read(table, partition, [key for key, _ in rows])
    assert 0 < cache.get_usage() <= SHARED_CACHE_BYTES
    assert shared_memory()[0] is cache
