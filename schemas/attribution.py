"""Attribution, version 1: the part of one cost that one signal carries, or nobody. Topic
`attributions`."""

from typing import Literal

from schemas.envelope import Currency, Id, Name, Outbound, SignedAmount


class Attribution(Outbound):
    """A part of a cost, or what there is to say of a signal without any.

    From the closing of its window on, the amounts of all rows of one cost sum to the cost, at every
    moment and to the pico-dollar: what changes a split later are rows with the difference.
    """

    role: Literal["share", "unattributed", "signal"]
    """What a signal carries of a cost; what nobody claims; a signal that carries nothing."""
    customer_id: Id
    trace_id: str = ""
    scope_id: str = ""
    cause: Name
    """What made the row: the entry that came late, or the cycle that closed the window."""
    cost_entry: str = ""
    """The usage entry or adjustment whose cost it is."""
    signal_entry: str = ""
    signal_name: str = ""
    amount: SignedAmount = "0"
    currency: Currency = "USD"
    flags: list[Name] = []
