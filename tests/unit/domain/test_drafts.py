"""Draft invoices: which entries are in them, and how their lines add up."""

import random
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.structs import InboundFact, LedgerEntry, UsageEntry
from schemas.times import parse_time_us
from streams.domain.drafts import Draft, Figures, LineKey, draft
from streams.domain.months import Period, month, month_containing
from tests.builders import cycle, fact, grant, of_kind, signal, state, usage
from tests.property.logs import fold, random_log

JANUARY = month(2026, 1)


def entries(*bodies: InboundFact) -> list[LedgerEntry]:
    facts = [fact(body, offset) for offset, body in enumerate(bodies)]
    return cycle(state(), *facts).entries


def drafted(found: Iterable[LedgerEntry], period: Period = JANUARY) -> Draft:
    return draft(found, "acme", period)


def test_a_month_begins_and_ends_at_midnight_utc() -> None:
    assert JANUARY.from_us == parse_time_us("2026-01-01T00:00:00Z")
    assert JANUARY.to_us == month(2026, 2).from_us == parse_time_us("2026-02-01T00:00:00Z")
    assert month(2025, 12).to_us == JANUARY.from_us
    assert str(JANUARY) == "2026-01"


@pytest.mark.parametrize(("year", "number"), [(2026, 0), (2026, 13), (1969, 12), (0, 1)])
def test_a_month_that_does_not_exist_or_lies_before_1970_is_refused(year: int, number: int) -> None:
    with pytest.raises(ValueError, match=r"month|1970|year"):
        month(year, number)


@given(st.integers(0, 253_370_764_800_000_000 - 1))
def test_every_time_lies_in_its_month(time_us: int) -> None:
    period = month_containing(time_us)
    assert period.from_us <= time_us < period.to_us


def test_a_draft_holds_the_usage_of_its_customer_and_month_and_nothing_else() -> None:
    found = entries(
        grant("acme", "g1"),
        signal("acme", "s1"),
        usage("acme", "e1", units=2, occurred_at="2026-01-14T23:59:59.999999Z"),
        usage("bolt", "e2", units=4),
    )
    result = drafted(found)
    assert result.totals().units == 2
    assert result.totals().calls == 1


def test_an_event_belongs_to_the_month_in_which_it_happened() -> None:
    (entry,) = of_kind(UsageEntry, entries(usage()))
    first, last = JANUARY.from_us, JANUARY.to_us - 1
    calls = {}
    for at in (first - 1, first, last, last + 1):
        moved = msgspec.structs.replace(entry, occurred_at=at)  # type: ignore[type-var]  # a Struct
        calls[at] = drafted([moved]).totals().calls
    assert calls == {first - 1: 0, first: 1, last: 1, last + 1: 0}


def test_currencies_are_never_added_up() -> None:
    found = entries(
        usage("acme", "e1", cost="1.5"),
        usage("acme", "e2", cost="0.000000000001"),
        usage("acme", "e3", cost="2", currency="EUR"),
    )
    result = drafted(found)
    assert result.cost_by_currency() == {"EUR": 2 * 10**12, "USD": 1_500_000_000_001}


def test_unpriced_usage_stands_on_a_line_of_its_own_with_its_provisional_charge() -> None:
    found = entries(usage("acme", "e1", model="unheard-of", tokens={"input": 1_000_000}))
    result = drafted(found)
    assert list(result.lines) == [LineKey("", "unheard-of", "unpriced", "USD")]
    assert result.cost_by_currency() == {"USD": 0}
    assert result.provisional_by_currency() == {"USD": 15 * 10**12}


def test_tokens_are_the_sum_of_all_classes_and_units_beyond_are_what_is_not_covered() -> None:
    figures = Figures(units=5, covered_units=3, input_tokens=1, reasoning_tokens=2, output_tokens=4)
    assert (figures.tokens, figures.units_beyond) == (7, 2)


def test_the_lines_of_a_draft_add_up_to_what_the_accounts_were_charged() -> None:
    for number in range(5):
        folded = fold(random_log(random.Random(number), 200), [])
        everything = Period(0, 0, 0, 2**62)
        for account in folded.state.accounts.values():
            result = draft(folded.entries, account.customer_id, everything)
            totals = result.totals()
            assert (totals.calls, totals.units) == (account.events, account.used_units)
            assert totals.tokens == account.used_tokens
            charged = result.cost_by_currency()
            for currency, pico in result.provisional_by_currency().items():
                charged[currency] += pico
            usd = charged.pop("USD", 0)
            assert (usd, charged) == (account.used_pico_usd, account.used_other)


def test_a_draft_is_a_function_of_the_set_of_entries() -> None:
    folded = fold(random_log(random.Random(7), 200), [])
    forwards = draft(folded.entries, "c3", JANUARY)
    assert forwards.totals().calls > 1
    assert draft(reversed(folded.entries), "c3", JANUARY) == forwards
