"""The list prices of the installed `genai-prices` package as a price book for the catalog.

Owns the translation: their names of what is charged into our token classes, their conditions into
spans, their match rules into clauses of `streams.domain.prices`. Does not own which prices are in
force (the catalog does) nor how a name finds its model (the domain does). Nothing is fetched: the
prices are the ones that the pinned package carries, so two machines with the same requirements
build the same bytes.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from genai_prices import types as genai

from schemas import catalog
from schemas.codec import decode_catalog
from schemas.envelope import SCHEMA_VERSION
from schemas.money import amount_from_number_text, format_amount
from schemas.structs import PriceBook

SOURCE: Final = "genai-prices"
"""The package, and the id of the books made from it."""

TOKEN_CLASSES: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
}
"""Their price per million tokens to our token class."""

TOKEN_PARTS: Final = {
    "cache_write_1h_mtok": "cache_write_1h_tokens",
    "cache_write_5m_mtok": "cache_write_5m_tokens",
    "cache_audio_read_mtok": "cache_audio_read_tokens",
    "cache_image_read_mtok": "cache_image_read_tokens",
    "input_image_mtok": "input_image_tokens",
    "input_video_mtok": "input_video_tokens",
    "output_image_mtok": "output_image_tokens",
    "output_video_mtok": "output_video_tokens",
    "output_citation_mtok": "output_citation_tokens",
}
"""Their price per million tokens to our part of a token class."""

HOUR_MS: Final = 3_600_000

QUANTITIES: Final = {
    "requests_kcount": ("requests", 1_000),
    "web_searches_kcount": ("web_searches", 1_000),
    "social_searches_kcount": ("social_searches", 1_000),
    "storage_searches_kcount": ("storage_searches", 1_000),
    "rerank_searches_kcount": ("rerank_searches", 1_000),
    "code_executions_kcount": ("code_executions", 1_000),
    "input_text_messages_kcount": ("input_text_messages", 1_000),
    "input_document_kpages": ("input_document_pages", 1_000),
    "input_annotated_document_kpages": ("input_annotated_document_pages", 1_000),
    "input_mchars": ("input_characters", 10**6),
    "input_gpixels": ("input_pixels", 10**9),
    "audio_hours": ("audio_milliseconds", HOUR_MS),
    "input_audio_hours": ("input_audio_milliseconds", HOUR_MS),
    "output_audio_hours": ("output_audio_milliseconds", HOUR_MS),
}
"""Their other prices to what we count, and for how many of it they are. Whatever they charge for
beyond these tables is listed as `unsupported`."""

PRICE_KEYS: Final = {**TOKEN_CLASSES, **TOKEN_PARTS}

LEAST: Final = {
    ("groq", "whisper-large-v3"): 10_000,
    ("groq", "whisper-large-v3-turbo"): 10_000,
}
"""Milliseconds of audio that a request is charged for at least. The source has these in its code
beside the prices."""

TRANSLATION: Final = 2
"""Counts the ways in which a release of Tollgate has read the same data: a book that says more is
another version, because no version is ever overwritten (D3)."""

FREE_SUFFIX: Final = ":free"
"""A model whose id ends so and that has no price at all is free by its provider's own naming. Every
other model without a price stays unpriced: nothing is free because somebody forgot its price."""


@cache
def price_book() -> PriceBook:
    """The book of the installed package; its version is the package's and TRANSLATION.

    A function of the installed package alone, made once per process. Prices with more than 12
    decimals per million tokens, which the source has where a float was printed, are rounded
    half-even at the twelfth.

    Raises ValueError where the source holds something that a book cannot say: it must be looked at
    before anybody is billed by it.
    """
    # Their data module is 1.6 MB of constructor calls; only who loads a book should pay for it.
    from genai_prices.data import providers

    book = catalog.PriceBook.model_validate(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": "price_book",
            "id": SOURCE,
            "version": f"{version(SOURCE)}+{TRANSLATION}",
            "providers": [_provider(provider) for provider in providers],
        }
    )
    # Only what was set: the bytes hold no defaults, as everything that the codec encodes.
    record = decode_catalog(book.model_dump_json(exclude_unset=True).encode())
    if not isinstance(record, PriceBook):
        raise AssertionError("a price book was decoded as another kind of catalog record")
    return record


def _provider(provider: genai.Provider) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": provider.id,
        "models": [_model(provider.id, model) for model in provider.models],
    }
    if provider.provider_match is not None:
        found["match"] = _clause(provider.provider_match)
    if provider.model_match is not None:
        found["model_match"] = _clause(provider.model_match)
    if provider.fallback_model_providers:
        found["fallback"] = list(provider.fallback_model_providers)
    return found


def _model(provider: str, model: genai.ModelInfo) -> dict[str, Any]:
    prices = model.prices
    if isinstance(prices, genai.ModelPrice):
        prices = [genai.ConditionalPrice(prices=prices)]
    if not prices:
        raise ValueError(f"{SOURCE}: model {model.id!r} has no prices, not even empty ones")
    least = LEAST.get((provider, model.id), 0)
    made: dict[str, Any] = {
        "id": model.id,
        "match": _clause(model.match),
        "spans": [_span(model.id, conditional, least) for conditional in prices],
    }
    if model.price_variants:
        made["variants"] = [_variant(model.id, one, least) for one in model.price_variants]
    return made


def _span(model_id: str, conditional: genai.ConditionalPrice, least: int) -> dict[str, Any]:
    prices = _stated(conditional.prices)
    span = _when(model_id, conditional.constraint) | _prices(prices, least)
    if not prices and model_id.endswith(FREE_SUFFIX):
        span["rates"] = {"input": {"base": "0"}, "output": {"base": "0"}}
    unsupported = sorted(prices.keys() - PRICE_KEYS.keys() - QUANTITIES.keys())
    if unsupported:
        span["unsupported"] = unsupported
    return span


def _variant(model_id: str, variant: genai.PriceVariant, least: int) -> dict[str, Any]:
    prices = _stated(variant.prices)
    unknown = prices.keys() - PRICE_KEYS.keys() - QUANTITIES.keys()
    if unknown:
        raise ValueError(f"{SOURCE}: a variant of {model_id!r} prices {sorted(unknown)}")
    when = {"when": dict(variant.when)}
    return when | _when(model_id, variant.constraint) | _prices(prices, least)


def _stated(prices: genai.ModelPrice) -> dict[str, Any]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _prices(prices: Mapping[str, Any], least: int) -> dict[str, Any]:
    rates = {name: _rate(prices[key]) for key, name in PRICE_KEYS.items() if key in prices}
    made: dict[str, Any] = {"rates": rates}
    quantities = {
        name: _quantity(name, prices[key], per, least)
        for key, (name, per) in QUANTITIES.items()
        if key in prices
    }
    if quantities:
        made["quantities"] = quantities
    return made


def _quantity(name: str, price: object, per: int, least: int) -> dict[str, Any]:
    made: dict[str, Any] = {"price": _amount(price), "per": per}
    if least and name.endswith("milliseconds"):
        made["least"] = least
    return made


def _when(model_id: str, constraint: object) -> dict[str, Any]:
    match constraint:
        case None:
            return {}
        case genai.StartDateConstraint(start_date=day):
            return {"from_day": day.isoformat()}
        case genai.TimeOfDateConstraint(start_time=start, end_time=end):
            return {
                "daily_from_second": _second_of_day(start),
                "daily_to_second": _second_of_day(end),
            }
    raise ValueError(f"{SOURCE}: unknown condition {constraint!r} of model {model_id!r}")


def _rate(price: object) -> dict[str, Any]:
    if isinstance(price, genai.TieredPrices):
        tiers = [(tier.start, _amount(tier.price)) for tier in price.tiers]
        return {"base": _amount(price.base), "tiers": tiers}
    return {"base": _amount(price)}


def _amount(price: object) -> str:
    if not isinstance(price, Decimal):
        raise ValueError(f"{SOURCE}: a price must be a Decimal, not {price!r}")
    pico, _ = amount_from_number_text(format(price, "f"))
    return format_amount(pico)


def _second_of_day(moment: time) -> int:
    """Seconds after midnight UTC; a time without a zone is UTC, as the source defines it."""
    if moment.microsecond:
        raise ValueError(f"{SOURCE}: a daily price changes within a second: {moment}")
    zone = moment.tzinfo or UTC
    at = datetime.combine(date(1970, 1, 1), moment, zone).astimezone(UTC)
    return at.hour * 3600 + at.minute * 60 + at.second


def _clause(clause: object) -> Mapping[str, Any]:
    match clause:
        case genai.ClauseEquals(equals=text):
            return {"equals": text}
        case genai.ClauseStartsWith(starts_with=text):
            return {"starts_with": text}
        case genai.ClauseEndsWith(ends_with=text):
            return {"ends_with": text}
        case genai.ClauseContains(contains=text):
            return {"contains": text}
        case genai.ClauseRegex(regex=text):
            return {"regex": text}
        case genai.ClauseOr(or_=parts):
            return {"or": [_clause(part) for part in parts]}
        case genai.ClauseAnd(and_=parts):
            return {"and": [_clause(part) for part in parts]}
    raise ValueError(f"{SOURCE}: unknown clause {clause!r}")
