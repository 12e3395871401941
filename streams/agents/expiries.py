"""When open holds of a partition end, and when that may be said (P3).

A hold whose time is over has expired only when all usage that had been appended by then is folded:
a backlog may settle it. So an expiry waits for a barrier: the end of `usage`, read after the
deadline, and the committed position that reaches it.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from schemas.structs import ClosingEntry, DecisionEntry, ExtensionEntry, LedgerEntry
from streams.domain.budget import Account
from streams.domain.tasks import Task

TASK_GRACE_US: Final = 60 * 10**6
"""How much later a task's hold expires than it says. The hold of the customer that goes with it
ends at the same time in another partition, and that end arrives as a transfer; a task's own expiry
is for holds that have none."""

EXPIRIES_MAX: Final = 1_000
"""Holds that one barrier lets expire; the others follow with the next."""

STALE_MAX: Final = 10_000
"""Deadlines of holds that have ended, beside one for each open hold: most holds are settled long
before their time, and at a thousand decisions a second an hour of them would fill memory."""


class Deadline(NamedTuple):
    """When a hold ends, and whose it is."""

    expires_at_us: int
    reservation_id: str
    account_kind: str
    account_id: str


class Expiries:
    """All open holds of a partition by their end, as committed. A hold that was extended or has
    ended leaves a stale deadline behind, which is dropped when its time comes.

    The rows of the partition are loaded while cycles go on committing. What a cycle said of a hold
    counts, whatever an older row says that is loaded after it.
    """

    def __init__(self) -> None:
        self._queue: list[Deadline] = []
        self._open: dict[str, int] = {}
        self._ended: set[str] | None = set()
        """Holds that have ended while the rows are loaded, None once they are."""
        self._barrier: tuple[int, list[Deadline]] | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_loaded(self) -> bool:
        """Whether all open holds are known."""
        return self._ended is None

    def load(self, account: Account | Task) -> None:
        """Takes the open holds of a row, but what has been folded of them already. The row may be
        any that was committed from the first fold on, or the last one before it."""
        assert self._ended is not None, "rows are loaded once"
        if isinstance(account, Task):
            kind, name, later = "task", account.task_ref, TASK_GRACE_US
        else:
            kind, name, later = "customer", account.customer_id, 0
        for hold in account.holds.values():
            if hold.reservation_id in self._open or hold.reservation_id in self._ended:
                continue
            at = hold.expires_at_us + later
            self._open[hold.reservation_id] = at
            heappush(self._queue, Deadline(at, hold.reservation_id, kind, name))

    def loaded(self) -> None:
        """Says that every row has been loaded: holds may expire."""
        self._ended = None

    def fold(self, entries: Iterable[LedgerEntry]) -> None:
        """Takes what a committed cycle did to holds."""
        for entry in entries:
            if isinstance(entry, ClosingEntry):
                self._open.pop(entry.reservation_id, None)
                if self._ended is not None:
                    self._ended.add(entry.reservation_id)
            elif isinstance(entry, ExtensionEntry) or (
                isinstance(entry, DecisionEntry) and entry.approved
            ):
                self._set(entry)
        if len(self._queue) > 2 * len(self._open) + STALE_MAX:
            self._queue = [one for one in self._queue if self._is_current(one)]
            heapify(self._queue)

    def _is_current(self, deadline: Deadline) -> bool:
        return self._open.get(deadline.reservation_id) == deadline.expires_at_us

    def _set(self, entry: DecisionEntry | ExtensionEntry) -> None:
        name, at = entry.customer_id, entry.expires_at
        if entry.account_kind == "task":
            name, at = entry.task_ref, at + TASK_GRACE_US
        self._open[entry.reservation_id] = at
        heappush(self._queue, Deadline(at, entry.reservation_id, entry.account_kind, name))

    @property
    def barrier(self) -> int | None:
        """The offset of `usage` up to which everything must be folded, None where none is set."""
        return None if self._barrier is None else self._barrier[0]

    def is_due(self, now_us: int) -> bool:
        """Whether the time of some hold is over that waits for no barrier."""
        queue = self._queue
        while queue and not self._is_current(queue[0]):
            heappop(queue)
        return bool(queue) and queue[0].expires_at_us <= now_us

    def set_barrier(self, now_us: int, usage_end: int) -> None:
        """Lets what was due at a time wait for an end of `usage` that was read after it."""
        due: list[Deadline] = []
        while self.is_due(now_us) and len(due) < EXPIRIES_MAX:
            due.append(heappop(self._queue))
        self._barrier = (usage_end, due)

    def pass_barrier(self, usage_folded: int) -> list[Deadline]:
        """The holds that have expired, once the committed position of `usage` has reached their
        barrier: those among them that are still open with the same end."""
        if self._barrier is None or usage_folded < self._barrier[0]:
            return []
        _, due = self._barrier
        self._barrier = None
        return [one for one in due if self._is_current(one)]

    def postpone(self, deadline: Deadline) -> None:
        """Puts a deadline back: it is over with the committed end of its hold, not before."""
        heappush(self._queue, deadline)
