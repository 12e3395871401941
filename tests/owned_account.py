"""One partition as its owner keeps it, without a broker: it decides preflights, appends them, and
folds them with usage, grants and transfers in cycles that the test cuts."""

from dataclasses import dataclass, field
from typing import Any

from schemas import codec
from schemas.rpc import PreflightAsk
from schemas.structs import Lease, LedgerEntry, PreflightRecord, Tick
from schemas.topics import PREFLIGHTS, TRANSFERS
from streams.domain.appends import transfer_records
from streams.domain.budget import Account
from streams.domain.canonical import owner_fact, transfer_fact
from streams.domain.context import Context
from streams.domain.decisions import (
    Decided,
    Standing,
    View,
    decide_preflight,
    hold_of,
    preflight_record,
)
from streams.domain.facts import Fact, SourceRecord
from streams.domain.folding import CycleResult
from streams.domain.holds import hold_id, place
from streams.domain.invariants import check_cycle
from streams.domain.state import PartitionState
from streams.domain.tasks import Task
from tests.builders import NOON_US, SECOND_US, context, cycle, fact, state

NONCE = "0123456789abcdef"


@dataclass
class Owned:
    """The lease stands at offset 0. `now_us` moves on by a second with everything that happens."""

    context: Context = field(default_factory=lambda: context([("unit", "1000")]))
    state: PartitionState = field(default_factory=state)
    views: dict[tuple[str, str], View] = field(default_factory=dict)
    waiting: list[Fact] = field(default_factory=list)
    entries: list[LedgerEntry] = field(default_factory=list)
    now_us: int = NOON_US
    offsets: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lease = Lease(schema_version=1, nonce=NONCE, owner="here", cycle=0, decided_at=self.now_us)
        self.append(lease)

    def view(self, kind: str, name: str) -> View:
        """An account as it stands: the committed row, and what was decided since."""
        view = self.views.setdefault((kind, name), View(None))
        found: Account | Task | None
        found = self.state.accounts.get(name) if kind == "customer" else self.state.tasks.get(name)
        view.account = found
        return view

    def ask(self, key: str = "k1", **more: Any) -> Decided:
        """Decides and appends. `more` goes into the ask."""
        fields = {"account_kind": "customer", "account_id": "acme", "estimate": "1"} | more
        ask = PreflightAsk(source="test", idempotency_key=key, **fields)
        view = self.view(ask.account_kind, ask.account_id)
        decided = decide_preflight(view, ask, self.context, self.now_us)
        standing = Standing(0, NONCE, self.now_us, 0, 0, 0)
        record = preflight_record(ask, decided, standing)
        offset = self.append(record)
        hold = hold_of(record, decided.estimate, hold_id(1, 0, offset))
        if hold is not None:
            place(view.pending, hold)
        view.opened = decided.opened or view.opened
        return decided

    def append(self, body: PreflightRecord) -> int:
        """A record of `preflights`; returns its offset."""
        offset = self._next(PREFLIGHTS.name)
        key = None if isinstance(body, Lease | Tick) else body.account_id.encode()
        record = SourceRecord(PREFLIGHTS.name, offset, self.now_us, key, codec.encode(body))
        self.waiting.append(owner_fact(record, codec.decode_preflights(record.value)))
        return offset

    def about(self, kind: Any, reservation_id: str, **more: Any) -> None:
        """A release, an extension or an expiry of a hold, appended."""
        fields = {"account_kind": "customer", "account_id": "acme"} | more
        body = kind(
            schema_version=1,
            lease=0,
            nonce=NONCE,
            decided_at=self.now_us,
            reservation_id=reservation_id,
            **fields,
        )
        self.append(body)

    def give(self, body: Any) -> None:
        """A record of any other topic arrives."""
        made = fact(body)
        made.record.offset = self._next(made.record.topic)
        self.waiting.append(fact(body, made.record.offset, self.now_us))

    def fold(self, *, transfers: bool = True) -> CycleResult:
        """A cycle over everything that waits; what it transfers arrives for the next one."""
        facts, self.waiting = self.waiting, []
        first = self.state.progress.next_sequence
        result = cycle(self.state, *facts, context=self.context, at_us=self.now_us)
        check_cycle(result, first, len(facts))
        self.entries += result.entries
        self.views = {}
        self.state.new_claims, self.state.touched = {}, set()
        self.state.touched_tasks, self.state.touched_billing = set(), set()
        for _, value in transfer_records(result.entries) if transfers else ():
            offset = self._next(TRANSFERS.name)
            record = SourceRecord(TRANSFERS.name, offset, self.now_us, None, value)
            self.waiting.append(transfer_fact(record, codec.decode_transfer(value)))
        return result

    def settle(self) -> None:
        """Cycles until nothing waits."""
        while self.waiting:
            self.fold()

    @property
    def account(self) -> Account:
        """Of the customer acme."""
        return self.state.accounts["acme"]

    def _next(self, topic: str) -> int:
        self.now_us += SECOND_US
        offset = self.offsets.get(topic, 0)
        self.offsets[topic] = offset + 1
        return offset
