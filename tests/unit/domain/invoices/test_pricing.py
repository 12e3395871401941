"""streams.domain.invoices.pricing at its edges; each amount is worked out in the test."""

from typing import Any

import pytest

from schemas.money import PICO, currency_digits, round_to_currency, smallest_unit_pico
from streams.domain.invoices.calendar import CivilPeriod
from streams.domain.invoices.cards import card_from
from streams.domain.invoices.documents import Line
from streams.domain.invoices.pricing import GROUPS_MAX, OTHERS, price
from streams.domain.invoices.tallies import Figures, Tally, TallyKey
from streams.domain.invoices.timeline import Segment
from tests.invoiced import Plain, card, item

MONTH = CivilPeriod("2026-10", 0, 31)
"""A period of 31 moments: a day may as well be one."""

STEPS = [
    {"up_to": 100, "price": "0.10"},
    {"up_to": 1000, "price": "0.08", "flat": "5"},
    {"price": "0.05"},
]


def lines(plain: Plain, tally: Tally, from_us: int = 0, to_us: int = 31) -> list[Line]:
    return price(Segment("pro", "1", from_us, to_us), card_from(plain), tally, MONTH)


def units(quantity: int) -> Tally:
    return {TallyKey(currency="USD"): Figures(calls=1, units=quantity)}


def amounts(found: list[Line]) -> list[tuple[str, str]]:
    return [(line.item, line.amount) for line in found]


@pytest.mark.parametrize(
    ("quantity", "graduated", "volume"),
    [
        (1, "0.1", "0.1"),
        (99, "9.9", "9.9"),
        (100, "10", "10"),  # 100 x 0.10: the edge belongs to the step below it
        (101, "15.08", "13.08"),  # 10 + 0.08 + 5 flat; 101 x 0.08 + 5 flat
        (999, "86.92", "84.92"),  # 10 + 899 x 0.08 + 5; 999 x 0.08 + 5
        (1000, "87", "85"),
        (1001, "87.05", "50.05"),  # 87 + 0.05; 1,001 x 0.05, and no flat of that step
    ],
)
def test_the_edge_of_a_tier_belongs_to_the_tier_below(
    quantity: int, graduated: str, volume: str
) -> None:
    for mode, expected in (("graduated", graduated), ("volume", volume)):
        plain = card(items=[item(tiers={"mode": mode, "steps": STEPS})])
        assert amounts(lines(plain, units(quantity))) == [("units", expected)]


def test_tiers_begin_after_the_allowance_and_price_by_their_per() -> None:
    tiers = {"mode": "graduated", "steps": [{"up_to": 1000, "price": "2"}, {"price": "1"}]}
    plain = card(items=[item(tiers=tiers, per=1000, included=500)])
    # 3,000 - 500 = 2,500: 1,000 at 2 a thousand, 1,500 at 1 a thousand: 2 + 1.50.
    assert amounts(lines(plain, units(3000))) == [("units", "3.5")]


@pytest.mark.parametrize(("quantity", "amount"), [(99, "0"), (100, "0"), (101, "0.5"), (102, "1")])
def test_an_allowance_is_free_up_to_its_last_unit(quantity: int, amount: str) -> None:
    (line,) = lines(card(items=[item(price="0.5", included=100)]), units(quantity))
    assert (line.quantity, line.amount) == (str(quantity), amount)


def test_every_group_has_an_allowance_and_tiers_of_its_own() -> None:
    tally = {
        TallyKey(model=model, agent_id=agent, currency="USD"): Figures(units=quantity)
        for model, agent, quantity in (("b", "x", 60), ("b", "y", 60), ("a", "x", 110))
    }
    plain = card(items=[item(price="1", included=100, group_by="model")])
    found = [(line.group, line.quantity, line.amount) for line in lines(plain, tally)]
    assert found == [("a", "110", "10"), ("b", "120", "20")]


def test_groups_beyond_the_bound_are_one() -> None:
    tally = {
        TallyKey(agent_id=f"{number:04d}", currency="USD"): Figures(units=1)
        for number in range(GROUPS_MAX + 3)
    }
    plain = card(items=[item(price="1", group_by="agent")])
    found = lines(plain, tally)
    assert len(found) == GROUPS_MAX + 1
    assert [(line.group, line.quantity) for line in found if line.quantity != "1"] == [
        (OTHERS, "3")
    ]
    del tally[TallyKey(agent_id="0000", currency="USD")]
    del tally[TallyKey(agent_id="0001", currency="USD")]
    del tally[TallyKey(agent_id="0002", currency="USD")]
    assert OTHERS not in {line.group for line in lines(plain, tally)}


def test_fees_allowances_and_the_minimum_go_by_the_exact_share() -> None:
    plain = card(
        fees=[{"id": "base", "amount": "10"}],
        items=[item(price="1", included=100)],
        minimum="20",
    )
    # 10 of 31 days: 100/31 = 3.2258 -> 3.23; 1000/31 = 32.26 -> 32 free, 33 - 32 = 1;
    # the minimum is 200/31 = 6.4516 -> 6.45, of which 3.23 + 1 are there.
    assert amounts(lines(plain, units(33), 0, 10)) == [
        ("base", "3.23"),
        ("units", "1"),
        ("minimum", "2.22"),
    ]


def test_a_minimum_that_is_reached_adds_nothing() -> None:
    plain = card(items=[item(price="1")], minimum="20")
    assert amounts(lines(plain, units(20))) == [("units", "20")]
    assert amounts(lines(plain, units(19))) == [("units", "19"), ("minimum", "1")]
    assert amounts(lines(plain, {})) == [("minimum", "20")]


def test_the_minimum_counts_what_is_in_the_currency_of_the_card_after_discounts() -> None:
    plain = card(
        items=[{"id": "ai", "metric": "cost"}],
        discounts=[{"id": "half", "percent": "50"}],
        minimum="20",
    )
    tally = {
        TallyKey(currency="USD"): Figures(cost_pico=10 * PICO),
        TallyKey(currency="EUR"): Figures(cost_pico=100 * PICO),
    }
    # 10 - 5 USD: 15 are missing. The euros are apart.
    found = [(line.item, line.amount, line.currency) for line in lines(plain, tally)]
    assert found == [
        ("ai", "100", "EUR"),
        ("ai", "10", "USD"),
        ("half", "-50", "EUR"),
        ("half", "-5", "USD"),
        ("minimum", "15", "USD"),
    ]


def test_a_discount_is_off_the_items_that_it_names_and_never_off_fees() -> None:
    plain = card(
        fees=[{"id": "base", "amount": "100"}],
        items=[item(price="1"), item(id="calls", metric="calls", price="7")],
        discounts=[
            {"id": "tenth", "percent": "10", "items": ["calls"]},
            {"id": "fifth", "percent": "20"},
        ],
    )
    # 50 units and one call of 7: a tenth of 7, a fifth of 57, both of what is not discounted.
    assert amounts(lines(plain, units(50))) == [
        ("base", "100"),
        ("units", "50"),
        ("calls", "7"),
        ("tenth", "-0.7"),
        ("fifth", "-11.4"),
    ]


def test_roundings_of_discounts_never_take_more_than_there_is() -> None:
    plain = card(
        items=[item(price="0.01")],
        discounts=[{"id": "a", "percent": "50"}, {"id": "b", "percent": "50"}],
    )
    # Half of 3 cents is 1.5, which goes to 2; twice that were 4.
    assert amounts(lines(plain, units(3))) == [("units", "0.03"), ("a", "-0.02"), ("b", "-0.01")]


@pytest.mark.parametrize(
    ("currency", "each", "amount"),
    [
        ("USD", "0.005", "0"),
        ("USD", "0.015", "0.02"),
        ("USD", "0.025", "0.02"),
        ("USD", "0.0250000001", "0.03"),
        ("USD", "0.0149999999", "0.01"),
        ("JPY", "0.5", "0"),
        ("JPY", "1.5", "2"),
        ("JPY", "2.5", "2"),
        ("KRW", "1234.4", "1234"),
        ("KWD", "0.0005", "0"),
        ("KWD", "0.0015", "0.002"),
        ("KWD", "1.2345", "1.234"),
    ],
)
def test_a_line_is_rounded_half_even_to_the_smallest_unit_of_its_currency(
    currency: str, each: str, amount: str
) -> None:
    (line,) = lines(card(currency=currency, items=[item(price=each)]), units(1))
    assert (line.amount, line.currency) == (amount, currency)


def test_what_is_less_than_nothing_is_rounded_to_the_same_side() -> None:
    for numerator in (15, 25, 26, 35):
        pico = numerator * 10**9
        assert round_to_currency(-pico, 1, "USD") == -round_to_currency(pico, 1, "USD")
    (line,) = lines(card(items=[item(price="1", included=2)]), units(-5))
    assert (line.quantity, line.amount) == ("-5", "-3")


def test_the_smallest_units_are_those_of_iso_4217() -> None:
    assert [
        currency_digits(code) for code in ("USD", "EUR", "JPY", "KRW", "KWD", "BHD", "CLF")
    ] == [
        2,
        2,
        0,
        0,
        3,
        3,
        4,
    ]
    assert smallest_unit_pico("USD") == 10**10
    assert smallest_unit_pico("JPY") == PICO


def test_nothing_is_charged_without_a_card() -> None:
    assert price(Segment("", "", 0, 31), None, units(5), MONTH) == []


@pytest.mark.parametrize(
    ("metric", "quantity"),
    [
        ("calls", "2"),
        ("units", "3"),
        ("uncovered_units", "2"),
        ("tokens", "360"),
        ("uncovered_tokens", "351"),
        ("input_tokens", "10"),
        ("cache_read_tokens", "20"),
        ("cache_write_tokens", "30"),
        ("output_tokens", "40"),
        ("reasoning_tokens", "50"),
        ("input_audio_tokens", "60"),
        ("output_audio_tokens", "70"),
        ("signals", "11"),
    ],
)
def test_each_metric_counts_its_own_figure(metric: str, quantity: str) -> None:
    figures = Figures(2, 3, 1, 10, 20, 30, 40, 50, 60, 70, 80, 9, 1000, 1, 11)
    (line,) = lines(
        card(items=[item(metric=metric, price="0.01")]), {TallyKey(currency="USD"): figures}
    )
    assert (line.metric, line.quantity) == (metric, quantity)


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ({}, 5),
        ({"provider": "p"}, 3),
        ({"model": "m"}, 4),
        ({"agent": "a"}, 2),
        ({"provider": "p", "model": "n"}, 1),
        ({"provider": "none"}, 0),
    ],
)
def test_an_item_counts_what_all_its_names_match(fields: Plain, matches: int) -> None:
    keys = [("p", "m", "a"), ("p", "m", "b"), ("p", "n", "b"), ("q", "m", "a"), ("q", "m", "b")]
    tally = {TallyKey(*key, currency="USD"): Figures(units=1) for key in keys}
    found = lines(card(items=[item(price="1", **fields)]), tally)
    assert [line.quantity for line in found] == ([str(matches)] if matches else [])


def test_lines_of_nothing_are_left_out() -> None:
    plain = card(
        items=[item(price="0"), item(id="calls", metric="calls", price="1")],
        discounts=[{"id": "tenth", "percent": "10", "items": ["units"]}],
    )
    found = lines(plain, {TallyKey(currency="USD"): Figures(units=5)})
    assert [(line.item, line.quantity, line.amount) for line in found] == [("units", "5", "0")]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"items": [item()]}, "items.0"),
        ({"items": [item(price="1", tiers={"mode": "volume", "steps": STEPS})]}, "items.0"),
        ({"items": [item(price="-1")]}, "items.0.price"),
        ({"items": [item(price="1", metric="words")]}, "items.0.metric"),
        ({"items": [item(price="1", per=0)]}, "items.0.per"),
        ({"items": [item(price="1", included=-1)]}, "items.0.included"),
        ({"items": [item(price="1", signal="s")]}, "items.0.signal"),
        ({"items": [item(price="1", metric="signals", model="m")]}, "items.0"),
        ({"items": [item(metric="cost", price="1")]}, "items.0"),
        ({"items": [item(price="1", markup_percent="5")]}, "items.0.markup_percent"),
        ({"items": [item(price="1"), item(price="1")]}, "items"),
        ({"items": [item(tiers={"mode": "volume", "steps": STEPS[:2]})]}, "items.0.tiers.steps"),
        ({"items": [item(tiers={"mode": "volume", "steps": STEPS[::-1]})]}, "items.0.tiers.steps"),
        ({"items": [item(tiers={"mode": "steps", "steps": STEPS})]}, "items.0.tiers.mode"),
        ({"fees": [{"id": "base"}]}, "fees.0.amount"),
        ({"fees": {}}, "fees"),
        ({"discounts": [{"id": "d", "percent": "101"}]}, "discounts.0.percent"),
        ({"discounts": [{"id": "d", "percent": "1", "items": ["x"]}]}, "discounts.0.items"),
        ({"minimum": 5}, "minimum"),
        ({"id": ""}, "id"),
        (
            {
                "items": [item(price="1")],
                "discounts": [{"id": "d", "percent": "60"}, {"id": "e", "percent": "41"}],
            },
            "discounts",
        ),
    ],
)
def test_what_is_wrong_in_a_card_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field.replace('.', '[.]')}: "):
        card_from(card(**fields))


def test_defaults_may_be_left_out_of_a_card() -> None:
    found = card_from({"id": "pro", "version": "3", "items": [item(price="1")]})
    assert (found.name, found.currency, found.effective_from_us) == ("pro@3", "USD", 0)
    assert (found.items[0].per, found.items[0].included, found.minimum_pico) == (1, 0, None)
