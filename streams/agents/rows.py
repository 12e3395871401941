"""The committed accounts of a partition as its owner reads them: decoded for it alone, and those
with open holds looked for once, when it begins.

Its own decisions that no cycle has folded yet lie beside them, in `streams.domain.overlay`.
"""

from collections import OrderedDict
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Final

from streams.agents.lease import Tables
from streams.domain import tasks
from streams.domain.appends import decode_account, decode_task
from streams.domain.budget import Account
from streams.domain.decoding import RESERVED
from streams.domain.tasks import Task
from streams.ports import Table

ROWS_KEPT_MAX: Final = 4_096
"""Accounts of a partition that stay decoded, the latest asked for: some 3 MB. Any other costs one
read of the store."""

SCANNED_AT_ONCE: Final = 256
"""Rows that are looked through for holds between two places to stop: a quarter of a
millisecond."""

DECODED_COUNTS: Final = 32
"""For how many of them a row counts that is decoded."""

HOLDS_MARK: Final = b'"holds":{'
"""What a row with open holds contains: others need not be decoded."""

TASK_PREFIX: Final = tasks.ROW_PREFIX.encode()


class Rows:
    """The committed accounts of a partition, decoded for this owner alone: what a cycle folds into
    its own copies is never seen here before it is written."""

    def __init__(self, tables: Tables, partition: int) -> None:
        self._tables = tables
        self._partition = partition
        self._kept: OrderedDict[bytes, Account | Task | bytes | None] = OrderedDict()

    def read(self, key: bytes) -> Account | Task | None:
        """The account under a key as its last committed cycle left it."""
        kept = self._kept
        if key in kept:
            kept.move_to_end(key)
            found = kept[key]
        else:
            (found,) = self._tables.read(Table.ACCOUNTS, self._partition, [key])
            if len(kept) >= ROWS_KEPT_MAX:
                kept.popitem(last=False)
        if isinstance(found, bytes):
            found = decode_row(key, found)
        kept[key] = found
        return found

    def replace(self, rows: Mapping[bytes, bytes]) -> None:
        """Takes what a cycle has written; decoded when it is asked for."""
        kept = self._kept
        for key, row in rows.items():
            if key in kept:
                kept[key] = row


def rows_with_holds(tables: Tables, partition: int) -> Generator[Account | Task | None, None, None]:
    """The accounts of a partition that have open holds. None now and then, where whoever shares
    its time with others may stop for a while."""
    work = 0
    with closing(tables.scan(Table.ACCOUNTS, partition)) as rows:
        for key, row in rows:
            if HOLDS_MARK in row and (key[:1] != RESERVED or key.startswith(TASK_PREFIX)):
                yield decode_row(key, row)
                work += DECODED_COUNTS
            work += 1
            if work >= SCANNED_AT_ONCE:
                work = 0
                yield None


def decode_row(key: bytes, row: bytes) -> Account | Task:
    """The account in a row; whose it is shows in the key."""
    return decode_task(row) if key.startswith(TASK_PREFIX) else decode_account(row)
