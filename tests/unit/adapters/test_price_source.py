"""streams.adapters.price_source: the source's names, clauses and times as the book has them. What
they come to is compared in test_whole_book.py."""

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
    TOKEN_CLASSES,
    TOKEN_PARTS,
    _clause,
    _second_of_day,
    _span,
    _variant,
    price_book,
)
from streams.domain.prices import CLASSES, ModelRates, PriceIndex, index_prices, matches
from streams.domain.rating import rate
from tests import builders

AT = datetime(2026, 11, 1, 3, 0, tzinfo=UTC)


@cache
def book() -> PriceBook:
    return price_book()


@cache
def index() -> PriceIndex:
    return index_prices(book())


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
    assert (book().id, book().version) == ("genai-prices", f"{version('genai-prices')}+2")
    assert index().version == f"genai-prices@{version('genai-prices')}+2"


def test_the_book_fits_into_a_record_of_the_catalog_with_room_to_grow() -> None:
    assert len(codec.encode(book())) < 1024 * 1024 < OUTBOUND_RECORD_BYTES_MAX / 3


def test_the_book_survives_the_catalog_byte_for_byte() -> None:
    encoded = codec.encode(book())
    assert codec.encode(codec.decode_catalog(encoded)) == encoded
    assert codec.encode(price_book.__wrapped__()) == encoded


def test_a_price_that_nobody_has_heard_of_is_named_as_unsupported() -> None:
    prices = genai.ModelPrice(input_mtok=Decimal("1"), dreams_kcount=Decimal("2"))
    found = _span("model", genai.ConditionalPrice(prices=prices), 0)
    assert found == {"rates": {"input": {"base": "1"}}, "unsupported": ["dreams_kcount"]}
    with pytest.raises(ValueError, match="dreams_kcount"):
        _variant("model", genai.PriceVariant({"a": "b"}, prices), 0)


def test_a_model_without_any_price_is_unpriced_unless_its_name_says_free() -> None:
    free = index().find("openrouter", "deepseek/deepseek-r1:free")
    included = index().find("github-copilot", "gpt-4o")
    assert free is not None
    assert included is not None
    assert our_cost({"input": 5, "output": 5}, free, AT) == 0
    assert our_cost({"input": 5, "output": 5}, included, AT) is None


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
    assert set(TOKEN_CLASSES.values()) == set(usage.Tokens.model_fields) == set(CLASSES)
    assert set(TOKEN_PARTS.values()) == set(usage.TOKEN_PARTS)
