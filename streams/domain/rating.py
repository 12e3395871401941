"""Usage × price = cost: a reported cost wins, else the price in force; one rounding per event
(M2)."""

from collections.abc import Mapping
from math import lcm
from operator import mul
from typing import Final, Literal

from schemas.money import PICO, round_half_even
from schemas.structs import Tokens, Usage, Value
from schemas.usage import TOKEN_PARTS
from streams.domain.overrides import NO_OVERRIDES, Override, Overrides
from streams.domain.prices import (
    CLASSES,
    REQUESTS,
    ModelRates,
    NamedRates,
    PriceIndex,
    QuantityRate,
    Span,
    TieredRate,
)

PER_MILLION: Final = 10**6
"""Rates are per million tokens."""

UNPRICED: Final = "unpriced"
"""Flag of an event whose model the price book does not know."""

UNPRICED_QUANTITY: Final = "unpriced_quantity"
"""Flag of an event that used something beside its tokens for which there is no price."""

QUANTITY_PARENT: Final = {
    "input_audio_milliseconds": "audio_milliseconds",
    "output_audio_milliseconds": "audio_milliseconds",
    "input_annotated_document_pages": "input_document_pages",
}
"""A quantity without a price of its own has that of what it is a kind of."""

NO_CONDITIONS: Final[Mapping[str, str]] = {}
NO_QUANTITIES: Final[Mapping[str, int]] = {}
_NO_RATES: Final = NamedRates({}, {})


class Rating(Value, frozen=True):
    """What an event cost, in pico of `currency`, and how that is known.

    `provisional_pico` is what an unpriced event charges a dollar balance until it is rated anew
    (M1); its cost stays zero. `partial` says that something it used has no price.
    """

    cost_pico: int
    currency: str
    basis: Literal["reported", "priced", "unpriced", "none"]
    price_version: str = ""
    priced_as: str = ""
    provisional_pico: int = 0
    override: str = ""
    partial: bool = False


NOTHING: Final = Rating(0, "USD", "none")


def input_tokens(tokens: Tokens) -> int:
    """The tokens that went in, which decide the tier of a price: cached and audio ones too."""
    return tokens.input + tokens.cache_read + tokens.cache_write + tokens.input_audio


def total_tokens(tokens: Tokens | None) -> int:
    """All tokens of an event: the classes are disjoint, so their sum counts each once."""
    if tokens is None:
        return 0
    return (
        tokens.input
        + tokens.cache_read
        + tokens.cache_write
        + tokens.output
        + tokens.reasoning
        + tokens.input_audio
        + tokens.output_audio
    )


_NONE_USED: Final = Tokens()


def rate(
    body: Usage,
    reported_pico: int | None,
    occurred_at_us: int,
    prices: PriceIndex,
    provisional_pico_per_million: int,
    overrides: Overrides = NO_OVERRIDES,
) -> Rating:
    """The rating of a usage event: a function of the event, the book, the overrides and the
    provisional rate."""
    if reported_pico is not None:
        return Rating(reported_pico, body.currency, "reported")
    tokens = body.tokens
    if tokens is None:
        if body.quantities is None:
            return NOTHING
        tokens = _NONE_USED
    counts = (
        tokens.input,
        tokens.cache_read,
        tokens.cache_write,
        tokens.output,
        tokens.reasoning,
        tokens.input_audio,
        tokens.output_audio,
    )
    count = sum(counts)
    if not count and not (body.quantities and any(body.quantities.values())):
        return NOTHING
    model = prices.find(body.provider, body.model)
    override = None
    if overrides is not NO_OVERRIDES:
        conditions = body.conditions or NO_CONDITIONS
        override = overrides.find(
            body.customer_id, body.provider, body.model, conditions, occurred_at_us
        )
    if (
        model is not None
        and override is None
        and body.quantities is None
        and body.conditions is None
    ):
        spans = model.spans
        span = spans[0] if len(spans) == 1 else model.span_at(occurred_at_us)
        exact = _exact_cost(tokens, counts, span)
        if exact is not None:
            cost = round_half_even(exact, PER_MILLION)
            return Rating(cost, "USD", "priced", prices.version, model.reference)
    rating = _rate_named(body, tokens, counts, occurred_at_us, prices.version, model, override)
    if rating is not None:
        return rating
    provisional = round_half_even(count * provisional_pico_per_million, PER_MILLION)
    return Rating(0, "USD", "unpriced", prices.version, provisional_pico=provisional)


def _exact_cost(tokens: Tokens, counts: tuple[int, ...], span: Span) -> int | None:
    """Millionths of pico-dollars, exactly, or None where tokens alone do not tell the cost."""
    if span.flat is not None:
        exact: int = sum(map(mul, counts, span.flat))
        return exact
    if REQUESTS in span.named.quantities:
        return None
    return _tokens_cost(tokens, counts, span.named, span.rates)


def _tokens_cost(
    tokens: Tokens,
    counts: tuple[int, ...],
    named: NamedRates,
    rates: tuple[TieredRate | None, ...] | None = None,
) -> int | None:
    """Millionths of pico-dollars, or None where tokens of some class have no price."""
    total = 0
    for count, tiered in zip(counts, named.classes() if rates is None else rates, strict=True):
        if count:
            if tiered is None:
                return None
            total += count * tiered.at(input_tokens(tokens))
    return total


def _rate_named(
    body: Usage,
    tokens: Tokens,
    counts: tuple[int, ...],
    at_us: int,
    version: str,
    model: ModelRates | None,
    override: Override | None,
) -> Rating | None:
    """The rating of an event of which tokens and the book are not all, None for unpriced."""
    conditions = body.conditions or NO_CONDITIONS
    if model is None and override is None:
        return None
    named = _NO_RATES if model is None else model.named_at(at_us, conditions)
    if override is not None:
        named = named.under(override.named)
    exact = _tokens_cost(tokens, counts, named)
    if exact is None:
        return None
    quantities = _charged(body.quantities or NO_QUANTITIES, named)
    exact += _parts_cost(quantities, tokens, named)
    priced: list[tuple[int, QuantityRate]] = []
    partial = False
    for name, count in quantities.items():
        if count and name not in TOKEN_PARTS:
            found = named.quantities.get(name) or named.quantities.get(
                QUANTITY_PARENT.get(name, "")
            )
            if found is None:
                # Who charges for each request says so in the book.
                partial = partial or name != REQUESTS
            else:
                priced.append((max(count, found.least), found))
    if not priced and not any(counts):
        return None
    cost = _rounded(exact, priced, override)
    return Rating(
        cost,
        "USD",
        "priced",
        version,
        "" if model is None else model.reference,
        override="" if override is None else override.reference,
        partial=partial,
    )


def _charged(quantities: Mapping[str, int], named: NamedRates) -> Mapping[str, int]:
    """The quantities that are charged: an event that does not say how many requests it was is
    one."""
    if REQUESTS not in quantities and REQUESTS in named.quantities:
        return {**quantities, REQUESTS: 1}
    return quantities


def _parts_cost(quantities: Mapping[str, int], tokens: Tokens, named: NamedRates) -> int:
    """What parts of token classes cost more (or less) than their class, in millionths of
    pico-dollars."""
    total = 0
    size = input_tokens(tokens)
    for name, count in quantities.items():
        own = named.tokens.get(name)
        if own is not None and count and name in TOKEN_PARTS:
            whole = named.classes()[CLASSES.index(TOKEN_PARTS[name])]
            assert whole is not None, "a part is not used where nothing of its class is"
            total += count * (own.at(size) - whole.at(size))
    return total


def _rounded(exact: int, priced: list[tuple[int, QuantityRate]], override: Override | None) -> int:
    """Pico-dollars: the exact sum over tokens (in millionths) and quantities, rounded once."""
    denominator = lcm(PER_MILLION, *(found.per for _, found in priced))
    numerator = exact * (denominator // PER_MILLION)
    for count, found in priced:
        numerator += count * found.price * (denominator // found.per)
    if override is not None and override.multiplier is not None:
        numerator *= override.multiplier
        denominator *= PICO
    return round_half_even(numerator, denominator)
