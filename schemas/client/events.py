"""Events made ready for the log: validated by the contract, keyed, encoded, their id fixed.

First step of a producer. What is ready is sent as these bytes however often it is sent, so that a
repeat is a repeat (decision 002). Knows nothing of spools and senders.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from schemas.envelope import SCHEMA_VERSION, Part
from schemas.errors import RejectCode, RejectError
from schemas.limits import EVENT_BYTES_MAX, REASON_CHARS_MAX
from schemas.partitioner import partition_of
from schemas.signal import Signal
from schemas.topics import SIGNALS, USAGE
from schemas.usage import Usage, refuse_exceeding_part

Event = Usage | Signal
E = TypeVar("E", bound=Usage | Signal)
P = TypeVar("P", bound=Part)

TOPICS: Final[dict[type[Event], str]] = {Usage: USAGE.name, Signal: SIGNALS.name}
"""Logical names of the topics that a producer writes."""

MODELS: Final[dict[str, type[Event]]] = {topic: model for model, topic in TOPICS.items()}
"""The model of what each of them holds."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A record as the log will take it. `topic` is the logical name, without a prefix."""

    topic: str
    key: bytes
    value: bytes
    event_id: str

    def partition(self, partitions: int) -> int:
        """Where it belongs among so many partitions: Kafka's murmur2 of the key (K1)."""
        return partition_of(self.key, partitions)


def checked(model: type[P], fields: Mapping[str, Any]) -> P:
    """These fields as this model. Raises RejectError with a code and the field to blame."""
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        raise _rejected(error) from None


def validated(model: type[E], fields: Mapping[str, Any]) -> E:
    """The event that these fields say; `schema_version` may be left out.

    Raises RejectError with the code that a worker or the gateway would give, and the field.
    """
    return checked(model, {"schema_version": SCHEMA_VERSION, **fields})


def ready(event: Event) -> Ready:
    """The record of an event. Raises RejectError for one that the log would refuse, also where the
    event was built past its own validation."""
    if event.customer_id.startswith("\0"):
        raise RejectError(
            RejectCode.INVALID_FIELD,
            "customer_id: ids that begin with NUL are reserved",
            "customer_id",
        )
    value = event.model_dump_json(exclude_defaults=True).encode()
    if len(value) > EVENT_BYTES_MAX:
        raise RejectError(
            RejectCode.OVERSIZED, f"{len(value)} bytes; a record may have {EVENT_BYTES_MAX}"
        )
    try:
        type(event).model_validate_json(value)
    except ValidationError as error:
        raise _rejected(error) from None
    if isinstance(event, Usage) and event.quantities is not None:
        refuse_exceeding_part(event.tokens, event.quantities)
    return Ready(TOPICS[type(event)], event.customer_id.encode(), value, event.event_id)


def _rejected(error: ValidationError) -> RejectError:
    # Without the input: what an event says stands in no message.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    unknown = [one for one in found if one["type"] == "extra_forbidden"]
    first = (unknown or found)[0]
    field = ".".join(str(part) for part in first["loc"])[:REASON_CHARS_MAX]
    code = RejectCode.UNKNOWN_FIELD if unknown else RejectCode.INVALID_FIELD
    return RejectError(code, f"{field}: {first['msg']}"[:REASON_CHARS_MAX], field)
