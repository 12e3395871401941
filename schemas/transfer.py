"""Transfer, version 1: what an entry of one account means for another. Topic `transfers`, keyed by
the id of the account it goes to, written by workers in the transaction of the entry's cycle.

Read committed and folded by offset, so it needs no claim: it is there once.
"""

from typing import Literal

from pydantic import Field

from schemas.envelope import Count, Id, Name, Part, Record, SignedAmount, TimeUs, TotalTokens


class TaskPart(Part):
    """What the entry took from a hold of the task."""

    reservation_id: Name
    amount: SignedAmount


class HoldEnd(Part):
    """A hold of the customer has ended: that of the task that goes with it does too."""

    reservation_id: Name
    """Of the task's hold."""
    closed_as: Literal["settled", "used_up", "released", "expired"]


class Transfer(Record):
    """An entry of a customer, as the account of its task sees it (P8): usage, or the end of a
    hold without any."""

    kind: Literal["settlement"] = "settlement"
    entry_id: Name
    """Of that entry: the identity of this fact."""
    usage: bool = True
    """Whether something was used."""
    decided_at: TimeUs
    task_ref: Id
    customer_id: Id
    agent_id: str = Field(default="", max_length=128)
    units: Count = 0
    tokens: TotalTokens = 0
    usd: SignedAmount = "0"
    """What it charged in dollars, provisionally or not."""
    holds: list[TaskPart] = []
    """What it took from the task's holds that go with the customer's."""
    ends: list[HoldEnd] = []
    """The task's holds that end with the customer's."""
    success: bool = True
    usage_missing: bool = False
    unpriced: bool = False
    adjusts: bool = False
    """It corrects the cost of a call that was told before; `unpriced` says that it was unpriced
    until now."""
