"""One worker per state directory: two would wait for each other's RocksDB locks in
mid-rebalance."""

import fcntl
import os
from pathlib import Path

from streams.errors import SetupError


def lock_state_directory(directory: Path) -> int:
    """Takes the directory for the life of this process (the kernel gives it back, also after kill
    -9).

    Creates it if it is missing. Returns the lock's descriptor, which must stay open. Raises
    SetupError where another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(directory / "worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise SetupError(
            f"the state directory {directory} is in use by the worker with pid {holder}",
            action="Give each worker a directory of its own with TOLLGATE_STATE_DIR.",
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor
