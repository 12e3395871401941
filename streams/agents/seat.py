"""What the owner of one partition knows: its lease, the committed state, and what it has appended
since. Holds, no behaviour of an owner: `groups` decides on it, `preflights` runs it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.rpc import Freshness
from schemas.topics import BUDGETS, PREFLIGHTS, USAGE
from streams.agents.expiries import Expiries
from streams.agents.lease import Outcome, Tables, Tenure
from streams.agents.rows import Rows
from streams.agents.watchers import Watchers
from streams.domain.decisions import View
from streams.domain.facts import closed_key
from streams.domain.holds import closed_as
from streams.domain.identity import unpack_claim
from streams.domain.overlay import Overlay, row_key
from streams.domain.state import Progress
from streams.ports import Table


@dataclass(slots=True)
class Seat:
    """The state of one owned partition. Everything belongs to one event loop, and whatever is
    changed together is changed without an await between."""

    partition: int
    generation: int
    partitions: int
    tenure: Tenure
    progress: Progress
    tables: Tables
    rows: Rows
    next_offset: int
    """Where the next own record has to lie: right behind the last one."""
    decided_at_us: int
    """Of the latest own record: decisions never go back in time (D5)."""
    overlay: Overlay = field(default_factory=Overlay)
    watchers: Watchers = field(default_factory=Watchers)
    expiries: Expiries = field(default_factory=Expiries)
    ending: dict[str, int] = field(default_factory=dict)
    """Holds whose release or expiry is appended and not folded yet, with its offset."""
    ticked_us: int = 0
    """The time of the last tick of this owner."""
    extending: dict[str, int] = field(default_factory=dict)
    """The same for extensions: the offset of the latest."""

    @property
    def is_folded(self) -> bool:
        """Whether the lease, and with it everything before it, has been folded and committed."""
        return self.folded > self.tenure.offset

    @property
    def folded(self) -> int:
        """The committed position on `preflights`."""
        return self.progress.consumed.get(PREFLIGHTS.name, 0)

    def view(self, account_kind: str, account_id: str) -> View:
        """An account as it stands now."""
        key = row_key(account_kind, account_id)
        return self.overlay.view(key, self.rows.read(key))

    def closed_as(self, account_kind: str, account_id: str, reservation_id: str) -> str | None:
        """How a hold ended, None for one that is open, forgotten, or never was."""
        key = closed_key(account_kind, account_id, reservation_id)
        (row,) = self.read_claims([key])
        return None if row is None else closed_as(unpack_claim(row))

    def ending_as(self, reservation_id: str, expires_at_us: int, now_us: int) -> str | None:
        """How a hold is about to end, None where nothing that ends it is on its way."""
        if reservation_id not in self.ending:
            return None
        return "released" if now_us < expires_at_us else "expired"

    def read_claims(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The packed claims of these keys."""
        return self.tables.read(Table.CLAIMS, self.partition, keys)

    def commit(self, outcome: Outcome) -> None:
        """Swaps the base and trims the overlay: one step, with no await in it (P1)."""
        self.progress = outcome.progress
        self.rows.replace(outcome.rows)
        folded = self.folded
        self.overlay.trim(folded)
        self.expiries.fold(outcome.entries)
        for pending in (self.ending, self.extending):
            for name in [name for name, offset in pending.items() if offset < folded]:
                del pending[name]
        self.watchers.fold(outcome)

    def freshness(self, catalog_offset: int, lag_us: int, beside: int = 0) -> Freshness:
        """As of when an answer holds; `beside` own records that are not in the log yet have been
        seen too."""
        consumed = self.progress.consumed
        return Freshness(
            generation=self.generation,
            partition=self.partition,
            cycle=self.progress.cycle,
            usage_offset=consumed.get(USAGE.name, 0),
            budgets_offset=consumed.get(BUDGETS.name, 0),
            preflights_offset=self.next_offset + beside,
            catalog_offset=catalog_offset,
            lag_ms=lag_us // 1_000,
            lease=self.tenure.offset,
        )
