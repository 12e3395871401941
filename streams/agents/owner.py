"""The owner of one partition: it alone decides preflights there, and answers once its decision is
in the log.

    asks ─▶ group ─▶ decide ─▶ append as one batch ─▶ offset as expected? ─▶ hand over, answer
                                                              └─ no: nobody is answered, halt

One group is in flight at a time. Answers about records, releases and extensions wait for the cycle
that folds them (R1). Decision 016 says why two owners can never both answer.
"""

import asyncio
import logging
from collections import deque
from typing import Final

from schemas import codec
from schemas.errors import RejectError
from schemas.partitioner import partition_of
from schemas.rpc import (
    AccountAnswer,
    AccountKind,
    Answer,
    Ask,
    AwaitAsk,
    ExtendAsk,
    Freshness,
    LookupAsk,
    PreflightAsk,
    RecordAnswer,
    ReleaseAsk,
)
from schemas.structs import ClosingEntry, ExtensionEntry, Preflight
from schemas.topics import PREFLIGHTS
from streams.agents.answers import (
    error,
    extended,
    preflight_answer,
    record_answer,
    released,
    unchanged,
    was_exhausted,
)
from streams.agents.background import Background
from streams.agents.due import what_is_due
from streams.agents.groups import GROUP_ASKS_MAX, Folding, Group, Result, Stored, Waiting
from streams.agents.lease import Outcome, Surroundings, lost, take_lease
from streams.agents.loading import load_expiries
from streams.agents.rows import Rows
from streams.agents.seat import Seat
from streams.agents.watchers import Found
from streams.domain.context import Context
from streams.domain.decisions import body_hash, find_hold
from streams.domain.decoding import RESERVED
from streams.domain.facts import SourceRecord
from streams.domain.folding import FOLD_ORDER
from streams.domain.holds import hold_id
from streams.domain.standing import account_answer
from streams.domain.state import Progress
from streams.errors import FaultError, TransientError

log = logging.getLogger(__name__)

WAITING_MAX: Final = 4_096
"""Asks that wait for a group of one partition: about a second's worth at the most that an owner
decides. Beyond it an ask is refused at once instead of late."""

LAG_SECONDS_MAX: Final = 5.0
"""How long the oldest record in the inbox may have waited where something is still decided (P7):
what the owner knows of usage is as old as that."""


class PreflightOwner:
    """The owner of one partition, made anew at every take of it. Belongs to one event loop."""

    def __init__(self, partition: int, around: Surroundings, loading: asyncio.Lock) -> None:
        """Owners of one process share `loading`: one at a time looks for its open holds."""
        self._partition = partition
        self._around = around
        self._loading = loading
        self._seat: Seat | None = None
        self._ready = False
        self._over = ""
        self._waiting: deque[Waiting] = deque()
        self._wake = asyncio.Event()
        self._background = Background(self._lose)
        self._in_flight: Group | None = None
        self._next_group_at = 0.0

    @property
    def seat(self) -> Seat | None:
        """What it knows, once the lease has been taken."""
        return self._seat

    @property
    def is_ready(self) -> bool:
        """Whether asks are answered: the lease is folded, and nothing has gone wrong since."""
        return self._ready and not self._over

    async def take(self, progress: Progress, context: Context) -> list[SourceRecord]:
        """Takes the lease; the partition is fenced and its tables are recovered by now.

        Returns the records that the next cycle has to fold first, up to the lease. Nothing is
        answered before that cycle has committed. Raises FaultError.
        """
        around = self._around
        same = progress.generation == context.generation
        from_offset = progress.consumed.get(PREFLIGHTS.name, 0) if same else 0
        decided_at_us = max(progress.domain_time_us, around.clock.now_us())
        tenure, records = await take_lease(
            around, self._partition, progress, from_offset, decided_at_us
        )
        self._seat = seat = Seat(
            self._partition,
            context.generation,
            context.partitions,
            tenure,
            progress,
            around.tables,
            Rows(around.tables, self._partition),
            tenure.offset + 1,
            decided_at_us,
        )
        if not self._over:
            self._background.begin(lambda: self._serve(seat))
        return records

    async def give_up(self) -> None:
        """The partition is somebody else's, or will be: whoever waits is told to ask again."""
        self._end("not_mine")
        await self._background.end()

    # --- what a cycle tells --------------------------------------------------------------------

    def committed(self, outcome: Outcome) -> None:
        """Takes a committed cycle, in the same step in which its rows were written."""
        seat = self._seat
        if seat is None or self._over:
            return
        seat.commit(outcome)
        if self._ready or not seat.is_folded:
            return
        folded = (seat.progress.lease, seat.progress.nonce)
        if folded == (seat.tenure.offset, seat.tenure.nonce):
            self._ready = True
            tables, partition, loading = self._around.tables, self._partition, self._loading
            self._background.begin(lambda: load_expiries(seat.expiries, tables, partition, loading))
            place = {"partition": self._partition, "lease": seat.tenure.offset}
            log.info("partition %(partition)d: lease %(lease)d is folded", place, extra=place)
        else:
            self._lose(lost(self._partition, "another lease was folded in its place"))

    # --- what is asked -------------------------------------------------------------------------

    async def answer(self, ask: Ask, timeout_seconds: float) -> Answer:
        """The answer to an ask about an account of this partition.

        An ErrorAnswer where there is none within the time: for a preflight nothing is known of its
        outcome then, and the same key asks again.
        """
        seat = self._seat
        if self._over:
            return error(self._over)
        if seat is None or not self._ready:
            return error("not_ready")
        account = ask.account_id.encode()
        if account[:1] == RESERVED:
            return error("invalid", "ids that begin with NUL are reserved")
        if partition_of(account, seat.partitions) != self._partition:
            return error("invalid", f"the account does not live in partition {self._partition}")
        if isinstance(ask, LookupAsk):
            return await self._look_up(seat, ask)
        if isinstance(ask, AwaitAsk):
            return await self._await(seat, ask, timeout_seconds)
        return await self._queue(seat, ask, timeout_seconds)

    async def _look_up(self, seat: Seat, ask: LookupAsk) -> Answer:
        context = await self._context(seat)
        return self._account(seat, context, ask.account_kind, ask.account_id, holds=ask.holds)

    async def _await(self, seat: Seat, ask: AwaitAsk, timeout_seconds: float) -> Answer:
        if ask.topic not in FOLD_ORDER or ask.offset < 0:
            return error("invalid", f"no record of {ask.topic!r} is ever folded")
        found: Found | None
        if ask.offset < seat.progress.consumed.get(ask.topic, 0):
            found = seat.watchers.recall(ask.topic, ask.offset)
        elif seat.watchers.is_full:
            return error("overloaded")
        else:
            future = seat.watchers.watch(ask.topic, ask.offset)
            try:
                async with asyncio.timeout(min(timeout_seconds, ask.timeout_ms / 1_000)):
                    found = await future
            except TimeoutError:
                found = None
            finally:
                seat.watchers.forget(ask.topic, ask.offset, future)
            if self._over:
                return error(self._over)
        context = await self._context(seat)
        if found is None:
            return RecordAnswer("undecided", self._freshness(seat, context))
        account = self._account(seat, context, ask.account_kind, ask.account_id)
        base = seat.view(ask.account_kind, ask.account_id).account
        return record_answer(found, account, was_spent=was_exhausted(found.entries, base))

    async def _queue(
        self, seat: Seat, ask: PreflightAsk | ReleaseAsk | ExtendAsk, timeout_seconds: float
    ) -> Answer:
        if len(self._waiting) >= WAITING_MAX or seat.watchers.is_full:
            return error("overloaded")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        future: asyncio.Future[Result] = loop.create_future()
        waiting = Waiting(ask, future)
        self._waiting.append(waiting)
        self._wake.set()
        # Most answers come from here: a timer costs a third of `asyncio.timeout`.
        timer = loop.call_at(deadline, waiting.tell, error("unknown_outcome"))
        try:
            result = await future
        finally:
            timer.cancel()
        if isinstance(result, Stored | Folding):
            return await self._later(seat, ask, result, deadline)
        return result

    async def _later(
        self,
        seat: Seat,
        ask: PreflightAsk | ReleaseAsk | ExtendAsk,
        result: Stored | Folding,
        deadline: float,
    ) -> Answer:
        """The answer that has to be read from the log, or that comes with a cycle."""
        try:
            async with asyncio.timeout_at(deadline):
                if isinstance(result, Stored):
                    assert isinstance(ask, PreflightAsk), "only keys of preflights are claimed"
                    return await self._replay(seat, ask, result.offset)
                assert not isinstance(ask, PreflightAsk), "decisions do not wait for a cycle"
                return await self._folded(seat, ask, result)
        except TimeoutError:
            if isinstance(ask, PreflightAsk):
                return error("unknown_outcome")
            fresh = seat.freshness(seat.progress.catalog_offset, self._lag_us(seat))
            return unchanged(ask.reservation_id, "open", fresh, committed=False)

    async def _replay(self, seat: Seat, ask: PreflightAsk, offset: int) -> Answer:
        """The decision that lies at an offset, and what has become of its hold (P11)."""
        try:
            (record,) = await self._around.log.read(self._partition, offset, offset + 1)
            body = codec.decode_preflights(record.value)
        except (FaultError, TransientError) as fault:
            log.warning("partition %d: a stored decision: %s", self._partition, fault)
            return error("unknown_outcome")
        except RejectError:
            body = None
        if not isinstance(body, Preflight) or body.body_hash != body_hash(ask):
            return error("conflict", "the key was used in an earlier life of the topics")
        name = hold_id(seat.generation, self._partition, offset)
        view = seat.view(ask.account_kind, ask.account_id)
        # What is about to end must not be built on: a hold of another account would be left alone.
        state = seat.ending_as(name, body.expires_at, self._now(seat)) or "open"
        if find_hold(view, name) is None:
            state = seat.closed_as(ask.account_kind, ask.account_id, name) or "expired"
        fresh = self._freshness(seat, await self._context(seat))
        return preflight_answer(body, name, view, fresh, replayed=True, hold_state=state)

    async def _folded(self, seat: Seat, ask: ReleaseAsk | ExtendAsk, folding: Folding) -> Answer:
        """What became of a release or an extension (R1)."""
        found = await folding.found
        if found is None:
            return error(self._over or "unknown_outcome")
        name = ask.reservation_id
        fresh = seat.freshness(seat.progress.catalog_offset, self._lag_us(seat))
        for entry in found.entries if folding.own else ():
            if isinstance(entry, ClosingEntry) and isinstance(ask, ReleaseAsk):
                return released(entry, fresh)
            if isinstance(entry, ExtensionEntry):
                return extended(entry, fresh)
        hold = find_hold(seat.view(ask.account_kind, ask.account_id), name)
        if hold is not None:
            return unchanged(name, "open", fresh, hold.expires_at_us)
        state = seat.closed_as(ask.account_kind, ask.account_id, name) or "not_found"
        return unchanged(name, state, fresh)

    # --- group commit --------------------------------------------------------------------------

    async def _serve(self, seat: Seat) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            await self._until_next_group()
            await self._group(seat)

    async def _until_next_group(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._next_group_at - loop.time()
        if left > 0:
            await asyncio.sleep(left)
        self._next_group_at = loop.time() + self._around.group_seconds_min

    async def _group(self, seat: Seat) -> None:
        context = await self._context(seat)
        lag_us = self._lag_us(seat)
        group = Group(seat, context, self._now(seat), lag_us, lag_us > LAG_SECONDS_MAX * 1_000_000)
        asks: list[Waiting] = []
        while self._waiting and len(asks) < GROUP_ASKS_MAX:
            waiting = self._waiting.popleft()
            if waiting.future is None or not waiting.future.done():
                asks.append(waiting)
        group.load(asks)
        for place, waiting in enumerate(asks, 1):
            group.decide(waiting)
            if group.is_full:
                self._waiting.extendleft(reversed(asks[place:]))
                break
        self._in_flight = group
        if group.records:
            await self._append(seat, group)
        self._in_flight = None
        for waiting, result in group.results:
            waiting.tell(result)

    async def _append(self, seat: Seat, group: Group) -> None:
        """Appends a group; returns in the step in which its answers are told (P4)."""
        records = group.records
        rows = [(record.key, record.value or b"") for record in records]
        appended = await self._around.log.append(self._partition, rows)
        if appended.base_offset != seat.next_offset:
            raise lost(
                self._partition,
                f"a group lies at offset {appended.base_offset}, not {seat.next_offset}",
            )
        seat.next_offset += len(records)
        seat.decided_at_us = group.now_us
        for record in records:
            record.appended_at_us = appended.appended_at_us
        self._around.hand_over(self._partition, records)

    async def sweep(self) -> None:
        """Appends what time makes due: ends of holds whose usage is folded (P3), ticks. Raises
        TransientError where the end of `usage` cannot be read."""
        seat = self._seat
        if seat is None or not self.is_ready:
            return
        context = await self._context(seat)
        for due in await what_is_due(seat, self._around, context, self._now(seat)):
            self._waiting.append(Waiting(due))
            self._wake.set()

    # --- the end, and small things -------------------------------------------------------------

    def _lose(self, fault: BaseException) -> None:
        """Whether the last group is in the log is not known, or it is not where it must be: nobody
        is answered, nothing is appended again, and the process ends (rule B5)."""
        self._end("unknown_outcome")
        self._around.halt(fault)

    def _end(self, code: str) -> None:
        if self._over:
            return
        self._over = code
        if self._in_flight is not None:
            for waiting, _ in self._in_flight.results:
                waiting.tell(error("unknown_outcome"))
        while self._waiting:
            self._waiting.popleft().tell(error(code))
        if self._seat is not None:
            self._seat.watchers.give_up()

    async def _context(self, seat: Seat) -> Context:
        context = await self._around.catalog.context(seat.progress.catalog_offset)
        if context.generation != seat.generation:
            raise lost(self._partition, "the topics have been made anew")
        return context

    def _now(self, seat: Seat) -> int:
        """The time of what is decided now: that of the clock, and never before what was decided or
        folded (D5)."""
        return max(seat.decided_at_us, seat.progress.domain_time_us, self._around.clock.now_us())

    def _lag_us(self, seat: Seat) -> int:
        """How long the oldest record of the inbox has waited."""
        since_us = self._around.waiting_since_us(seat.partition)
        return 0 if since_us is None else max(0, self._around.clock.now_us() - since_us)

    def _freshness(self, seat: Seat, context: Context) -> Freshness:
        return seat.freshness(context.catalog_offset, self._lag_us(seat))

    def _account(
        self, seat: Seat, context: Context, kind: AccountKind, name: str, *, holds: bool = False
    ) -> AccountAnswer:
        fresh, now_us = self._freshness(seat, context), self._now(seat)
        view = seat.view(kind, name)
        return account_answer(kind, name, view, context, now_us, fresh, with_holds=holds)
