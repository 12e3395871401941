"""Attribution, version 1: the share of one cost entry that one signal carries. Topic
`attributions`."""

from schemas.envelope import Currency, Id, Name, Offset, Outbound, SignedAmount


class Attribution(Outbound):
    """A share of a cost. Over one cost entry the amounts of all its rows sum to the cost exactly;
    `signal_entry_id` is empty for what nobody claimed; late corrections are rows of their own."""

    customer_id: Id
    trace_id: Id
    cost_entry_id: Name
    cost_offset: Offset
    signal_entry_id: str = ""
    signal_name: str = ""
    amount: SignedAmount
    currency: Currency = "USD"
    flags: list[Name] = []
