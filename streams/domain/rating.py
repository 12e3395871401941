"""Usage × price = cost: a reported cost wins, else the price in force; one rounding per event
(M2)."""

from operator import mul
from typing import Final, Literal

from schemas.money import round_half_even
from schemas.structs import Tokens, Usage, Value
from streams.domain.prices import PriceIndex, Span

PER_MILLION: Final = 10**6
"""Rates are per million tokens."""

UNPRICED: Final = "unpriced"
"""Flag of an event whose model the price book does not know."""


class Rating(Value, frozen=True):
    """What an event cost, in pico of `currency`, and how that is known.

    `provisional_pico` is what an unpriced event charges a dollar balance until it is rated anew
    (M1); its cost stays zero.
    """

    cost_pico: int
    currency: str
    basis: Literal["reported", "priced", "unpriced", "none"]
    price_version: str = ""
    priced_as: str = ""
    provisional_pico: int = 0


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


def rate(
    body: Usage,
    reported_pico: int | None,
    occurred_at_us: int,
    prices: PriceIndex,
    provisional_pico_per_million: int,
) -> Rating:
    """The rating of a usage event: a function of the event, the book and the provisional rate."""
    if reported_pico is not None:
        return Rating(reported_pico, body.currency, "reported")
    tokens = body.tokens
    if tokens is None:
        return NOTHING
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
    if not count:
        return NOTHING
    model = prices.find(body.provider, body.model)
    if model is not None:
        spans = model.spans
        span = spans[0] if len(spans) == 1 else model.span_at(occurred_at_us)
        exact = _exact_cost(tokens, counts, span)
        if exact is not None:
            cost = round_half_even(exact, PER_MILLION)
            return Rating(cost, "USD", "priced", prices.version, model.reference)
    provisional = round_half_even(count * provisional_pico_per_million, PER_MILLION)
    return Rating(0, "USD", "unpriced", prices.version, provisional_pico=provisional)


def _exact_cost(tokens: Tokens, counts: tuple[int, ...], span: Span) -> int | None:
    """Millionths of pico-dollars, exactly, or None where tokens of some class have no price."""
    if span.flat is not None:
        exact: int = sum(map(mul, counts, span.flat))
        return exact
    total = 0
    for count, tiered in zip(counts, span.rates, strict=True):
        if count:
            if tiered is None:
                return None
            total += count * tiered.at(input_tokens(tokens))
    return total
