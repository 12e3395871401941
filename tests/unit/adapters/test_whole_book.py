"""streams.adapters.price_source, all of it: of every provider, model, span and variant of the book,
our cost is the cost that the source itself computes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from genai_prices import types as genai
from genai_prices.data import providers

from schemas.times import MICROSECONDS
from schemas.usage import TOKEN_PARTS as PARENTS
from streams.adapters.price_source import (
    FREE_SUFFIX,
    LEAST,
    PRICE_KEYS,
    QUANTITIES,
    TOKEN_CLASSES,
    TOKEN_PARTS,
    price_book,
)
from streams.domain.prices import ModelRates, PriceIndex, index_prices
from streams.domain.rating import rate
from tests import builders

Tokens = dict[str, int]
Prices = dict[str, Any]

MIXES: list[Tokens] = [
    {"input": 1, "output": 1},
    {"input": 7, "cache_read": 100_003, "cache_write": 11, "output": 3, "reasoning": 5},
    {"input": 90_000, "cache_read": 100_001, "output": 12_345},
    {"input": 250_001, "output": 1, "reasoning": 999},
    {"input": 3, "input_audio": 17, "output": 5, "output_audio": 19},
    {"input": 1_000_000_000, "output": 1_000_000_000},
]

WHOLES = {"input": 103, "cache_read": 105, "cache_write": 107, "output": 109}
"""Tokens of the mix in which something of every priced kind is used."""

TIMES = [datetime(2024, 3, 1, tzinfo=UTC), datetime(2026, 11, 20, 3, 0, tzinfo=UTC)]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def index() -> PriceIndex:
    return index_prices(price_book())


class OneModel:
    """A price index that knows one model, whatever is asked."""

    version = "test"

    def __init__(self, rates: ModelRates) -> None:
        self._rates = rates

    def find(self, provider: str | None, model: str | None) -> ModelRates:
        return self._rates


def moments(model: genai.ModelInfo) -> list[datetime]:
    """Some times, and both sides of every moment at which a price of the model changes."""
    conditions = [] if isinstance(model.prices, genai.ModelPrice) else list(model.prices)
    found = set(TIMES)
    for one in (*conditions, *(model.price_variants or ())):
        match one.constraint:
            case genai.StartDateConstraint(start_date=day):
                edges = [datetime(day.year, day.month, day.day, tzinfo=UTC)]
            case genai.TimeOfDateConstraint(start_time=start, end_time=end):
                edges = [datetime.combine(TIMES[1], at.replace(tzinfo=UTC)) for at in (start, end)]
            case _:
                continue
        for edge in edges:
            found |= {edge, edge - timedelta(microseconds=1)}
    return sorted(found)


def circumstances(model: genai.ModelInfo) -> list[dict[str, str]]:
    """None, those of each variant, all of them together, and others."""
    variants = [variant.when for variant in model.price_variants or ()]
    together: dict[str, str] = {}
    for when in variants:
        together |= when
    found = [{}, *variants, together, {"processing": "elsewhere"}]
    return [when for at, when in enumerate(found) if when not in found[:at]]


def everything(prices: Prices) -> tuple[Tokens, dict[str, int]]:
    """Something of every kind that these prices name, parts of classes among them."""
    tokens = {name: count for name, count in WHOLES.items() if f"{name}_mtok" in prices}
    quantities = {
        name: 13 for key, name in TOKEN_PARTS.items() if key in prices and PARENTS[name] in tokens
    }
    for key, (name, _) in QUANTITIES.items():
        if key in prices:
            quantities[name] = 1_500_017 if name.endswith("milliseconds") else 7
    if {"audio_milliseconds", "input_audio_milliseconds"} <= quantities.keys():
        del quantities["audio_milliseconds"]
    quantities.pop("requests", None)
    return tokens, quantities


def our_cost(
    tokens: Tokens,
    quantities: dict[str, int],
    conditions: dict[str, str],
    rates: ModelRates,
    at: datetime,
) -> int | None:
    """Pico-dollars, or None for unpriced."""
    more: dict[str, Any] = {}
    if quantities:
        more["quantities"] = quantities
    if conditions:
        more["conditions"] = conditions
    body = builders.usage(provider="any", model="any", tokens=tokens, **more)
    at_us = (at - EPOCH) // timedelta(microseconds=1)
    assert at_us % MICROSECONDS in (0, MICROSECONDS - 1)
    known: Any = OneModel(rates)
    rating = rate(body, None, at_us, known, 0)
    assert rating.basis in ("priced", "unpriced")
    assert not rating.partial
    return rating.cost_pico if rating.basis == "priced" else None


def their_usage(tokens: Tokens, quantities: Mapping[str, int]) -> genai.Usage:
    """The same in their terms: what is more general includes what is more special."""
    count = Counter(tokens)
    kinds = Counter(quantities)
    given: dict[str, Any] = {
        "input_tokens": count["input"]
        + count["cache_read"]
        + count["cache_write"]
        + count["input_audio"],
        "cache_read_tokens": count["cache_read"],
        "cache_write_tokens": count["cache_write"],
        "input_audio_tokens": count["input_audio"] + kinds["cache_audio_read_tokens"],
        "output_tokens": count["output"] + count["reasoning"] + count["output_audio"],
        "output_reasoning_tokens": count["reasoning"],
        "output_audio_tokens": count["output_audio"],
    }
    given |= {name: kinds[name] for name in PARENTS}
    given["input_image_tokens"] += kinds["cache_image_read_tokens"]
    for name, _ in QUANTITIES.values():
        if name.endswith("milliseconds"):
            seconds = Decimal(kinds[name]) / 1000
            given[name.replace("milliseconds", "seconds")] = seconds
        elif name != "requests":
            given[name] = kinds[name]
    given["audio_seconds"] += given["input_audio_seconds"] + given["output_audio_seconds"]
    given["input_document_pages"] += given["input_annotated_document_pages"]
    return genai.Usage(**given)


def decimals(prices: Prices) -> int:
    """The most decimals of any price, tiers included."""
    amounts: list[Decimal] = []
    for price in prices.values():
        tiered = isinstance(price, genai.TieredPrices)
        amounts += [price.base, *(tier.price for tier in price.tiers)] if tiered else [price]
    return max((-int(amount.as_tuple().exponent) for amount in amounts), default=0)


def unpriced_classes(tokens: Tokens, prices: Prices) -> set[str]:
    """The classes of these tokens for which the source has neither a price nor one of their
    parent."""
    priced = {TOKEN_CLASSES[key] for key in TOKEN_CLASSES.keys() & prices.keys()}
    if "input" in priced:
        priced |= {"cache_read", "cache_write", "input_audio"}
    if "output" in priced:
        priced |= {"reasoning", "output_audio"}
    return tokens.keys() - priced


Case = tuple[str, genai.Provider, genai.ModelInfo, ModelRates, datetime, dict[str, str], Prices]


def cases() -> Iterator[Case]:
    """Every model at every moment under all circumstances, with the prices that are in force."""
    for home in providers:
        ours = next(found for found in index().providers if found.id == home.id)
        for place, model in enumerate(home.models):
            for at in moments(model):
                for when in circumstances(model):
                    stated = vars(model.get_prices(at, when))
                    prices = {key: value for key, value in stated.items() if value is not None}
                    name = f"{home.id}/{model.id} at {at} when {when}"
                    yield name, home, model, ours.models[place][1], at, when, prices


@pytest.mark.parametrize("mix", [*MIXES, None], ids=[*map("+".join, MIXES), "everything"])
def test_every_model_costs_what_its_source_says(mix: Tokens | None) -> None:
    seen: Counter[str] = Counter()
    for name, home, model, rates, at, when, prices in cases():
        tokens, quantities = (mix, {}) if mix is not None else everything(prices)
        if not tokens and not quantities:
            continue
        ours = our_cost(tokens, quantities, when, rates, at)
        if not prices and model.id.endswith(FREE_SUFFIX):
            assert ours == 0, name
            seen["free"] += 1
            continue
        if unpriced_classes(tokens, prices):
            # The source counts what it has no price for as free; Tollgate never does.
            assert ours is None, name
            seen["unpriced"] += 1
            continue
        found = model.calc_price(
            their_usage(tokens, quantities), home, genai_request_timestamp=at, price_context=when
        )
        theirs = Fraction(found.total_price) * 10**12
        assert ours is not None, name
        if decimals(prices) <= 6:
            # Exact for tokens; prices by the hour or thousand may leave a fraction to round.
            assert ours == round(theirs), name
            seen["equal"] += 1
        else:
            # A float that was printed into the source: beyond 12 decimals per million tokens the
            # book rounds the rate, half a millionth of a pico-dollar per token.
            assert abs(ours - theirs) <= 1 + Fraction(sum(tokens.values()), 10**6), name
            seen["rounded"] += 1
        seen["under conditions"] += bool(when)
        seen["with quantities"] += bool(quantities)
        seen["per request"] += "requests_kcount" in prices
    compared = seen["equal"] + seen["rounded"]
    assert seen["equal"] > 2_200 * len(TIMES), seen
    assert 0 < seen["rounded"] < 0.05 * compared, seen
    assert seen["unpriced"] < 0.1 * compared, seen
    assert seen["under conditions"] > 500, seen
    if mix is None:
        assert seen["with quantities"] > 500, seen
    else:
        assert seen["per request"] > 0, seen


@pytest.mark.parametrize("milliseconds", [0, 1, 3_000, 9_999, 10_000, 10_001])
def test_what_is_charged_at_least_is_what_the_source_charges_at_least(milliseconds: int) -> None:
    compared = 0
    for name, home, model, rates, at, when, _ in cases():
        if (home.id, model.id) in LEAST:
            for kind in ("audio_milliseconds", "input_audio_milliseconds"):
                quantities = {kind: milliseconds, "web_searches": 0}
                given = their_usage({}, quantities)
                theirs = model.calc_price(
                    given, home, genai_request_timestamp=at, price_context=when
                ).total_price
                ours = our_cost({}, quantities, when, rates, at) if milliseconds else 0
                assert ours == round(Fraction(theirs) * 10**12), (name, kind)
                compared += 1
    assert compared >= 2 * len(LEAST) * len(TIMES)


def test_a_model_sold_by_somebody_else_has_none_of_the_first_sellers_conditions() -> None:
    """As the source: a variant belongs to the provider that offers it."""
    for home in providers:
        for fallback in home.fallback_model_providers or ():
            other = next(found for found in providers if found.id == fallback)
            for model in other.models:
                found = index().find(home.id, model.id)
                if model.price_variants and found is not None:
                    own = home.find_model(model.id, all_providers=[])
                    assert bool(found.variants) == bool(own and own.price_variants)


def test_every_price_of_the_source_is_in_the_book() -> None:
    assert not [
        (model.id, span.unsupported)
        for home in price_book().providers
        for model in home.models
        for span in model.spans
        if span.unsupported
    ]
    assert len(PRICE_KEYS) == len(TOKEN_CLASSES) + len(TOKEN_PARTS)
