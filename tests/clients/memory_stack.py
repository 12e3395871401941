"""An installation in memory behind the gateway's ports: the real decisions, the real fold, no log.

Every record is a cycle of its own, folded where it is appended, so that an answer is always one
from a committed entry. Claims about leases, brokers and crashes are made elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import schemas.rpc as rpc
from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.partitioner import partition_of
from schemas.structs import ClosingEntry, Lease, Preflight, Release
from schemas.topics import PREFLIGHTS, TRANSFERS
from streams.agents.answers import (
    error,
    preflight_answer,
    record_answer,
    released,
    unchanged,
    was_exhausted,
)
from streams.agents.watchers import Found
from streams.domain.appends import transfer_records
from streams.domain.budget import Account
from streams.domain.context import Context
from streams.domain.decisions import (
    InvalidAskError,
    Standing,
    View,
    body_hash,
    decide_preflight,
    find_hold,
    preflight_record,
)
from streams.domain.decoding import decode_record
from streams.domain.facts import SourceRecord, closed_key, preflight_key
from streams.domain.holds import closed_as, hold_id
from streams.domain.pipeline import fold_cycle
from streams.domain.standing import account_answer
from streams.domain.state import PartitionState, Progress
from streams.domain.tasks import Task
from streams.errors import TransientError
from streams.gateway.ports import Appended
from tests.builders import NOON_US, SECOND_US, consumed_by

NONCE = "0" * 16


@dataclass
class Partition:
    """One partition: its state, and what became of each record."""

    number: int
    state: PartitionState = field(default_factory=lambda: PartitionState(Progress()))
    ends: dict[str, int] = field(default_factory=dict)
    found: dict[tuple[str, int], Found] = field(default_factory=dict)
    decisions: dict[bytes, tuple[Preflight, str]] = field(default_factory=dict)


class MemoryStack:
    """Owners and inbound topics of one installation. `refuse` answers every ask with this code
    while it is set, `down` makes appends fail, `forget_acknowledgement` appends and does not say
    so."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.partitions = context.partitions
        self.generation = context.generation
        self.refuse = ""
        self.down = False
        self.forget_acknowledgement = False
        self._now_us = NOON_US
        self._partitions = [Partition(number) for number in range(context.partitions)]
        for partition in self._partitions:
            lease = Lease(
                schema_version=SCHEMA_VERSION,
                nonce=NONCE,
                owner="memory",
                cycle=0,
                decided_at=self._now_us,
            )
            self._fold(partition, PREFLIGHTS.name, b"lease", codec.encode(lease))

    # --- the ports ---------------------------------------------------------------------------

    async def append(
        self, topic: str, records: Sequence[tuple[bytes, bytes]]
    ) -> list[Appended | TransientError]:
        """Appends, and folds at once."""
        if self.down:
            raise TransientError("the log is down", action="Start it.")
        places = [self._append(topic, key, value) for key, value in records]
        if self.forget_acknowledgement:
            return [TransientError("not acknowledged", action="Send it again.") for _ in places]
        return [*places]

    async def ask(self, partition: int, ask: rpc.Ask, timeout_seconds: float) -> rpc.Answer:
        """Answers as the owner of a partition that is never behind."""
        if self.refuse:
            return error(self.refuse)
        home = self._partitions[partition]
        if isinstance(ask, rpc.PreflightAsk):
            return self._decide(home, ask)
        if isinstance(ask, rpc.ReleaseAsk):
            return self._release(home, ask)
        if isinstance(ask, rpc.LookupAsk):
            return self._account(home, ask.account_kind, ask.account_id, holds=ask.holds)
        assert isinstance(ask, rpc.AwaitAsk), "extensions are not part of these protocols"
        found = home.found[ask.topic, ask.offset]
        account = self._account(home, ask.account_kind, ask.account_id)
        base = self._view(home, ask.account_kind, ask.account_id).account
        return record_answer(found, account, was_spent=was_exhausted(found.entries, base))

    # --- inside ------------------------------------------------------------------------------

    def _append(self, topic: str, key: bytes, value: bytes) -> Appended:
        partition = self._partitions[partition_of(key, self.partitions)]
        offset = self._fold(partition, topic, key, value)
        entries = partition.found[topic, offset].entries
        for task, transfer in transfer_records(entries):
            assert task is not None, "a transfer is keyed by its task"
            self._append(TRANSFERS.name, task, transfer)
        return Appended(topic, partition.number, offset, self._now_us)

    def _fold(self, partition: Partition, topic: str, key: bytes, value: bytes) -> int:
        self._now_us += SECOND_US
        offset = partition.ends.get(topic, 0)
        partition.ends[topic] = offset + 1
        record = SourceRecord(topic, offset, self._now_us, key, value)
        result = fold_cycle(
            partition.state,
            partition.number,
            consumed_by([record]),
            [decode_record(record, partition.number, self.partitions)],
            self.context,
            self._now_us,
        )
        rejected = result.rejected[0] if result.rejected else None
        partition.found[topic, offset] = Found(result.entries[1:], rejected)
        return offset

    def _view(self, home: Partition, kind: str, name: str) -> View:
        accounts: Mapping[str, Account | Task]
        accounts = home.state.tasks if kind == "task" else home.state.accounts
        return View(accounts.get(name))

    def _fresh(self, home: Partition) -> rpc.Freshness:
        progress, consumed = home.state.progress, home.state.progress.consumed
        return rpc.Freshness(
            generation=self.generation,
            partition=home.number,
            cycle=progress.cycle,
            usage_offset=consumed.get("usage", 0),
            budgets_offset=consumed.get("budgets", 0),
            preflights_offset=consumed.get("preflights", 0),
            catalog_offset=self.context.catalog_offset,
            lag_ms=0,
            lease=progress.lease,
        )

    def _account(
        self, home: Partition, kind: rpc.AccountKind, name: str, *, holds: bool = False
    ) -> rpc.AccountAnswer:
        view, fresh = self._view(home, kind, name), self._fresh(home)
        return account_answer(kind, name, view, self.context, self._now_us, fresh, with_holds=holds)

    def _decide(self, home: Partition, ask: rpc.PreflightAsk) -> rpc.Answer:
        kind, name = ask.account_kind, ask.account_id
        key = preflight_key(kind, name, ask.source, ask.idempotency_key)
        fresh = self._fresh(home)
        if key in home.decisions:
            body, reservation_id = home.decisions[key]
            if body.body_hash != body_hash(ask):
                return error("conflict")
            view = self._view(home, kind, name)
            state = "open"
            if find_hold(view, reservation_id) is None:
                claim = home.state.claims.get(closed_key(kind, name, reservation_id))
                state = "expired" if claim is None else closed_as(claim)
            return preflight_answer(
                body, reservation_id, view, fresh, replayed=True, hold_state=state
            )
        try:
            decided = decide_preflight(
                self._view(home, kind, name), ask, self.context, self._now_us
            )
        except InvalidAskError as fault:
            return error(fault.code, str(fault))
        standing = Standing(home.state.progress.lease, NONCE, self._now_us, 0, 0, 0)
        body = preflight_record(ask, decided, standing)
        offset = self._fold(home, PREFLIGHTS.name, name.encode(), codec.encode(body))
        reservation_id = hold_id(self.generation, home.number, offset)
        home.decisions[key] = body, reservation_id
        return preflight_answer(body, reservation_id, self._view(home, kind, name), fresh)

    def _release(self, home: Partition, ask: rpc.ReleaseAsk) -> rpc.Answer:
        body = Release(
            schema_version=SCHEMA_VERSION,
            lease=home.state.progress.lease,
            nonce=NONCE,
            decided_at=self._now_us,
            account_kind=ask.account_kind,
            account_id=ask.account_id,
            reservation_id=ask.reservation_id,
        )
        offset = self._fold(home, PREFLIGHTS.name, ask.account_id.encode(), codec.encode(body))
        for entry in home.found[PREFLIGHTS.name, offset].entries:
            if isinstance(entry, ClosingEntry):
                return released(entry, self._fresh(home))
        return unchanged(ask.reservation_id, "not_found", self._fresh(home))
