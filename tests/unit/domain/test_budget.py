"""streams.domain.budget: what an account adds up and what is left of it."""

from typing import Any

import msgspec
import pytest

from schemas import codec
from schemas.budget import Denomination
from schemas.structs import Burn, GrantEntry, UsageEntry
from streams.domain.budget import Account, add_grant, available, balance_text, open_grant, spend
from tests.builders import HOUR_US, NOON_US, context, cycle, fact, grant, of_kind, state, usage


def grant_entry(grant_id: str = "g", amount: str = "10", **more: Any) -> GrantEntry:
    fields = {
        "denomination": Denomination.UNIT,
        "priority": 100,
        "effective_at": NOON_US,
        "decided_at": NOON_US,
    }
    made = of_kind(GrantEntry, cycle(state(), fact(grant())).entries)[0]
    return msgspec.structs.replace(made, entry_id=grant_id, amount=amount, **fields | more)  # type: ignore[type-var]


def usage_entry(**fields: Any) -> UsageEntry:
    made = of_kind(UsageEntry, cycle(state(), fact(usage(units=0))).entries)[0]
    return msgspec.structs.replace(made, **fields)  # type: ignore[type-var]


def burn(grant_id: str, amount: str, denomination: Denomination = Denomination.UNIT) -> Burn:
    return Burn(grant_id=grant_id, denomination=denomination, amount=amount)


def test_a_grant_is_available_until_it_is_burnt() -> None:
    account = Account("acme")
    add_grant(account, grant_entry("g", "10"))
    assert available(account, Denomination.UNIT, NOON_US) == 10
    spend(account, usage_entry(units=4, burns=[burn("g", "4")]))
    assert available(account, Denomination.UNIT, NOON_US) == 6
    spend(account, usage_entry(units=6, burns=[burn("g", "6")]))
    assert available(account, Denomination.UNIT, NOON_US) == 0
    assert account.grants == []


def test_available_counts_open_grants_of_the_denomination_alone() -> None:
    account = Account("acme")
    add_grant(account, grant_entry("now", "1"))
    add_grant(account, grant_entry("later", "2", effective_at=NOON_US + HOUR_US))
    add_grant(account, grant_entry("over", "4", expires_at=NOON_US + 1))
    add_grant(account, grant_entry("dollars", "8", denomination=Denomination.USD))
    assert available(account, Denomination.UNIT, NOON_US) == 5
    assert available(account, Denomination.UNIT, NOON_US + 1) == 1
    assert available(account, Denomination.UNIT, NOON_US + HOUR_US) == 3
    assert available(account, Denomination.USD, NOON_US) == 8 * 10**12
    assert available(account, Denomination.TOKEN, NOON_US) == 0


def test_a_new_grant_clears_away_those_that_are_over() -> None:
    account = Account("acme")
    add_grant(account, grant_entry("over", expires_at=NOON_US + 1))
    add_grant(account, grant_entry("new", decided_at=NOON_US + 1))
    assert [g.grant_id for g in account.grants] == ["new"]


def test_grants_stand_in_burn_order() -> None:
    account = Account("acme")
    for grant_id, priority in (("c", 3), ("a", 1), ("b", 2)):
        add_grant(account, grant_entry(grant_id, priority=priority))
    assert [g.grant_id for g in account.grants] == ["a", "b", "c"]


def test_every_token_class_counts_once() -> None:
    account = Account("acme")
    entry = usage_entry(
        units=3,
        input_tokens=1,
        cache_read_tokens=2,
        cache_write_tokens=4,
        output_tokens=8,
        reasoning_tokens=16,
        input_audio_tokens=32,
        output_audio_tokens=64,
    )
    spend(account, entry)
    assert (account.events, account.used_units, account.used_tokens) == (1, 3, 127)


def test_dollars_and_other_currencies_are_never_mixed() -> None:
    account = Account("acme")
    spend(account, usage_entry(cost="0.5"))
    spend(account, usage_entry(cost="2", currency="EUR"))
    spend(account, usage_entry(cost="3", currency="EUR"))
    spend(account, usage_entry(provisional="0.25", cost_basis="unpriced"))
    assert account.used_pico_usd == 75 * 10**10
    assert account.used_other == {"EUR": 5 * 10**12}


def test_burning_more_than_is_left_is_our_own_fault() -> None:
    account = Account("acme")
    add_grant(account, grant_entry("g", "10"))
    with pytest.raises(AssertionError, match="beyond its amount"):
        spend(account, usage_entry(burns=[burn("g", "11")]))


def test_burning_a_grant_that_is_not_open_is_our_own_fault() -> None:
    with pytest.raises(AssertionError, match="not open"):
        spend(Account("acme"), usage_entry(burns=[burn("g", "1")]))


def test_a_balance_is_written_in_its_denomination() -> None:
    assert balance_text("usd", 15 * 10**11) == "1.5"
    assert balance_text("unit", 15) == "15"
    assert balance_text("token", 10**12) == "1000000000000"


@pytest.mark.parametrize(
    ("denomination", "amount", "remaining"),
    [(Denomination.USD, "1.5", 15 * 10**11), (Denomination.TOKEN, "7", 7)],
)
def test_a_granted_amount_opens_whole(
    denomination: Denomination, amount: str, remaining: int
) -> None:
    opened = open_grant(grant_entry("g", amount, denomination=denomination))
    assert (opened.grant_id, opened.remaining) == ("g", remaining)


def test_an_account_survives_the_store_whatever_its_size() -> None:
    encode, decode = codec.state_codec(Account)
    account = Account("acme", used_pico_usd=10**30, used_other={"EUR": 2**64})
    add_grant(account, grant_entry("g", "9" * 18, denomination=Denomination.USD))
    assert decode(encode(account)) == account


def test_a_row_holds_only_what_differs_from_a_new_account() -> None:
    encode, decode = codec.state_codec(Account)
    assert encode(Account("acme")) == b'{"customer_id":"acme"}'
    assert decode(b'{"customer_id":"acme","grants":[],"used_other":{},"events":0}') == Account(
        "acme"
    ), "rows of earlier releases"


def test_a_customer_of_millions_is_charged_to_the_pico_dollar() -> None:
    into = state()
    facts = [fact(usage(event_id=f"e{n}", cost="123456789.123456789012"), n) for n in range(50)]
    cycle(into, fact(grant(denomination="usd", amount="999999999999")), *facts, context=context())
    account = into.accounts["acme"]
    assert account.used_pico_usd == 50 * 123456789123456789012
    assert available(account, Denomination.USD, NOON_US) == (
        999999999999 * 10**12 - account.used_pico_usd
    )
