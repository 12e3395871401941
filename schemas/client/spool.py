"""The durable local spool: events that are not known to be in the log, in one SQLite file.

Between the producer's call, which returns when its event is on the disk, and a sender. One process
at a time; what a crash leaves behind is there for the next one. Decision 020 says why SQLite, and
what is promised.
"""

import os
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, Literal, Self

from schemas.client import clock
from schemas.client.errors import SpoolClosedError, SpoolError, SpoolFullError
from schemas.client.events import Ready
from schemas.client.refused import RefusedFile
from schemas.client.sending import Refused, Spooled
from schemas.client.spool_file import open_file, told, transaction
from schemas.times import format_time

BYTES_MAX: Final = 256 * 1024 * 1024
"""Events of a spool unless it is told otherwise: half a million of the usual size, ten minutes of
an outage at 1,000 events/s."""

ROW_BYTES: Final = 64
"""What an event takes in the file besides its own bytes."""

BLOCK_SECONDS: Final = 30.0
"""How long a producer waits for room in a spool that blocks: longer than a gateway is away."""

FREE_PAGES_MAX: Final = 1_024
"""Unused pages (4 MiB) that an empty spool keeps for what comes next; more go back to the disk."""

_SIZE: Final = f"length(key) + length(value) + {ROW_BYTES}"


class Spool:
    """Events that wait to be sent, in the order in which they came. All methods may be called from
    any thread.

    `bytes_max` bounds what waits and what was refused together. `when_full` says what `append` does
    then: raise at once, or wait up to `block_seconds` for room.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        bytes_max: int = BYTES_MAX,
        when_full: Literal["error", "block"] = "error",
        block_seconds: float = BLOCK_SECONDS,
        now_us: Callable[[], int] = clock.now_us,
    ) -> None:
        """Opens the directory, which is made if it is missing, and finds what an earlier process
        left. Use a local disk.

        Raises SpoolBusyError, SpoolDamagedError, SpoolError.
        """
        self.directory = Path(directory)
        self._bytes_max = bytes_max
        self._block_seconds = block_seconds if when_full == "block" else 0.0
        self._now_us = now_us
        self._refused = RefusedFile(self.directory)
        self._changed = threading.Condition()
        self._pid = os.getpid()
        self._count: int
        self._bytes: int
        self._last: int
        self._closed = False
        self._file = open_file(self.directory)
        try:
            with told(self.directory):
                query = f"SELECT count(*), coalesce(sum({_SIZE}), 0) FROM waiting"  # noqa: S608
                self._count, self._bytes = self._file.execute(query).fetchone()
                query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence"
                [self._last] = self._file.execute(query).fetchone()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """Events that are not known to be in the log."""
        return self._count

    @property
    def waiting_bytes(self) -> int:
        """What they take."""
        return self._bytes

    @property
    def last_sequence(self) -> int:
        """The number of the youngest event that was ever appended; 0 for none."""
        return self._last

    # --- the producer's side ---

    def append(self, events: Sequence[Ready]) -> None:
        """Takes all of these events or none, and returns when they are on the disk.

        Raises SpoolFullError, SpoolClosedError, SpoolError; then nothing was taken.
        """
        size = sum(len(event.key) + len(event.value) + ROW_BYTES for event in events)
        rows = [
            (event.topic, event.key, event.value, _checksum(event.topic, event.key, event.value))
            for event in events
        ]
        with self._lock():
            self._wait_for_room(size)
            with transaction(self._file, self.directory):
                self._file.executemany(
                    "INSERT INTO waiting (topic, key, value, checksum) VALUES (?, ?, ?, ?)", rows
                )
                query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence"
                [last] = self._file.execute(query).fetchone()
            self._count += len(rows)
            self._bytes += size
            self._last = last

    def _wait_for_room(self, size: int) -> None:
        self._check_usable()
        deadline = time.monotonic() + self._block_seconds
        while self._bytes + self._refused.bytes_taken() + size > self._bytes_max:
            left = deadline - time.monotonic()
            if left <= 0 or size > self._bytes_max:
                raise SpoolFullError(
                    f"the spool {self.directory} holds {self._count} events in {self._bytes:,} "
                    f"bytes, {self._refused.bytes_taken():,} bytes were refused; together "
                    f"{self._bytes_max:,} are allowed",
                    "See why events are not sent, look at refused.jsonl and move it away, or allow "
                    "more bytes. The event was not taken",
                )
            self._changed.wait(left)
            self._check_usable()

    # --- the forwarder's side ---

    def take(self, after: int, until: int, records_max: int, bytes_max: int) -> list[Spooled]:
        """The oldest events with a number in (after, until], at least one where there is any.

        They stay in the spool until they are settled. An event whose bytes are not what was written
        is refused on the way. Raises SpoolClosedError, SpoolDamagedError, SpoolError.
        """
        with self._lock():
            while True:
                self._check_usable()
                found, damaged = self._read(after, until, records_max, bytes_max)
                if damaged:
                    self.settle([], damaged)
                if found or not damaged:
                    return found
                after = damaged[-1][0].sequence

    def _read(
        self, after: int, until: int, records_max: int, bytes_max: int
    ) -> tuple[list[Spooled], list[tuple[Spooled, Refused]]]:
        found: list[Spooled] = []
        damaged: list[tuple[Spooled, Refused]] = []
        size = 0
        query = (
            "SELECT sequence, topic, key, value, checksum FROM waiting"
            " WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
        )
        with (
            told(self.directory),
            closing(self._file.execute(query, (after, until, records_max))) as rows,
        ):
            for sequence, topic, key, value, checksum in rows:
                size += len(key) + len(value)
                if size > bytes_max and found:
                    break
                record = Spooled(sequence, topic, key, value)
                if _checksum(topic, key, value) == checksum:
                    found.append(record)
                else:
                    damaged.append((record, Refused("damaged", "not the bytes that were written")))
        return found, damaged

    def settle(self, sent: Sequence[Spooled], refused: Sequence[tuple[Spooled, Refused]]) -> None:
        """Forgets what is in the log, and what was refused once it stands in the file for that.

        Raises SpoolClosedError, SpoolDamagedError, SpoolError; then what was refused may come back
        and be refused again.
        """
        gone = [*sent, *(record for record, _ in refused)]
        with self._lock():
            self._check_usable()
            if refused:
                self._write_refused(refused)
            with transaction(self._file, self.directory):
                self._file.executemany(
                    "DELETE FROM waiting WHERE sequence = ?", [(one.sequence,) for one in gone]
                )
            self._count -= len(gone)
            self._bytes -= sum(len(one.key) + len(one.value) + ROW_BYTES for one in gone)
            if not self._count:
                self._give_back()
            self._changed.notify_all()

    def _write_refused(self, refused: Sequence[tuple[Spooled, Refused]]) -> None:
        try:
            self._refused.write(refused, format_time(self._now_us()))
        except OSError as error:
            raise SpoolError(
                f"{self._refused.path} cannot be written: {type(error).__name__}",
                "Refused events stay in the spool until it can",
            ) from error

    def _give_back(self) -> None:
        with told(self.directory):
            [free] = self._file.execute("PRAGMA freelist_count").fetchone()
            if free > FREE_PAGES_MAX:
                # A script, because a statement without columns would be stepped once: one page.
                self._file.executescript("PRAGMA incremental_vacuum")

    def wait_settled(self, until: int, seconds: float | None, given_up: Callable[[], bool]) -> bool:
        """Whether every event up to this number has left the spool, waiting for it at most so long
        and until `given_up`, which is asked whenever `wake_waiters` was called."""
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._lock():
            while True:
                self._check_usable()
                query = "SELECT min(sequence) FROM waiting"
                with told(self.directory):
                    [first] = self._file.execute(query).fetchone()
                if first is None or first > until:
                    return True
                left = None if deadline is None else deadline - time.monotonic()
                if given_up() or (left is not None and left <= 0):
                    return False
                self._changed.wait(left)

    def wake_waiters(self) -> None:
        """Lets those look again who wait for room or for a flush."""
        with self._lock():
            self._changed.notify_all()

    def close(self) -> None:
        """Gives the directory to the next process. What waits stays there. May be repeated."""
        if self._pid != os.getpid():
            return
        with self._changed:
            if not self._closed:
                self._closed = True
                self._file.close()
            self._changed.notify_all()

    def _lock(self) -> threading.Condition:
        """To be held while anything is looked at. Not asked for in a forked child, where whoever
        held it is gone."""
        if self._pid != os.getpid():
            raise SpoolClosedError(
                "the spool was opened by the process from which this one was forked",
                "Open a spool of its own, in another directory, after the fork",
            )
        return self._changed

    def _check_usable(self) -> None:
        if self._closed:
            raise SpoolClosedError("the spool is closed", "Open it again")


def _checksum(topic: str, key: bytes, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key, zlib.crc32(topic.encode())))
