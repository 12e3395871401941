"""streams.adapters.price_source: our cost of every model is the cost that the source itself
computes."""

from collections import Counter
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import Any

import genai_prices
import pytest
from genai_prices import types as genai
from genai_prices.data import providers

from schemas import codec, usage
from schemas.limits import OUTBOUND_RECORD_BYTES_MAX
from schemas.structs import PriceBook
from schemas.times import MICROSECONDS
from streams.adapters.price_source import (
    FREE_SUFFIX,
    TOKEN_CLASSES,
    _clause,
    _second_of_day,
    price_book,
)
from streams.domain.prices import ModelRates, PriceIndex, index_prices, matches
from streams.domain.rating import rate
from tests import builders

MIXES = [
    {"input": 1, "output": 1},
    {"input": 7, "cache_read": 100_003, "cache_write": 11, "output": 3, "reasoning": 5},
    {"input": 90_000, "cache_read": 100_001, "output": 12_345},
    {"input": 250_001, "output": 1, "reasoning": 999},
    {"input": 3, "input_audio": 17, "output": 5, "output_audio": 19},
    {"input": 1_000_000_000, "output": 1_000_000_000},
]

TIMES = [
    datetime(2024, 3, 1, 0, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 3, 0, tzinfo=UTC),
    datetime(2026, 11, 1, 8, 30, tzinfo=UTC),
    datetime(2026, 11, 1, 16, 30, tzinfo=UTC),
]

# --- what is expected to differ, with the reason -----------------------------------------------

CHARGED_PER_REQUEST = {"sonar", "sonar-pro", "sonar-reasoning", "sonar-reasoning-pro"}
"""Perplexity charges each request beside its tokens; token counts do not tell requests, so the book
names `requests_kcount` as unsupported and the cost is that of the tokens."""


@cache
def book() -> PriceBook:
    return price_book()


@cache
def index() -> PriceIndex:
    return index_prices(book())


def rates_of(provider: str, place: int) -> ModelRates:
    """The rates of a provider's model by its place in the source, past all matching."""
    home = next(found for found in index().providers if found.id == provider)
    return home.models[place][1]


class OneModel:
    """A price index that knows one model, whatever is asked."""

    version = "test"

    def __init__(self, rates: ModelRates) -> None:
        self._rates = rates

    def find(self, provider: str | None, model: str | None) -> ModelRates:
        return self._rates


def our_cost(tokens: dict[str, int], rates: ModelRates, at: datetime) -> int | None:
    """Pico-dollars, or None for unpriced."""
    body = builders.usage(provider="any", model="any", tokens=tokens)
    known: Any = OneModel(rates)
    rating = rate(body, None, int(at.timestamp()) * MICROSECONDS, known, 0)
    assert rating.basis in ("priced", "unpriced")
    return rating.cost_pico if rating.basis == "priced" else None


def their_cost(tokens: dict[str, int], model: genai.ModelInfo, home: Any, at: datetime) -> Decimal:
    """Pico-dollars, exactly. Their input and output tokens include the classes that are part of
    them."""
    count = Counter(tokens)
    given = genai.Usage(
        input_tokens=count["input"]
        + count["cache_read"]
        + count["cache_write"]
        + count["input_audio"],
        cache_read_tokens=count["cache_read"],
        cache_write_tokens=count["cache_write"],
        input_audio_tokens=count["input_audio"],
        output_tokens=count["output"] + count["reasoning"] + count["output_audio"],
        output_reasoning_tokens=count["reasoning"],
        output_audio_tokens=count["output_audio"],
        # They ask for what a model prices below these classes; usage says nothing of it.
        cache_audio_read_tokens=0,
        cache_image_read_tokens=0,
        cache_write_1h_tokens=0,
        input_image_tokens=0,
        input_video_tokens=0,
        output_image_tokens=0,
        output_video_tokens=0,
        output_citation_tokens=0,
    )
    found = model.calc_price(given, home, genai_request_timestamp=at)
    return found.total_price.scaleb(12)


def prices_in_force(model: genai.ModelInfo, at: datetime) -> dict[str, Any]:
    return {k: v for k, v in vars(model.get_prices(at)).items() if v is not None}


def decimals(prices: dict[str, Any]) -> int:
    """The most decimals of any token price per million tokens, tiers included."""
    amounts: list[Decimal] = []
    for key in TOKEN_CLASSES.keys() & prices.keys():
        price = prices[key]
        tiered = isinstance(price, genai.TieredPrices)
        amounts += [price.base, *(tier.price for tier in price.tiers)] if tiered else [price]
    return max((-int(amount.as_tuple().exponent) for amount in amounts), default=0)


def unpriced_classes(tokens: dict[str, int], prices: dict[str, Any]) -> set[str]:
    """The classes of these tokens for which the source has neither a price nor one of their
    parent."""
    priced = {TOKEN_CLASSES[key] for key in TOKEN_CLASSES.keys() & prices.keys()}
    if "input" in priced:
        priced |= {"cache_read", "cache_write", "input_audio"}
    if "output" in priced:
        priced |= {"reasoning", "output_audio"}
    return tokens.keys() - priced


@pytest.mark.parametrize("tokens", MIXES, ids="+".join)
def test_every_model_costs_what_its_source_says(tokens: dict[str, int]) -> None:
    seen: Counter[str] = Counter()
    for home in providers:
        for place, model in enumerate(home.models):
            rates = rates_of(home.id, place)
            for at in TIMES:
                prices = prices_in_force(model, at)
                ours, name = our_cost(tokens, rates, at), f"{home.id}/{model.id} at {at}"
                if not prices and model.id.endswith(FREE_SUFFIX):
                    assert ours == 0, name
                    seen["free"] += 1
                    continue
                if unpriced_classes(tokens, prices):
                    # The source counts what it has no price for as free; Tollgate never does.
                    assert ours is None, name
                    seen["unpriced"] += 1
                    continue
                theirs = their_cost(tokens, model, home, at)
                assert ours is not None, name
                if home.id == "perplexity" and "requests_kcount" in prices:
                    assert model.id in CHARGED_PER_REQUEST, name
                    theirs -= prices["requests_kcount"] * 10**9
                    seen["per request"] += 1
                if decimals(prices) <= 6:
                    assert ours == theirs, name
                    seen["equal"] += 1
                else:
                    # A float that was printed into the source: beyond 12 decimals per million
                    # tokens the book rounds the rate, half a millionth of a pico-dollar per token.
                    assert abs(ours - theirs) <= 1 + Decimal(sum(tokens.values())) / 10**6, name
                    seen["rounded"] += 1
    assert seen["equal"] > 2_000 * len(TIMES), seen
    assert 0 < seen["rounded"] < 50 * len(TIMES), seen
    assert seen["unpriced"] < 150 * len(TIMES), seen
    assert seen["per request"] == len(CHARGED_PER_REQUEST) * len(TIMES), seen


def test_every_model_is_found_by_the_names_that_its_source_finds_it_by() -> None:
    compared = 0
    for home in providers:
        for model in home.models:
            names = [model.id, model.id.upper()]
            if compared % 10 == 0:  # a name that is not found costs a walk through all clauses
                names.append(f"{model.id}-20251211")
            for name in names:
                theirs = home.find_model(name, all_providers=providers)
                ours = index().find(home.id, name)
                assert (None if theirs is None else theirs.id) == (
                    None if ours is None else ours.reference.split("/", 1)[1]
                ), (home.id, name)
                compared += 1
    assert compared > 4_000


def test_a_model_named_without_a_provider_is_found_as_its_source_finds_it() -> None:
    snapshot = genai_prices.data_snapshot.get_snapshot()
    names = {model.id for home in providers for model in home.models}
    compared = 0
    for name in sorted(names | {name.upper() for name in names}):
        try:
            _, model = snapshot.find_provider_model(name, None, None, None)
            theirs: str | None = model.id
            compared += 1
        except LookupError:
            theirs = None
        ours = index().find(None, name)
        assert (None if ours is None else ours.reference.split("/", 1)[1]) == theirs, name
    assert compared > 300


def test_every_provider_is_found_by_the_names_that_its_source_finds_it_by() -> None:
    from genai_prices.data_snapshot import find_provider_by_id

    names = [home.id for home in providers]
    names += [name.upper() for name in names]
    names += [
        "azure-openai",
        "bedrock",
        "vertex_ai",
        "google-vertex",
        "xai",
        "nobody",
        "grok",
        "gemini",
    ]
    for name in names:
        theirs = find_provider_by_id(providers, name)
        ours = index()._provider(name, "any")
        assert (theirs and theirs.id) == (ours and ours.id), name


def test_the_book_is_pinned_to_the_version_of_the_package() -> None:
    assert (book().id, book().version) == ("genai-prices", version("genai-prices"))
    assert index().version == f"genai-prices@{version('genai-prices')}"


def test_the_book_fits_into_a_record_of_the_catalog_with_room_to_grow() -> None:
    assert len(codec.encode(book())) < 1024 * 1024 < OUTBOUND_RECORD_BYTES_MAX / 3


def test_the_book_survives_the_catalog_byte_for_byte() -> None:
    encoded = codec.encode(book())
    assert codec.encode(codec.decode_catalog(encoded)) == encoded
    assert codec.encode(price_book()) == encoded


def test_what_tokens_do_not_tell_is_named_as_unsupported() -> None:
    named = {
        key for p in book().providers for m in p.models for s in m.spans for key in s.unsupported
    }
    assert {"web_searches_kcount", "requests_kcount", "cache_write_1h_mtok", "audio_hours"} <= named
    assert not named & TOKEN_CLASSES.keys()


def test_a_model_without_any_price_is_unpriced_unless_its_name_says_free() -> None:
    free = index().find("openrouter", "deepseek/deepseek-r1:free")
    included = index().find("github-copilot", "gpt-4o")
    assert free is not None
    assert included is not None
    assert our_cost({"input": 5, "output": 5}, free, TIMES[0]) == 0
    assert our_cost({"input": 5, "output": 5}, included, TIMES[0]) is None


@pytest.mark.parametrize(
    ("clause", "text", "found"),
    [
        (genai.ClauseEquals("GPT-4o"), "gpt-4O", True),
        (genai.ClauseEquals("gpt-4o"), "gpt-4o-mini", False),
        (genai.ClauseStartsWith("GPT"), "gpt-4o", True),
        (genai.ClauseEndsWith("MINI"), "gpt-4o-mini", True),
        (genai.ClauseContains("4O"), "gpt-4o", True),
        (genai.ClauseContains("5"), "gpt-4o", False),
        (genai.ClauseRegex("^o[134]"), "o3-mini", True),
        (genai.ClauseRegex("^o[134]"), "o2", False),
        (genai.ClauseOr([genai.ClauseEquals("a"), genai.ClauseEquals("b")]), "b", True),
        (genai.ClauseAnd([genai.ClauseContains("a"), genai.ClauseContains("b")]), "b", False),
    ],
)
def test_a_translated_clause_recognises_what_the_original_does(
    clause: Any, text: str, found: bool
) -> None:
    assert clause.is_match(text) is found
    assert matches(_clause(clause), text) is found


def test_an_unknown_clause_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown clause"):
        _clause(object())


def test_a_daily_time_counts_in_utc() -> None:
    from datetime import timedelta, timezone

    assert _second_of_day(time(16, 30)) == 59_400
    assert _second_of_day(time(0, 30, tzinfo=timezone(timedelta(hours=1)))) == 84_600
    with pytest.raises(ValueError, match="within a second"):
        _second_of_day(time(1, 0, 0, 5))


def test_the_source_can_price_every_token_class_of_the_contract() -> None:
    assert set(TOKEN_CLASSES.values()) == set(usage.Tokens.model_fields)
