"""A customer's account: what is granted, what was used, what is held, what is available."""

from typing import Final

from schemas.budget import Denomination
from schemas.money import format_amount, parse_signed_amount
from schemas.structs import Burn, GrantEntry, LimitEntry, Row, UsageEntry, column
from streams.domain.context import PlannedGrant
from streams.domain.grants import (
    OpenGrant,
    Renewal,
    insert_grant,
    left_at,
    open_at,
    renew,
    unexpired,
)
from streams.domain.holds import Hold, Holder, held_of_agent, reduce
from streams.domain.limits import (
    OpenLimit,
    binding,
    count_use,
    lift_limit,
    set_limit,
    used_at,
)
from streams.domain.periods import period_start

USD: Final = Denomination.USD


class Account(Row):
    """The budget table's row of one customer.

    `grants` stand in burn order, while something is left of them or will be again. The used totals
    run over everything ever accepted, covered or not; `used_pico_usd` is what was charged in
    dollars, `used_other` what cost in other currencies, by ISO code, in pico.
    """

    customer_id: str
    grants: list[OpenGrant] = column(default_factory=list)
    used_units: int = 0
    used_tokens: int = 0
    used_pico_usd: int = 0
    used_other: dict[str, int] = column(default_factory=dict)
    events: int = 0
    signals: int = 0
    granted: int = 0
    """Grants ever given by budget records, those of the plan not among them."""
    last_sequence: int = -1
    """The ledger sequence of the last entry folded in."""
    budgeted: list[str] = column(default_factory=list)
    """The denominations of which the customer has ever been granted something: in those it cannot
    spend more than it has. Others are tracked alone (P12)."""
    limits: list[OpenLimit] = column(default_factory=list)
    holds: dict[str, Hold] = column(default_factory=dict)
    """The open holds by id, in the order in which they were placed."""
    held: dict[str, int] = column(default_factory=dict)
    """What they set aside, by denomination."""
    windows: int = 0
    """Open trace windows."""


def spendable(
    account: Account,
    pending: Holder,
    denomination: str,
    agent_id: str | None,
    now_us: int,
) -> int | None:
    """What an agent of the customer may still spend of a denomination, holds taken off; never
    below zero, and None where nothing bounds it.

    `pending` are holds that the account does not have yet.
    """
    bounds = []
    if denomination in account.budgeted:
        left = available(account, denomination, now_us)
        bounds.append(left - held(account, pending, denomination))
    if account.limits:
        for limit in binding(account.limits, denomination, agent_id):
            mine = held(account, pending, denomination, limit.agent_id)
            bounds.append(limit.amount - used_at(limit, now_us) - mine)
    return max(0, min(bounds)) if bounds else None


def held(account: Holder, pending: Holder, denomination: str, agent_id: str = "") -> int:
    """What is set aside in a denomination, in the account's row and beside it: by one of its
    agents where one is named, else by all."""
    return sum(
        held_of_agent(holder.holds.values(), denomination, agent_id)
        if agent_id
        else holder.held.get(denomination, 0)
        for holder in (account, pending)
    )


def available(account: Account, denomination: str, now_us: int) -> int:
    """What the open grants of a denomination still cover at a domain time."""
    return sum(
        left_at(grant, now_us)
        for grant in account.grants
        if grant.denomination == denomination and open_at(grant, now_us)
    )


def balance_text(denomination: str, amount: int) -> str:
    """A balance as the ledger writes it: whole units and tokens, dollars as a decimal."""
    return format_amount(amount) if denomination == USD else str(amount)


def open_grant(entry: GrantEntry) -> OpenGrant:
    """The grant that an entry opens, nothing of it used yet but what was used elsewhere."""
    amount, renewal = parse_balance_text(entry.denomination, entry.amount), None
    remaining = amount
    if entry.resets:
        begins_us = period_start(entry.resets, entry.effective_at, entry.anchor)
        if entry.used is not None:
            begins_us = period_start(entry.resets, entry.occurred_at, entry.anchor)
            remaining -= parse_balance_text(entry.denomination, entry.used)
        rollover_max = parse_balance_text(entry.denomination, entry.rollover_max)
        renewal = Renewal(entry.resets, amount, begins_us, entry.anchor, rollover_max)
    return OpenGrant(
        entry.entry_id,
        entry.denomination.value,
        remaining,
        entry.priority,
        entry.effective_at,
        entry.expires_at,
        renewal,
    )


def open_grant_of_plan(grant: PlannedGrant, place: int, now_us: int) -> OpenGrant:
    """A grant of the default plan as it will be once its customer is known. Its id is not that of
    any entry yet."""
    renewal = None
    if grant.resets is not None:
        resets = grant.resets.value
        renewal = Renewal(resets, grant.amount, period_start(resets, now_us))
    return OpenGrant(
        f"plan-{place}",
        grant.denomination.value,
        grant.amount,
        grant.priority,
        now_us,
        None,
        renewal,
    )


def add_grant(account: Account, entry: GrantEntry) -> None:
    """Folds a grant entry into the account, in place; grants that are over by now are dropped."""
    account.grants = unexpired(account.grants, entry.decided_at)
    insert_grant(account.grants, open_grant(entry))
    account.granted += entry.entry_index == 0
    denomination = entry.denomination.value
    if denomination not in account.budgeted:
        account.budgeted.append(denomination)


def apply_limit(account: Account, entry: LimitEntry) -> None:
    """Folds a limit entry into the account, in place."""
    denomination = entry.denomination.value
    if entry.lifted:
        lift_limit(account.limits, entry.agent_id, denomination)
        return
    amount = parse_balance_text(entry.denomination, entry.amount)
    fresh = OpenLimit(entry.agent_id, denomination, amount, 0, entry.resets, entry.anchor)
    fresh.since_generation, fresh.since_sequence = entry.generation, entry.sequence
    if fresh.resets:
        fresh.from_us = period_start(fresh.resets, entry.decided_at, fresh.anchor_us)
    set_limit(account.limits, fresh)
    if entry.used is not None:
        fresh.used = parse_balance_text(entry.denomination, entry.used)
        fresh.since_generation, fresh.since_sequence = entry.generation, entry.sequence
        if fresh.resets:
            fresh.from_us = period_start(fresh.resets, entry.occurred_at, fresh.anchor_us)


def entry_tokens(entry: UsageEntry) -> int:
    """All tokens of an entry; the classes are disjoint."""
    return (
        entry.input_tokens
        + entry.cache_read_tokens
        + entry.cache_write_tokens
        + entry.output_tokens
        + entry.reasoning_tokens
        + entry.input_audio_tokens
        + entry.output_audio_tokens
        + entry.missing_tokens
    )


def spend(account: Account, entry: UsageEntry) -> None:
    """Folds a usage entry into the account, in place."""
    account.events += 1
    account.used_units += entry.units
    account.used_tokens += entry_tokens(entry)
    cost = parse_signed_amount(entry.cost)
    if entry.provisional != "0":
        cost += parse_signed_amount(entry.provisional)
    if entry.currency == "USD":
        account.used_pico_usd += cost
    else:
        other = account.used_other
        other[entry.currency] = other.get(entry.currency, 0) + cost
    for burn in entry.burns:
        take(account, burn, entry.decided_at)
    if account.limits:
        _count_limits(account, entry, cost if entry.currency == "USD" else 0)
    for part in entry.holds:
        hold = account.holds[part.reservation_id]
        reduce(account, part.reservation_id, parse_balance_text(hold.denomination, part.amount))


def _count_limits(account: Account, entry: UsageEntry, pico_usd: int) -> None:
    used = {"unit": entry.units, "token": entry_tokens(entry), "usd": pico_usd}
    for limit in account.limits:
        if limit.agent_id in ("", entry.agent_id):
            amount = used[limit.denomination]
            if amount:
                count_use(limit, amount, entry.decided_at)


def take(account: Account, burn: Burn, now_us: int) -> None:
    """Takes a burn from its grant, in place; a grant that is spent whole and never resets is
    forgotten."""
    for place, grant in enumerate(account.grants):
        if grant.grant_id == burn.grant_id and grant.denomination == burn.denomination:
            if grant.renewal is not None:
                renew(grant, now_us)
            grant.remaining -= parse_balance_text(burn.denomination, burn.amount)
            if grant.remaining < 0:
                raise AssertionError(f"grant {grant.grant_id!r} was burnt beyond its amount")
            if grant.remaining == 0 and grant.renewal is None:
                del account.grants[place]
            return
    raise AssertionError(f"entry burns grant {burn.grant_id!r}, which is not open")


def parse_balance_text(denomination: str, text: str) -> int:
    """A balance as `balance_text` wrote it."""
    return parse_signed_amount(text) if denomination == USD else int(text)
