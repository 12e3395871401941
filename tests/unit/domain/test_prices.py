"""streams.domain.prices: which model a name means, and which of its prices is in force."""

from typing import Any

import pytest

from schemas.structs import PriceBook
from schemas.times import parse_time_us
from streams.domain.prices import (
    EMPTY_BOOK,
    LOOKUPS_MAX,
    ModelRates,
    TieredRate,
    When,
    index_prices,
    matches,
)
from tests.builders import book, catalog_record, span

MICRO = 10**6
"""Pico-dollars per million tokens in a millionth of a dollar per million."""


def rates_at(model: ModelRates | None, text: str) -> tuple[int | None, ...]:
    assert model is not None
    return tuple(None if rate is None else rate.base for rate in model.at(parse_time_us(text)))


def provider(name: str, models: list[Any], **more: Any) -> dict[str, Any]:
    return {"id": name, "models": models} | more


def model(name: str, match: dict[str, Any] | None = None, price: str = "1") -> dict[str, Any]:
    return {"id": name, "match": match or {"equals": name}, "spans": [span(input=price)]}


def book_of(*providers: dict[str, Any]) -> PriceBook:
    found: PriceBook = catalog_record("price_book", providers=list(providers))
    return found


def found(given: PriceBook, home: str | None, name: str | None) -> str | None:
    rates = index_prices(given).find(home, name)
    return None if rates is None else rates.reference


# --- clauses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clause", "text", "expected"),
    [
        ({"equals": "GPT"}, "gpt", True),
        ({"equals": "gpt"}, "gpt-4", False),
        ({"starts_with": "GPT"}, "gpt-4", True),
        ({"starts_with": "4"}, "gpt-4", False),
        ({"ends_with": "-4"}, "GPT-4", True),
        ({"ends_with": "gpt"}, "gpt-4", False),
        ({"contains": "T-"}, "gpt-4", True),
        ({"contains": "5"}, "gpt-4", False),
        ({"regex": "^g.t-[0-9]$"}, "gpt-4", True),
        ({"regex": "t-4"}, "gpt-4", True),  # anywhere
        ({"regex": "GPT"}, "gpt-4", False),  # the one clause with regard to case
        ({"or": [{"equals": "a"}, {"equals": "b"}]}, "b", True),
        ({"or": []}, "b", False),
        ({"and": [{"contains": "a"}, {"contains": "b"}]}, "ab", True),
        ({"and": [{"contains": "a"}, {"contains": "b"}]}, "a", False),
        ({"and": []}, "b", True),
        ({"or": [{"and": [{"equals": "x"}]}, {"or": [{"equals": "y"}]}]}, "y", True),
    ],
)
def test_a_clause_recognises_names(clause: dict[str, Any], text: str, expected: bool) -> None:
    assert matches(clause, text) is expected


@pytest.mark.parametrize("clause", [{"sounds_like": "x"}, {"equals": "x", "contains": "x"}, {}])
def test_a_clause_that_is_not_known_is_refused(clause: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"clause|not enough values"):
        matches(clause, "x")


# --- finding a model ---------------------------------------------------------------------------

SHOP = book_of(
    provider(
        "lab",
        [model("small"), model("small-2025-12-11"), model("any", {"starts_with": "small"})],
        match={"contains": "lab"},
        model_match={"starts_with": "small"},
    ),
    provider("cloud", [model("own")], match={"equals": "the cloud"}, fallback=["lab", "other"]),
    provider("other", [model("odd")], fallback=["lab"]),
    provider("labyrinth", [model("small")], match={"contains": "lab"}),
)


@pytest.mark.parametrize(
    ("home", "name", "reference"),
    [
        ("lab", "small", "lab/small"),
        ("LAB", "SMALL", "lab/small"),
        ("lab", "small-9", "lab/any"),  # the first model whose clause recognises it
        ("lab", "large", None),
        ("labyrinth", "small", "labyrinth/small"),  # an exact id wins over an earlier clause
        ("my-lab", "small", "lab/small"),  # else the first provider whose clause recognises it
        ("the cloud", "own", "cloud/own"),
        ("cloud", "small", "lab/small"),  # another's model, at the other's price
        ("cloud", "odd", "other/odd"),
        ("other", "own", None),
        ("nobody", "small", None),  # a wrong provider is not guessed at
        (None, "small", "lab/small"),  # the provider told by the model's name
        (None, "odd", None),
        ("lab", None, None),
        (None, None, None),
        ("lab", "small-20251211", "lab/any"),  # what matches as it is stays as it is
    ],
)
def test_a_model_is_found_by_provider_clause_and_fallback(
    home: str | None, name: str | None, reference: str | None
) -> None:
    assert found(SHOP, home, name) == reference


@pytest.mark.parametrize("name", ["SMALL", "Small-9"])
def test_a_model_named_without_provider_is_found_in_any_case(name: str) -> None:
    by_regex = book_of(provider("lab", [model("any", {"regex": "."})], model_match={"regex": "^s"}))
    assert found(by_regex, None, name) == "lab/any"


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("m-2025-12-11", "lab/m-2025-12-11"),
        ("m-20251211", "lab/m-2025-12-11"),
        ("m-20251211:free", "lab/m-2025-12-11:free"),
        ("m-20251311", None),
        ("m-20251232", None),
        ("m-202512110", None),
        ("m20251211", None),
    ],
)
def test_a_compact_date_is_read_as_a_dashed_one_where_nothing_else_matches(
    name: str, reference: str | None
) -> None:
    dated = book_of(provider("lab", [model("m-2025-12-11"), model("m-2025-12-11:free")]))
    assert found(dated, "lab", name) == reference


def test_a_fallback_goes_one_step() -> None:
    chain = book_of(
        provider("a", [], fallback=["b"]),
        provider("b", [], fallback=["c"]),
        provider("c", [model("m")]),
    )
    assert found(chain, "b", "m") == "c/m"
    assert found(chain, "a", "m") is None


def test_what_was_looked_up_is_remembered_within_a_bound() -> None:
    index = index_prices(book(small={"input": "1"}))
    for number in range(LOOKUPS_MAX + 5):
        index.find("lab", f"unknown-{number}")
    assert len(index._found) <= LOOKUPS_MAX
    assert index.find("lab", "small") is index.find("lab", "small")


def test_the_empty_book_knows_nothing() -> None:
    assert EMPTY_BOOK.find("lab", "small") is None
    assert EMPTY_BOOK.version == ""


# --- the price in force ------------------------------------------------------------------------


def test_a_book_pins_its_id_and_version() -> None:
    assert index_prices(book()).version == "test@1"


@pytest.mark.parametrize(
    ("input_tokens", "rate"), [(0, 1), (100, 1), (101, 2), (200, 2), (201, 3), (10**12, 3)]
)
def test_a_tier_holds_above_its_threshold(input_tokens: int, rate: int) -> None:
    assert TieredRate(1, ((100, 2), (200, 3))).at(input_tokens) == rate


def test_tiers_are_put_in_order() -> None:
    index = index_prices(book(small={"input": ("1", [(200, "3"), (100, "2")])}))
    found_model = index.find("lab", "small")
    assert found_model is not None
    rate = found_model.at(0)[0]
    assert rate is not None
    assert [rate.at(n) for n in (100, 150, 250)] == [10**12, 2 * 10**12, 3 * 10**12]


def test_a_class_without_a_price_takes_that_of_what_it_is_part_of() -> None:
    index = index_prices(book(small={"input": "1", "output": "2"}, odd={"cache_read": "3"}))
    pico = 10**12
    assert rates_at(index.find("lab", "small"), "2026-01-01T00:00:00Z") == (
        pico,  # input
        pico,  # cache_read
        pico,  # cache_write
        2 * pico,  # output
        2 * pico,  # reasoning
        pico,  # input_audio
        2 * pico,  # output_audio
    )
    none_but_one = (None, 3 * pico, None, None, None, None, None)
    assert rates_at(index.find("lab", "odd"), "2026-01-01T00:00:00Z") == none_but_one


def test_a_class_with_a_price_keeps_its_own() -> None:
    names = (
        *("input", "cache_read", "cache_write", "output", "reasoning", "input_audio"),
        "output_audio",
    )
    index = index_prices(book(small={name: str(n) for n, name in enumerate(names)}))
    expected = tuple(n * 10**12 for n in range(7))
    assert rates_at(index.find("lab", "small"), "2026-01-01T00:00:00Z") == expected


DATED = index_prices(
    book(
        small=[
            span(input="1"),
            span(from_day="2026-01-10", input="2"),
            span(from_day="2026-01-20", input="3"),
        ],
        future=[span(from_day="2027-01-01", input="1"), span(from_day="2028-01-01", input="2")],
    )
)


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("2025-12-31T23:59:59Z", 1),
        ("2026-01-09T23:59:59.999999Z", 1),
        ("2026-01-10T00:00:00Z", 2),
        ("2026-01-10T00:30:00+01:00", 1),  # days are UTC
        ("2026-01-19T23:59:59.999999Z", 2),
        ("2026-01-20T00:00:00Z", 3),
    ],
)
def test_a_price_holds_from_its_day_on(text: str, price: int) -> None:
    assert rates_at(DATED.find("lab", "small"), text)[0] == price * 10**12


def test_before_the_first_day_the_first_price_holds() -> None:
    assert rates_at(DATED.find("lab", "future"), "2026-01-01T00:00:00Z")[0] == 10**12


@pytest.mark.parametrize(
    ("daily", "text", "active"),
    [
        ((3600, 7200), "2026-01-01T00:59:59.999999Z", False),
        ((3600, 7200), "2026-01-01T01:00:00Z", True),
        ((3600, 7200), "2026-01-01T01:59:59.999999Z", True),
        ((3600, 7200), "2026-01-01T02:00:00Z", False),
        # across midnight
        ((59_400, 1800), "2026-01-01T16:29:59Z", False),
        ((59_400, 1800), "2026-01-01T16:30:00Z", True),
        ((59_400, 1800), "2026-01-01T00:00:00Z", True),
        ((59_400, 1800), "2026-01-01T00:29:59Z", True),
        ((59_400, 1800), "2026-01-01T00:30:00Z", False),
        ((0, 86_400), "2026-01-01T23:59:59.999999Z", True),
        ((3600, 3600), "2026-01-01T01:00:00Z", False),
    ],
)
def test_a_daily_price_holds_between_its_times(
    daily: tuple[int, int], text: str, active: bool
) -> None:
    assert When(None, daily).active(parse_time_us(text)) is active


def test_a_daily_price_overrides_the_one_before_it_only_in_its_window() -> None:
    index = index_prices(book(small=[span(input="2"), span(daily=(59_400, 1800), input="1")]))
    small = index.find("lab", "small")
    assert rates_at(small, "2026-01-01T12:00:00Z")[0] == 2 * 10**12
    assert rates_at(small, "2026-01-01T20:00:00Z")[0] == 10**12


# --- books that cannot be -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "spans",
    [
        [span(from_day="2026-02-30", input="1")],
        [span(input="1.2.3")],
        [span(input="-1")],
        [span(input=("1", [(5, "NaN")]))],
    ],
)
def test_an_impossible_day_or_amount_is_refused_when_the_book_is_taken(spans: Any) -> None:
    with pytest.raises(ValueError, match=r"amount|day"):
        index_prices(book(small=spans))


def test_a_model_without_any_span_is_refused_when_the_book_is_taken() -> None:
    with pytest.raises(ValueError, match="span"):
        index_prices(book(small=[]))


@pytest.mark.parametrize(
    "clause",
    [
        {"sounds_like": "x"},
        {},
        {"equals": "a", "contains": "b"},
        {"regex": "("},
        {"or": [{"nope": 1}]},
        {"or": "abc"},
    ],
)
def test_a_clause_that_cannot_be_evaluated_is_refused_when_the_book_is_taken(clause: Any) -> None:
    with pytest.raises(ValueError, match=r"clause|regex"):
        index_prices(book_of(provider("lab", [{"id": "m", "match": clause, "spans": [span()]}])))


def test_half_a_daily_window_is_refused_when_the_book_is_taken() -> None:
    half = span(input="1") | {"daily_from_second": 3600}
    with pytest.raises(ValueError, match="daily"):
        index_prices(book(small=[span(input="2"), half]))


def test_a_rate_of_an_unknown_token_class_is_refused_when_the_book_is_taken() -> None:
    with pytest.raises(ValueError, match="imput"):
        index_prices(book(small={"imput": "1"}))
