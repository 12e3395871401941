"""What a line was priced by, for a person: `0.50 per 1,000`, `cost + 20 %`, `10 % off`.

A document's lines name their rate card and its version; the prices themselves stand in the card.
Where the card is not at hand the price is the average that the line comes to, and said to be so.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.money import PICO, format_amount, parse_amount, round_half_even
from streams.papers.bill import PaperLine, count

Cards = Mapping[str, Mapping[str, Any]]
"""Rate cards by name and version, as `pro@2`: their JSON as the catalog has it, in which what has
its default may be missing."""

STEPS_SHOWN_MAX: Final = 4
"""Tiers that a line spells out; of more it says how many they are."""

AVERAGE_DECIMALS: Final = 6
"""Digits of an average price: a figure to compare with, never one to multiply."""


def price_text(line: PaperLine, cards: Cards) -> str:
    """How the line was priced, empty where there is nothing to say."""
    card = cards.get(line.card)
    if card is not None:
        part = _part(card, line)
        if part is not None:
            return part
    return _average(line) if line.line_kind == "usage" else ""


def _part(card: Mapping[str, Any], line: PaperLine) -> str | None:
    if line.line_kind == "fee":
        fee = _named(card.get("fees") or (), line.item)
        return None if fee is None else f"{_amount(fee['amount'])} per period"
    if line.line_kind == "discount":
        discount = _named(card.get("discounts") or (), line.item)
        return None if discount is None else f"{discount['percent']} % off"
    if line.line_kind == "minimum":
        minimum = card.get("minimum")
        return None if minimum is None else f"{_amount(minimum)} at least"
    item = _named(card.get("items") or (), line.item)
    return None if item is None else _item_text(item)


def _named(parts: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    return next((part for part in parts if part["id"] == name), None)


def _item_text(item: Mapping[str, Any]) -> str:
    if item.get("metric") == "cost":
        markup = item.get("markup_percent") or "0"
        return "at cost" if parse_amount(markup) == 0 else f"cost + {markup} %"
    text = _tiers(item) if item.get("tiers") else _per(_amount(item.get("price") or "0"), item)
    included = item.get("included") or 0
    return f"{text}, {included:,} included" if included else text


def _tiers(item: Mapping[str, Any]) -> str:
    tiers = item["tiers"]
    steps = tiers["steps"]
    manner = "by volume" if tiers.get("mode") == "volume" else "in tiers"
    if len(steps) > STEPS_SHOWN_MAX:
        return f"{len(steps)} prices {manner}"
    texts = []
    for step in steps:
        price = _amount(step.get("price") or "0")
        flat = step.get("flat") or "0"
        if parse_amount(flat):
            price += f" plus {_amount(flat)}"
        up_to = step.get("up_to")
        texts.append(f"{price} beyond" if up_to is None else f"{price} to {up_to:,}")
    if len(texts) == 1:
        return _per(texts[0].removesuffix(" beyond"), item)
    return _per(f"{manner}: {', '.join(texts)}", item)


def _per(text: str, item: Mapping[str, Any]) -> str:
    per = int(item.get("per") or 1)
    return f"{text} per {per:,}" if per > 1 else text


def _amount(text: str) -> str:
    """A price with at least two decimals and separators: `0.50`, `1,200.00`, `0.0000025`."""
    whole, _, fraction = text.partition(".")
    return f"{count(whole)}.{fraction.rstrip('0').ljust(2, '0')}"


def _average(line: PaperLine) -> str:
    whole, _, fraction = line.quantity.removeprefix("-").partition(".")
    digits = whole + fraction
    if not digits.isdecimal() or int(digits) == 0 or not line.amount:
        return ""
    scale = 10 ** (12 - AVERAGE_DECIMALS)
    pico = round_half_even(abs(line.amount) * 10 ** len(fraction), int(digits) * scale) * scale
    if pico == 0:
        return f"below {format_amount(PICO // 10**AVERAGE_DECIMALS)} on average"
    return f"{_amount(format_amount(pico))} on average"
