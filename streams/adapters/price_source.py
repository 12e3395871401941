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
"""Their price per million tokens to our token class. What else they charge for (searches, requests,
audio by the hour, cache writes by lifetime, images) is listed as `unsupported`: token counts do not
tell it."""

FREE_SUFFIX: Final = ":free"
"""A model whose id ends so and that has no price at all is free by its provider's own naming. Every
other model without a price stays unpriced: nothing is free because somebody forgot its price."""


def price_book() -> PriceBook:
    """The book of the installed package; its version is the package's.

    A function of the installed package alone. Discounts that hang on how a request was made (batch,
    service tier) are not in it, because usage does not say how it was made. Prices with more than
    12 decimals per million tokens, which the source has where a float was printed, are rounded
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
            "version": version(SOURCE),
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
        "models": [_model(model) for model in provider.models],
    }
    if provider.provider_match is not None:
        found["match"] = _clause(provider.provider_match)
    if provider.model_match is not None:
        found["model_match"] = _clause(provider.model_match)
    if provider.fallback_model_providers:
        found["fallback"] = list(provider.fallback_model_providers)
    return found


def _model(model: genai.ModelInfo) -> dict[str, Any]:
    prices = model.prices
    if isinstance(prices, genai.ModelPrice):
        prices = [genai.ConditionalPrice(prices=prices)]
    if not prices:
        raise ValueError(f"{SOURCE}: model {model.id!r} has no prices, not even empty ones")
    return {
        "id": model.id,
        "match": _clause(model.match),
        "spans": [_span(model.id, conditional) for conditional in prices],
    }


def _span(model_id: str, conditional: genai.ConditionalPrice) -> dict[str, Any]:
    prices = {k: v for k, v in vars(conditional.prices).items() if v is not None}
    rates = {TOKEN_CLASSES[key]: _rate(prices[key]) for key in TOKEN_CLASSES if key in prices}
    if not prices and model_id.endswith(FREE_SUFFIX):
        rates = {"input": {"base": "0"}, "output": {"base": "0"}}
    span: dict[str, Any] = {"rates": rates}
    unsupported = sorted(prices.keys() - TOKEN_CLASSES.keys())
    if unsupported:
        span["unsupported"] = unsupported
    match conditional.constraint:
        case None:
            pass
        case genai.StartDateConstraint(start_date=day):
            span["from_day"] = day.isoformat()
        case genai.TimeOfDateConstraint(start_time=start, end_time=end):
            span["daily_from_second"] = _second_of_day(start)
            span["daily_to_second"] = _second_of_day(end)
        case other:
            raise ValueError(f"{SOURCE}: unknown condition {other!r} of model {model_id!r}")
    return span


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
