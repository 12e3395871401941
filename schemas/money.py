"""Money as integers of pico-dollars (10**-12), its one way in and out of text, and the one
rounding.

No float ever: text is read digit by digit, products are exact integers, and `round_half_even` is
the only place where something is rounded (decision 001, M2). Other currencies use the same scale,
under their ISO code.
"""

import re
from fractions import Fraction
from typing import Final

from schemas.limits import AMOUNT_FRACTION_DIGITS_MAX, AMOUNT_INTEGER_DIGITS_MAX

PICO: Final = 10**12
"""Pico-dollars in a dollar."""

AMOUNT_PATTERN: Final = (
    rf"^[0-9]{{1,{AMOUNT_INTEGER_DIGITS_MAX}}}(\.[0-9]{{1,{AMOUNT_FRACTION_DIGITS_MAX}}})?$"
)
"""A plain decimal without sign or exponent. ASCII digits only: `\\d` would take other scripts."""

_amount = re.compile(AMOUNT_PATTERN.removesuffix("$") + r"\Z")
_written = re.compile(r"(-?)([0-9]{1,26})(?:\.([0-9]{1,12}))?\Z")
_number = re.compile(r"([+-]?)([0-9]{1,40})(?:\.([0-9]{0,8000}))?(?:[eE]([+-]?[0-9]{1,4}))?\Z")
_loose_amount = re.compile(r"([0-9]{1,18})(?:\.([0-9]{0,64}))?(?:[eE]([+-]?[0-9]{1,2}))?\Z")


def parse_amount(text: str) -> int:
    """The pico amount that a decimal text such as `0.015` says, exactly.

    Raises ValueError for anything but `AMOUNT_PATTERN`: signs, exponents, blanks, NaN, more than 12
    decimals.
    """
    if not _amount.match(text):
        raise ValueError(f"not an amount of at most 12 decimals without sign: {text[:40]!r}")
    whole, _, fraction = text.partition(".")
    return int(whole) * PICO + int(fraction.ljust(12, "0")) if fraction else int(whole) * PICO


WRITTEN_MAX: Final = 16_384
"""Amounts that are remembered with their text. What a cycle writes into its entries it reads again
when it applies them; more than that is forgotten."""

_written_amounts: Final[dict[str, int]] = {}


def format_amount(pico: int) -> str:
    """The shortest decimal text of a pico amount; `parse_amount` of it gives the amount back.

    Negative amounts (adjustments, reversals) carry a leading minus, which only entries may have.
    """
    if not pico:
        return "0"
    digits = str(abs(pico)).zfill(AMOUNT_FRACTION_DIGITS_MAX + 1)
    whole, fraction = digits[:-AMOUNT_FRACTION_DIGITS_MAX], digits[-AMOUNT_FRACTION_DIGITS_MAX:]
    text = f"{whole}.{fraction}".rstrip("0").rstrip(".")
    if pico < 0:
        text = "-" + text
    if len(_written_amounts) >= WRITTEN_MAX:
        _written_amounts.clear()
    _written_amounts[text] = pico
    return text


def parse_signed_amount(text: str) -> int:
    """The pico amount of what `format_amount` wrote: with a leading minus, and up to 26 digits
    before the point, as a cost can be larger than any amount that a producer may send.

    Raises ValueError for anything else.
    """
    if text == "0":
        return 0
    known = _written_amounts.get(text)
    if known is not None:
        return known
    match = _written.match(text)
    if not match:
        raise ValueError(f"not an amount as Tollgate writes it: {text[:50]!r}")
    pico = int(match[2]) * PICO + int((match[3] or "").ljust(AMOUNT_FRACTION_DIGITS_MAX, "0"))
    return -pico if match[1] else pico


def round_half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` as an integer, ties to even. The one rounding of money (M2).

    `denominator` must be positive; the numerator may be negative.
    """
    if denominator <= 0:
        raise ValueError("the denominator of an amount must be positive")
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def amount_from_number_text(text: str) -> tuple[int, bool]:
    """The pico amount of a JSON number's text, for adapters whose clients send floats.

    Reads the text as a decimal, exponent included, and rounds what lies beyond 12 decimals. Returns
    the amount and whether something was rounded away, which the adapter flags (M2). Raises
    ValueError for signs, NaN, infinities and texts out of range.
    """
    match = _loose_amount.match(text)
    if not match:
        raise ValueError(f"not a non-negative decimal number: {text[:40]!r}")
    whole, fraction, exponent = match[1], match[2] or "", int(match[3] or 0)
    digits, scale = int(whole + fraction), len(fraction) - exponent
    if scale <= 12:
        pico = digits * 10 ** (12 - scale)
        rounded = False
    else:
        pico = round_half_even(digits, 10 ** (scale - 12))
        rounded = pico * 10 ** (scale - 12) != digits
    if pico >= 10 ** (AMOUNT_INTEGER_DIGITS_MAX + 12):
        raise ValueError(f"amount out of range: {text[:40]!r}")
    return pico, rounded


def fraction_of(text: str) -> Fraction:
    """The exact number that a decimal text says, sign and exponent included; nothing is rounded.

    For what others have summed (cost exports), which may have any number of decimals: databases
    write a nothing as `0E-6176`. Raises ValueError for anything else, and from 10**26 on.
    """
    match = _number.match(text)
    if not match:
        raise ValueError(f"not a decimal number: {text[:40]!r}")
    sign, whole, decimals, exponent = match.groups()
    digits, scale = int(whole + (decimals or "")), len(decimals or "") - int(exponent or 0)
    if not digits:
        return Fraction(0)
    found = Fraction(digits * 10 ** max(-scale, 0), 10 ** max(scale, 0))
    if found >= 10**26:
        raise ValueError(f"amount out of range: {text[:40]!r}")
    return -found if sign == "-" else found


_DIGITS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
"""ISO 4217: the currencies whose smallest unit is not a hundredth, by their decimals."""

_DIGITS_OF: Final = {code: digits for digits, codes in _DIGITS.items() for code in codes.split()}
_UNITS: Final = tuple(PICO // int("1".ljust(digits + 1, "0")) for digits in range(5))


def currency_digits(currency: str) -> int:
    """Decimals of a currency's smallest unit by ISO 4217: 0 for JPY, 3 for KWD, else mostly 2."""
    return _DIGITS_OF.get(currency, 2)


def smallest_unit_pico(currency: str) -> int:
    """The smallest unit of a currency in pico: a cent is 10**10."""
    return _UNITS[_DIGITS_OF.get(currency, 2)]


def round_to_currency(numerator: int, denominator: int, currency: str) -> int:
    """A pico amount given as `numerator / denominator`, rounded to the smallest unit of its
    currency, ties to even. The one rounding of what stands on an invoice (decision 027).

    Returns pico, a multiple of that unit. `denominator` must be positive.
    """
    unit = smallest_unit_pico(currency)
    return round_half_even(numerator, denominator * unit) * unit
