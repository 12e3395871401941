"""Numbers of clients that send floats."""

import json
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.money import PICO
from streams.gateway.decimals import (
    DollarNumber,
    Dollars,
    Whole,
    asked_amount,
    asked_dollars_or_count,
    encode_with_dollars,
    parse_numbers,
    told_count,
)
from streams.gateway.problems import ProblemError


class Body(BaseModel):
    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True)
    count: Whole | None = None
    cost: DollarNumber | None = None


def read(text: str) -> Body:
    return Body.model_validate(parse_numbers(text.encode()))


@pytest.mark.parametrize(
    ("text", "pico", "rounded"),
    [
        ("0.5", PICO // 2, False),
        ("2", 2 * PICO, False),
        ("1e-3", PICO // 1_000, False),
        ("0.015450000000000002", 15_450_000_000, True),
        ("0.0000000000005", 0, True),
        ("0.0000000000015", 2, True),
    ],
)
def test_dollars_are_read_from_their_text_and_rounded_half_even(
    text: str, pico: int, rounded: bool
) -> None:
    assert read(f'{{"cost": {text}}}').cost == Dollars(pico, rounded)


@pytest.mark.parametrize("text", ["-1", "-0.5", '"0.5"', "true", "1e30", "[1]"])
def test_what_is_no_number_of_dollars_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        read(f'{{"cost": {text}}}')


@pytest.mark.parametrize(("text", "count"), [("10", 10), ("10.0", 10), ("1e3", 1000)])
def test_a_whole_number_may_be_written_as_a_float(text: str, count: int) -> None:
    assert read(f'{{"count": {text}}}').count == count


@pytest.mark.parametrize("text", ["1.5", "-1", "true", '"1"', "1e-20", "1e13"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        read(f'{{"count": {text}}}')


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": NaN}', b'{"a": Infinity}', b"\xff"])
def test_what_is_no_json_object_is_a_problem(body: bytes) -> None:
    with pytest.raises(ProblemError):
        parse_numbers(body)


@given(st.integers(-(10**30), 10**30))
def test_dollars_are_written_as_exact_numbers(pico: int) -> None:
    body = encode_with_dollars({"a": 1}, {"cost": pico, "none": None})
    told = json.loads(body, parse_float=str, parse_int=str)
    whole, _, fraction = told["cost"].partition(".")
    assert int(whole + fraction.ljust(12, "0")) == pico
    assert told["none"] is None


def test_a_job_in_dollars_is_counted_in_micro_dollars() -> None:
    assert asked_amount("usd", 20_000) == "0.02"
    assert told_count("usd", "0.02") == 20_000
    assert told_count("usd", "0.0000005") == 0
    assert told_count("usd", "0.0000015") == 2
    assert asked_amount("token", 5) == "5"
    assert told_count("token", "-5") == -5


def test_dollars_win_over_a_count() -> None:
    assert asked_dollars_or_count("usd", Dollars(PICO), 7) == "1"
    assert asked_dollars_or_count("usd", None, 7) == "0.000007"
    assert asked_dollars_or_count("unit", None, None) is None


def test_a_schema_shows_numbers_not_how_they_are_read() -> None:
    class Shown(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        cost: Annotated[DollarNumber, "dollars"]
        count: Whole

    shown = Shown.model_json_schema()["properties"]
    assert shown["cost"]["type"] == "number"
    assert shown["count"]["type"] == "integer"
