"""From a record of an inbound topic to a fact, or to the reason why it is none.

The checks stand in the order of `RejectCode`: the bytes, then the key, then the partition. What
they find is a value, never an exception: a poison record must not disturb its neighbours.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas import codec
from schemas.errors import RejectCode, RejectError
from schemas.partitioner import partition_of
from schemas.structs import (
    Adjustment,
    BillingRecord,
    Ceiling,
    Discard,
    Lease,
    Limit,
    Replay,
    Tick,
    Transfer,
    Unassigned,
    Void,
)
from schemas.topics import BUDGETS, PREFLIGHTS, SIGNALS, TRANSFERS, UNASSIGNED, USAGE
from streams.domain.billing_facts import billing_fact
from streams.domain.canonical import (
    ceiling_fact,
    discard_fact,
    grant_fact,
    limit_fact,
    original_record,
    owner_fact,
    replay_fact,
    signal_fact,
    transfer_fact,
    usage_fact,
)
from streams.domain.corrections import adjustment_fact, void_fact
from streams.domain.facts import (
    EventFact,
    Fact,
    Rejected,
    SourceRecord,
    internal,
)
from streams.domain.nameless import unassigned_fact

RESERVED: Final = b"\x00"
"""No customer's id begins with it: what else a partition keeps among its accounts does."""

RESERVED_KEY: Final = RESERVED + b"progress"
"""A partition's progress stands under it."""


def _budget_fact(record: SourceRecord, body: Any) -> EventFact:
    if isinstance(body, Limit):
        return limit_fact(record, body)
    if isinstance(body, Ceiling):
        return ceiling_fact(record, body)
    if isinstance(body, Adjustment):
        return adjustment_fact(record, body)
    if isinstance(body, Void):
        return void_fact(record, body)
    if isinstance(body, BillingRecord):
        return billing_fact(record, body)
    return grant_fact(record, body)


_DECODERS: Final[dict[str, tuple[Callable[[bytes | None], Any], Callable[..., EventFact]]]] = {
    USAGE.name: (codec.decode_usage, usage_fact),
    SIGNALS.name: (codec.decode_signal, signal_fact),
    BUDGETS.name: (codec.decode_budget, _budget_fact),
}

_INTERNAL: Final[dict[str, tuple[Callable[[bytes | None], Any], Callable[..., Fact]]]] = {
    PREFLIGHTS.name: (codec.decode_preflights, owner_fact),
    TRANSFERS.name: (codec.decode_transfer, transfer_fact),
    UNASSIGNED.name: (codec.decode_unassigned, unassigned_fact),
}
"""Topics that Tollgate alone writes."""


def decode_records(
    records: Sequence[SourceRecord], partition: int, partitions: int
) -> list[Fact | Rejected]:
    """The facts of these records, in their order, refused ones among them. Where our own code
    stumbles over a record, that one is refused as `internal`."""
    found: list[Fact | Rejected] = []
    for record in records:
        try:
            found.append(_decode(record, partition, partitions))
        except RejectError as fault:
            found.append(Rejected(record, fault.code, fault.reason, fault.field))
        except MemoryError:
            raise
        except Exception as fault:  # noqa: BLE001 - one record's fault is not its neighbours' (K2)
            found.append(internal(record, fault))
    return found


def decode_record(record: SourceRecord, partition: int, partitions: int) -> Fact | Rejected:
    """The fact of one record, as `decode_records` finds it."""
    return decode_records((record,), partition, partitions)[0]


def decode_original(body: Replay) -> EventFact | Rejected:
    """The dead letter that a replay carries, as the present code reads it.

    Raises RejectError where the replay itself says something impossible.
    """
    return decode_content(original_record(body))


def decode_content(original: SourceRecord) -> EventFact | Rejected:
    """What a record says about a customer, wherever it lies: key and partition do not count.

    Raises RejectError where its topic is no inbound one.
    """
    if original.topic not in _DECODERS:
        raise RejectError(RejectCode.INVALID_FIELD, "topic: not an inbound topic", "topic")
    decode, make_fact = _DECODERS[original.topic]
    try:
        inner = decode(original.value)
        if isinstance(inner, Replay | Discard):
            raise RejectError(
                RejectCode.INVALID_FIELD,
                "record_value: replay the first letter, not what became of it",
                "record_value",
            )
        return make_fact(original, inner)
    except RejectError as fault:
        return Rejected(original, fault.code, fault.reason, fault.field)


def customer_key(record: SourceRecord, customer_id: str, partition: int, partitions: int) -> bytes:
    """The key of a record about a customer, which has to be the customer's id and to lie on its
    partition. Raises RejectError."""
    key = customer_id.encode()
    if record.key != key:
        raise RejectError(
            RejectCode.WRONG_KEY,
            "the record's key must be the UTF-8 bytes of customer_id",
            "customer_id",
        )
    due = partition_of(key, partitions)
    if due != partition:
        raise RejectError(
            RejectCode.WRONG_PARTITION,
            f"on partition {partition}, murmur2 gives {due}: "
            "set partitioner=murmur2_random in librdkafka clients",
            "customer_id",
        )
    return key


def _decode(record: SourceRecord, partition: int, partitions: int) -> Fact:
    if record.topic in _INTERNAL:
        return _decode_internal(record, partition, partitions)
    decode, make_fact = _DECODERS[record.topic]
    body = decode(record.value)
    if customer_key(record, body.customer_id, partition, partitions)[:1] == RESERVED:
        raise RejectError(
            RejectCode.INVALID_FIELD,
            "customer_id: ids that begin with NUL are reserved",
            "customer_id",
        )
    if decode is codec.decode_budget:
        if isinstance(body, Replay):
            return replay_fact(record, body, decode_original(body))
        if isinstance(body, Discard):
            return discard_fact(record, body)
    return make_fact(record, body)


def _decode_internal(record: SourceRecord, partition: int, partitions: int) -> Fact:
    decode, make_fact = _INTERNAL[record.topic]
    body = decode(record.value)
    if not isinstance(body, Lease | Tick):
        if record.key != _owner_of(body).encode():
            what = "trace_id" if isinstance(body, Unassigned) else "the account's id"
            raise RejectError(RejectCode.WRONG_KEY, f"the key must be {what}", "key")
        if partition_of(record.key, partitions) != partition:
            raise RejectError(
                RejectCode.WRONG_PARTITION, f"on partition {partition}, which is another's", "key"
            )
    return make_fact(record, body)


def _owner_of(body: Any) -> str:
    """The account or trace that a record belongs to."""
    if isinstance(body, Unassigned):
        return body.trace_id
    owner: str = body.task_ref if isinstance(body, Transfer) else body.account_id
    return owner
