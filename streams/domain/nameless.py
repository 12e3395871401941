"""Records of `unassigned`: what they state, and what becomes of an event once its customer is
known."""

from typing import Any, Final, NamedTuple

from schemas import codec
from schemas.errors import RejectCode, RejectError
from schemas.limits import ID_BYTES_MAX
from schemas.structs import Signal, Unassigned, Usage
from schemas.topics import SIGNALS, USAGE
from streams.domain.canonical import signal_fact, usage_fact
from streams.domain.facts import SourceRecord, UnassignedFact

SOMEBODY: Final = "c" * ID_BYTES_MAX
"""Stands for the customer while an event is checked: as long as an id may be."""


class Forward(NamedTuple):
    """An event under its customer, as a record of its own topic."""

    topic: str
    key: bytes
    value: bytes


def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(name for name in codec.MODELS[kind].model_fields if name != "customer_id")


_USAGE_FIELDS: Final = _fields(Usage)
_SIGNAL_FIELDS: Final = _fields(Signal)


def forward_of(body: Unassigned, customer_id: str) -> Forward:
    """The event that waits in a record, under its customer: its identity, its time and all that it
    says are its own. A function of the arguments, byte by byte."""
    key, waiting = customer_id.encode(), body.usage
    made: Usage | Signal
    if waiting is not None:
        fields = {name: getattr(waiting, name) for name in _USAGE_FIELDS}
        made = Usage(customer_id=customer_id, **fields)
        return Forward(USAGE.name, key, codec.encode(made))
    fields = {name: getattr(body.signal, name) for name in _SIGNAL_FIELDS}
    made = Signal(customer_id=customer_id, **fields)
    return Forward(SIGNALS.name, key, codec.encode(made))


def unassigned_fact(record: SourceRecord, body: Unassigned) -> UnassignedFact:
    """The fact that a decoded record of `unassigned` states.

    Raises RejectError where it is neither a binding nor one event, and where the event is none that
    could count under any customer: it is refused here, with the bytes that came.
    """
    told = [one for one in (body.customer_id, body.usage, body.signal) if one is not None]
    if len(told) != 1:
        reason = "customer_id: exactly one of customer_id, usage and signal is expected"
        raise RejectError(RejectCode.INVALID_FIELD, reason, "customer_id")
    if body.customer_id is not None:
        if body.customer_id.startswith("\0"):
            reason = "customer_id: ids that begin with NUL are reserved"
            raise RejectError(RejectCode.INVALID_FIELD, reason, "customer_id")
        return UnassignedFact(record, body)
    waiting: Any = told[0]
    for field in ("source", "event_id"):
        if getattr(waiting, field) != getattr(body, field):
            reason = f"{field}: the event that waits has another one"
            raise RejectError(RejectCode.INVALID_FIELD, reason, field)
    _check_event(record, forward_of(body, SOMEBODY))
    return UnassignedFact(record, body)


def _check_event(record: SourceRecord, forward: Forward) -> None:
    """Raises RejectError where the event would be refused wherever it goes."""
    try:
        if forward.topic == USAGE.name:
            usage_fact(record, codec.decode_usage(forward.value))
        else:
            signal_fact(record, codec.decode_signal(forward.value))
    except RejectError as fault:
        place = "usage" if forward.topic == USAGE.name else "signal"
        field = f"{place}.{fault.field}" if fault.field else place
        raise RejectError(fault.code, f"{place}: {fault.reason}", field) from None
