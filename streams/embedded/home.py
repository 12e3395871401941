"""The home directory: where everything of one installation lies, and who may use it now.

Owns the layout, the lock that makes a second start impossible, and the generated passwords.

    tollgate.lock        held by the running supervisor; names its pid
    secrets.json         generated passwords (mode 0600)
    analysts.json        restricted analysts and their passwords (mode 0600; analysts.py)
    endpoints.json       where the running servers listen (endpoints.py)
    kafka/ clickhouse/   data and generated configuration of the embedded servers
    run/                 one lock per child, held for as long as that child lives
    logs/                one log per child
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.errors import SetupError

LOCK_NAME = "tollgate.lock"

# What may lie in a home before the first start: a settings file, a worker's state.
OUR_NAMES = {LOCK_NAME, "analysts.json", "tollgate.env", "state", ".DS_Store"}

# 24 random bytes are 32 characters: beyond guessing, and short enough to paste.
PASSWORD_BYTES = 24

# `find_running` holds the lock shared for microseconds; a start must not fail because of it.
LOCK_PATIENCE_SECONDS = 0.5
LOCK_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Home:
    """The paths below one home directory; creating it is `prepare`'s business."""

    root: Path

    @property
    def lock_file(self) -> Path:
        """The file whose lock the running supervisor holds."""
        return self.root / LOCK_NAME

    @property
    def secrets_file(self) -> Path:
        """The generated passwords."""
        return self.root / "secrets.json"

    @property
    def analysts_file(self) -> Path:
        """The restricted analysts; absent where there are none."""
        return self.root / "analysts.json"

    @property
    def endpoints_file(self) -> Path:
        """Where the running servers listen; absent when nothing runs."""
        return self.root / "endpoints.json"

    @property
    def kafka(self) -> Path:
        """Data and configuration of the embedded broker."""
        return self.root / "kafka"

    @property
    def clickhouse(self) -> Path:
        """Data and configuration of the embedded ClickHouse."""
        return self.root / "clickhouse"

    @property
    def run(self) -> Path:
        """Locks of the children."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """Logs of the children."""
        return self.root / "logs"

    def prepare(self) -> None:
        """Create the directories, readable by this user alone.

        A directory that holds other things is refused: closing it to others, or filling it with
        data, would be a surprise. Raises `SetupError`.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            present = {entry.name for entry in self.root.iterdir()}
            strangers = sorted(present - OUR_NAMES)
            if strangers and LOCK_NAME not in present:
                raise SetupError(
                    f"{self.root} is not a Tollgate home: it already holds {strangers[0]}",
                    action="Choose an empty or new directory with --home or TOLLGATE_HOME.",
                )
            self.root.chmod(0o700)
            self.lock_file.touch(mode=0o600)
            for folder in (self.kafka, self.clickhouse, self.run, self.logs):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SetupError(
                f"the home directory {self.root} cannot be used: {error}",
                action="Choose a writable directory with --home or TOLLGATE_HOME.",
            ) from error


class HomeLock:
    """The right to run on a home directory; the kernel takes it back when the holder dies.

    The descriptor is not inherited by children, so no orphan can keep the directory locked.
    """

    def __init__(self, home: Home) -> None:
        """Remember the home; nothing is taken yet."""
        self._home = home
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def take(self) -> None:
        """Take the lock or raise `SetupError` naming the pid that holds it."""
        descriptor = os.open(self._home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_PATIENCE_SECONDS
        while not _try_flock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise SetupError(
                    f"{self._home.root} is already in use by pid {holder_pid(self._home) or '?'}",
                    action=(
                        "Use the one that runs, stop it (Ctrl-C, or kill with that pid), "
                        "or choose another directory with --home or TOLLGATE_HOME."
                    ),
                )
            time.sleep(LOCK_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        """Take the lock."""
        self.take()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        self.release()


def is_held(home: Home) -> bool:
    """Return whether a living process holds the home's lock."""
    return lock_is_held(home.lock_file)


def lock_is_held(path: Path) -> bool:
    """Return whether any process holds an exclusive lock on this file; a missing one is free."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who only ask do not see each other.
        return not _try_flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def holder_pid(home: Home) -> int | None:
    """Return the pid written by the last holder, None if nothing usable is written."""
    with contextlib.suppress(OSError, ValueError):
        return int(home.lock_file.read_text("ascii"))
    return None


def _try_flock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


@dataclass(frozen=True, slots=True)
class Secrets:
    """The passwords of the embedded ClickHouse; they never appear in a repr."""

    admin_password: str = field(repr=False)
    analyst_password: str = field(repr=False)


def load_secrets(home: Home) -> Secrets | None:
    """Return the stored passwords, None if none were generated yet.

    Raises `SetupError` when the file is unreadable or open to other users.
    """
    path = home.secrets_file
    try:
        mode = path.stat().st_mode & 0o777
        stored = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SetupError(
            f"{path} cannot be read: {error}",
            action="Restore the file, or delete it to have new passwords generated.",
        ) from error
    if mode & 0o077:
        raise SetupError(
            f"{path} can be read by other users (mode {mode:o})",
            action=f"Run: chmod 600 {path}. If others may have read it, delete it instead.",
        )
    try:
        return Secrets(stored["clickhouse_admin"], stored["clickhouse_analyst"])
    except (KeyError, TypeError) as error:
        raise SetupError(
            f"{path} lacks a password: {error}",
            action="Delete the file to have new passwords generated.",
        ) from error


def ensure_secrets(home: Home) -> Secrets:
    """Return the stored passwords, generating them once; the caller holds the home's lock."""
    stored = load_secrets(home)
    if stored is not None:
        return stored
    fresh = Secrets(secrets.token_urlsafe(PASSWORD_BYTES), secrets.token_urlsafe(PASSWORD_BYTES))
    passwords = {
        "clickhouse_admin": fresh.admin_password,
        "clickhouse_analyst": fresh.analyst_password,
    }
    write_private(home.secrets_file, json.dumps(passwords, indent=2) + "\n")
    return fresh


def write_private(path: Path, text: str) -> None:
    """Replace a file's content in one step, readable by this user alone."""
    with _private_file(path) as descriptor:
        os.write(descriptor, text.encode())


@contextlib.contextmanager
def _private_file(path: Path) -> Iterator[int]:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)
