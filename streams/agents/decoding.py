"""From a record of an inbound topic to a fact, or to the reason why it is none.

The checks stand in the order of `RejectCode`: the bytes, then the key, then the partition. What
they find is a value, never an exception: a poison record must not disturb its neighbours.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from schemas import codec
from schemas.errors import RejectCode, RejectError
from schemas.partitioner import partition_of
from schemas.topics import BUDGETS, SIGNALS, USAGE
from streams.domain.facts import (
    Fact,
    Rejected,
    SourceRecord,
    grant_fact,
    signal_fact,
    usage_fact,
)
from streams.ports import PROGRESS_KEY

_DECODERS: Final[dict[str, tuple[Callable[[bytes | None], Any], Callable[..., Fact]]]] = {
    USAGE.name: (codec.decode_usage, usage_fact),
    SIGNALS.name: (codec.decode_signal, signal_fact),
    BUDGETS.name: (codec.decode_budget, grant_fact),
}


def decode_records(
    records: Sequence[SourceRecord], partition: int, partitions: int
) -> list[Fact | Rejected]:
    """The facts of these records of one topic, in their order, refused ones among them."""
    if not records:
        return []
    decode, make_fact = _DECODERS[records[0].topic]
    facts: list[Fact | Rejected] = []
    for record in records:
        try:
            body = decode(record.value)
            customer = body.customer_id.encode()
            if record.key != customer:
                raise RejectError(
                    RejectCode.WRONG_KEY,
                    "the record's key must be the UTF-8 bytes of customer_id",
                    "customer_id",
                )
            if partition_of(customer, partitions) != partition:
                raise RejectError(
                    RejectCode.WRONG_PARTITION,
                    f"on partition {partition}, murmur2 gives "
                    f"{partition_of(customer, partitions)}: "
                    "set partitioner=murmur2_random in librdkafka clients",
                    "customer_id",
                )
            if customer == PROGRESS_KEY:
                raise RejectError(
                    RejectCode.INVALID_FIELD, "customer_id: this id is reserved", "customer_id"
                )
            facts.append(make_fact(record, body))
        except RejectError as fault:
            facts.append(Rejected(record, fault.code, fault.reason, fault.field))
    return facts
