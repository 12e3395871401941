"""Budget, version 1: what a customer may spend. Topic `budgets`, keyed by `customer_id`,
administration only."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from schemas.envelope import Amount, Fact, Name, Time
from schemas.limits import PRIORITY_MAX


class Denomination(StrEnum):
    """What a balance is counted in."""

    UNIT = "unit"
    TOKEN = "token"
    USD = "usd"


class Grant(Fact):
    """An allowance. Usage burns grants by priority, then expiry."""

    kind: Literal["grant"] = "grant"
    denomination: Denomination
    amount: Amount
    """Whole for units and tokens, dollars otherwise."""
    priority: Annotated[int, Field(ge=0, le=PRIORITY_MAX)] = 100
    """Lower burns first."""
    effective_at: Time | None = None
    """From the append on where it is missing."""
    expires_at: Time | None = None
    reason: Name | None = None
