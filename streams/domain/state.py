"""The state of a partition: a fold of its entries, as far as one cycle touches it."""

from dataclasses import dataclass, field
from typing import Final

from schemas.structs import Row, column
from streams.domain.billing import Billing
from streams.domain.budget import Account
from streams.domain.identity import Claim
from streams.domain.tasks import Task
from streams.domain.unassigned import Unbound
from streams.domain.windows import Windows

ROWS_VERSION: Final = 1
"""Of the rows in tables and changelogs. A release that writes into a row what an older one would
not understand counts it up and lets its cycles write it; an older one refuses the partition. Row
fields with a default may be added without it."""

RULES_KEPT_SINCE: Final = 4
"""The version of the rules from which on a partition's progress names it: this one is its default
and is not written."""


class Progress(Row):
    """How far a partition is. The sequences are those of the next entry and the next dead letter;
    `domain_time_us` is the running maximum of append times (D5); `consumed` holds the next offset
    of each inbound topic, by logical name: the tables themselves say where their partition goes on,
    in the same transaction as their content. `claims_segment` is the key of the last segment in the
    claims' changelog."""

    cycle: int = 0
    next_sequence: int = 0
    next_dead_letter: int = 0
    domain_time_us: int = 0
    catalog_offset: int = 0
    generation: int = 1
    consumed: dict[str, int] = column(default_factory=dict)
    claims_segment: str = ""
    lease: int = -1
    """Offset of the last lease on `preflights`, -1 before the first (P10)."""
    nonce: str = ""
    event_time_us: int = 0
    """The latest event time seen, never beyond the append by more than the future limit (D6)."""
    next_attribution: int = 0
    closing_from: int = 0
    """The first segment of windows that wait to be closed; `closing_to` is the next."""
    closing_to: int = 0
    keeping_from: int = 0
    """The same for closed windows, which wait to be dropped."""
    keeping_to: int = 0
    unassigned_us: int = 0
    """How far the time of `unassigned` is: its latest append time, or a tick that had seen all."""
    waiting: int = 0
    """Events that wait for a customer."""
    next_waiting: int = 0
    """The number of the next one."""
    waiting_from: int = 0
    """The first segment of them; `waiting_to` is the next."""
    waiting_to: int = 0
    waiting_due_us: int = 0
    """When that first segment ends, 0 where there is none."""
    bound_from: int = 0
    """The first segment of traces that have a customer, and wait to be dropped."""
    bound_to: int = 0
    rules_version: int = RULES_KEPT_SINCE
    """Of the rules that decided the last cycle."""
    rows_version: int = ROWS_VERSION
    """Of how the rows of this partition are written."""


@dataclass(slots=True)
class PartitionState:
    """The working state of a cycle: what it loaded, changed in place while it is folded.

    A customer that is not in `accounts`, a task that is not in `tasks` and a key that is not in
    `claims` are new: whoever builds the state has loaded everything that the cycle's facts name.
    `new_claims` and what is `touched` are what must be stored when the cycle has committed.
    """

    progress: Progress
    accounts: dict[str, Account] = field(default_factory=dict)
    claims: dict[bytes, Claim] = field(default_factory=dict)
    new_claims: dict[bytes, Claim] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    tasks: dict[str, Task] = field(default_factory=dict)
    touched_tasks: set[str] = field(default_factory=set)
    billing: dict[str, Billing] = field(default_factory=dict)
    touched_billing: set[str] = field(default_factory=set)
    windows: Windows = field(default_factory=Windows)
    unbound: Unbound = field(default_factory=Unbound)
