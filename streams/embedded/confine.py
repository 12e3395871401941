"""Shutting the engine's process in: which files it may touch, and that it calls nobody.

The engine is ClickHouse's local variant, and that one lets every user read every file of the
machine: `SELECT file('/etc/passwd')` needs no grant, so that grants alone cannot make a reader
harmless. On Linux the kernel can: with Landlock a process gives up access for itself and its
threads, without privileges and for good. Where that is not to be had (macOS, Linux before 5.19,
kernels built without it), `can_confine` says so and the embedded server has no analyst.
"""

import ctypes
import functools
import os
import sys
from collections.abc import Iterable
from pathlib import Path

# Numbers and bits are those of <linux/landlock.h>; the system calls have the same numbers on
# every architecture.
SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION = 1
RULE_PATH_BENEATH, RULE_NET_PORT = 1, 2
PR_SET_NO_NEW_PRIVS = 38

WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
ALL_OF_VERSION_1 = (1 << 13) - 1
REFER, TRUNCATE = 1 << 13, 1 << 14
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1

# Version 1 forbids moving a file between directories whatever the rules say, and the engine does.
VERSION_MIN = 2
VERSION_WITH_TRUNCATE = 3
VERSION_WITH_NETWORK = 4


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


class _PortRule(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


@functools.cache
def landlock_version() -> int:
    """Return the version of Landlock that the running kernel offers, 0 if none."""
    if sys.platform != "linux":
        return 0
    version: int = _libc().syscall(SYS_CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    return max(0, version)


def can_confine() -> bool:
    """Return whether `confine` would work here."""
    return landlock_version() >= VERSION_MIN


def confine(*, own: Path, readable: Iterable[Path], ports: Iterable[int]) -> None:
    """Give up, for this process and for good, all file access but the named.

    `own` is a directory to be used freely, `readable` are further files or directories to read;
    those that do not exist are left out. Where the kernel can (Linux 6.7), listening is limited
    to `ports` and outgoing TCP connections are refused. Threads that exist already keep their
    rights, so call it before the first. Raises `OSError`.
    """
    version = landlock_version()
    files = ALL_OF_VERSION_1 | REFER
    if version >= VERSION_WITH_TRUNCATE:
        files |= TRUNCATE
    network = BIND_TCP | CONNECT_TCP if version >= VERSION_WITH_NETWORK else 0
    ruleset = _Ruleset(files, network)
    size_bytes = ctypes.sizeof(ruleset) if network else 8
    descriptor = _call(SYS_CREATE_RULESET, ctypes.byref(ruleset), size_bytes, 0)
    try:
        _allow_path(descriptor, own, files)
        for path in readable:
            if path.exists():
                _allow_path(descriptor, path, READ_FILE | (READ_DIR if path.is_dir() else 0))
        _allow_path(descriptor, Path("/dev/null"), READ_FILE | WRITE_FILE)
        for port in ports if network else ():
            rule = _PortRule(BIND_TCP, port)
            _call(SYS_ADD_RULE, descriptor, RULE_NET_PORT, ctypes.byref(rule), 0)
        if _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
        _call(SYS_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)


def _allow_path(ruleset: int, path: Path, allowed: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathRule(allowed, descriptor)
        _call(SYS_ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc().syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock call {number}: {os.strerror(error)}")
    return result


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
