"""A partition whose cycles are folded one by one, with windows loaded as a worker loads them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from schemas.money import parse_signed_amount
from schemas.structs import (
    AdjustmentEntry,
    Attribution,
    Consumed,
    InboundFact,
    LedgerEntry,
    UsageEntry,
)
from streams.domain.appends import window_records
from streams.domain.context import Context
from streams.domain.facts import Fact, Rejected
from streams.domain.folding import FOLD_ORDER, event_time_us, fold_cycle
from streams.domain.reach import load_windows
from streams.domain.state import PartitionState, Progress
from streams.domain.windows import Windows
from tests.builders import NOON_US, SECOND_US, context, fact, usage

MINUTE_US = 60 * SECOND_US
QUIET_US = 5 * MINUTE_US


@dataclass
class Windowed:
    """Give it facts, cycle by cycle; read what it attributed."""

    context: Context = field(default_factory=context)
    loaded: bool = True
    """Whether windows are loaded for each cycle, or all of them stay in memory."""
    now_us: int = NOON_US
    state: PartitionState = field(default_factory=lambda: PartitionState(Progress()))
    table: dict[bytes, bytes] = field(default_factory=dict)
    entries: list[LedgerEntry] = field(default_factory=list)
    rows: list[Attribution] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)
    ticks: int = 0

    def cycle(self, *bodies: InboundFact, after_us: int = SECOND_US) -> list[Attribution]:
        """One cycle of these facts, appended so long after the last. Returns its attributions."""
        self.now_us += after_us
        facts = [self._fact(body) for body in bodies]
        facts.sort(key=lambda one: (FOLD_ORDER.index(one.record.topic), one.record.offset))
        return self.fold(facts)

    def fold(self, facts: Sequence[Fact | Rejected]) -> list[Attribution]:
        """One cycle of facts that are in their order."""
        consumed = [
            Consumed(topic=topic, from_offset=0, to_offset=end)
            for topic, end in self.offsets.items()
        ]
        progress = self.state.progress
        if self.loaded:
            latest_us = event_time_us(progress, facts, consumed, self.context)
            self.state.windows = load_windows(
                facts, progress, latest_us, self.now_us, lambda keys: [*map(self.table.get, keys)]
            )
        result = fold_cycle(self.state, 0, consumed, facts, self.context, self.now_us)
        for key, value in window_records(self.state.windows):
            assert key is not None
            if value is None:
                del self.table[key]
            else:
                self.table[key] = value
        self.state.windows.touched.clear()
        self.entries += result.entries
        self.rejected += result.rejected
        self.rows += result.attributions
        return result.attributions

    def quiet(self, after_us: int = 2 * QUIET_US) -> list[Attribution]:
        """Lets time pass until every window that is open now has closed: somebody else's event
        moves the watermark."""
        self.ticks += 1
        return self.cycle(usage("somebody else", f"tick {self.ticks}"), after_us=after_us)

    def restart(self) -> "Windowed":
        """The same partition, taken over by somebody who has its tables alone."""
        windows = Windows() if self.loaded else self.state.windows
        return replace(self, state=replace(self.state, windows=windows))

    def carried(self) -> dict[tuple[str, str], int]:
        """What each signal carries of each cost by now, '' for nobody; nothing that is zero."""
        found: dict[tuple[str, str], int] = {}
        for row in self.rows:
            if row.role != "signal":
                key = (row.cost_entry, row.signal_entry)
                found[key] = found.get(key, 0) + parse_signed_amount(row.amount)
        return {key: amount for key, amount in found.items() if amount}

    def costs(self) -> dict[str, int]:
        """What every entry that names a trace or a scope cost."""
        return {
            entry.entry_id: parse_signed_amount(entry.cost)
            for entry in self.entries
            if isinstance(entry, UsageEntry | AdjustmentEntry)
            and (entry.trace_id or entry.scope_id)
        }

    def _fact(self, body: InboundFact) -> Fact:
        topic = fact(body).record.topic
        offset = self.offsets.get(topic, 0)
        self.offsets[topic] = offset + 1
        return fact(body, offset, self.now_us)
