"""A keeper: the tiny parent of one supervised child, which never outlives its supervisor.

Run by path (`python -I -S keeper.py …`), so that it needs only the standard library and starts
in milliseconds. Between the supervisor and the child there is always one keeper:

- it holds the read end of a pipe whose write end only the supervisor has; when that ends, for
  whatever reason, SIGKILL included, the keeper kills the child's process group at once;
- on Linux the kernel in turn kills the child if the keeper dies (PR_SET_PDEATHSIG). That call is
  made from here because it is bound to the parent *thread*, and a keeper has only one;
- it takes the child's lock, which the child inherits: while a predecessor is still dying, the
  lock is busy and the successor waits, so two never meet on one data directory or port.

What it tells its supervisor, one line each: `started PID`, then `ended STATUS` (negative: the
signal that killed it), or `refused REASON` when there was nothing to start.
"""

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import signal
import sys
import time

# If the pipe's end were ever kept open by a stray copy, a changed parent still shows.
PARENT_POLL_SECONDS = 1.0
LOCK_POLL_SECONDS = 0.02
FILES_WANTED = 65_536
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> int:
    """Keep one child; the arguments come from `supervisor.py` alone."""
    life, status, lock_path, lock_seconds, supervisor = sys.argv[1:6]
    life_fd, status_fd, supervisor_pid = int(life), int(status), int(supervisor)
    os.set_inheritable(life_fd, False)
    os.set_inheritable(status_fd, False)
    wake_fd = catch_signals()
    lock_fd = take_lock(lock_path, float(lock_seconds), (life_fd, wake_fd))
    if lock_fd is None:
        tell(status_fd, f"refused {lock_path} is still held by a predecessor")
        return 1
    pid = start(sys.argv[6:], status_fd)
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, str(pid).encode(), 0)
    tell(status_fd, f"started {pid}")
    code = keep(pid, life_fd, wake_fd, supervisor_pid)
    tell(status_fd, f"ended {code}")
    return 0


def catch_signals() -> int:
    """Turn SIGCHLD, SIGTERM and SIGINT into bytes on a pipe; return its read end."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return read_end


def take_lock(path: str, patience_seconds: float, told_to_stop: tuple[int, int]) -> int | None:
    """Return an inheritable descriptor that holds the child's lock, None if it stays busy.

    Anything to read on `told_to_stop` (the supervisor's pipe, the signals) ends the wait.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stop = select.select(told_to_stop, [], [], LOCK_POLL_SECONDS)[0]
            if stop or time.monotonic() > deadline:
                return None
        else:
            os.set_inheritable(descriptor, True)
            return descriptor


def start(argv: list[str], status_fd: int) -> int:
    """Fork and execute; the child leads a process group of its own. Returns its pid."""
    # Loaded before the fork: between fork and exec only the calls below are made.
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # Both sides do it, so that it is done when either goes on.
        return pid
    try:
        os.setpgid(0, 0)
        raise_file_limit()
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(1)  # The keeper died before the call took effect.
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(argv[0], argv)  # noqa: S606  A list, no shell.
    except OSError as error:
        tell(status_fd, f"refused {argv[0]}: {error.strerror}")
    finally:
        os._exit(127)


def raise_file_limit() -> None:
    """Let the child open as many files as it may: macOS starts processes with 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep(pid: int, life_fd: int, wake_fd: int, supervisor_pid: int) -> int:
    """Wait until the child ends or must end; return its status, negative for a signal."""
    while True:
        ready = select.select([life_fd, wake_fd], [], [], PARENT_POLL_SECONDS)[0]
        ended, raw_status = os.waitpid(pid, os.WNOHANG)
        if ended:
            end_group(pid)
            return os.waitstatus_to_exitcode(raw_status)
        if life_fd in ready or os.getppid() != supervisor_pid:
            end_group(pid)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if wake_fd in ready:
            caught = os.read(wake_fd, 64)
            if signal.SIGTERM in caught or signal.SIGINT in caught:
                os.kill(pid, signal.SIGTERM)


def end_group(pid: int) -> None:
    """Kill whatever is left of the child's process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def tell(status_fd: int, line: str) -> None:
    """Write one line to the supervisor, which may be gone."""
    with contextlib.suppress(OSError):
        os.write(status_fd, f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(main())
