"""A partition's cycle: from a bounded batch of records to one committed transaction.

The steps, in the only order in which a crash between any two of them loses and doubles nothing
(decision 006 has the table of what each crash leaves):

  1. take      what has arrived, bounded, each topic from the offset the last cycle ended at
  2. decode    records to facts; what is no fact becomes a dead letter
  3. load      claims, accounts and progress that the facts touch
  4. fold      decide and evolve, pure
  5. check     invariants; a violation stops here, before anything is written
  6. commit    one transaction: ledger, dead letters, changelogs, input offsets
  7. store     the same changes to the local tables
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.partitioner import partition_of
from schemas.structs import Consumed, CycleEntry, LedgerEntry
from schemas.topics import ACCOUNTS_CHANGELOG, CLAIMS_CHANGELOG, PREFLIGHTS
from streams.agents.refusals import RefusalShare
from streams.agents.turns import Turns
from streams.domain import billing
from streams.domain.appends import (
    SENT,
    RowBytes,
    cycle_appends,
    decode_account,
    decode_billing,
    decode_progress,
    decode_task,
)
from streams.domain.billing import Billing
from streams.domain.budget import Account
from streams.domain.context import Context
from streams.domain.decoding import decode_records
from streams.domain.facts import Fact, Rejected, SourceRecord, decided_us, touched_by
from streams.domain.folding import (
    FOLD_ORDER,
    CycleResult,
    event_time_us,
    fold_in_steps,
    unassigned_time_us,
)
from streams.domain.identity import split_segment, unpack_claim
from streams.domain.invariants import check_cycle
from streams.domain.reach import load_unbound, load_windows
from streams.domain.state import PartitionState, Progress
from streams.domain.tasks import Task, row_key
from streams.domain.windows import Windows
from streams.errors import FaultError, SetupError
from streams.ports import PROGRESS_KEY, Appends, Catalog, Changes, Clock, CycleLog, Store, Table

CLOCK_SKEW_US_MAX: Final = 600 * 1_000_000
"""How far an append time may lie ahead of this machine's clock before the partition stops (D5): ten
minutes are no drift, they are a clock set wrong, and domain time would never come back from it."""


RECORDS_AT_ONCE: Final = 64
"""Records that are decoded, or folded, before whoever waits for an answer gets the loop: one or two
milliseconds."""

ACCOUNTS_KEPT_MAX: Final = 4_096
"""Accounts of a partition that stay decoded from one cycle to the next, so that a busy customer is
read and decoded once: some 3 MB."""


@dataclass(slots=True)
class TopicSlice:
    """The records of one topic that a cycle takes: the range [from_offset, to_offset) and what it
    holds.

    Offsets without a record (markers, aborted batches) are part of the range.
    """

    topic: str
    from_offset: int
    to_offset: int
    records: list[SourceRecord] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CycleOutcome:
    """What a committed cycle did: for logs and metrics, and for the owner of the partition, who
    answers from it (R1)."""

    entry: CycleEntry
    records: int
    entries: Sequence[LedgerEntry] = ()
    rejected: Sequence[Rejected] = ()
    rows: Mapping[bytes, bytes] = field(default_factory=dict)
    """The accounts and tasks that it changed, encoded as they now stand in the store, by key."""
    progress: Progress = field(default_factory=Progress)


class PartitionCycle:
    """Runs the cycles of one partition, one after the other. Made anew at every take of the
    partition."""

    def __init__(
        self,
        partition: int,
        store: Store,
        log: CycleLog,
        clock: Clock,
        catalog: Catalog,
        turns: Turns | None = None,
    ) -> None:
        """The cycles of all partitions that share `turns` decode and fold one after the other."""
        self._turns = turns or Turns()
        self._partition = partition
        self._store = store
        self._log = log
        self._clock = clock
        self._catalog = catalog
        self._decided_with: int | None = None
        self._accounts: dict[str, Account] = {}
        self._refusals = RefusalShare(partition)

    async def run(self, slices: Sequence[TopicSlice]) -> CycleOutcome:
        """One cycle over these slices, which are in FOLD_ORDER and begin where the last cycle
        ended.

        Raises FaultError or AssertionError before anything was written, or FaultError where the
        outcome of the commit is not known: the caller ends the process.
        """
        context = await self._catalog.context(self._catalog_floor())
        async with self._turns.folding():
            kept, state, facts, result = await self._fold(slices, context)
            appends = _appends(cycle_appends(state, result), context.partitions)
        last = await self._log.commit(
            self._partition, appends, {piece.topic: piece.to_offset for piece in slices}
        )
        rows = self._write(appends, last)
        kept.update(state.accounts)
        self._accounts = kept if len(kept) <= ACCOUNTS_KEPT_MAX else dict(state.accounts)
        self._decided_with = context.catalog_offset
        own = result.entries[0]
        assert isinstance(own, CycleEntry)
        return CycleOutcome(own, len(facts), result.entries, result.rejected, rows, state.progress)

    async def _fold(
        self, slices: Sequence[TopicSlice], context: Context
    ) -> tuple[dict[str, Account], PartitionState, list[Fact | Rejected], CycleResult]:
        """Decodes, loads, folds and checks. Returns the accounts that stay decoded, and what the
        cycle has come to."""
        facts: list[Fact | Rejected] = []
        for records in _pieces(slices):
            facts += decode_records(records, self._partition, context.partitions)
            await self._turns.breathe()
        progress = read_progress(self._store, self._partition)
        self._check_progress(progress, context, slices)
        began_anew = context.generation > progress.generation
        first_sequence = 0 if began_anew else progress.next_sequence
        consumed = [
            Consumed(topic=s.topic, from_offset=s.from_offset, to_offset=s.to_offset)
            for s in slices
        ]
        domain_time_us = self._domain_time(progress, slices, facts)
        latest_us = event_time_us(progress, facts, consumed, context)
        windows = load_windows(facts, progress, latest_us, domain_time_us, self._read_accounts)
        kept, state = self._load(facts, progress, windows)
        passed_us = unassigned_time_us(progress, facts, consumed)
        state.unbound = load_unbound(facts, progress, passed_us, self._read_accounts)
        steps = fold_in_steps(
            state, self._partition, consumed, facts, context, domain_time_us, RECORDS_AT_ONCE
        )
        result = await self._taken(steps)
        check_cycle(result, first_sequence, len(facts))
        self._refusals.check(facts, result.rejected)
        return kept, state, facts, result

    async def _taken(self, steps: Generator[None, None, CycleResult]) -> CycleResult:
        """What a fold comes to, with turns for others between its steps."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: CycleResult = end.value
                return result
            await self._turns.breathe()

    def _read_accounts(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        return self._store.read(Table.ACCOUNTS, self._partition, keys)

    def _load(
        self, facts: Sequence[Fact | Rejected], progress: Progress, windows: Windows
    ) -> tuple[dict[str, Account], PartitionState]:
        touched = touched_by(facts)
        customers, keys = touched.customers, list(touched.keys)
        # Where one of theirs closes, an account counts one open window less.
        customers.update(dict.fromkeys(one.customer_id for one in windows.rows.values()))
        # Out of this object until the cycle has committed: what is folded into them must not stay
        # where it does not count.
        kept, self._accounts = self._accounts, {}
        accounts = {customer: kept[customer] for customer in customers if customer in kept}
        absent = [customer for customer in customers if customer not in kept]
        rows = self._read_accounts([customer.encode() for customer in absent])
        for customer, row in zip(absent, rows, strict=True):
            if row is not None:
                accounts[customer] = decode_account(row)
        claims = self._store.read(Table.CLAIMS, self._partition, keys)
        return kept, PartitionState(
            progress,
            accounts,
            {
                key: unpack_claim(row)
                for key, row in zip(keys, claims, strict=True)
                if row is not None
            },
            tasks=self._load_tasks(list(touched.tasks)),
            windows=windows,
            billing=self._load_billing(list(touched.billed)) if touched.billed else {},
        )

    def _load_tasks(self, refs: list[str]) -> dict[str, Task]:
        rows = self._read_accounts([row_key(ref) for ref in refs])
        return {
            ref: decode_task(row) for ref, row in zip(refs, rows, strict=True) if row is not None
        }

    def _load_billing(self, customers: list[str]) -> dict[str, Billing]:
        rows = self._read_accounts([billing.row_key(customer) for customer in customers])
        found = zip(customers, rows, strict=True)
        return {customer: decode_billing(row) for customer, row in found if row is not None}

    def _catalog_floor(self) -> int:
        """The catalog offset that this partition has decided with: another worker may have read
        further than this one before it gave the partition up."""
        if self._decided_with is None:
            self._decided_with = read_progress(self._store, self._partition).catalog_offset
        return self._decided_with

    def _check_progress(
        self, progress: Progress, context: Context, slices: Sequence[TopicSlice]
    ) -> None:
        if progress.generation > context.generation:
            raise SetupError(
                f"partition {self._partition} holds state of generation {progress.generation}, "
                f"the catalog says {context.generation}",
                action="The catalog is an older one. Restore the youngest copy of it.",
            )
        if progress.generation < context.generation:
            return
        for piece in slices:
            due = progress.consumed.get(piece.topic, piece.from_offset)
            if piece.from_offset != due:
                raise FaultError(
                    f"partition {self._partition}: a cycle would go on at offset "
                    f"{piece.from_offset} of {piece.topic}, the tables at {due}",
                    action="Nothing was decided. Restart the worker; if this repeats, keep the "
                    "state directory and the log of the worker and report it.",
                )

    def _domain_time(
        self,
        progress: Progress,
        slices: Sequence[TopicSlice],
        facts: Sequence[Fact | Rejected],
    ) -> int:
        appended = [record.appended_at_us for piece in slices for record in piece.records]
        owned = facts if any(s.topic == PREFLIGHTS.name for s in slices) else ()
        latest = max(max(appended, default=0), decided_us(owned))
        if latest > self._clock.now_us() + CLOCK_SKEW_US_MAX:
            raise FaultError(
                f"partition {self._partition} has a record whose append time lies ahead of this "
                "machine's clock",
                action="Set the clocks of the broker and of this machine; nothing was decided.",
            )
        return max(progress.domain_time_us, latest)

    def _write(self, appends: Sequence[Appends], last: dict[str, int]) -> dict[bytes, bytes]:
        """Stores what the cycle has committed. Returns the rows that the table has now."""
        by_topic = {append.topic: append for append in appends}
        if CLAIMS_CHANGELOG.name in last:
            segments = by_topic[CLAIMS_CHANGELOG.name].records
            claims = [row for _, segment in segments for row in split_segment(segment or b"")]
            changes = Changes(claims, last[CLAIMS_CHANGELOG.name])
            self._store.write(Table.CLAIMS, self._partition, changes)
        rows = {key: value for key, value in by_topic[ACCOUNTS_CHANGELOG.name].records if key}
        changes = Changes(list(rows.items()), last[ACCOUNTS_CHANGELOG.name])
        self._store.write(Table.ACCOUNTS, self._partition, changes)
        return {key: value for key, value in rows.items() if value is not None}


def _pieces(slices: Iterable[TopicSlice]) -> Iterator[Sequence[SourceRecord]]:
    for piece in slices:
        for begin in range(0, len(piece.records), RECORDS_AT_ONCE):
            yield piece.records[begin : begin + RECORDS_AT_ONCE]


def _appends(found: Mapping[str, Sequence[RowBytes]], partitions: int) -> list[Appends]:
    """What a cycle appends, by topic and partition: transfers go where their task is, and what is
    passed on where its customer is."""
    appends = [Appends(topic, rows) for topic, rows in found.items() if topic not in SENT]
    for topic in SENT:
        elsewhere: dict[int, list[RowBytes]] = {}
        for key, value in found.get(topic, ()):
            assert key is not None, "what is sent goes to somebody"
            elsewhere.setdefault(partition_of(key, partitions), []).append((key, value))
        appends += [Appends(topic, rows, to) for to, rows in elsewhere.items()]
    return appends


def read_progress(store: Store, partition: int) -> Progress:
    """How far the tables of a partition are: what its last committed cycle wrote."""
    (row,) = store.read(Table.ACCOUNTS, partition, [PROGRESS_KEY])
    return Progress() if row is None else decode_progress(row)


__all__ = ["FOLD_ORDER", "CycleOutcome", "PartitionCycle", "TopicSlice", "read_progress"]
