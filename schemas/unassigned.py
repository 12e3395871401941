"""Unassigned, version 1: what spans say before it is known whose they are. Topic `unassigned`,
keyed by trace id.

Two things stand there: that a trace belongs to a customer (a binding), and a usage or signal record
of a trace that waits for one. The first binding of a trace by offset counts (K4); what waits is
then appended to its own topic under the customer, with the identity that it has here.
"""

from typing import TYPE_CHECKING, Any

from pydantic import create_model

from schemas.envelope import Id, Part, Record
from schemas.signal import Signal
from schemas.usage import Usage

if TYPE_CHECKING:
    WaitingUsage = Any
    WaitingSignal = Any
else:

    def _without_customer(model: type[Record], name: str) -> type[Part]:
        """The model with every field but `customer_id`: one definition, nothing to keep in step."""
        fields = {
            field: (info.annotation, info)
            for field, info in model.model_fields.items()
            if field != "customer_id"
        }
        doc = f"A {model.__name__} record without `customer_id`, until that is known."
        return create_model(name, __base__=Part, __doc__=doc, **fields)

    WaitingUsage = _without_customer(Usage, "WaitingUsage")
    WaitingSignal = _without_customer(Signal, "WaitingSignal")


class Unassigned(Record):
    """A binding (`customer_id`, neither usage nor signal), or one record that waits (no
    `customer_id`; `usage` or `signal`)."""

    trace_id: Id
    source: Id
    event_id: Id
    """Of the waiting record; of the span that names the customer."""
    customer_id: Id | None = None
    usage: WaitingUsage | None = None
    signal: WaitingSignal | None = None
