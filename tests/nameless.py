"""The partition of some traces, whose cycles are folded one by one: what waits for a customer
there, and what is passed on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schemas import codec
from schemas.structs import Consumed, CycleEntry, Lease, Signal, Tick, Unassigned, Usage
from schemas.topics import PREFLIGHTS, UNASSIGNED, USAGE
from streams.domain.appends import unbound_records
from streams.domain.canonical import owner_fact
from streams.domain.context import Context
from streams.domain.decoding import decode_record
from streams.domain.facts import Fact, Rejected, SourceRecord
from streams.domain.folding import fold_cycle, unassigned_time_us
from streams.domain.invariants import check_cycle
from streams.domain.nameless import Forward
from streams.domain.reach import load_unbound
from streams.domain.state import PartitionState, Progress
from streams.domain.unassigned import Unbound
from tests.builders import NOON_US, SECOND_US, context, signal, usage

NONCE = "0123456789abcdef"


def binding(trace_id: str, customer_id: str, event_id: str = "root") -> Unassigned:
    """That a trace is a customer's."""
    return codec.decode_unassigned(
        codec.encode(
            {
                "schema_version": 1,
                "trace_id": trace_id,
                "source": "otlp",
                "event_id": event_id,
                "customer_id": customer_id,
            }
        )
    )


def waiting(trace_id: str, body: Usage | Signal) -> Unassigned:
    """An event of a trace, without the customer that it has."""
    told = codec.to_plain(body)
    del told["customer_id"]
    return codec.decode_unassigned(
        codec.encode(
            {
                "schema_version": 1,
                "trace_id": trace_id,
                "source": body.source,
                "event_id": body.event_id,
                ("usage" if isinstance(body, Usage) else "signal"): told,
            }
        )
    )


def nameless_usage(trace_id: str, event_id: str = "e1", **more: Any) -> Unassigned:
    """A usage event of a trace that names no customer."""
    return waiting(trace_id, usage("nobody", event_id, trace_id=trace_id, **more))


def nameless_signal(trace_id: str, event_id: str = "s1", **more: Any) -> Unassigned:
    """A signal that names none."""
    return waiting(trace_id, signal("nobody", event_id, trace_id=trace_id, **more))


def event_of(forward: Forward) -> Usage | Signal:
    """What was passed on, as its topic's reader sees it."""
    decode: Callable[[bytes | None], Usage | Signal]
    decode = codec.decode_usage if forward.topic == USAGE.name else codec.decode_signal
    return decode(forward.value)


@dataclass
class Nameless:
    """Give it records, cycle by cycle; read what it passed on."""

    context: Context = field(default_factory=lambda: replace(context(), partitions=1))
    loaded: bool = True
    """Whether rows are loaded for each cycle, or all of them stay in memory."""
    now_us: int = NOON_US
    state: PartitionState = field(default_factory=lambda: PartitionState(Progress()))
    table: dict[bytes, bytes] = field(default_factory=dict)
    owns: list[CycleEntry] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    records: list[SourceRecord] = field(default_factory=list)
    waiting: list[Fact | Rejected] = field(default_factory=list)
    owned: int = 0
    """Records on `preflights`."""

    def append(self, *bodies: Unassigned, after_us: int = SECOND_US) -> None:
        """Each so long after the one before it; the next cycle takes them."""
        for body in bodies:
            self.now_us += after_us
            record = SourceRecord(
                UNASSIGNED.name,
                len(self.records),
                self.now_us,
                body.trace_id.encode(),
                codec.encode(body),
            )
            self.records.append(record)
            self.waiting.append(decode_record(record, 0, 1))

    def cycle(self, *bodies: Unassigned, after_us: int = SECOND_US) -> list[Forward]:
        """One cycle of these records and of what was appended before. What it passed on."""
        self.append(*bodies, after_us=after_us)
        facts, self.waiting = self.waiting, []
        return self.fold(facts)

    def tick(self, end: int | None, after_us: int) -> None:
        """A cycle of nothing but a lease and a tick that saw so much of `unassigned`, None where it
        did not look."""
        self.now_us += after_us
        lease = Lease(schema_version=1, nonce=NONCE, owner="here", cycle=0, decided_at=self.now_us)
        facts: list[Fact | Rejected] = []
        ends = {} if end is None else {UNASSIGNED.name: end}
        tick = Tick(
            schema_version=1,
            lease=self.owned,
            nonce=NONCE,
            decided_at=self.now_us,
            end_offsets={USAGE.name: 0, **ends},
        )
        for body in (lease, tick):
            record = SourceRecord(PREFLIGHTS.name, self.owned, self.now_us, b"", b"")
            facts.append(owner_fact(record, body))
            self.owned += 1
        self.fold(facts)

    def fold(self, facts: Sequence[Fact | Rejected]) -> list[Forward]:
        """One cycle of facts that are in their order."""
        taken = len(self.records) - len(self.waiting)
        consumed = [Consumed(topic=UNASSIGNED.name, from_offset=0, to_offset=taken)]
        progress = self.state.progress
        first_sequence = progress.next_sequence
        if self.loaded:
            passed_us = unassigned_time_us(progress, facts, consumed)
            self.state.unbound = load_unbound(
                facts, progress, passed_us, lambda keys: [*map(self.table.get, keys)]
            )
        result = fold_cycle(self.state, 0, consumed, facts, self.context, self.now_us)
        check_cycle(result, first_sequence, len(facts))
        for key, value in unbound_records(self.state.unbound):
            assert key is not None
            if value is None:
                # A cycle that spans days may end what it has begun.
                self.table.pop(key, None)
            else:
                self.table[key] = value
        self.state.unbound.touched.clear()
        own = result.entries[0]
        assert isinstance(own, CycleEntry)
        self.owns.append(own)
        self.forwards += result.forwards
        self.rejected += result.rejected
        return result.forwards

    def restart(self) -> "Nameless":
        """The same partition, taken over by somebody who has its tables alone."""
        unbound = Unbound() if self.loaded else self.state.unbound
        return replace(self, state=replace(self.state, unbound=unbound))

    def passed_on(self) -> list[tuple[str, str]]:
        """Customer and event id of everything that was passed on."""
        return [(one.key.decode(), event_of(one).event_id) for one in self.forwards]

    def refused(self) -> list[tuple[str, int]]:
        """Code and offset of every dead letter."""
        return [(one.code.value, one.record.offset) for one in self.rejected]
