"""What a customer was granted, has used and has left, from the rows that ClickHouse holds.

The figures are those of the customer's owner, by the same functions, as far as the sink has
delivered. What they cannot know: entries that are not in ClickHouse yet, decisions that no cycle
has folded, and the plan that a customer of whom nothing is known will be given.
"""

from dataclasses import dataclass
from typing import Final

from schemas.budget import Denomination
from streams.domain.budget import Account, held, spendable
from streams.domain.grants import left_at
from streams.domain.holds import Hold, OpenHolds
from streams.domain.limits import used_at
from streams.domain.periods import period_start
from streams.invoicing.account import FoldedGrant, fold_account
from streams.invoicing.asof import Mark, places_of, read_cut
from streams.ports import Warehouse

NOTHING_PENDING: Final = OpenHolds()
"""Decisions that no cycle has folded are in no row."""


@dataclass(frozen=True, slots=True)
class GrantBalance:
    """One grant. Amounts are whole units or tokens, or pico-dollars, by denomination.

    Of a grant that `resets`, `granted`, `burnt` and `left` are those of its present period, or of
    its last one where it has expired; what rolled over into the period is part of `granted`.
    """

    grant_id: str
    denomination: str
    priority: int
    reason: str
    effective_at_us: int
    expires_at_us: int | None
    granted: int
    burnt: int
    resets: str = ""
    anchor_us: int | None = None
    rollover_max: int = 0

    @property
    def left(self) -> int:
        """What nothing has burnt yet, whether it may still be or not."""
        return self.granted - self.burnt

    def state(self, now_us: int) -> str:
        """`open`, `not yet` or `expired` at a domain time."""
        if self.expires_at_us is not None and self.expires_at_us <= now_us:
            return "expired"
        return "open" if self.effective_at_us <= now_us else "not yet"


@dataclass(frozen=True, slots=True)
class Balance:
    """One denomination. Of its grants: `granted` in all, `burnt` of it, what `expired` unused, what
    is not effective until `later`, what is `left` of the open ones. `held` is what open holds set
    aside, `available` what a preflight may still ask for, None where nothing bounds it."""

    denomination: str
    granted: int
    burnt: int
    expired: int
    later: int
    left: int
    held: int
    available: int | None


@dataclass(frozen=True, slots=True)
class LimitBalance:
    """A limit in force. `used` and `held` count against it in the period that begins at
    `period_from_us`, None for one that never resets; `agent_id` is empty for the customer's own."""

    agent_id: str
    denomination: str
    amount: int
    used: int
    held: int
    resets: str
    period_from_us: int | None

    @property
    def left(self) -> int:
        """What may still be held under it; never below zero."""
        return max(0, self.amount - self.used - self.held)


@dataclass(frozen=True, slots=True)
class Used:
    """Everything ever accepted, covered or not. `charged_pico` is by currency, provisional charges
    included."""

    events: int
    signals: int
    units: int
    tokens: int
    charged_pico: dict[str, int]


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """A customer's budget as of `as_of`, judged at the time `now_us`."""

    customer_id: str
    grants: tuple[GrantBalance, ...]
    balances: tuple[Balance, ...]
    limits: tuple[LimitBalance, ...]
    holds: tuple[Hold, ...]
    used: Used
    as_of: tuple[Mark, ...]
    now_us: int


def budget_report(warehouse: Warehouse, customer_id: str, clock_us: int = 0) -> BudgetReport | None:
    """The budget of a customer, None for one of whom there is no row at all.

    It is judged at `clock_us`, as the owner judges, or at the domain time of the customer's
    partition where that is later.
    """
    cut = read_cut(warehouse)
    places = places_of(warehouse, cut, customer_id)
    if not places:
        return None
    as_of = cut.of(places)
    now_us = max(clock_us, *(mark.decided_at_us for mark in as_of))
    parameters = {"customer": customer_id, **cut.parameters()}
    folded = fold_account(warehouse, customer_id, parameters, now_us)
    account = folded.account
    grants = tuple(_grant_balance(one, now_us) for one in folded.grants)
    return BudgetReport(
        customer_id,
        grants,
        tuple(_balance(account, grants, one.value, now_us) for one in Denomination),
        tuple(_limit_balances(account, now_us)),
        tuple(account.holds.values()),
        Used(
            account.events,
            account.signals,
            account.used_units,
            account.used_tokens,
            folded.charged_pico,
        ),
        as_of,
        now_us,
    )


def _grant_balance(folded: FoldedGrant, now_us: int) -> GrantBalance:
    entry, grant, burns = folded.entry, folded.grant, folded.burns
    renewal, expires_us = grant.renewal, grant.expires_at_us
    at_us = now_us if expires_us is None else min(now_us, expires_us - 1)
    if renewal is not None:
        begins_us = period_start(renewal.interval, at_us, renewal.anchor_us)
        burns = [(burnt_us, amount) for burnt_us, amount in burns if burnt_us >= begins_us]
    burnt, left = sum(amount for _, amount in burns), left_at(grant, at_us)
    return GrantBalance(
        entry.entry_id,
        grant.denomination,
        entry.priority,
        entry.reason,
        entry.effective_at,
        entry.expires_at,
        left + burnt,
        burnt,
        entry.resets,
        entry.anchor,
        0 if renewal is None else renewal.rollover_max,
    )


def _balance(
    account: Account, grants: tuple[GrantBalance, ...], denomination: str, now_us: int
) -> Balance:
    own = [grant for grant in grants if grant.denomination == denomination]

    def left(state: str) -> int:
        return sum(grant.left for grant in own if grant.state(now_us) == state)

    return Balance(
        denomination,
        sum(grant.granted for grant in own),
        sum(grant.burnt for grant in own),
        left("expired"),
        left("not yet"),
        left("open"),
        held(account, NOTHING_PENDING, denomination),
        spendable(account, NOTHING_PENDING, denomination, None, now_us),
    )


def _limit_balances(account: Account, now_us: int) -> list[LimitBalance]:
    return [
        LimitBalance(
            limit.agent_id,
            limit.denomination,
            limit.amount,
            used_at(limit, now_us),
            held(account, NOTHING_PENDING, limit.denomination, limit.agent_id),
            limit.resets,
            period_start(limit.resets, now_us, limit.anchor_us) if limit.resets else None,
        )
        for limit in account.limits
    ]
