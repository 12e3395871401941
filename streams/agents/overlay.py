"""What an owner decides on: the committed accounts, and its own decisions that no cycle has folded
yet laid over them.

The two are never mixed into one figure. A decision lies in the overlay until the cycle that folded
its record has committed; then the new row of its account counts in its place (P1). A hold counts
from its append; whatever frees money counts with the row that it changed (P2).
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.structs import Preflight
from streams.agents.lease import Tables
from streams.domain import tasks
from streams.domain.appends import decode_account, decode_task
from streams.domain.budget import Account
from streams.domain.decisions import View
from streams.domain.decoding import RESERVED
from streams.domain.holds import Hold, OpenHolds, close, place
from streams.domain.tasks import Task
from streams.ports import Table

ROWS_KEPT_MAX: Final = 4_096
"""Accounts of a partition that stay decoded, the latest asked for: some 3 MB. Any other costs one
read of the store."""

SCANNED_AT_ONCE: Final = 5_000
"""Rows that are looked through for holds before others get their turn: some milliseconds."""

HOLDS_MARK: Final = b'"holds":{'
"""What a row with open holds contains: others need not be decoded."""

TASK_PREFIX: Final = tasks.ROW_PREFIX.encode()


def row_key(account_kind: str, account_id: str) -> bytes:
    """The key under which the tables hold an account."""
    return account_id.encode() if account_kind == "customer" else tasks.row_key(account_id)


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


async def rows_with_holds(tables: Tables, partition: int) -> list[Account | Task]:
    """The accounts of a partition that have open holds, looked for in turns with everybody else."""
    found = []
    for at, (key, row) in enumerate(tables.scan(Table.ACCOUNTS, partition), 1):
        if HOLDS_MARK in row and (key[:1] != RESERVED or key.startswith(TASK_PREFIX)):
            found.append(decode_row(key, row))
        if at % SCANNED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return found


def decode_row(key: bytes, row: bytes) -> Account | Task:
    """The account in a row; whose it is shows in the key."""
    return decode_task(row) if key.startswith(TASK_PREFIX) else decode_account(row)


@dataclass(slots=True)
class Pending:
    """A decision that no cycle has folded yet."""

    offset: int
    key: bytes
    """Of its account's row."""
    claim_key: bytes
    body: Preflight
    hold: Hold | None
    opened: tuple[str, int] | None
    """Denomination and ceiling of the task that it opens."""


@dataclass(slots=True)
class _Account:
    """What is pending for one account, each in the order of its decisions."""

    decisions: int = 0
    holds: OpenHolds = field(default_factory=OpenHolds)
    opened: deque[tuple[str, int]] = field(default_factory=deque)


class Overlay:
    """The decisions of this owner from the first unfolded offset on."""

    def __init__(self) -> None:
        self._in_order: deque[Pending] = deque()
        self._by_claim: dict[bytes, Pending] = {}
        self._by_account: dict[bytes, _Account] = {}

    def __len__(self) -> int:
        return len(self._in_order)

    def add(self, pending: Pending) -> None:
        """Lays a decision over the base. Its offset is larger than that of all before it."""
        self._in_order.append(pending)
        self._by_claim[pending.claim_key] = pending
        account = self._by_account.setdefault(pending.key, _Account())
        account.decisions += 1
        if pending.hold is not None:
            place(account.holds, pending.hold)
        if pending.opened is not None:
            account.opened.append(pending.opened)

    def find(self, claim_key: bytes) -> Pending | None:
        """The decision of an idempotency key."""
        return self._by_claim.get(claim_key)

    def trim(self, folded_below: int) -> None:
        """Forgets what lies below an offset: the rows that came with it hold it now."""
        while self._in_order and self._in_order[0].offset < folded_below:
            gone = self._in_order.popleft()
            del self._by_claim[gone.claim_key]
            account = self._by_account[gone.key]
            account.decisions -= 1
            if gone.hold is not None:
                close(account.holds, gone.hold.reservation_id)
            if gone.opened is not None:
                account.opened.popleft()
            if not account.decisions:
                del self._by_account[gone.key]

    def view(self, key: bytes, base: Account | Task | None) -> View:
        """An account as its owner sees it now: its row, and what is pending beside it. Valid until
        something is added or trimmed."""
        pending = self._by_account.get(key)
        if pending is None:
            return View(base)
        return View(base, pending.holds, pending.opened[0] if pending.opened else None)
