"""A customer's account: what is granted, what was used, what is available."""

from typing import Final

from schemas.budget import Denomination
from schemas.money import format_amount, parse_signed_amount
from schemas.structs import Burn, GrantEntry, Row, UsageEntry, column
from streams.domain.grants import (
    OpenGrant,
    Renewal,
    insert_grant,
    left_at,
    open_at,
    renew,
    unexpired,
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


def available(account: Account, denomination: Denomination, now_us: int) -> int:
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
    """The grant that an entry opens, nothing of it used yet."""
    amount, renewal = _balance(entry.denomination, entry.amount), None
    if entry.resets:
        renewal = Renewal(entry.resets, amount, period_start(entry.resets, entry.effective_at))
    return OpenGrant(
        entry.entry_id,
        entry.denomination.value,
        amount,
        entry.priority,
        entry.effective_at,
        entry.expires_at,
        renewal,
    )


def add_grant(account: Account, entry: GrantEntry) -> None:
    """Folds a grant entry into the account, in place; grants that are over by now are dropped."""
    account.grants = unexpired(account.grants, entry.decided_at)
    insert_grant(account.grants, open_grant(entry))
    account.granted += entry.entry_index == 0


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
        _take(account, burn, entry.decided_at)


def _take(account: Account, burn: Burn, now_us: int) -> None:
    for place, grant in enumerate(account.grants):
        if grant.grant_id == burn.grant_id and grant.denomination == burn.denomination:
            if grant.renewal is not None:
                renew(grant, now_us)
            grant.remaining -= _balance(burn.denomination, burn.amount)
            if grant.remaining < 0:
                raise AssertionError(f"grant {grant.grant_id!r} was burnt beyond its amount")
            if grant.remaining == 0 and grant.renewal is None:
                del account.grants[place]
            return
    raise AssertionError(f"entry burns grant {burn.grant_id!r}, which is not open")


def _balance(denomination: str, text: str) -> int:
    return parse_signed_amount(text) if denomination == USD else int(text)
