"""The RocksDB databases beneath the tables: how one is opened, what all of them share, and what is
done about one that is damaged.

A database holds nothing that its changelog does not hold as well. So a doubtful one is never
repaired: it is set aside, for a person to look at, and recovery fills a new one from the changelog.
Doubtful is a database that RocksDB finds damaged, whether it is opened, read or written; that
another release of this format or another changelog has filled; or that is ahead of its changelog.

Knows files and RocksDB, not Faust; the tables are `store`.
"""

import functools
import json
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rocksdict

from schemas.topics import CLAIMS_RETENTION_DAYS
from streams.errors import FaultError, SetupError, TollgateError, TransientError

log = logging.getLogger(__name__)

FORMAT: Final = 2
"""How rows lie in a database. 1 knew no expiry: RocksDB puts four bytes of time after each value of
a database with one, so the two must not be taken for each other."""

SHARED_CACHE_BYTES: Final = 128 * 1024 * 1024
"""Blocks, filters, indexes and write buffers of all databases of a process together. Filters and
indexes of ten million claims take 18 MiB."""

SHARED_BUFFER_BYTES: Final = 48 * 1024 * 1024
"""Unwritten rows of all databases together, a part of the above: sixteen databases fill theirs
without waiting for each other's disk writes."""

WRITE_BUFFER_BYTES: Final = 8 * 1024 * 1024
"""Of one database: what a few cycles write, and 100,000 claims in one file."""

BLOOM_BITS_PER_KEY: Final = 10
"""One false positive in a hundred: a new id then costs one read of a block."""

OPEN_FILES_MAX: Final = 64
"""Per database, so that sixteen stay far below a usual limit of 1,024 descriptors."""

DAY_SECONDS: Final = 86_400

CLAIM_SECONDS: Final = CLAIMS_RETENTION_DAYS * DAY_SECONDS
"""How long a claim stays on the disk, counted from its last write here: never shorter than in the
changelog, so a table holds whatever a recovery could find (I6)."""

REWRITE_SECONDS: Final = 7 * DAY_SECONDS
"""Age at which a file is rewritten without what has expired: a claim is gone after eleven weeks
at the latest, and each byte is written once more per week."""

SET_ASIDE_MAX: Final = 2
"""Damaged databases kept per table and partition: the first one of a trouble tells most, and each
is as large as the table."""

STAMP: Final = "TOLLGATE"
"""File in a database's directory: its format and its changelog."""

MARKER: Final = "DAMAGED"
"""File in a database's directory: damage was met while it was in use."""

DAMAGE: Final = re.compile(r"Corruption|No such file or directory|Not a directory|Is a directory")
FULL: Final = re.compile(r"No space left on device|Disk quota exceeded|File too large")
LOCKED: Final = re.compile(r"lock hold by|/LOCK\b")


@functools.cache
def shared_memory() -> tuple[rocksdict.Cache, rocksdict.WriteBufferManager]:
    """The cache and the bound on write buffers of this process. A cache for each database would be
    a bound on none of them, and buffers count as cache."""
    cache = rocksdict.Cache(SHARED_CACHE_BYTES)
    buffers = rocksdict.WriteBufferManager.new_write_buffer_manager_with_cache(
        SHARED_BUFFER_BYTES, False, cache
    )
    return cache, buffers


def make_options() -> rocksdict.Options:
    """Options for point reads of mostly absent keys, and batches of puts."""
    cache, buffers = shared_memory()
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_write_buffer_manager(buffers)
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, block_based=False)
    blocks.set_block_cache(cache)
    blocks.set_cache_index_and_filter_blocks(True)
    options.set_block_based_table_factory(blocks)
    return options


@dataclass(frozen=True, slots=True)
class Database:
    """Where one database is and what it must be. `changelog_id` is the broker's id of the topic
    that fills it, None where nobody has said; `expires` makes its rows go after CLAIM_SECONDS."""

    path: Path
    expires: bool
    changelog_id: str | None = None

    def open(self, probe: bytes) -> Any:
        """Opens or creates the database and reads one key of it.

        What is no database of ours, or damaged, is set aside first. Raises what RocksDB raises
        where another process holds the lock, TransientError where the disk is full.
        """
        reason = self._doubt()
        if reason is not None:
            self.set_aside(reason)
        try:
            return self._open(probe)
        except Exception as error:
            if not DAMAGE.search(str(error)):
                raise self.fault(error) from error
            self.set_aside(first_line(error))
        return self._open(probe)

    def _open(self, probe: bytes) -> Any:
        options = make_options()
        access = rocksdict.AccessType.read_write()
        if self.expires:
            access = rocksdict.AccessType.with_ttl(CLAIM_SECONDS)
        if not self.path.exists():
            self.path.mkdir(parents=True)
            self._stamp()
        # rocksdict forgets the options of a column family that exists unless they are given again:
        # after every restart there would be no filters and a cache of its own.
        database = rocksdict.Rdict(
            str(self.path), options, {"default": options}, access_type=access
        )
        try:
            if self.expires:
                database.set_options({"periodic_compaction_seconds": str(REWRITE_SECONDS)})
            database.get(probe)
        except Exception:
            database.close()
            raise
        if self.changelog_id is not None:
            self._stamp()
        return database

    def _stamp(self) -> None:
        text = json.dumps({"format": FORMAT, "changelog": self.changelog_id})
        stamp = self.path / STAMP
        if stamp.exists() and stamp.read_text("utf-8") == text:
            return
        fresh = stamp.with_suffix(".new")
        fresh.write_text(text, "utf-8")
        fresh.replace(stamp)

    def _doubt(self) -> str | None:
        """Why an existing directory must not be opened, None where nothing speaks against it."""
        if not self.path.exists():
            return None
        marker = self.path / MARKER
        if marker.exists():
            return marker.read_text("utf-8", "replace")
        try:
            stamp = json.loads((self.path / STAMP).read_text("utf-8"))
            form, changelog = stamp["format"], stamp["changelog"]
        except (OSError, ValueError, KeyError, TypeError):
            return "no release of this format has written it"
        if isinstance(form, int) and form > FORMAT:
            raise SetupError(
                f"the store {self.path} has format {form}, this release knows up to {FORMAT}",
                action="A newer release of Tollgate wrote it: run that one, or a newer one. To go "
                "back, give the worker an empty TOLLGATE_STATE_DIR: tables are rebuilt from their "
                "changelogs, if the newer release left those as this one reads them.",
            )
        if form != FORMAT:
            return f"it has format {form}, this release reads {FORMAT}"
        if None not in (changelog, self.changelog_id) and changelog != self.changelog_id:
            return f"changelog {changelog} filled it, not {self.changelog_id}"
        return None

    def set_aside(self, reason: str) -> None:
        """Renames the database, which must be closed, to `<name>.damaged-<n>` beside it. The
        youngest SET_ASIDE_MAX of them are kept."""
        kept = sorted(self.path.parent.glob(f"{self.path.name}.damaged-*"), key=_number)
        number = _number(kept[-1]) + 1 if kept else 1
        target = self.path.with_name(f"{self.path.name}.damaged-{number}")
        log.warning(
            "the store %s is set aside as %s and rebuilt from its changelog: %s",
            self.path,
            target.name,
            reason,
        )
        self.path.rename(target)
        for old in [*kept, target][:-SET_ASIDE_MAX]:
            shutil.rmtree(old, ignore_errors=True)

    def fault(self, error: Exception) -> Exception:
        """What an error of RocksDB means for us. Damage leaves a marker, so that the next start
        sets the database aside; anything unknown comes back as it is."""
        text = first_line(error)
        if isinstance(error, TollgateError):
            return error
        if FULL.search(text):
            return TransientError(
                f"the disk of the state directory is full: {text}",
                action=f"Make room on the disk of {self.path.parent}. Nothing is lost: what is "
                "committed is in the log, and the next start completes the tables from it.",
            )
        if not DAMAGE.search(text):
            return error
        try:
            (self.path / MARKER).write_text(text, "utf-8")
        except OSError:
            log.exception("no marker could be left in %s", self.path)
        return FaultError(
            f"the store {self.path} is damaged: {text}",
            action="Start the worker again: it sets the store aside and rebuilds it from the "
            "changelog. If this repeats, check the disk.",
        )


def is_locked(error: Exception) -> bool:
    """Whether another process, or a handle not yet dropped, has the database open: that passes."""
    return LOCKED.search(str(error)) is not None


def first_line(error: Exception) -> str:
    """An error's text in one line."""
    return " ".join(str(error).split())[:500]


def _number(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
