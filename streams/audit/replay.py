"""One partition decided again, cycle by cycle as the ledger has recorded it (D1, D3, D4).

Per cycle: what it says it consumed is read from the inbound topics, decided by the very functions
that the worker calls, and compared byte by byte with what the cycle appended: ledger, attributions,
dead letters, claims. The tables are compared at the cycle that they themselves name. What is
decided again goes on as the state, so that one altered record is one difference.

A cycle is taken as recorded where it lies outside the range asked for, or where its inbound records
are gone (archived, or of an earlier generation): its entries are folded, its claims come from the
claims' changelog, and what waits for a customer from `unassigned`, which has to be there. What it
attributed follows from its entries, and is compared all the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from schemas import codec
from schemas.money import parse_signed_amount
from schemas.structs import AdjustmentEntry, CycleEntry, DeadLetter, LedgerEntry, UsageEntry
from schemas.topics import (
    ATTRIBUTIONS,
    CLAIMS_CHANGELOG,
    DEAD_LETTERS,
    INBOUND,
    LEDGER,
    PREFLIGHTS,
    TRANSFERS,
    UNASSIGNED,
)
from streams.audit.aligned import NOT_OURS, AlignedBooks, internal_letters
from streams.audit.books import Contexts, RecordedCycle, ledger_cycles
from streams.audit.claims import ClaimWindow
from streams.audit.compared import (
    Recorded,
    compare_attributions,
    compare_customer,
    compare_cycle,
)
from streams.audit.decisions import DecisionCheck
from streams.audit.inbound import InboundBooks
from streams.audit.report import PartitionReport
from streams.audit.state_check import StateCheck
from streams.audit.transfers import Sent
from streams.domain.context import RULES_VERSION, Context
from streams.domain.decoding import decode_records
from streams.domain.facts import Fact, Rejected, SourceRecord, decided_us
from streams.domain.folding import fold_cycle, fold_recorded
from streams.domain.identity import split_segment, unpack_claim
from streams.domain.invariants import check_cycle
from streams.domain.state import PartitionState, Progress
from streams.ports import Book, TableImage

INBOUND_NAMES: Final = tuple(topic.name for topic in INBOUND)

OF_ALL_CUSTOMERS: Final = (
    "attributions and trace windows are not compared: when a window closes depends on the events "
    "of all customers"
)
"""A note of an audit of one customer."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of a partition is decided again: cycles by domain time, and one customer alone.

    Cycles before `since_us` are taken as recorded; from `until_us` on nothing is read.
    """

    since_us: int | None = None
    until_us: int | None = None
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class PartitionBooks:
    """The books of a partition by logical topic: the inbound ones, the ledger, the attributions,
    the dead letters, the claims' changelog.

    `lives` says whether what a generation calls by a topic's name is the topic that there is now.
    """

    partition: int
    books: Mapping[str, Book]
    lives: Callable[[int, str], bool] = lambda _generation, _topic: True


Records = Sequence[SourceRecord]

EachCycle = Callable[[CycleEntry, Records, Records, Records], None]
"""Told of every cycle in the range: its own entry, its ledger records, its attributions, its dead
letters."""


class CannotTellError(Exception):
    """The audit of a partition cannot go on; the message says why."""


def audit_partition(
    books: PartitionBooks,
    contexts: Contexts,
    images: Sequence[TableImage] = (),
    scope: Scope | None = None,
    each_cycle: EachCycle | None = None,
    sent: Sent | None = None,
) -> PartitionReport:
    """Decides a partition again and compares: a function of its arguments.

    Differences are in the report, never exceptions. `sent` is told of what the cycles send to the
    tasks of all partitions: whether it arrived shows there.
    """
    replay = _Replay(books, contexts, images, scope or Scope(), each_cycle, sent)
    try:
        replay.run()
    except CannotTellError as reason:
        replay.report.cannot_tell = str(reason)
    return replay.report


class _Replay:
    def __init__(
        self,
        books: PartitionBooks,
        contexts: Contexts,
        images: Sequence[TableImage],
        scope: Scope,
        each_cycle: EachCycle | None,
        sent: Sent | None,
    ) -> None:
        self.report = report = PartitionReport(books.partition)
        self._partition = books.partition
        self._contexts = contexts
        self._scope = scope
        self._each_cycle = each_cycle
        self._sent = sent
        self._ledger = books.books[LEDGER.name]
        topics = {name: books.books[name] for name in INBOUND_NAMES}
        self._lives = books.lives
        self._inbound = InboundBooks(report, topics, books.lives, scope.customer)
        self._decisions = DecisionCheck(
            report, self._inbound.preflights_ahead, contexts, scope.since_us, scope.customer
        )
        self._aligned = AlignedBooks(
            report,
            books.books[DEAD_LETTERS.name],
            books.books[ATTRIBUTIONS.name],
            books.books[CLAIMS_CHANGELOG.name],
        )
        self._claims = ClaimWindow()
        self._state = PartitionState(Progress(), claims=self._claims.claims)
        self._tables = StateCheck(report, images, scope.customer)
        self._renumbered = False
        if scope.customer is not None:
            report.notes.append(OF_ALL_CUSTOMERS)

    def run(self) -> None:
        """All cycles of the range, then what is left over."""
        ended = True
        for cycle in ledger_cycles(self._ledger):
            own = self._head(cycle)
            if own is None:
                continue
            if self._scope.until_us is not None and own.decided_at >= self._scope.until_us:
                ended = False
                break
            self._cycle(own, cycle)
        self._tables.finish(ended=ended)
        if ended:
            self._aligned.left_over(self._state.progress.generation, self._state.progress.cycle)
        self._inbound.finish()

    def _head(self, cycle: RecordedCycle) -> CycleEntry | None:
        """The cycle's own entry where the cycle follows on the one before it; else notes what it
        is."""
        progress = self._state.progress
        own = _own_entry(cycle.records[0])
        if own is None or own.partition != self._partition:
            self._no_cycle(cycle, "no cycle of this partition")
            return None
        fresh = own.generation > progress.generation
        due = 1 if fresh else progress.cycle + 1
        if progress.cycle == 0 and (own.cycle > 1 or fresh):
            raise CannotTellError(
                f"the ledger begins with cycle {own.cycle} of generation {own.generation}: what "
                "came before is not in it, and no balance can be derived without"
            )
        if own.generation < progress.generation or own.cycle < due:
            self._no_cycle(cycle, f"repeats cycle {own.cycle} of generation {own.generation}")
            return None
        if own.cycle > due:
            place = f"offset {cycle.records[0].offset}"
            self.report.differs("ledger", place, f"cycle {own.cycle} where cycle {due} was due")
            raise CannotTellError(f"cycle {due} is not in the ledger: nothing can follow on it")
        if own.rules_version != RULES_VERSION:
            raise CannotTellError(
                f"cycle {own.cycle} was decided by version {own.rules_version} of the rules, this "
                f"release has version {RULES_VERSION}: audit it with a release that has it"
            )
        return own

    def _no_cycle(self, cycle: RecordedCycle, what: str) -> None:
        for record in cycle.records:
            what_else = f"{what}: nothing in the log demands this record"
            self.report.differs("ledger", f"offset {record.offset}", what_else)

    def _cycle(self, own: CycleEntry, cycle: RecordedCycle) -> None:
        found = Recorded(
            own,
            cycle.records,
            self._aligned.attributions_of(own),
            self._aligned.letters_of(own),
            self._aligned.segment_of(own),
        )
        inside = self._scope.since_us is None or own.decided_at >= self._scope.since_us
        state, report = self._state, self.report
        report.cycles += 1
        if own.generation > state.progress.generation:
            self._inbound.begin_generation()
            self._decisions.rewound(self._inbound.preflights_ahead)
        if inside and self._inbound.holds(own):
            entries = self._decide_again(found)
        else:
            report.given += 1
            entries = self._take_as_recorded(found, inside=inside)
        if self._sent is not None and self._lives(own.generation, TRANSFERS.name):
            first, last = cycle.records[0].offset, cycle.records[-1].offset
            self._sent.add(first, last + 1, entries)
        if inside:
            self._count(own, cycle)
            if self._each_cycle is not None:
                self._each_cycle(own, found.entries, found.attributions, found.letters)
        self._decide_preflights_again(own)
        segment = found.segment
        self._tables.after(own, state, None if segment is None else segment.offset)
        self._claims.add(state.new_claims, own.decided_at)
        state.new_claims = {}
        state.touched.clear()
        state.touched_tasks.clear()
        state.touched_billing.clear()
        state.windows.touched.clear()
        state.unbound.touched.clear()

    def _context_of(self, own: CycleEntry) -> Context:
        try:
            return self._contexts(own.catalog_offset)
        except ValueError as fault:
            raise CannotTellError(
                f"cycle {own.cycle}: the catalog up to offset {own.catalog_offset} cannot be read: "
                f"{fault}"
            ) from fault

    def _decide_again(self, found: Recorded) -> Sequence[LedgerEntry]:
        own, state, place = found.own, self._state, f"cycle {found.own.cycle}"
        context = self._context_of(own)
        began_anew = own.generation > state.progress.generation
        if self._renumbered and not began_anew:
            # One record more or less is one difference, and not all that are numbered after it.
            state.progress.next_sequence = own.sequence
            state.progress.next_dead_letter = own.dead_letter_sequence - own.dead_letters
            state.progress.next_attribution = own.attribution_sequence - own.attributions
        first_sequence = 0 if began_anew else state.progress.next_sequence
        domain_time_us, facts = state.progress.domain_time_us, list[Fact | Rejected]()
        if self._scope.customer is not None:
            # Both are those of all customers, whose records are not read here.
            domain_time_us = max(domain_time_us, own.decided_at)
            state.progress.event_time_us = max(state.progress.event_time_us, own.watermark)
        internal = internal_letters(found.letters)
        for records, latest_us in self._inbound.take(own):
            domain_time_us = max(domain_time_us, latest_us)
            decoded = self._decoded(records, context, internal)
            facts += decoded
            domain_time_us = max(domain_time_us, decided_us(decoded))
        self.report.internal += len(internal)
        self.report.records += len(facts)
        consumed = list(own.consumed)
        try:
            result = fold_cycle(state, self._partition, consumed, facts, context, domain_time_us)
            check_cycle(result, first_sequence, len(facts))
        except AssertionError as fault:
            self.report.differs("invariants", place, str(fault))
            raise CannotTellError(f"{place} cannot be decided again: {fault}") from fault
        self._bill(result.entries)
        if self._sent is not None:
            forwards = [one for one in result.forwards if self._lives(own.generation, one.topic)]
            name = f"cycle {own.cycle} of partition {self._partition}"
            self._sent.passed_on.add(forwards, name)
        if self._scope.customer is None:
            whole = self._aligned.segments_whole
            self._renumbered = compare_cycle(
                self.report, result, found, state.new_claims, segments_whole=whole
            )
        else:
            compare_customer(self.report, result, found, self._scope.customer.encode())
            state.progress.next_sequence = own.sequence + len(found.entries)
            state.progress.next_dead_letter = own.dead_letter_sequence
            state.progress.next_attribution = own.attribution_sequence
        return result.entries

    def _decoded(
        self, records: Records, context: Context, internal: Mapping[tuple[str, int], DeadLetter]
    ) -> list[Fact | Rejected]:
        decoded = decode_records(records, self._partition, context.partitions)
        for at, record in enumerate(records) if internal else ():
            letter = internal.get((record.topic, record.offset))
            if letter is not None:
                decoded[at] = Rejected(record, letter.code, letter.reason, letter.field)
        return decoded

    def _decide_preflights_again(self, own: CycleEntry) -> None:
        """The decisions that saw the state as it is now."""
        if not self._lives(own.generation, PREFLIGHTS.name):
            return
        try:
            partitions = self._contexts(own.catalog_offset).partitions
        except ValueError:
            return  # only of a cycle that is taken as recorded
        self._decisions.after(own, self._state, partitions)

    def _take_as_recorded(self, found: Recorded, *, inside: bool) -> Sequence[LedgerEntry]:
        own, state, segment = found.own, self._state, found.segment
        entries: list[LedgerEntry] = []
        for record in found.entries:
            try:
                entries.append(codec.decode_entry(record.value or b""))
            except ValueError:
                self.report.differs("ledger", f"offset {record.offset}", NOT_OURS)
        context, records = self._context_of(own), self._inbound.nameless_of(own)
        if records is None:
            raise CannotTellError(
                f"cycle {own.cycle}: the records of {UNASSIGNED.name} that it consumed are gone, "
                "and with them what waits for a customer since; restore them"
            )
        nameless = self._decoded(records, context, internal_letters(found.letters))
        try:
            rows = fold_recorded(state, entries, context, nameless)
        except AssertionError as fault:
            raise CannotTellError(f"cycle {own.cycle} cannot be folded: {fault}") from fault
        for key, packed in split_segment(segment.value) if segment and segment.value else ():
            state.claims[key] = state.new_claims[key] = unpack_claim(packed)
        self._inbound.skip(own)
        if inside:
            self._bill(entries)
            if self._scope.customer is None:
                compare_attributions(self.report, rows, found)
        return entries

    def _bill(self, entries: Sequence[LedgerEntry]) -> None:
        report, costs = self.report, self.report.cost_pico
        for entry in entries:
            if isinstance(entry, UsageEntry | AdjustmentEntry):
                report.units += entry.units if isinstance(entry, UsageEntry) else 0
                cost = parse_signed_amount(entry.cost)
                costs[entry.currency] = costs.get(entry.currency, 0) + cost

    def _count(self, own: CycleEntry, cycle: RecordedCycle) -> None:
        report = self.report
        report.accepted += own.accepted
        report.duplicates += own.duplicates
        report.refused += own.dead_letters
        report.entries += len(cycle.records)
        if report.first_offset is None:
            report.first_offset = cycle.records[0].offset
        report.last_offset = cycle.records[-1].offset
        report.last_sequence = own.sequence + len(cycle.records) - 1


def _own_entry(record: SourceRecord) -> CycleEntry | None:
    try:
        entry = codec.decode_entry(record.value or b"")
    except ValueError:
        return None
    return entry if isinstance(entry, CycleEntry) else None
