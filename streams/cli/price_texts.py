"""How prices are written on a command line and printed: parsing of options, tables, plain dicts."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from schemas.codec import to_plain
from schemas.money import format_amount
from schemas.structs import PriceOverride
from schemas.times import format_time
from streams.app.prices import Change, Listed, Shown
from streams.cli.tables import console, table
from streams.domain.overrides import Override
from streams.domain.prices import NamedRates, QuantityRate, TieredRate

CLASSES: Final = ("input", "cache_read", "cache_write", "output")
"""The columns of a list; what else a model is priced by is shown one by one."""

SIGNS: Final = {"added": "+", "removed": "-", "changed": "~", "other": "~"}


# --- options ------------------------------------------------------------------------------------


def parse_pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE texts. Raises click.BadParameter."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
        found[name] = value
    return found


def parse_match(text: str) -> dict[str, str]:
    """KIND=TEXT as a clause. Raises click.BadParameter."""
    pairs = parse_pairs("--match", [text])
    kinds = ("equals", "starts_with", "ends_with", "contains", "regex")
    if not pairs.keys() <= set(kinds):
        raise click.BadParameter(f"one of {', '.join(kinds)}", param_hint="--match")
    return pairs


def parse_rates(texts: Iterable[str]) -> dict[str, Any]:
    """CLASS=AMOUNT[,THRESHOLD:AMOUNT…] texts. Raises click.BadParameter; amounts are judged by
    whoever takes the record."""
    rates: dict[str, Any] = {}
    for name, value in parse_pairs("--rate", texts).items():
        base, *tiers = value.split(",")
        rates[name] = {"base": base}
        if tiers:
            rates[name]["tiers"] = [_tier(tier) for tier in tiers]
    return rates


def _tier(text: str) -> list[Any]:
    threshold, colon, price = text.partition(":")
    if not (colon and threshold.isascii() and threshold.isdecimal()):
        raise click.BadParameter(f"{text!r} is not THRESHOLD:AMOUNT", param_hint="--rate")
    return [int(threshold), price]


def parse_quantities(texts: Iterable[str]) -> dict[str, Any]:
    """NAME=AMOUNT/PER texts; one where PER is left out. Raises click.BadParameter."""
    found: dict[str, Any] = {}
    for name, value in parse_pairs("--quantity", texts).items():
        price, _, per = value.partition("/")
        if not (per or "1").isdecimal():
            raise click.BadParameter(f"{value!r} is not AMOUNT/PER", param_hint="--quantity")
        found[name] = {"price": price, "per": int(per or 1)}
    return found


# --- plain values -------------------------------------------------------------------------------


def named_dict(named: NamedRates) -> dict[str, Any]:
    """Rates for a script: dollars as exact texts."""
    return {
        "usd_per_million_tokens": {
            name: {
                "base": format_amount(rate.base),
                "tiers": [[above, format_amount(price)] for above, price in rate.tiers],
            }
            for name, rate in named.tokens.items()
        },
        "quantities": {
            name: {"usd": format_amount(rate.price), "per": rate.per, "least": rate.least}
            for name, rate in named.quantities.items()
        },
    }


def override_dict(record: PriceOverride) -> dict[str, Any]:
    """An override for a script, as the catalog holds it, times as texts."""
    fields: dict[str, Any] = to_plain(record)
    for name in ("effective_from", "effective_to"):
        if fields.get(name) is not None:
            fields[name] = format_time(fields[name])
    return fields


def change_dict(change: Change) -> dict[str, Any]:
    """A difference for a script."""
    return {
        "model": change.reference,
        "change": change.kind,
        "what": change.what or None,
        "before": None if change.before is None else format_amount(change.before),
        "after": None if change.after is None else format_amount(change.after),
    }


# --- tables -------------------------------------------------------------------------------------


def print_models(models: Sequence[Listed]) -> None:
    """Models with what a million tokens costs."""
    if not models:
        return
    columns = [("model", False), *((name.replace("_", " "), True) for name in CLASSES)]
    rows = [
        [
            one.reference,
            *(_rate_text(one.named.tokens.get(name)) for name in CLASSES),
            _more(one),
        ]
        for one in models
    ]
    console().print(table([*columns, ("besides", False)], rows))


def _rate_text(rate: TieredRate | None) -> str:
    if rate is None:
        return ""
    return format_amount(rate.base) + ("+" if rate.tiers else "")


def _more(one: Listed) -> str:
    names = [name for name in one.named.tokens if name not in CLASSES]
    names += one.named.quantities
    if one.variants:
        names.append(f"{one.variants} variant{'s' if one.variants > 1 else ''}")
    return ", ".join(names)


def print_overrides(found: Sequence[Override]) -> None:
    """Overrides in force, the last one last."""
    if found:
        titles = ("override", "customer", "provider", "model", "prices", "from", "to", "reason")
        rows = [_override_cells(one) for one in found]
        console().print(table([(title, False) for title in titles], rows))
    click.echo(f"{len(found):,} overrides in force")


def _override_cells(one: Override) -> list[str]:
    record = one.record
    ((kind, text),) = record.match.items()
    model = str(text) if kind == "equals" else f"{kind} {text}"
    if record.when:
        model += " when " + ", ".join(f"{name}={value}" for name, value in record.when.items())
    return [
        one.reference,
        record.customer_id or "all",
        record.provider or "any",
        model,
        _override_prices(one),
        "" if record.effective_from is None else format_time(record.effective_from),
        "" if record.effective_to is None else format_time(record.effective_to),
        record.reason,
    ]


def _override_prices(one: Override) -> str:
    if one.multiplier is not None:
        return f"× {format_amount(one.multiplier)}"
    rates = [f"{name} {_rate_text(rate)}" for name, rate in one.named.tokens.items()]
    return ", ".join([*rates, *(_quantity_text(*item) for item in one.named.quantities.items())])


def _quantity_text(name: str, rate: QuantityRate) -> str:
    return f"{name} {format_amount(rate.price)}/{rate.per}"


def print_shown(found: Shown) -> None:
    """What one model costs."""
    click.echo(f"model     {found.reference or 'unknown to the book'}")
    click.echo(f"book      {found.price_version or 'none'}")
    if found.override is not None:
        click.echo(f"override  {found.override.reference}: {_override_prices(found.override)}")
    rows = [
        [f"{name} tokens" if "tokens" not in name else name, above, price, "1,000,000"]
        for name, rate in found.named.tokens.items()
        for above, price in _steps(rate)
    ]
    rows += [
        [name, "", format_amount(rate.price), f"{rate.per:,}"]
        for name, rate in found.named.quantities.items()
    ]
    columns = [("price of", False), ("above input", True), ("USD", True), ("for", True)]
    console().print(table(columns, rows))
    for conditions, named in found.variants:
        when = ", ".join(f"{name}={value}" for name, value in conditions.items())
        rates = [f"{name} {_rate_text(rate)}" for name, rate in named.tokens.items()]
        rates += [_quantity_text(*item) for item in named.quantities.items()]
        click.echo(f"when {when}: {', '.join(rates)}")


def _steps(rate: TieredRate) -> list[tuple[str, str]]:
    steps = [("", format_amount(rate.base))]
    return steps + [(f"{above:,}", format_amount(price)) for above, price in rate.tiers]


def print_changes(changes: Sequence[Change]) -> None:
    """What differs, a line each."""
    if not changes:
        return
    rows = [
        [
            SIGNS[change.kind],
            change.reference,
            change.what or ("other times, tiers or conditions" if change.kind == "other" else ""),
            "" if change.before is None else format_amount(change.before),
            "" if change.after is None else format_amount(change.after),
        ]
        for change in changes
    ]
    titles = (("", False), ("model", False), ("price of", False), ("before", True), ("after", True))
    console().print(table(titles, rows))
