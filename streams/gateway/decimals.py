"""Numbers of clients that send floats: read from their text, written back as numbers, never floats.

Native amounts are decimal strings. AgentBill's clients send and read dollars as JSON numbers, so
here is the one place where such a number becomes pico-dollars (by
`schemas.money.amount_from_number_text`, which rounds half-even at 12 decimals and says so: M2) and
where pico-dollars become a number again, digit by digit.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from schemas import codec
from schemas.limits import UNITS_MAX
from schemas.money import (
    amount_from_number_text,
    format_amount,
    parse_signed_amount,
    round_half_even,
)
from streams.gateway.bodies import check_depth
from streams.gateway.problems import ProblemError

PICO_PER_MICRO: Final = 10**6
"""AgentBill counts a job in dollars in micro-dollars: 1,000,000 is one dollar."""


@dataclass(frozen=True, slots=True)
class NumberText:
    """A JSON number with a fraction or an exponent, as its own text."""

    text: str


@dataclass(frozen=True, slots=True)
class Dollars:
    """A number of dollars as it was read. `rounded`: it had digits beyond the twelfth decimal."""

    pico: int
    rounded: bool = False


def parse_numbers(body: bytes) -> dict[str, Any]:
    """A JSON object as plain values, in which a number that is no integer is a NumberText.

    Raises ProblemError (empty, malformed, too_deep); NaN and infinities are no JSON.
    """
    check_depth(body)
    if not body.strip():
        raise ProblemError("empty", "there is no body")
    try:
        parsed = json.loads(body, parse_float=NumberText, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "not JSON in UTF-8"
        raise ProblemError("malformed", f"not JSON: {reason}") from None
    if not isinstance(parsed, dict):
        raise ProblemError("malformed", "not a JSON object")
    return parsed


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _whole(value: object) -> object:
    """10.0 is a whole number to a client whose numbers are all floats."""
    if not isinstance(value, NumberText):
        return value
    pico, rounded = amount_from_number_text(value.text)
    whole, rest = divmod(pico, 10**12)
    if rest or rounded:
        raise ValueError("not a whole number")
    return whole


def _dollars(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | NumberText):
        raise ValueError("not a number of dollars")
    text = value.text if isinstance(value, NumberText) else str(value)
    return Dollars(*amount_from_number_text(text))


Whole = Annotated[int, Field(ge=0, le=UNITS_MAX), BeforeValidator(_whole)]
"""A count of units or tokens; micro-dollars on a job in dollars."""

DollarNumber = Annotated[
    Dollars, BeforeValidator(_dollars), WithJsonSchema({"type": "number", "minimum": 0})
]
"""Dollars as a JSON number."""


def asked_amount(denomination: str, count: int) -> str:
    """A client's count as an amount of the log: micro-dollars become dollars."""
    return format_amount(count * PICO_PER_MICRO) if denomination == "usd" else str(count)


def asked_dollars_or_count(
    denomination: str, dollars: Dollars | None, count: int | None
) -> str | None:
    """An amount of the log from whichever of both a client sent; dollars win."""
    if dollars is not None:
        return format_amount(dollars.pico)
    return None if count is None else asked_amount(denomination, count)


def pico_of(text: str) -> int:
    """The pico-dollars of an amount that an owner told."""
    return parse_signed_amount(text)


def told_count(denomination: str, text: str) -> int:
    """An amount that an owner told, as AgentBill's clients count it: units, tokens, or
    micro-dollars, rounded half-even."""
    if denomination == "usd":
        return round_half_even(parse_signed_amount(text), PICO_PER_MICRO)
    return int(text)


def encode_with_dollars(fields: Mapping[str, Any], dollars: Mapping[str, int | None]) -> bytes:
    """A JSON object with `fields`, and after them pico amounts as JSON numbers, exactly.

    `fields` must not be empty. The encoder writes amounts as strings and knows no decimals; a float
    could not say what it should.
    """
    plain = dict(fields) | {name: None for name, pico in dollars.items() if pico is None}
    numbers = "".join(
        f',"{name}":{format_amount(pico)}' for name, pico in dollars.items() if pico is not None
    )
    return codec.encode(plain)[:-1] + numbers.encode() + b"}"
