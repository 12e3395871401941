"""One group commit: what waits is decided in its order, and becomes one batch of records.

No rule and no arithmetic: `streams.domain.decisions` decides. Here is which state it sees, what is
answered without a record, and which offset each record will have. Nothing here waits, so that no
cycle commits in the middle of a group.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.rpc import Answer, ExtendAsk, Freshness, PreflightAsk, ReleaseAsk
from schemas.structs import Expiry, Extension, PreflightRecord, Release, Tick
from schemas.topics import PREFLIGHTS
from streams.agents.answers import error, preflight_answer, unchanged
from streams.agents.due import Passing
from streams.agents.expiries import Deadline
from streams.agents.seat import Seat
from streams.agents.watchers import Found
from streams.domain.context import Context
from streams.domain.decisions import (
    InvalidAskError,
    Standing,
    View,
    body_hash,
    decide_preflight,
    find_hold,
    hold_of,
    preflight_record,
)
from streams.domain.decoding import decode_record
from streams.domain.facts import Rejected, SourceRecord, preflight_key
from streams.domain.holds import Hold, hold_id
from streams.domain.identity import unpack_claim
from streams.domain.overlay import Pending, row_key

log = logging.getLogger(__name__)

GROUP_ASKS_MAX: Final = 256
"""Asks of one group. At 40 µs each a group is decided in ten milliseconds, during which nothing
else runs; its append takes one or two."""

GROUP_SECONDS_MIN: Final = 0.002
"""From the beginning of one group to that of the next. An append costs the process as much as ten
decisions: with fifty agents on one budget, groups of two milliseconds gave half as many answers
again, and one agent alone waits half a millisecond longer."""

GROUP_BYTES_MAX: Final = 256 * 1024
"""Bytes of records with which a group is full: it has to be one batch (rule B4), and the topic
takes 1 MiB."""

CLAIM_MARGIN_US: Final = 600 * 10**6
"""How much longer than its horizon the owner takes a key for used. The fold judges by the time of
the append, which this machine's clock may be ahead of; a decision that the fold takes for a
duplicate must not have been answered as a new one."""

NO_VIEW: Final = View(None)

Asked = PreflightAsk | ReleaseAsk | ExtendAsk


@dataclass(frozen=True, slots=True)
class Stored:
    """The decision of a key lies in the log at this offset."""

    offset: int


@dataclass(frozen=True, slots=True)
class Folding:
    """The answer comes with the cycle that folds the record at an offset; `own` says that the
    asker caused that record."""

    found: "asyncio.Future[Found | None]"
    offset: int
    own: bool


Result = Answer | Stored | Folding


@dataclass(slots=True)
class Waiting:
    """Somebody who waits for a decision; nobody waits for what time makes due."""

    ask: Asked | Deadline | Passing
    future: "asyncio.Future[Result] | None" = None

    def tell(self, result: Result) -> None:
        """Answers, once."""
        if self.future is not None and not self.future.done():
            self.future.set_result(result)


@dataclass(slots=True)
class Group:
    """Decides one group.

    `records` have to be appended as they stand, at the offsets that they name. Until that has
    succeeded none of `results` may be told to anybody: some of them depend on it. The overlay holds
    the decisions from the beginning, so that each sees those before it; if the append fails, this
    owner is over.
    """

    seat: Seat
    context: Context
    now_us: int
    lag_us: int
    lagging: bool
    records: list[SourceRecord] = field(default_factory=list)
    size: int = 0
    """Bytes of their values."""
    results: list[tuple[Waiting, Result]] = field(default_factory=list)
    _claims: Mapping[bytes, bytes | None] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether another record might be too much."""
        return self.size >= GROUP_BYTES_MAX or len(self.results) >= GROUP_ASKS_MAX

    def load(self, asks: "list[Waiting]") -> None:
        """Looks up the keys of all preflights at once."""
        keys = {_claim_key(one.ask): None for one in asks if isinstance(one.ask, PreflightAsk)}
        if keys:
            self._claims = dict(zip(keys, self.seat.read_claims(list(keys)), strict=True))

    def decide(self, waiting: Waiting) -> None:
        """Decides one ask. A fault of our own is answered as such: neighbours go on, and the next
        owner does not stumble over it again."""
        try:
            result = self._decide(waiting.ask)
        except Exception:
            log.exception("partition %d: an ask could not be decided", self.seat.partition)
            result = error("internal")
        self.results.append((waiting, result))

    def _decide(self, ask: Asked | Deadline | Passing) -> Result:
        if isinstance(ask, PreflightAsk):
            return self._preflight(ask)
        if isinstance(ask, Passing):
            return self._pass(ask)
        if isinstance(ask, Deadline):
            return self._expire(ask)
        hold = find_hold(self.seat.view(ask.account_kind, ask.account_id), ask.reservation_id)
        if hold is None:
            closed = self.seat.closed_as(ask.account_kind, ask.account_id, ask.reservation_id)
            return unchanged(ask.reservation_id, closed or "not_found", self._fresh())
        ending = self.seat.ending.get(ask.reservation_id)
        if ending is not None:
            return self._folding(ending, own=False)
        if isinstance(ask, ReleaseAsk):
            return self._release(ask)
        return self._extend(ask, hold)

    def _preflight(self, ask: PreflightAsk) -> Result:
        seat, claim_key = self.seat, _claim_key(ask)
        known = seat.overlay.find(claim_key)
        if known is not None:
            if known.body.body_hash != body_hash(ask):
                return error("conflict")
            return self._answer(known, replayed=True)
        packed = self._claims.get(claim_key)
        if packed is not None:
            claim = unpack_claim(packed)
            if claim.appended_at_us >= self.now_us - self.context.horizon_us - CLAIM_MARGIN_US:
                if claim.body_hash.hex() != body_hash(ask):
                    return error("conflict")
                return Stored(claim.offset)
        if self.lagging:
            return error("lagging")
        view = seat.view(ask.account_kind, ask.account_id)
        offset = seat.next_offset + len(self.records)
        try:
            decided = decide_preflight(view, ask, self.context, self.now_us)
        except InvalidAskError as refusal:
            return error(refusal.code, str(refusal))
        standing = Standing(
            seat.tenure.offset,
            seat.tenure.nonce,
            self.now_us,
            seat.progress.cycle,
            offset,
            self.context.catalog_offset,
        )
        body = preflight_record(ask, decided, standing)
        unreadable = self._add(ask.account_id, body)
        if unreadable is not None:
            return error("invalid", unreadable.reason)
        reservation_id = hold_id(seat.generation, seat.partition, offset)
        pending = Pending(
            offset,
            row_key(ask.account_kind, ask.account_id),
            claim_key,
            body,
            hold_of(body, decided.estimate, reservation_id),
            decided.opened,
        )
        seat.overlay.add(pending)
        return self._answer(pending, replayed=False)

    def _answer(self, pending: Pending, *, replayed: bool) -> Result:
        seat, body = self.seat, pending.body
        name = hold_id(seat.generation, seat.partition, pending.offset)
        # Only a task's answer looks at its account.
        of_task = body.account_kind == "task"
        view = seat.view(body.account_kind, body.account_id) if of_task else NO_VIEW
        state = seat.ending_as(name, body.expires_at, self.now_us) or "open"
        return preflight_answer(
            body, name, view, self._fresh(), replayed=replayed, hold_state=state
        )

    def _release(self, ask: ReleaseAsk) -> Result:
        offset = self.seat.next_offset + len(self.records)
        body = Release(**self._under_lease(ask), reservation_id=ask.reservation_id)
        unreadable = self._add(ask.account_id, body)
        if unreadable is not None:
            return error("invalid", unreadable.reason)
        self.seat.ending[ask.reservation_id] = offset
        return self._folding(offset, own=True)

    def _extend(self, ask: ExtendAsk, hold: Hold) -> Result:
        ttl_us = min(ask.ttl_ms * 1_000, self.context.hold_ttl_us_max)
        expires_at_us = self.now_us + ttl_us
        if expires_at_us <= hold.expires_at_us:
            return unchanged(ask.reservation_id, "open", self._fresh(), hold.expires_at_us)
        offset = self.seat.next_offset + len(self.records)
        body = Extension(
            **self._under_lease(ask), reservation_id=ask.reservation_id, expires_at=expires_at_us
        )
        unreadable = self._add(ask.account_id, body)
        if unreadable is not None:
            return error("invalid", unreadable.reason)
        self.seat.extending[ask.reservation_id] = offset
        return self._folding(offset, own=True)

    def _expire(self, due: Deadline) -> Result:
        """Appends the expiry of a hold, unless something else is about to change it."""
        seat, name = self.seat, due.reservation_id
        hold = find_hold(seat.view(due.account_kind, due.account_id), name)
        if hold is not None and hold.expires_at_us <= self.now_us:
            seat.expiries.postpone(due)  # until its end is committed
            if name not in seat.ending and name not in seat.extending:
                offset = seat.next_offset + len(self.records)
                body = Expiry(**self._under_lease(due), reservation_id=name)
                if self._add(due.account_id, body) is None:
                    seat.ending[name] = offset
        return unchanged(name, "open", self._fresh())

    def _pass(self, passing: Passing) -> Result:
        """Appends a tick, which concerns no account."""
        tenure = self.seat.tenure
        body = Tick(
            schema_version=SCHEMA_VERSION,
            lease=tenure.offset,
            nonce=tenure.nonce,
            decided_at=passing.now_us,
            end_offsets=dict(passing.ends),
        )
        self._add("", body)
        return unchanged("", "open", self._fresh())

    def _under_lease(self, ask: ReleaseAsk | ExtendAsk | Deadline) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "lease": self.seat.tenure.offset,
            "nonce": self.seat.tenure.nonce,
            "decided_at": self.now_us,
            "account_kind": ask.account_kind,
            "account_id": ask.account_id,
        }

    def _add(self, account_id: str, body: PreflightRecord) -> Rejected | None:
        """Adds a record to the batch, once it is sure that the fold will be able to read it; why it
        would not be, where that is so. What is approved and cannot be folded would hold nothing."""
        offset = self.seat.next_offset + len(self.records)
        value = codec.encode(body)
        record = SourceRecord(PREFLIGHTS.name, offset, self.now_us, account_id.encode(), value)
        fact = decode_record(record, self.seat.partition, self.seat.partitions)
        if isinstance(fact, Rejected):
            return fact
        self.records.append(record)
        self.size += len(value)
        return None

    def _folding(self, offset: int, *, own: bool) -> Folding:
        return Folding(self.seat.watchers.watch(PREFLIGHTS.name, offset), offset, own)

    def _fresh(self) -> Freshness:
        return self.seat.freshness(self.context.catalog_offset, self.lag_us, len(self.records))


def _claim_key(ask: PreflightAsk) -> bytes:
    return preflight_key(ask.account_kind, ask.account_id, ask.source, ask.idempotency_key)
