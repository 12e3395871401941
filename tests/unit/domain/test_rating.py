"""streams.domain.rating: how a cost comes about, and its one rounding."""

from typing import Any

import pytest

from schemas.money import PICO
from streams.domain.prices import EMPTY_BOOK, PriceIndex, index_prices
from streams.domain.rating import NOTHING, Rating, rate, total_tokens
from tests.builders import NOON_US, book, usage

PROVISIONAL = 15 * PICO
"""Fifteen dollars per million tokens."""

BOOK = index_prices(
    book(
        small={"input": "3", "output": "15", "cache_read": "0.3"},
        tiered={"input": ("1", [(100, "2"), (200, "4")]), "output": ("10", [(100, "20")])},
        tiny={"input": "0.000001", "output": "0.0000005"},
        finer={"input": "0.0000015"},
        input_only={"input": "2"},
        free={"input": "0", "output": "0"},
        nothing={},
    )
)


def rating_of(prices: PriceIndex = BOOK, cost_pico: int | None = None, **fields: Any) -> Rating:
    body = usage(**{"provider": "lab"} | fields)
    return rate(body, cost_pico, NOON_US, prices, PROVISIONAL)


def test_a_reported_cost_wins_over_the_price_book() -> None:
    found = rating_of(model="small", tokens={"input": 10**6}, cost_pico=5)
    assert found == Rating(5, "USD", "reported")


def test_a_reported_cost_of_nothing_is_a_cost() -> None:
    found = rating_of(model="small", tokens={"input": 10**6}, cost_pico=0)
    assert (found.cost_pico, found.basis) == (0, "reported")


def test_a_reported_cost_keeps_its_currency() -> None:
    found = rating_of(cost_pico=7, cost="1", currency="EUR", tokens={"input": 1})
    assert found == Rating(7, "EUR", "reported")


def test_tokens_are_priced_by_the_book_in_dollars_whatever_currency_is_named() -> None:
    found = rating_of(model="small", tokens={"input": 2, "output": 3}, currency="EUR")
    assert found == Rating(2 * 3_000_000 + 3 * 15_000_000, "USD", "priced", "test@1", "lab/small")


def test_each_class_costs_its_own_rate_or_that_of_its_parent() -> None:
    tokens = {
        "input": 1,
        "cache_read": 10,
        "cache_write": 100,
        "output": 1_000,
        "reasoning": 10_000,
        "input_audio": 100_000,
        "output_audio": 1_000_000,
    }
    found = rating_of(model="small", tokens=tokens)
    as_input, as_output, as_cached = 1 + 100 + 100_000, 1_000 + 10_000 + 1_000_000, 10
    assert found.cost_pico == as_input * 3_000_000 + as_output * 15_000_000 + as_cached * 300_000


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        ({"input": 100}, 100 * 1),
        ({"input": 101}, 101 * 2),
        ({"input": 200}, 200 * 2),
        ({"input": 201}, 201 * 4),
        # Whatever is input counts towards the threshold…
        ({"input": 50, "cache_read": 25, "cache_write": 25}, 100 * 1),
        ({"input": 50, "cache_read": 25, "cache_write": 26}, 101 * 2),
        ({"input": 1, "input_audio": 100}, 101 * 2),
        # …and what is output does not, but its own tier goes by the input.
        ({"input": 100, "output": 5_000}, 100 * 1 + 5_000 * 10),
        ({"input": 101, "output": 1}, 101 * 2 + 20),
    ],
)
def test_a_tier_is_chosen_by_all_input_tokens_and_prices_the_whole_event(
    tokens: dict[str, int], cost: int
) -> None:
    assert rating_of(model="tiered", tokens=tokens).cost_pico == cost * 10**6


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        ({"input": 1}, 1),  # six decimals per million tokens are exact per token
        ({"output": 1}, 0),  # half a pico-dollar, to the even zero
        ({"output": 2}, 1),
        ({"output": 3}, 2),  # 1.5 to the even two
        ({"output": 5}, 2),  # 2.5 to the even two
        ({"input": 1, "output": 1}, 2),  # 1.5: once over the sum, not 1 + 0 per class
        ({"input": 3, "output": 3}, 4),  # 4.5 to the even four
    ],
)
def test_a_cost_is_rounded_once_per_event_half_to_even(tokens: dict[str, int], cost: int) -> None:
    assert rating_of(model="tiny", tokens=tokens).cost_pico == cost


def test_a_rate_below_a_pico_dollar_per_token_is_not_lost() -> None:
    assert rating_of(model="finer", tokens={"input": 1_000_000}).cost_pico == 1_500_000


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"model": "unheard-of"}, "an unknown model"),
        ({"model": "small", "provider": "nobody"}, "an unknown provider"),
        ({}, "no model named"),
        ({"model": "nothing"}, "a model without any price"),
        ({"model": "input_only"}, "a class without a price or parent's price"),
    ],
)
def test_what_has_no_price_is_unpriced_and_charged_provisionally_never_free(
    fields: dict[str, Any], why: str
) -> None:
    found = rating_of(tokens={"input": 10, "output": 5}, **fields)
    assert found == Rating(0, "USD", "unpriced", "test@1", "", 15 * 15 * 10**6), why


def test_a_class_without_a_price_that_was_not_used_does_no_harm() -> None:
    found = rating_of(model="input_only", tokens={"input": 5, "output": 0})
    assert (found.cost_pico, found.basis) == (5 * 2_000_000, "priced")


def test_a_free_model_is_priced_at_nothing() -> None:
    found = rating_of(model="free", tokens={"input": 10})
    assert found == Rating(0, "USD", "priced", "test@1", "lab/free")


def test_without_a_book_everything_with_tokens_is_unpriced() -> None:
    found = rating_of(EMPTY_BOOK, model="small", tokens={"output": 1})
    assert (found.basis, found.provisional_pico, found.price_version) == (
        "unpriced",
        15_000_000,
        "",
    )


@pytest.mark.parametrize("fields", [{}, {"tokens": {}}, {"tokens": {"input": 0}, "model": "small"}])
def test_usage_without_tokens_or_cost_costs_nothing(fields: dict[str, Any]) -> None:
    assert rating_of(**fields) == NOTHING
    assert NOTHING.basis == "none"


def test_the_largest_event_is_exact() -> None:
    largest = 10**12
    found = rating_of(model="small", tokens={"input": largest, "output": largest})
    assert found.cost_pico == 18 * largest * 10**6


def test_all_tokens_of_an_event_are_the_sum_of_its_classes() -> None:
    body = usage(tokens={"input": 1, "cache_read": 2, "reasoning": 4, "output_audio": 8})
    assert total_tokens(body.tokens) == 15
    assert total_tokens(None) == 0
