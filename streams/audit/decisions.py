"""Every decision about a preflight made again at the point that it saw (P5), beside the replay.

The replay walks the ledger; after each cycle its state is what owners saw who name that cycle. So
the decisions that do are read ahead of the cycle that folds them, and decided again there: on the
accounts as that cycle left them, and on the decisions before them that it had not folded. Those are
taken as they stand, because the fold does so too: an altered one is one difference.
"""

from schemas import codec
from schemas.structs import CycleEntry, Lease, Preflight
from schemas.topics import PREFLIGHTS
from streams.audit.books import Contexts, Cursor
from streams.audit.differ import field_difference
from streams.audit.report import PartitionReport
from streams.domain.budget import Account
from streams.domain.decisions import Decided, InvalidAskError, View, hold_of
from streams.domain.decoding import decode_record
from streams.domain.facts import Fact, HoldFact, LeaseFact, PreflightFact, Rejected
from streams.domain.holds import hold_id
from streams.domain.identity import Verdict, judge
from streams.domain.overlay import Overlay, Pending, row_key
from streams.domain.redeciding import decide_again
from streams.domain.state import PartitionState
from streams.domain.tasks import Task

BOOK = "decisions"


class DecisionCheck:
    """Reads `preflights` once, ahead of the fold. Memory: the decisions that no cycle has folded
    yet, as an owner has it."""

    def __init__(
        self,
        report: PartitionReport,
        ahead: Cursor,
        contexts: Contexts,
        since_us: int | None,
        customer: str | None,
    ) -> None:
        """Decisions before `since_us` are taken as they stand; with a customer, only those of
        accounts with this id are looked at."""
        self._report = report
        self._ahead = ahead
        self._contexts = contexts
        self._since_us = since_us or 0
        self._key = None if customer is None else customer.encode()
        self._began = False
        self._from = 0
        """What lies below has been looked at, in an earlier generation."""
        self._lease = (-1, "")
        self._decided_us = 0
        self._void = 0
        """Records since the lease that do not count: its owner never saw them."""
        self._overlay = Overlay()
        self._next: Fact | Rejected | None = None

    def after(self, own: CycleEntry, state: PartitionState, partitions: int) -> None:
        """Call after each cycle of a generation whose `preflights` is the present topic."""
        progress = state.progress
        folded = progress.consumed.get(PREFLIGHTS.name, 0)
        given = False
        if not self._began:
            if folded < self._ahead.start:
                return  # what this cycle folded is gone: nothing is known beside it
            self._began = given = True
            self._ahead.below(folded)
            self._lease, self._decided_us = (progress.lease, progress.nonce), 0
        self._overlay.trim(folded)
        # A generation that reads the topic again comes by what owners of an earlier one decided.
        # Never far ahead of it: what lies between is in memory.
        self._ahead.below(min(self._from, folded))
        if folded < self._from:
            return
        while (fact := self._peek(own, partitions)) is not None:
            if isinstance(fact, PreflightFact) and self._is_asked(fact):
                body, is_folded = fact.body, fact.record.offset < folded
                if not is_folded and (body.lease >= folded or body.seen_cycle > own.cycle):
                    return
                if is_folded and body.seen_cycle >= own.cycle:
                    # What waited behind it has not been decided in its turn: one difference.
                    self._differs(fact, f"folded by cycle {own.cycle}, saw cycle {body.seen_cycle}")
                    given = True
                elif not is_folded and body.seen_cycle == own.cycle:
                    self._judge(fact, own, state)
                elif given:
                    self._report.decisions_given += 1
                else:
                    what = f"saw cycle {body.seen_cycle}, those before it cycle {own.cycle}"
                    self._differs(fact, what)
                if not is_folded:
                    self._add(fact, own)
            self._note(fact)
            self._ahead.advance()
            self._next = None

    def rewound(self, ahead: Cursor) -> None:
        """The books begin anew with a generation. What has been looked at is passed again."""
        self._from = self._ahead.passed
        self._ahead, self._next = ahead, None

    def _peek(self, own: CycleEntry, partitions: int) -> Fact | Rejected | None:
        record = self._ahead.peek()
        if record is None:
            return None
        if self._next is None or self._next.record is not record:
            self._next = decode_record(record, own.partition, partitions)
        return self._next

    def _is_asked(self, fact: PreflightFact) -> bool:
        """Whether a decision counts, and is of the customer that is audited."""
        return self._counts(fact) and self._key in (None, fact.record.key)

    def _counts(self, fact: Fact | Rejected) -> bool:
        """The reader's rule of leases."""
        if not isinstance(fact, PreflightFact | HoldFact | LeaseFact):
            return False
        body = fact.body
        return not isinstance(body, Lease) and (body.lease, body.nonce) == self._lease

    def _note(self, fact: Fact | Rejected) -> None:
        """Passes a record: leases, what does not count, and the time that an owner does not go back
        behind (D5)."""
        if isinstance(fact, LeaseFact) and isinstance(fact.body, Lease):
            self._lease, self._void = (fact.record.offset, fact.body.nonce), 0
            self._decided_us = fact.body.decided_at
        elif isinstance(fact, PreflightFact | HoldFact | LeaseFact) and self._counts(fact):
            self._decided_us = max(self._decided_us, fact.body.decided_at)
        else:
            self._void += 1

    # --- deciding again ------------------------------------------------------------------------

    def _add(self, fact: PreflightFact, own: CycleEntry) -> None:
        body, offset = fact.body, fact.record.offset
        ceiling = fact.task_ceiling
        self._overlay.add(
            Pending(
                offset,
                row_key(body.account_kind, body.account_id),
                fact.claim_key,
                body,
                hold_of(body, fact.estimate, hold_id(own.generation, own.partition, offset)),
                None if ceiling is None else (body.denomination.value, ceiling),
            )
        )

    def _view(self, body: Preflight, state: PartitionState) -> View:
        account: Account | Task | None = state.accounts.get(body.account_id)
        if body.account_kind == "task":
            account = state.tasks.get(body.account_id)
        return self._overlay.view(row_key(body.account_kind, body.account_id), account)

    def _judge(self, fact: PreflightFact, own: CycleEntry, state: PartitionState) -> None:
        body, progress = fact.body, state.progress
        if body.decided_at < self._since_us:
            return
        self._report.decisions += 1
        if body.decided_at < max(progress.domain_time_us, self._decided_us):
            self._differs(fact, f"decided_at is {body.decided_at}, which is before what it saw")
        if body.seen_catalog_offset < progress.catalog_offset:
            what = f"saw the catalog up to {body.seen_catalog_offset}, cycle {own.cycle} further"
            self._differs(fact, what)
        try:
            context = self._contexts(body.seen_catalog_offset)
        except ValueError as fault:
            self._differs(fact, f"the catalog that it saw cannot be read: {fault}")
            return
        earlier = self._decided_before(fact, state, context.horizon_us)
        if earlier is not None:
            what = f"{body.idempotency_key!a} had been decided at offset {earlier}"
            self._differs(fact, what)
            return
        try:
            # Its owner took the offset for that behind its own last record (decision 016).
            seen_offset = fact.record.offset - self._void
            decided, due = decide_again(self._view(body, state), body, seen_offset, context)
        except InvalidAskError as refusal:
            self._differs(fact, f"no decision can be made of it: {refusal}")
            return
        if codec.encode(due) != fact.record.value:
            self._compare(fact, decided, due)

    def _decided_before(
        self, fact: PreflightFact, state: PartitionState, horizon_us: int
    ) -> int | None:
        """The offset of the decision that its key had already; its owner had to answer with it."""
        pending = self._overlay.find(fact.claim_key)
        if pending is not None:
            return pending.offset
        claim = state.claims.get(fact.claim_key)
        at_us, offset = fact.body.decided_at, fact.record.offset
        verdict = judge(claim, fact.body_hash, at_us, offset, horizon_us)
        return claim.offset if claim is not None and verdict is not Verdict.FRESH else None

    def _compare(self, fact: PreflightFact, decided: Decided, due: Preflight) -> None:
        body, what = fact.body, ""
        if body.approved and not decided.approved:
            overspent = f"approved {body.estimate} {body.denomination.value}"
            if decided.reason == "ceiling_exceeded":
                what = f"{overspent} over its own ceiling of {body.ceiling}"
            else:
                left = due.remaining if due.remaining is not None else "nothing"
                what = f"{overspent} with {left} left: due is {decided.reason}"
        else:
            value, hidden = fact.record.value or b"", ("body_hash",)
            what = field_difference(codec.decode_preflights, value, codec.encode(due), hidden)
        if what:
            self._differs(fact, what)
        if due.body_hash != body.body_hash:
            self._differs(fact, f"body_hash is {body.body_hash}, of what it states {due.body_hash}")
        elif not what:
            self._differs(fact, "is written otherwise than an owner writes it")

    def _differs(self, fact: PreflightFact, what: str) -> None:
        name = f"{fact.body.account_kind} {fact.body.account_id!a}"
        self._report.differs(BOOK, f"offset {fact.record.offset}, {name}", what)
