"""The SQLite file under a spool: how it is opened, locked, made durable, and what its errors mean.

Knows nothing of what a spool does with its rows. The settings are those of decision 020.
"""

import ctypes
import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from schemas.client.errors import SpoolBusyError, SpoolDamagedError, SpoolError, SpoolFullError

FILE_NAME: Final = "spool.sqlite3"

LOG_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of the write-ahead log that is kept between two checkpoints."""

APPLICATION_ID: Final = 0x54476174
"""In the file's header: one of ours."""

LAYOUT: Final = 1
"""Version of the table."""

TABLE: Final = """
CREATE TABLE waiting (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    checksum INTEGER NOT NULL
)
"""


class _Connection(sqlite3.Connection):
    """One that is known while it is open."""


_open: Final[weakref.WeakSet[_Connection]] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    """Keeps a forked child from ever closing the files of its parent.

    SQLite in the child believes that it holds the parent's lock: closing, which the end of the
    interpreter does by itself, would delete the write-ahead log under the parent, and with it
    every commit that follows.
    """
    for connection in list(_open):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


os.register_at_fork(after_in_child=_leave_to_the_parent)


def open_file(directory: Path) -> sqlite3.Connection:
    """The file of this directory, both made if they are missing, locked until it is closed.

    Raises SpoolBusyError, SpoolDamagedError, SpoolError.
    """
    path = directory / FILE_NAME
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            # Readable for its owner alone: metadata may be personal.
            path.touch(mode=0o600)
    except OSError as error:
        raise SpoolError(
            f"{directory} cannot be used: {type(error).__name__}: {error.strerror}",
            "Name a directory that this process may write",
        ) from error
    with told(directory):
        file = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        _open.add(file)
        # What a damaged disk made of a text is for the checksum to find.
        file.text_factory = lambda raw: raw.decode("utf-8", "replace")
        try:
            _prepare(file, directory)
        except BaseException:
            file.close()
            raise
    return file


def _prepare(file: sqlite3.Connection, directory: Path) -> None:
    """Locks the file for this process, looks whether it is ours and whole, and makes every commit
    durable. A file that is not ours is not written to."""
    # The lock that keeps a second process out is held until the file is closed, and given back by
    # the kernel whatever happens to us.
    _set(file, "locking_mode", "EXCLUSIVE")
    signed = (_asked(file, "application_id"), _asked(file, "user_version"))
    [tables] = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
    # A crash while it was made leaves a file without tables, which is as good as none.
    is_new = tables == 0 and signed == (0, 0)
    if not is_new and signed != (APPLICATION_ID, LAYOUT):
        raise SpoolDamagedError(
            f"{directory / FILE_NAME} is not a spool of this release",
            "Name another directory; nothing was changed",
        )
    if not _asked(file, "page_count"):
        _set(file, "auto_vacuum", "INCREMENTAL")
    mode = _set(file, "journal_mode", "WAL")
    if mode != "wal":
        raise SpoolError(
            f"{directory} takes no write-ahead log (its mode is {mode})",
            "Use a directory on a local disk",
        )
    # A commit returns when the log is on the disk (fullfsync: also past a Mac's own cache).
    _set(file, "synchronous", "FULL")
    _set(file, "fullfsync", "ON")
    _set(file, "checkpoint_fullfsync", "ON")
    _set(file, "journal_size_limit", str(LOG_BYTES_MAX))
    file.execute("BEGIN EXCLUSIVE")
    if is_new:
        file.execute(TABLE)
        _set(file, "application_id", str(APPLICATION_ID))
        _set(file, "user_version", str(LAYOUT))
    file.execute("COMMIT")
    if _asked(file, "quick_check(1)") != "ok":
        raise damaged(directory)


def _asked(file: sqlite3.Connection, pragma: str) -> object:
    """What a PRAGMA answers."""
    [answer] = file.execute(f"PRAGMA {pragma}").fetchone()
    return answer


def _set(file: sqlite3.Connection, pragma: str, value: str) -> object:
    """Sets a PRAGMA; what it answers, if anything."""
    row = file.execute(f"PRAGMA {pragma} = {value}").fetchone()
    return row and row[0]


def damaged(directory: Path) -> SpoolDamagedError:
    """The error of a file that is not what was written."""
    return SpoolDamagedError(
        f"{directory / FILE_NAME} is damaged",
        "Move the directory away and start with a new one; `sqlite3 spool.sqlite3 .recover` saves "
        "what can be read, and events keep their ids",
    )


@contextmanager
def told(directory: Path) -> Iterator[None]:
    """Raises what SQLite says in terms of the spool."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            raise SpoolBusyError(
                f"{directory} is open already, in this process or another",
                "Give each producer process a directory of its own",
            ) from error
        if code == sqlite3.SQLITE_FULL:
            raise SpoolFullError(
                f"the disk of {directory} is full", "Make room. The event was not taken"
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise damaged(directory) from error
        raise SpoolError(
            f"{directory} cannot be used: {type(error).__name__}: {error}",
            "Nothing was changed by this call",
        ) from error


@contextmanager
def transaction(file: sqlite3.Connection, directory: Path) -> Iterator[None]:
    """All of it or nothing, on the disk when it ends. Raises as `told` does."""
    with told(directory):
        file.execute("BEGIN IMMEDIATE")
        try:
            yield
            file.execute("COMMIT")
        except BaseException:
            # A full disk may have ended it already.
            if file.in_transaction:
                file.execute("ROLLBACK")
            raise
