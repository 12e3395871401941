"""Inbound records as the core sees them: decoded, with their position, their identity and exact
amounts. How a body becomes a fact is `canonical`."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from schemas.errors import RejectCode
from schemas.limits import REASON_CHARS_MAX
from schemas.structs import (
    Adjustment,
    BillingRecord,
    Ceiling,
    Discard,
    Expiry,
    Extension,
    Grant,
    Lease,
    Limit,
    Preflight,
    Release,
    Replay,
    Signal,
    Tick,
    Tokens,
    Transfer,
    Unassigned,
    Usage,
    Value,
    Void,
)
from streams.domain.holds import HOLDS, PREFLIGHTS

HASH_BYTES: Final = 16
"""128 bits: among 10**12 claims two ids meet by accident with a chance below 10**-14."""

NO_TOKENS: Final = Tokens()


@dataclass(slots=True)
class SourceRecord:
    """A record of an inbound topic as the log holds it. `topic` is the logical name, without
    prefix."""

    topic: str
    offset: int
    appended_at_us: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Rejected:
    """A record that cannot be a fact, with the reason: a dead letter to be."""

    record: SourceRecord
    code: RejectCode
    reason: str
    field: str = ""


class UsageFact(Value, frozen=True):
    """A usage record. `occurred_at_us` is the append time where the producer gave none."""

    record: SourceRecord
    body: Usage
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    cost_pico: int | None


@dataclass(slots=True)
class SignalFact:
    """A signal record."""

    record: SourceRecord
    body: Signal
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int


@dataclass(slots=True)
class GrantFact:
    """A grant record. `amount` counts units, tokens or pico-dollars."""

    record: SourceRecord
    body: Grant
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    amount: int
    effective_at_us: int | None
    expires_at_us: int | None
    anchor_us: int | None
    rollover_max: int
    used: int | None = None


@dataclass(slots=True)
class LimitFact:
    """A limit record. `amount` is None where it lifts the limit."""

    record: SourceRecord
    body: Limit
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    amount: int | None
    anchor_us: int | None
    used: int | None = None


@dataclass(slots=True)
class CeilingFact:
    """A task's ceiling, by administration."""

    record: SourceRecord
    body: Ceiling
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    amount: int


@dataclass(slots=True)
class AdjustmentFact:
    """A correction of what a usage entry costs. `old_pico` and `new_pico` are what it charges in
    all, provisionally or not; `cost_rise_pico` is what its cost alone rises by."""

    record: SourceRecord
    body: Adjustment
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    old_pico: int
    new_pico: int
    cost_rise_pico: int
    covered_pico: int
    paid_pico: list[int]


@dataclass(slots=True)
class VoidFact:
    """A signal taken back. Its claim is that of the signal's end: there is one, whoever says it."""

    record: SourceRecord
    body: Void
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    signal_key: bytes
    """The claim key of the signal."""


@dataclass(slots=True)
class BillingFact:
    """What is said about a customer's terms and invoices."""

    record: SourceRecord
    body: BillingRecord
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int


BudgetFact = GrantFact | LimitFact | CeilingFact | AdjustmentFact | VoidFact | BillingFact

EventFact = UsageFact | SignalFact | BudgetFact
"""What somebody says about a customer or a task; the other facts are about records, or the owner's
own."""


@dataclass(slots=True)
class PreflightFact:
    """A decision of an owner. `estimate` counts units, tokens or pico-dollars, `task_ceiling` too,
    None where none is named. The claim is that of the idempotency key."""

    record: SourceRecord
    body: Preflight
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    estimate: int
    task_ceiling: int | None


@dataclass(slots=True)
class HoldFact:
    """What else an owner appends about a hold: a release, an extension, an expiry. The claim is
    that of the hold's end."""

    record: SourceRecord
    body: Release | Extension | Expiry
    claim_key: bytes
    occurred_at_us: int


@dataclass(slots=True)
class LeaseFact:
    """An owner took the partition, or let time pass."""

    record: SourceRecord
    body: Lease | Tick
    occurred_at_us: int


OwnerFact = PreflightFact | HoldFact | LeaseFact
"""What the owner of the partition appended under its lease."""


@dataclass(slots=True)
class TransferFact:
    """What an entry of a customer means for a task. It stands once in its topic: no claim."""

    record: SourceRecord
    body: Transfer
    occurred_at_us: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a replayed record lay: its entries are called by this position (decision 012)."""

    generation: int
    partition: int


@dataclass(slots=True)
class ReplayFact:
    """A dead letter, to be decided again. `inner` is the original with its own record, or why the
    present code still refuses its bytes."""

    record: SourceRecord
    body: Replay
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int
    origin: Origin
    inner: EventFact | Rejected


@dataclass(slots=True)
class DiscardFact:
    """A dead letter that will not be replayed."""

    record: SourceRecord
    body: Discard
    claim_key: bytes
    body_hash: bytes
    occurred_at_us: int


@dataclass(slots=True)
class UnassignedFact:
    """That a trace is a customer's, or an event of a trace whose customer it does not name: no
    claim, since what is passed on claims under its customer."""

    record: SourceRecord
    body: Unassigned


DecidedFact = EventFact | ReplayFact | DiscardFact | OwnerFact | TransferFact
"""What may come to entries here; of `unassigned` only what is passed on does, where it goes."""

Fact = DecidedFact | UnassignedFact

ClaimingFact = EventFact | ReplayFact | DiscardFact
"""Facts that somebody may repeat: the first accepted one claims the id."""


def claim_keys(fact: Fact) -> tuple[bytes, ...]:
    """The keys of all claims that deciding this fact looks at."""
    if isinstance(fact, UsageFact):
        named = fact.body.reservation_id
        return (fact.claim_key,) if named is None else (fact.claim_key, _closed_key(fact, named))
    if isinstance(fact, LeaseFact | TransferFact | UnassignedFact):
        return ()
    if isinstance(fact, VoidFact):
        return (fact.claim_key, fact.signal_key)
    if isinstance(fact, ReplayFact) and not isinstance(fact.inner, Rejected):
        return (fact.claim_key, *claim_keys(fact.inner))
    return (fact.claim_key,)


def _closed_key(fact: UsageFact, reservation_id: str) -> bytes:
    return closed_key("customer", fact.body.customer_id, reservation_id)


@dataclass(slots=True)
class Touched:
    """What deciding some facts looks at: customers, tasks, claim keys, customers whose invoices
    matter, each once."""

    customers: dict[str, None]
    tasks: dict[str, None]
    keys: dict[bytes, None]
    billed: dict[str, None]


def touched_by(facts: Iterable[Fact | Rejected]) -> Touched:
    """What must be loaded before these facts are decided."""
    customers: dict[str, None] = {}
    tasks: dict[str, None] = {}
    keys: dict[bytes, None] = {}
    billed: dict[str, None] = {}
    for fact in facts:
        if type(fact) is UsageFact and fact.body.reservation_id is None:
            customers[fact.body.customer_id] = None
            keys[fact.claim_key] = None
        elif not isinstance(fact, Rejected):
            customer, task = customer_of(fact), task_of(fact)
            if customer is not None:
                customers[customer] = None
            if task is not None:
                tasks[task] = None
            keys.update(dict.fromkeys(claim_keys(fact)))
            meant = fact.inner if isinstance(fact, ReplayFact) else fact
            if isinstance(meant, BillingFact):
                billed[meant.body.customer_id] = None
    return Touched(customers, tasks, keys, billed)


_OWNERS: Final = (PreflightFact, HoldFact, LeaseFact)


def decided_us(facts: Iterable[Fact | Rejected]) -> int:
    """The latest moment at which an owner decided one of these facts, 0 for none: domain time does
    not fall behind it (D5)."""
    return max((fact.occurred_at_us for fact in facts if isinstance(fact, _OWNERS)), default=0)


def customer_of(fact: Fact) -> str | None:
    """The customer whose account a fact touches, None for a task's or for no account."""
    if isinstance(fact, PreflightFact | HoldFact):
        return fact.body.account_id if fact.body.account_kind == "customer" else None
    if isinstance(fact, LeaseFact | TransferFact | CeilingFact | UnassignedFact):
        return None
    return fact.body.customer_id


def task_of(fact: Fact) -> str | None:
    """The task whose account a fact touches, None for any other."""
    if isinstance(fact, PreflightFact | HoldFact):
        return fact.body.account_id if fact.body.account_kind == "task" else None
    if isinstance(fact, TransferFact):
        return fact.body.task_ref
    return fact.body.customer_id if isinstance(fact, CeilingFact) else None


def claim_key(topic: str, customer_id: str, source: str, event_id: str) -> bytes:
    """The 16 bytes under which an id is claimed: a function of (topic, customer, source, event id).

    The parts are free text, so each but the last is preceded by its length: no two different
    identities join to the same text.
    """
    text = f"{topic}:{len(customer_id)}:{customer_id}{len(source)}:{source}{event_id}"
    return blake2b(text.encode(), digest_size=HASH_BYTES).digest()


def closed_key(account_kind: str, account_id: str, reservation_id: str) -> bytes:
    """The claim key of a hold that has ended."""
    return claim_key(f"{HOLDS}.{account_kind}", account_id, "", reservation_id)


def preflight_key(account_kind: str, account_id: str, source: str, idempotency_key: str) -> bytes:
    """The claim key of a decision: its idempotency key in its account."""
    return claim_key(f"{PREFLIGHTS}.{account_kind}", account_id, source, idempotency_key)


def internal(record: SourceRecord, fault: Exception) -> Rejected:
    """The refusal of a record over which our own code stumbled (K2).

    The reason names the kind of the exception and the function, and never its message, which may
    quote what the record holds.
    """
    place, trace = "", fault.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        place = f" in {frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}"
        trace = trace.tb_next
    reason = f"our own fault: {type(fault).__name__}{place}; replay it with a release that mends it"
    return Rejected(record, RejectCode.INTERNAL, reason[:REASON_CHARS_MAX])
