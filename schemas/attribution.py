"""Attribution, version 1: the share of one cost entry that one signal carries. Topic
`attributions`."""

from typing import Annotated

from pydantic import Field

from schemas.entry import Offset, Sequence
from schemas.envelope import Currency, Id, Name, Record, SignedAmount, TimeUs


class Attribution(Record):
    """A share of a cost. Over one cost entry the amounts of all its rows sum to the cost exactly;
    `signal_entry_id` is empty for what nobody claimed; late corrections are rows of their own."""

    entry_id: Name
    generation: Annotated[int, Field(ge=1)]
    partition: Annotated[int, Field(ge=0)]
    sequence: Sequence
    cycle: Annotated[int, Field(ge=1)]
    decided_at: TimeUs
    customer_id: Id
    trace_id: Id
    cost_entry_id: Name
    cost_offset: Offset
    signal_entry_id: str = ""
    signal_name: str = ""
    amount: SignedAmount
    currency: Currency = "USD"
    flags: list[Name] = []
