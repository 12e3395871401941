"""The state of a partition: a fold of its entries, as far as one cycle touches it."""

from dataclasses import dataclass, field

from schemas.structs import Row, column
from streams.domain.budget import Account
from streams.domain.identity import Claim
from streams.domain.tasks import Task


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


@dataclass(slots=True)
class PartitionState:
    """The working state of a cycle: what it loaded, changed in place while it is folded.

    A customer that is not in `accounts`, a task that is not in `tasks` and a key that is not in
    `claims` are new: whoever builds the state has loaded everything that the cycle's facts name.
    `new_claims`, `touched` and `touched_tasks` are what must be stored when the cycle has
    committed.
    """

    progress: Progress
    accounts: dict[str, Account] = field(default_factory=dict)
    claims: dict[bytes, Claim] = field(default_factory=dict)
    new_claims: dict[bytes, Claim] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    tasks: dict[str, Task] = field(default_factory=dict)
    touched_tasks: set[str] = field(default_factory=set)
