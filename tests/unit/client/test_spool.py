"""The spool: what it was given is there until it is settled, whoever opens it next."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.client import (
    Refused,
    Spool,
    SpoolBusyError,
    SpoolClosedError,
    SpoolDamagedError,
    Spooled,
    SpoolError,
    SpoolFullError,
)
from schemas.client.refused import read_refused
from schemas.client.spool import ROW_BYTES
from schemas.client.spool_file import FILE_NAME
from tests.client_fakes import record

ROOT = Path(__file__).parents[3]
ALL = 1 << 30
SIZE = len(record("e1").key) + len(record("e1").value) + ROW_BYTES


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool") as made:
        yield made


def ids(records: list[Spooled]) -> list[str]:
    return [json.loads(one.value)["event_id"] for one in records]


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def waiting(spool: Spool) -> list[Spooled]:
    return spool.take(0, spool.last_sequence, ALL, ALL)


def test_what_was_appended_is_there_for_the_next_one_in_its_order(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append([record("a"), record("b")])
        spool.append([record("c")])
        spool.settle(waiting(spool)[:1], [])
    with Spool(tmp_path) as spool:
        assert ids(waiting(spool)) == ["b", "c"]
        assert (spool.waiting, spool.waiting_bytes) == (2, 2 * SIZE - 2)
        [_, last] = waiting(spool)
        assert (last.topic, last.key, last.value) == ("usage", b"acme", record("c").value)


def test_every_commit_is_on_the_disk_before_it_returns(spool: Spool) -> None:
    settings = {
        name: spool._file.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "locking_mode", "fullfsync")
    }
    # 2 is FULL: the log is synced at every commit.
    expected = {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive"}
    assert settings == expected | {"fullfsync": 1}


def test_numbers_are_not_given_twice_however_empty_it_gets(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append([record("a")])
        spool.settle(waiting(spool), [])
    with Spool(tmp_path) as spool:
        assert (spool.waiting, spool.last_sequence) == (0, 1)
        spool.append([record("b")])
        assert [one.sequence for one in waiting(spool)] == [2]


def test_a_batch_is_bounded_and_never_empty_while_something_waits(spool: Spool) -> None:
    spool.append([record(f"e{n}") for n in range(5)])
    assert len(spool.take(0, 5, 2, ALL)) == 2
    assert len(spool.take(2, 4, 9, ALL)) == 2
    assert len(spool.take(0, 5, 9, 1)) == 1
    assert len(spool.take(0, 5, 9, 2 * (SIZE - ROW_BYTES))) == 2
    assert spool.take(5, 9, 9, ALL) == []


def test_waiting_for_some_is_not_waiting_for_what_came_later(spool: Spool) -> None:
    spool.append([record("a"), record("b")])
    spool.settle(spool.take(0, 1, 9, ALL), [])
    assert spool.wait_settled(1, 0, lambda: False)
    assert not spool.wait_settled(2, 0, lambda: False)
    assert not spool.wait_settled(2, None, lambda: True)


def test_a_second_one_is_told_that_it_is_open(tmp_path: Path) -> None:
    with Spool(tmp_path):
        with pytest.raises(SpoolBusyError, match="open already"):
            Spool(tmp_path)
        program = f"from schemas.client import Spool; Spool({str(tmp_path)!r})"
        assert "SpoolBusyError" in run(program).stderr
    Spool(tmp_path).close()


def test_a_full_one_takes_nothing_and_says_so(tmp_path: Path) -> None:
    with Spool(tmp_path, bytes_max=3 * SIZE) as spool:
        spool.append([record("e1"), record("e2")])
        with pytest.raises(SpoolFullError, match="holds 2 events"):
            spool.append([record("e3"), record("e4")])
        assert ids(waiting(spool)) == ["e1", "e2"]
        spool.append([record("e3")])
        spool.settle(waiting(spool)[:2], [])
        spool.append([record("e4"), record("e5")])
        assert ids(waiting(spool)) == ["e3", "e4", "e5"]


def test_one_that_blocks_waits_for_room(tmp_path: Path) -> None:
    with Spool(tmp_path, bytes_max=SIZE, when_full="block", block_seconds=60) as spool:
        spool.append([record("e1")])
        appending = threading.Thread(target=spool.append, args=([record("e2")],))
        appending.start()
        spool.settle(waiting(spool), [])
        appending.join(60)
        assert ids(waiting(spool)) == ["e2"]


def test_one_that_blocks_gives_up_in_the_end(tmp_path: Path) -> None:
    with Spool(tmp_path, bytes_max=SIZE, when_full="block", block_seconds=0.01) as spool:
        spool.append([record("e1")])
        with pytest.raises(SpoolFullError):
            spool.append([record("e2")])


def test_what_never_fits_is_not_waited_for(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bytes_max=SIZE, when_full="block", block_seconds=1e9)
    with pytest.raises(SpoolFullError):
        spool.append([record("e3"), record("e4")])
    spool.close()


def test_a_full_disk_is_told_and_nothing_is_taken(spool: Spool) -> None:
    spool.append([record("a")])
    [pages] = spool._file.execute("PRAGMA page_count").fetchone()
    spool._file.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    with pytest.raises(SpoolFullError, match="the disk of"):
        spool.append([record(f"b{n}") for n in range(1_000)])
    assert ids(waiting(spool)) == ["a"]
    spool.settle(waiting(spool), [])
    assert spool.waiting == 0


def test_a_fault_in_the_midst_of_several_takes_none_of_them(spool: Spool) -> None:
    spool._file.execute(
        "CREATE TEMP TRIGGER odd BEFORE INSERT ON waiting WHEN NEW.key = CAST('odd' AS BLOB)"
        " BEGIN SELECT RAISE(ABORT, 'odd'); END"
    )
    with pytest.raises(SpoolError, match="cannot be used"):
        spool.append([record("a"), record("b", "odd")])
    assert (spool.waiting, waiting(spool)) == (0, [])
    spool.append([record("c")])
    assert ids(waiting(spool)) == ["c"]


def test_what_was_refused_stands_in_the_file_with_its_reason(tmp_path: Path) -> None:
    with Spool(tmp_path, now_us=lambda: 1_800_000_000_000_000) as spool:
        spool.append([record("good"), record("bad", metadata={"note": "Zürich"})])
        [good, bad] = waiting(spool)
        spool.settle([good], [(bad, Refused("too_odd", "because", "units"))])
        assert spool.waiting == 0
        spool.append([record("worse")])
        [worse] = waiting(spool)
        spool.settle([], [(worse, Refused("too_odd", "because"))])
    lines = (tmp_path / "refused.jsonl").read_text("utf-8").splitlines()
    first = json.loads(lines[0])
    assert first.pop("event") == json.loads(bad.value)
    assert first == {
        "at": "2027-01-15T08:00:00.000000Z",
        "code": "too_odd",
        "reason": "because",
        "field": "units",
        "topic": "usage",
    }
    assert len(lines) == 2
    events, wrong = read_refused(tmp_path / "refused.jsonl")
    assert [event.event_id for event in events] == ["bad", "worse"]
    assert (events[0].value, wrong) == (record("bad", metadata={"note": "Zürich"}).value, [])


def test_what_was_refused_counts_against_the_bound_until_it_is_moved_away(tmp_path: Path) -> None:
    with Spool(tmp_path, bytes_max=3 * SIZE) as spool:
        spool.append([record("e1"), record("e2")])
        refusals = [(one, Refused("no", "because")) for one in waiting(spool)]
        spool.settle([], refusals)
        with pytest.raises(SpoolFullError, match="were refused"):
            spool.append([record("e3")])
        (tmp_path / "refused.jsonl").rename(tmp_path / "seen.jsonl")
        spool.append([record("e3")])


def test_a_torn_line_of_refused_events_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "refused.jsonl"
    path.write_bytes(b'{"at":"2026-01-')
    with Spool(tmp_path) as spool:
        spool.append([record("e1")])
        spool.settle([], [(waiting(spool)[0], Refused("no", "because"))])
    events, wrong = read_refused(path)
    assert ([event.event_id for event in events], wrong) == (["e1"], [1])


def test_an_event_is_kept_while_the_refused_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "refused.jsonl").mkdir()
    with Spool(tmp_path) as spool:
        spool.append([record("e1")])
        with pytest.raises(SpoolError, match="cannot be written"):
            spool.settle([], [(waiting(spool)[0], Refused("no", "because"))])
        assert ids(waiting(spool)) == ["e1"]


def test_an_event_whose_bytes_changed_on_the_disk_is_refused_and_no_other(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append([record("a"), record("b"), record("c")])
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        file.execute("UPDATE waiting SET value = CAST('{}x' AS BLOB) WHERE sequence = 1")
        file.execute("UPDATE waiting SET topic = CAST(x'ff' AS TEXT) WHERE sequence = 2")
    file.close()
    with Spool(tmp_path) as spool:
        assert ids(spool.take(0, 3, 1, ALL)) == ["c"]
        assert spool.waiting == 1
    first, second = map(json.loads, (tmp_path / "refused.jsonl").read_text().splitlines())
    assert (first["code"], bytes.fromhex(first["bytes"])) == ("damaged", b"{}x")
    assert second["event"]["event_id"] == "b"
    assert read_refused(tmp_path / "refused.jsonl") == ([], [1, 2])


@pytest.mark.parametrize("content", [b"not a database, but somebody's notes" * 99, b"SQLite"])
def test_a_file_that_is_no_spool_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(SpoolDamagedError):
        Spool(tmp_path)
    assert path.read_bytes() == content


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        file.execute("CREATE TABLE notes (text)")
    file.close()
    content = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(SpoolDamagedError, match="not a spool"):
        Spool(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_a_spool_of_another_layout_is_left_alone(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append([record("a")])
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        file.execute("PRAGMA user_version = 2")
    file.close()
    content = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(SpoolDamagedError, match="of this release"):
        Spool(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_a_torn_page_is_found_when_it_is_opened(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        spool.append([record(f"e{n}") for n in range(200)])
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    # The second half of the file, header and root of the table left out.
    content[len(content) // 2 :] = os.urandom(len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(SpoolDamagedError, match="is damaged"):
        Spool(tmp_path)
    assert path.read_bytes() == content


def test_a_large_backlog_gives_its_room_back(spool: Spool) -> None:
    big = {f"key{n}": "x" * 256 for n in range(16)}
    for n in range(4):
        spool.append([record(f"e{n}-{m}", metadata=big) for m in range(400)])
    [before] = spool._file.execute("PRAGMA page_count").fetchone()
    spool.settle(waiting(spool), [])
    [after] = spool._file.execute("PRAGMA page_count").fetchone()
    assert after < before // 10


def test_nobody_else_may_read_it(spool: Spool) -> None:
    assert stat.S_IMODE((spool.directory / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700


def test_a_closed_one_says_that_it_is_closed(spool: Spool) -> None:
    spool.close()
    spool.close()
    with pytest.raises(SpoolClosedError, match="is closed"):
        spool.append([record("e1")])
    with pytest.raises(SpoolClosedError):
        spool.take(0, 1, 1, 1)


FORKED = """
import os, sys
from schemas.client import Spool, SpoolClosedError
from tests.client_fakes import record

spool = Spool(sys.argv[1])
spool.append([record("before")])
child = os.fork()
if not child:
    try:
        spool.append([record("from-the-child")])
    except SpoolClosedError as error:
        os._exit(7 if "forked" in str(error) else 1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
spool.append([record("after")])
print(spool.waiting)
"""


def test_a_forked_child_does_not_touch_the_spool_of_its_parent(tmp_path: Path) -> None:
    done = run(FORKED, str(tmp_path))
    assert (done.stdout, done.stderr) == ("2\n", "")


ENDS_NORMALLY = """
import os, signal, sys
from schemas.client import Spool
from tests.client_fakes import record

spool = Spool(sys.argv[1])
spool.append([record("before")])
child = os.fork()
if not child:
    # The interpreter of the child takes everything down, the connection included.
    del spool
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
spool.append([record("after")])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_forked_child_that_ends_takes_nothing_from_its_parent(tmp_path: Path) -> None:
    done = run(ENDS_NORMALLY, str(tmp_path))
    assert (done.returncode, done.stderr) == (-9, "")
    with Spool(tmp_path) as spool:
        assert ids(waiting(spool)) == ["before", "after"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"file.* cannot be used"):
        Spool(tmp_path / "file")
