"""schemas.money: exact in, exact out, one rounding."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.limits import AMOUNT_INTEGER_DIGITS_MAX
from schemas.money import (
    PICO,
    amount_from_number_text,
    format_amount,
    parse_amount,
    parse_signed_amount,
    round_half_even,
)

LARGEST = 10 ** (AMOUNT_INTEGER_DIGITS_MAX + 12) - 1


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("0", 0),
        ("1", PICO),
        ("0.015", 15 * 10**9),
        ("0.000000000001", 1),
        ("007.50", 7_500_000_000_000),
        ("999999999999999999.999999999999", LARGEST),
    ],
)
def test_a_decimal_text_is_read_to_the_pico(text: str, pico: int) -> None:
    assert parse_amount(text) == pico


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "Infinity",
        "1_0",
        " 1",
        "1 ",
        "1\n",
        "١",  # an Arabic digit one: `\d` and int() would take it
        "-1",
        "+1",
        "1.",
        ".5",
        "1e3",
        "0x1",
        "1,5",
        "0.0000000000001",  # 13 decimals
        "1000000000000000000",  # 19 digits
    ],
)
def test_anything_but_a_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        parse_amount(text)


@given(st.integers(0, LARGEST))
def test_the_text_of_an_amount_gives_the_amount_back(pico: int) -> None:
    assert parse_amount(format_amount(pico)) == pico


@given(st.integers(-LARGEST, LARGEST))
def test_the_text_of_a_correction_gives_the_correction_back(pico: int) -> None:
    assert parse_signed_amount(format_amount(pico)) == pico


@given(st.integers(-LARGEST, LARGEST))
def test_the_text_of_an_amount_is_what_exact_decimals_say(pico: int) -> None:
    assert Fraction(format_amount(pico)) == Fraction(pico, PICO)


@pytest.mark.parametrize(
    ("pico", "text"),
    [(0, "0"), (PICO, "1"), (-1, "-0.000000000001"), (15 * 10**11, "1.5"), (100 * PICO, "100")],
)
def test_the_text_of_an_amount_is_the_shortest(pico: int, text: str) -> None:
    assert format_amount(pico) == text


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [
        (1, 2, 0),
        (3, 2, 2),
        (5, 2, 2),
        (7, 2, 4),
        (-1, 2, 0),
        (-3, 2, -2),
        (-5, 2, -2),
        (51, 100, 1),
        (49, 100, 0),
        (10, 5, 2),
    ],
)
def test_a_tie_goes_to_the_even_neighbour(numerator: int, denominator: int, rounded: int) -> None:
    assert round_half_even(numerator, denominator) == rounded


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_rounding_agrees_with_exact_fractions(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


def test_rounding_by_a_denominator_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="denominator"):
        round_half_even(1, 0)


@pytest.mark.parametrize(
    ("text", "pico", "rounded"),
    [
        ("0.015450000000000002", 15_450_000_000, True),  # a float with 18 digits, as clients send
        ("0.015", 15 * 10**9, False),
        ("0.0150000000000000000", 15 * 10**9, False),
        ("1.5e-7", 150_000, False),
        ("1E3", 1000 * PICO, False),
        ("5e-13", 0, True),  # a tie, to the even zero
        ("1.5e-12", 2, True),
        ("2.5e-12", 2, True),
        ("1e-99", 0, True),
        ("0e-99", 0, False),
        ("999999999999999999", 999999999999999999 * PICO, False),
    ],
)
def test_a_number_of_a_client_is_rounded_at_the_twelfth_decimal_and_flagged(
    text: str, pico: int, rounded: bool
) -> None:
    assert amount_from_number_text(text) == (pico, rounded)


@given(st.just(0.0) | st.floats(1e-99, 1e15))
def test_the_text_of_any_float_is_read_as_the_decimal_that_it_shows(number: float) -> None:
    shown = Decimal(repr(number))
    pico, rounded = amount_from_number_text(repr(number))
    exact = shown.scaleb(12)
    assert pico == int(exact.to_integral_value(ROUND_HALF_EVEN))
    assert rounded == (exact != pico)


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "-1", "-0.0", "+1", "1_0", " 1", "١", "1e", "1e100", "1e18", "0x1p3", ""],
)
def test_a_number_that_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a non-negative decimal|out of range"):
        amount_from_number_text(text)
