"""streams.domain.rating: what is charged beside tokens, kinds of tokens, how a call was made."""

from typing import Any

import pytest

from schemas.errors import RejectError
from schemas.structs import PriceBook, UsageEntry
from streams.domain.prices import index_prices
from streams.domain.rating import NOTHING, Rating, rate
from tests.builders import NOON_US, catalog_record, context, cycle, fact, of_kind, state, usage

MODELS = [
    {
        "id": "searcher",
        "match": {"equals": "searcher"},
        "spans": [
            {
                "rates": {
                    "input": {"base": "3"},
                    "output": {"base": "15"},
                    "cache_write": {"base": "4"},
                    "cache_write_1h_tokens": {"base": "6", "tiers": [[1_000, "12"]]},
                    "input_image_tokens": {"base": "1"},
                },
                "quantities": {"web_searches": {"price": "10", "per": 1000}},
            }
        ],
        "variants": [
            {"when": {"processing": "batch"}, "rates": {"input": {"base": "1.5"}}},
            {
                "when": {"processing": "batch", "tier": "flex"},
                "rates": {"input": {"base": "1"}, "output": {"base": "5"}},
            },
            {"when": {"tier": "late"}, "from_day": "2026-02-01", "rates": {"input": {"base": "9"}}},
        ],
    },
    {
        "id": "hearing",
        "match": {"equals": "hearing"},
        "spans": [
            {
                "rates": {},
                "quantities": {
                    "audio_milliseconds": {"price": "0.36", "per": 3_600_000, "least": 10_000},
                    "input_document_pages": {"price": "2", "per": 1000},
                },
            }
        ],
    },
    {
        "id": "asking",
        "match": {"equals": "asking"},
        "spans": [
            {
                "rates": {"input": {"base": "1"}, "output": {"base": "1"}},
                "quantities": {"requests": {"price": "5", "per": 1000}},
            }
        ],
    },
]

BOOK: PriceBook = catalog_record(
    "price_book", providers=[{"id": "lab", "match": {"equals": "lab"}, "models": MODELS}]
)
PRICES = index_prices(BOOK)
MICRO = 10**6
"""Pico-dollars in a millionth of a dollar."""


def rating_of(model: str = "searcher", **fields: Any) -> Rating:
    body = usage(provider="lab", model=model, **fields)
    return rate(body, None, NOON_US, PRICES, 15 * 10**12)


def micros(model: str = "searcher", **fields: Any) -> float:
    rating = rating_of(model, **fields)
    assert rating.basis == "priced"
    return rating.cost_pico / MICRO


# --- quantities ----------------------------------------------------------------------------------


def test_what_is_counted_is_priced_beside_the_tokens() -> None:
    assert micros(tokens={"input": 2}, quantities={"web_searches": 3}) == 6 + 30_000
    assert micros(quantities={"web_searches": 1}) == 10_000


def test_tokens_and_quantities_are_rounded_once_together() -> None:
    # 0.36 USD for 3.6 million is a tenth of a micro-dollar each.
    assert (
        rating_of("hearing", quantities={"audio_milliseconds": 10_001}).cost_pico == 1_000_100_000
    )
    assert micros("hearing", quantities={"input_document_pages": 3}) == 6_000


def test_some_are_charged_at_least_where_there_is_any() -> None:
    least = micros("hearing", quantities={"audio_milliseconds": 10_000})
    assert micros("hearing", quantities={"audio_milliseconds": 1}) == least
    assert rating_of("hearing", quantities={"audio_milliseconds": 0}) == NOTHING


def test_a_kind_without_a_price_of_its_own_has_that_of_what_it_is_a_kind_of() -> None:
    general = micros("hearing", quantities={"audio_milliseconds": 20_000})
    assert micros("hearing", quantities={"input_audio_milliseconds": 20_000}) == general
    assert micros("hearing", quantities={"input_annotated_document_pages": 1}) == 2_000


def test_an_event_is_one_request_where_it_does_not_say_how_many() -> None:
    assert micros("asking", tokens={"input": 1}) == 1 + 5_000
    assert micros("asking", tokens={"input": 1}, quantities={"requests": 4}) == 1 + 20_000
    assert micros("asking", tokens={"input": 1}, quantities={"requests": 0}) == 1
    assert micros("asking", quantities={"requests": 1}) == 5_000
    assert micros("asking", quantities={"tool_calls": 9}) == 5_000
    assert rating_of("asking", tokens={"input": 0}) == NOTHING


def test_a_quantity_without_a_price_is_flagged_and_does_not_hide_the_price_of_the_tokens() -> None:
    found = rating_of(tokens={"input": 1}, quantities={"tool_calls": 2})
    assert (found.cost_pico, found.basis, found.partial) == (3 * MICRO, "priced", True)
    assert not rating_of(tokens={"input": 1}, quantities={"tool_calls": 0}).partial
    assert not rating_of(tokens={"input": 1}, quantities={"requests": 1}).partial


def test_what_has_no_price_at_all_is_unpriced_never_free() -> None:
    unpriced: list[dict[str, Any]] = [
        {"model": "searcher", "quantities": {"tool_calls": 2}},
        {"model": "unheard-of", "quantities": {"web_searches": 2}},
        {"model": "hearing", "quantities": {"audio_milliseconds": 5}, "tokens": {"input": 1}},
    ]
    for fields in unpriced:
        assert rating_of(**fields).basis == "unpriced", fields


# --- kinds of tokens -----------------------------------------------------------------------------


def test_a_part_of_a_class_is_priced_as_its_kind_and_the_rest_as_the_class() -> None:
    tokens = {"cache_write": 10, "input": 5}
    assert micros(tokens=tokens) == 40 + 15
    assert micros(tokens=tokens, quantities={"cache_write_1h_tokens": 4}) == 6 * 4 + 4 * 6 + 15
    assert micros(tokens=tokens, quantities={"cache_write_1h_tokens": 10}) == 10 * 6 + 15
    assert micros(tokens=tokens, quantities={"input_image_tokens": 5}) == 40 + 5


def test_a_part_has_the_tier_of_the_whole_event() -> None:
    tokens = {"cache_write": 10, "input": 991}
    assert micros(tokens=tokens, quantities={"cache_write_1h_tokens": 1}) == 9 * 4 + 12 + 991 * 3


def test_a_part_without_a_price_is_priced_as_its_class() -> None:
    found = rating_of(tokens={"output": 2}, quantities={"output_image_tokens": 2})
    assert (found.cost_pico, found.partial) == (30 * MICRO, False)


@pytest.mark.parametrize(
    ("tokens", "quantities", "field"),
    [
        ({"input": 5}, {"input_image_tokens": 6}, "input_image_tokens"),
        ({"input": 5}, {"input_image_tokens": 3, "input_video_tokens": 3}, "input_video_tokens"),
        (None, {"output_citation_tokens": 1}, "output_citation_tokens"),
    ],
)
def test_parts_never_exceed_their_whole(
    tokens: dict[str, int] | None, quantities: dict[str, int], field: str
) -> None:
    more: dict[str, Any] = {} if tokens is None else {"tokens": tokens}
    with pytest.raises(RejectError, match="exceed") as refused:
        fact(usage(quantities=quantities, **more))
    assert refused.value.field == f"quantities.{field}"


# --- conditions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "cost"),
    [
        ({}, 3 + 15),
        ({"processing": "batch"}, 1.5 + 15),
        ({"processing": "batch", "tier": "flex"}, 1.5 + 5),  # each price of the first that has it
        ({"processing": "batch", "region": "eu"}, 1.5 + 15),
        ({"tier": "flex"}, 3 + 15),
        ({"tier": "late"}, 3 + 15),  # not yet
        ({"processing": "BATCH"}, 3 + 15),
    ],
)
def test_a_call_costs_what_calls_made_so_cost(conditions: dict[str, str], cost: float) -> None:
    assert micros(tokens={"input": 1, "output": 1}, conditions=conditions) == cost


def test_the_ledger_says_what_was_used_and_under_which_conditions() -> None:
    body = usage(
        provider="lab",
        model="searcher",
        tokens={"input": 1},
        quantities={"web_searches": 1, "nothing": 0, "tool_calls": 2},
        conditions={"processing": "batch"},
    )
    result = cycle(state(), fact(body), context=context(prices=BOOK))
    (entry,) = of_kind(UsageEntry, result.entries)
    assert entry.quantities == {"web_searches": 1, "tool_calls": 2}
    assert entry.conditions == {"processing": "batch"}
    assert (entry.cost, entry.flags) == ("0.0100015", ["unpriced_quantity"])


# --- identity ------------------------------------------------------------------------------------


def test_quantities_and_conditions_are_billing_content() -> None:
    plain = fact(usage(quantities={"web_searches": 1})).body_hash
    assert fact(usage(quantities={"web_searches": 2})).body_hash != plain
    assert fact(usage(quantities={"web_searches": 1, "requests": 1})).body_hash != plain
    batch: dict[str, Any] = {"conditions": {"processing": "batch"}}
    assert fact(usage(quantities={"web_searches": 1}, **batch)).body_hash != plain


def test_neither_order_nor_zeros_nor_emptiness_make_another_event() -> None:
    def hash_of(**fields: Any) -> bytes:
        return fact(usage(**fields)).body_hash

    assert hash_of(quantities={"a": 1, "b": 2}) == hash_of(quantities={"b": 2, "a": 1, "c": 0})
    assert hash_of(conditions={"a": "1", "b": "2"}) == hash_of(conditions={"b": "2", "a": "1"})
    assert hash_of() == hash_of(quantities={}, conditions={}) == hash_of(quantities={"a": 0})


@pytest.mark.parametrize(
    "fields",
    [
        {"quantities": {"Web": 1}},
        {"quantities": {"": 1}},
        {"quantities": {"a b": 1}},
        {"quantities": {"a" * 65: 1}},
        {"quantities": {"a": -1}},
        {"quantities": {"a": 1.5}},
        {"quantities": {f"a{n}": 1 for n in range(17)}},
        {"conditions": {"a": ""}},
        {"conditions": {"a": "b" * 65}},
        {"conditions": {f"a{n}": "b" for n in range(9)}},
    ],
)
def test_what_the_contract_does_not_allow_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RejectError):
        usage(**fields)
