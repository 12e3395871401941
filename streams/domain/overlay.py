"""The decisions that no cycle has folded yet, laid over the committed accounts.

The two are never mixed into one figure. A decision lies in the overlay until the cycle that folded
its record has committed; then the new row of its account counts in its place (P1). A hold counts
from its append; whatever frees money counts with the row that it changed (P2). The owner decides on
it, and the audit decides again on the same.
"""

from collections import deque
from dataclasses import dataclass, field

from schemas.structs import Preflight
from streams.domain import tasks
from streams.domain.budget import Account
from streams.domain.decisions import View
from streams.domain.holds import Hold, OpenHolds, close, place
from streams.domain.tasks import Task


def row_key(account_kind: str, account_id: str) -> bytes:
    """The key under which the tables hold an account."""
    return account_id.encode() if account_kind == "customer" else tasks.row_key(account_id)


@dataclass(frozen=True, slots=True)
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
    """The decisions of one owner from the first unfolded offset on."""

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
            if self._by_claim.get(gone.claim_key) is gone:
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
