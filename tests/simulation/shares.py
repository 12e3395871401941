"""What a partition's ledger says of its traces, folded entry by entry as it was recorded, with all
windows in memory; and what must be true of attributions and of the tables' windows beside it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas import codec
from schemas.money import parse_signed_amount
from schemas.structs import (
    AdjustmentEntry,
    Attribution,
    CycleEntry,
    LedgerEntry,
    UsageEntry,
    VoidEntry,
)
from schemas.topics import ATTRIBUTIONS, LEDGER, UNASSIGNED
from streams.domain.appends import (
    all_unbound_rows,
    all_window_rows,
    attribution_records,
    billing_records,
    encode_progress,
)
from streams.domain.attributing import WINDOW_GONE
from streams.domain.decoding import RESERVED, decode_records
from streams.domain.facts import Fact, Rejected, SourceRecord
from streams.domain.folding import fold_recorded
from streams.domain.invoices.tallies import OUTER_SPAN
from streams.domain.state import PartitionState, Progress
from streams.domain.tasks import is_task_row
from streams.ports import PROGRESS_KEY
from tests.simulation.broker import Broker
from tests.simulation.scheduler import ViolationError
from tests.simulation.views import PARTITIONS, VIEWS


@dataclass
class Shares:
    """One partition, followed as far as it is committed."""

    broker: Broker
    partition: int
    state: PartitionState = field(default_factory=lambda: PartitionState(Progress()))
    costs: dict[str, int] = field(default_factory=dict)
    """What every entry cost that names a trace or a scope."""
    sums: Counter[str] = field(default_factory=Counter)
    """What the rows of each of them sum to."""
    rows: list[Attribution] = field(default_factory=list)
    voided: set[str] = field(default_factory=set)
    """Signals that were taken back and named nothing but their trace."""
    _ledger_offset: int = 0
    _rows_offset: int = 0

    def follow(self) -> None:
        """Takes what has been committed since. Raises ViolationError where the attributions are not
        what the ledger says, or do not sum to the costs."""
        records = self.broker.read(LEDGER.name, self.partition, self._ledger_offset, 10**9)
        cycle: list[LedgerEntry] = []
        for record in records:
            entry = codec.decode_entry(record.value or b"")
            if isinstance(entry, CycleEntry) and cycle:
                self._take(cycle)
                cycle = []
            cycle.append(entry)
        if cycle:
            self._take(cycle)
            self._ledger_offset = records[-1].offset + 1
        self._demand(not self._read(1), "attributions that no cycle counts")

    def _take(self, cycle: list[LedgerEntry]) -> None:
        own = cycle[0]
        assert isinstance(own, CycleEntry)
        context = VIEWS[own.catalog_offset].context()
        due = fold_recorded(self.state, cycle, context, self._nameless(own))
        self.state.windows.touched.clear()
        self.state.unbound.touched.clear()
        for entry in cycle:
            if isinstance(entry, VoidEntry) and entry.trace_id and not entry.scope_id:
                self.voided.add(entry.signal_entry)
            if isinstance(entry, UsageEntry | AdjustmentEntry):
                named = bool(entry.trace_id or entry.scope_id)
                outer = isinstance(entry, UsageEntry) and OUTER_SPAN in entry.flags
                if named and not outer:
                    self.costs[entry.entry_id] = parse_signed_amount(entry.cost)
        found = self._read(own.attributions)
        told = [(record.key, record.value) for record in found]
        self._demand(told == attribution_records(due), f"cycle {own.cycle}: other attributions")
        if found:
            self._rows_offset = found[-1].offset + 1
        rows = [codec.decode_attribution(record.value or b"") for record in found]
        begin = len(self.rows)
        dense = [row.sequence for row in rows] == list(range(begin, begin + len(rows)))
        self._demand(dense, f"cycle {own.cycle}: attributions are not dense")
        self.rows += rows
        parts = [row for row in rows if row.role != "signal"]
        for row in parts:
            self.sums[row.cost_entry] += parse_signed_amount(row.amount)
        for name in {row.cost_entry for row in parts}:
            whole = self.sums[name] == self.costs[name]
            self._demand(whole, f"cycle {own.cycle}: shares of {name} do not sum to its cost")

    def _nameless(self, own: CycleEntry) -> list[Fact | Rejected]:
        """What a cycle consumed of `unassigned`, which the ledger does not tell."""
        records = [
            record
            for piece in own.consumed
            if piece.topic == UNASSIGNED.name
            for record in self.broker.read(piece.topic, self.partition, piece.from_offset, 10**9)
            if record.offset < piece.to_offset
        ]
        return decode_records(records, self.partition, PARTITIONS)

    def _read(self, most: int) -> list[SourceRecord]:
        if not most:
            return []
        return self.broker.read(ATTRIBUTIONS.name, self.partition, self._rows_offset, most)

    def check_table(self, table: Mapping[bytes, bytes]) -> None:
        """The windows of a recovered table are those that the ledger demands."""
        self.follow()
        due = all_window_rows(self.state.windows) | all_unbound_rows(self.state.unbound)
        billed = billing_records(self.state.billing.values())
        due |= {key: row for key, row in billed if key is not None}
        if self._ledger_offset:
            due[PROGRESS_KEY] = encode_progress(self.state.progress)
        found = {
            key: row for key, row in table.items() if key[:1] == RESERVED and not is_task_row(key)
        }
        self._demand(found == due, "a recovered table's windows differ from the ledger's")

    def check_closed(self) -> None:
        """Every window has closed, and every cost has rows; none of them is there twice. What was
        taken back carries nothing."""
        self.follow()
        closed = all(window.closed for window in self.state.windows.rows.values())
        self._demand(closed, "a window is open")
        shared = {row.cost_entry for row in self.rows if row.role != "signal"}
        self._demand(shared == self.costs.keys(), "a cost with a trace has no attributions")
        gone = {row.signal_entry for row in self.rows if WINDOW_GONE in row.flags}
        carried = Counter[tuple[str, str]]()
        for row in self.rows:
            carried[row.cost_entry, row.signal_entry] += parse_signed_amount(row.amount)
        carriers = {signal for (_, signal), amount in carried.items() if amount}
        wrong = carriers & (self.voided - gone)
        self._demand(not wrong, "a signal that was taken back carries cost")
        names = {row.entry_id for row in self.rows}
        self._demand(len(names) == len(self.rows), "attributions are there twice")

    def seen(self) -> Counter[str]:
        """What kinds of rows there are."""
        roles = Counter(f"rows: {row.role}" for row in self.rows)
        return roles + Counter(f"rows: {flag}" for row in self.rows for flag in row.flags)

    def _demand(self, truth: bool, what: str) -> None:
        if not truth:
            raise ViolationError(f"partition {self.partition}: {what}")
