"""Costs that arrive as floats: the decimal that they print, rounded once, whatever the noise."""

import json
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.client.autohive import usage_of

RUN = {"customer_id": "acme", "integration": "exa", "action": "search", "run_id": "r"}
WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)
TWELFTH = Decimal(1).scaleb(-12)


def taken(cost: Any) -> tuple[Decimal, bool]:
    found = usage_of({"data": {}, "cost_usd": cost}, **RUN)
    assert found.usage.cost is not None
    return Decimal(found.usage.cost), found.rounded


@given(st.floats(min_value=0, max_value=1e17, allow_nan=False))
@example(5e-324)
@example(0.015450000000000002)
@example(2.2250738585072014e-308)
def test_a_cost_is_the_floats_own_text_rounded_half_even(cost: float) -> None:
    exact = Decimal(repr(cost))
    rounded = exact.quantize(TWELFTH, context=WIDE)
    assert taken(cost) == (rounded, rounded != exact)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=100))
def test_the_noise_of_adding_prices_up_is_gone(ten_thousandths: list[int]) -> None:
    total = 0.0
    for one in ten_thousandths:
        total += one / 10_000
    assert taken(total)[0] == Decimal(sum(ten_thousandths)) / 10_000


@given(st.floats(min_value=0, max_value=1e17, allow_nan=False))
def test_it_is_the_same_through_json(cost: float) -> None:
    text = json.dumps(cost)
    assert taken(json.loads(text)) == taken(cost) == taken(Decimal(text))
