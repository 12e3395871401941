"""A damaged, foreign or full store on RocksDB: what is noticed, what is left, what is lost."""

import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.adapters import databases
from streams.adapters.databases import SET_ASIDE_MAX, Database
from streams.adapters.store import BatchTable, FaustStore
from streams.app.worker import make_app
from streams.errors import FaultError, TransientError
from streams.ports import Changes, Table
from streams.settings import Settings

ROWS = 5_000


def open_store(directory: Path, *, changelog_id: str | None = None) -> FaustStore:
    app = make_app(Settings(home=directory, topic_prefix="store."), "127.0.0.1:1")
    store = FaustStore(
        {
            table: BatchTable(app, name=table.value, key_type=bytes, value_type=bytes)
            for table in Table
        }
    )
    store.identify({Table.CLAIMS: changelog_id})
    return store


def place(directory: Path) -> Database:
    return open_store(directory)._store(Table.CLAIMS).database(0)


def keys() -> list[bytes]:
    return [b"%016d" % number for number in range(ROWS)]


def fill(directory: Path, *, changelog_id: str | None = None) -> Path:
    """A closed store of claims with rows in a file and in the write-ahead log, at offset 7."""
    store = open_store(directory, changelog_id=changelog_id)
    rows = [(key, os.urandom(32)) for key in keys()]
    store.write(Table.CLAIMS, 0, Changes(rows[: ROWS // 2], 6))
    inner = store._store(Table.CLAIMS)
    inner._db_for_partition(0).flush()
    store.write(Table.CLAIMS, 0, Changes(rows[ROWS // 2 :], 7))
    inner._dbs.pop(0).close()
    return inner.database(0).path


def set_aside_of(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.glob(f"{path.name}.damaged-*"))


def only(path: Path, pattern: str) -> Path:
    return max(path.glob(pattern), key=lambda found: found.stat().st_size)


def flip(path: Path, at: float) -> None:
    raw = bytearray(path.read_bytes())
    place_in_file = int(len(raw) * at)
    raw[place_in_file] ^= 0xFF
    path.write_bytes(raw)


SEEN_AT_THE_OPENING: dict[str, Callable[[Path], object]] = {
    "the end of a file of rows": lambda path: flip(only(path, "*.sst"), 0.9999),
    "a file of rows cut short": lambda path: os.truncate(only(path, "*.sst"), 1000),
    "a file of rows gone": lambda path: only(path, "*.sst").unlink(),
    "an empty manifest": lambda path: os.truncate(only(path, "MANIFEST-*"), 0),
    "no manifest": lambda path: only(path, "MANIFEST-*").unlink(),
    "an empty CURRENT": lambda path: os.truncate(path / "CURRENT", 0),
    "no CURRENT": lambda path: (path / "CURRENT").unlink(),
    "another format": lambda path: (path / databases.STAMP).write_text(
        json.dumps({"format": 1, "changelog": None})
    ),
    "no stamp": lambda path: (path / databases.STAMP).unlink(),
    "a stamp that cannot be read": lambda path: (path / databases.STAMP).write_bytes(b"\xff{"),
    "a marker of the last run": lambda path: (path / databases.MARKER).write_text("Corruption"),
}


@pytest.mark.parametrize("damage", SEEN_AT_THE_OPENING.values(), ids=SEEN_AT_THE_OPENING)
def test_a_damaged_store_is_set_aside_and_begun_anew(
    tmp_path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    path = fill(tmp_path)
    damage(path)
    store = open_store(tmp_path)
    assert store.changelog_offset(Table.CLAIMS, 0) is None, "recovery reads from the beginning"
    assert store.read(Table.CLAIMS, 0, keys()) == [None] * ROWS
    assert set_aside_of(path) == [f"{path.name}.damaged-1"]
    assert "is set aside as" in caplog.text
    store.write(Table.CLAIMS, 0, Changes([(b"a" * 16, b"1")], 8))
    assert store.changelog_offset(Table.CLAIMS, 0) == 8


def test_a_sound_store_is_not_set_aside(tmp_path: Path) -> None:
    path = fill(tmp_path)
    store = open_store(tmp_path)
    assert store.changelog_offset(Table.CLAIMS, 0) == 7
    assert None not in store.read(Table.CLAIMS, 0, keys())
    assert set_aside_of(path) == []


def test_a_torn_end_of_the_write_ahead_log_is_no_damage_and_leaves_an_older_offset(
    tmp_path: Path,
) -> None:
    """What a loss of power leaves: the changelog has the rest, and the offset says from where."""
    store = open_store(tmp_path / "alive")
    for offset in (6, 7):
        rows = [(key, os.urandom(32)) for key in keys()]
        store.write(Table.CLAIMS, 0, Changes(rows, offset))
    path = place(tmp_path / "killed").path
    shutil.copytree(store._store(Table.CLAIMS).database(0).path, path, dirs_exist_ok=True)
    log = only(path, "*.log")
    os.truncate(log, log.stat().st_size - 1000)
    again = open_store(tmp_path / "killed")
    assert again.changelog_offset(Table.CLAIMS, 0) == 6
    assert None not in again.read(Table.CLAIMS, 0, keys())
    assert set_aside_of(path) == []


def test_damage_met_while_reading_ends_in_a_fault_and_the_next_start_sets_the_store_aside(
    tmp_path: Path,
) -> None:
    path = fill(tmp_path)
    flip(only(path, "*.sst"), 0.3)
    store = open_store(tmp_path)
    with pytest.raises(FaultError, match="is damaged: Corruption: block checksum mismatch"):
        store.read(Table.CLAIMS, 0, keys())
    store._store(Table.CLAIMS)._dbs.pop(0).close()
    assert set_aside_of(path) == [], "nothing is renamed under a running process"
    again = open_store(tmp_path)
    assert again.read(Table.CLAIMS, 0, keys()) == [None] * ROWS
    assert set_aside_of(path) == [f"{path.name}.damaged-1"]


def test_only_the_youngest_damaged_stores_are_kept(tmp_path: Path) -> None:
    path = place(tmp_path).path
    for _ in range(SET_ASIDE_MAX + 2):
        fill(tmp_path)
        (path / databases.MARKER).write_text("Corruption")
        store = open_store(tmp_path)
        store.read(Table.CLAIMS, 0, [b"x"])
        store._store(Table.CLAIMS)._dbs.pop(0).close()
    last = SET_ASIDE_MAX + 2
    kept = [f"{path.name}.damaged-{number}" for number in range(last - SET_ASIDE_MAX + 1, last + 1)]
    assert set_aside_of(path) == kept


def test_a_store_that_another_changelog_filled_is_set_aside(tmp_path: Path) -> None:
    path = fill(tmp_path, changelog_id="first")
    same = open_store(tmp_path, changelog_id="first")
    assert same.changelog_offset(Table.CLAIMS, 0) == 7
    same._store(Table.CLAIMS)._dbs.pop(0).close()
    other = open_store(tmp_path, changelog_id="second")
    assert other.changelog_offset(Table.CLAIMS, 0) is None
    assert set_aside_of(path) == [f"{path.name}.damaged-1"]


def test_a_store_that_knows_no_changelog_yet_takes_the_one_it_is_told(tmp_path: Path) -> None:
    path = fill(tmp_path)
    assert json.loads((path / databases.STAMP).read_text()) == {"format": 2, "changelog": None}
    store = open_store(tmp_path, changelog_id="first")
    assert store.changelog_offset(Table.CLAIMS, 0) == 7
    assert json.loads((path / databases.STAMP).read_text())["changelog"] == "first"


def test_a_store_that_another_process_has_open_is_neither_damaged_nor_set_aside(
    tmp_path: Path,
) -> None:
    path = fill(tmp_path)
    holder = open_store(tmp_path)
    holder.read(Table.CLAIMS, 0, [b"x"])
    with pytest.raises(Exception, match="lock") as caught:
        open_store(tmp_path).read(Table.CLAIMS, 0, [b"x"])
    assert databases.is_locked(caught.value)
    assert set_aside_of(path) == []
    assert not (path / databases.MARKER).exists()


def test_a_checksum_error_of_a_block_is_not_taken_for_a_lock() -> None:
    """Faust's own test is `"lock" in repr(error)`, which "block checksum mismatch" meets."""
    assert not databases.is_locked(Exception("Corruption: block checksum mismatch"))


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    from streams.errors import TransientError
    from streams.ports import Changes, Table
    from tests.contract.test_store_damage import open_store

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = open_store(Path(sys.argv[1]))
    store.write(Table.CLAIMS, 0, Changes([(b"first" * 3, b"1" * 32)], 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    for offset in range(2, 200):
        try:
            rows = [(b"%8d%8d" % (offset, n), b"1" * 32) for n in range(1000)]
            store.write(Table.CLAIMS, 0, Changes(rows, offset))
        except TransientError as error:
            print(offset, error.message, error.action, sep="|")
            sys.exit(70)
"""


def run_on_a_full_disk(directory: Path, bytes_max: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(directory), str(bytes_max)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_full_disk_ends_the_process_and_leaves_the_last_whole_cycle(tmp_path: Path) -> None:
    """No file of the child may grow beyond 200 kB: for RocksDB that is a disk that is full."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = run_on_a_full_disk(tmp_path, 200_000)
    assert done.returncode == 70, done.stderr
    offset, message, action = done.stdout.strip().split("|")
    assert "the disk of the state directory is full" in message
    assert "Make room on the disk" in action
    failed = int(offset)
    assert failed > 2, "some cycles fit"
    store = open_store(tmp_path)
    assert store.changelog_offset(Table.CLAIMS, 0) == failed - 1
    row = [b"%8d%8d" % (failed - 1, 999), b"%8d%8d" % (failed, 0)]
    assert store.read(Table.CLAIMS, 0, row) == [b"1" * 32, None]
    assert set_aside_of(place(tmp_path).path) == [], "a full disk damages nothing"


@pytest.mark.parametrize(
    "text",
    [
        "IO error: No space left on device: While appending to file: x/000012.log",
        "IO error: Disk quota exceeded: While appending",
    ],
)
def test_a_full_disk_is_told_from_damage(tmp_path: Path, text: str) -> None:
    database = Database(tmp_path / "x.db", expires=False)
    database.path.mkdir()
    assert isinstance(database.fault(Exception(text)), TransientError)
    assert not (database.path / databases.MARKER).exists()
