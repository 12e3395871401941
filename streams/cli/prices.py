"""`tollgate prices`: load price books, look at them, override them."""

import asyncio
import json
from contextlib import closing
from typing import Any, Final

import click

from schemas.codec import to_plain
from schemas.money import format_amount
from schemas.times import format_time, parse_time_us
from streams.app.installation import import_prices
from streams.app.prices import (
    INSTALLED,
    append_override,
    compare_books,
    listed_models,
    now_us,
    read_shelf,
    shown_model,
)
from streams.app.warehouse import clickhouse
from streams.cli.options import with_settings
from streams.cli.price_texts import (
    change_dict,
    named_dict,
    override_dict,
    parse_match,
    parse_pairs,
    parse_quantities,
    parse_rates,
    print_changes,
    print_models,
    print_overrides,
    print_shown,
)
from streams.cli.tables import amounts, console, counts, table
from streams.invoicing.rerating import unknown_models
from streams.settings import Settings

_KAFKA: Final = ("kafka_bootstrap", "topic_prefix")


@click.group()
def prices() -> None:
    """Load price books into the catalog, look at them, override them."""


@prices.command(name="import")
@with_settings(*_KAFKA)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(settings: Settings, as_json: bool) -> None:
    """Append the list prices of the installed genai-prices package, unless they are in force.

    Workers see the new version from their next cycle on; what is already rated keeps its price.
    """
    version, appended = asyncio.run(import_prices(settings))
    if as_json:
        click.echo(json.dumps({"version": version, "appended": appended}))
    else:
        click.echo(f"{'appended' if appended else 'in force already'}: {version}")


@prices.command(name="list")
@with_settings(*_KAFKA)
@click.option("--provider", help="Of this provider alone, by its id.")
@click.option("--model", help="Whose id contains this.")
@click.option("--book", metavar="VERSION", help=f"A version, or {INSTALLED}. Default: in force.")
@click.option("--at", metavar="TIME", help="Prices of this time. Default: now.")
@click.option("--overrides", "of_overrides", is_flag=True, help="The overrides in force instead.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_(
    settings: Settings,
    provider: str | None,
    model: str | None,
    book: str | None,
    at: str | None,
    of_overrides: bool,
    as_json: bool,
) -> None:
    """List the models of a price book with what a million tokens costs in dollars."""
    shelf = asyncio.run(read_shelf(settings))
    if of_overrides:
        in_force = shelf.overrides.all
        if as_json:
            for override_ in in_force:
                click.echo(json.dumps(override_dict(override_.record)))
        else:
            print_overrides(in_force)
        return
    chosen = shelf.book(book)
    models = [
        one
        for one in listed_models(chosen, _at(at))
        if (provider is None or one.reference.partition("/")[0] == provider)
        and (model is None or model.lower() in one.reference.partition("/")[2])
    ]
    if as_json:
        for one in models:
            fields = {"model": one.reference, **named_dict(one.named), "variants": one.variants}
            click.echo(json.dumps(fields))
        return
    print_models(models)
    click.echo(f"{len(models):,} models of {chosen.id}@{chosen.version}")


@prices.command()
@click.argument("model")
@with_settings(*_KAFKA)
@click.option("--provider", help="As a producer names it.")
@click.option("--customer", default="", help="What this customer pays. Default: anybody.")
@click.option("--when", multiple=True, metavar="NAME=VALUE", help="How calls are made.")
@click.option("--at", metavar="TIME", help="Prices of this time. Default: now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, amounts as exact texts.")
def show(
    settings: Settings,
    model: str,
    provider: str | None,
    customer: str,
    when: tuple[str, ...],
    at: str | None,
    as_json: bool,
) -> int:
    """Show what MODEL costs, by the name that a producer gives it: as a worker would rate it.

    Exit code 1 where nothing prices it: its usage would be unpriced.
    """
    shelf = asyncio.run(read_shelf(settings))
    found = shown_model(shelf, provider, model, customer, parse_pairs("--when", when), _at(at))
    if found is None:
        click.echo(f"nothing prices {model!r}: its usage is unpriced", err=True)
        return 1
    if as_json:
        override = None if found.override is None else override_dict(found.override.record)
        fields = {
            "price_version": found.price_version,
            "model": found.reference or None,
            "override": override,
            **named_dict(found.named),
            "variants": [
                {"when": dict(conditions), **named_dict(named)}
                for conditions, named in found.variants
            ],
        }
        click.echo(json.dumps(fields, indent=2))
    else:
        print_shown(found)
    return 0


@prices.command()
@click.argument("override_id")
@with_settings(*_KAFKA)
@click.option("--provider", help="By the id of the book, or as producers name it. Default: any.")
@click.option("--model", help="The model, by its name or by its id in the book.")
@click.option("--match", metavar="KIND=TEXT", help="Instead: starts_with, contains, regex …")
@click.option("--customer", help="For this customer alone. Default: for all.")
@click.option("--from", "begins", metavar="TIME", help="For usage from then on. Default: ever.")
@click.option("--to", "ends", metavar="TIME", help="For usage before then.")
@click.option("--when", multiple=True, metavar="NAME=VALUE", help="For calls made so.")
@click.option(
    "--rate",
    multiple=True,
    metavar="CLASS=AMOUNT",
    help="Dollars per million tokens: input=2.5, or with tiers input=2.5,200000:5",
)
@click.option(
    "--quantity", multiple=True, metavar="NAME=AMOUNT/PER", help="Dollars: web_searches=10/1000"
)
@click.option("--multiplier", help="What the book's cost is multiplied with, such as 0.8.")
@click.option("--reason", help="Why, for whoever reads the books.")
@click.option("--withdraw", is_flag=True, help="Take it out of force.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as one JSON object.")
def override(
    settings: Settings,
    override_id: str,
    provider: str | None,
    model: str | None,
    match: str | None,
    customer: str | None,
    begins: str | None,
    ends: str | None,
    when: tuple[str, ...],
    rate: tuple[str, ...],
    quantity: tuple[str, ...],
    multiplier: str | None,
    reason: str | None,
    withdraw: bool,
    as_json: bool,
) -> None:
    """Put a price of your own in force under OVERRIDE_ID, in place of what stood under it.

    A customer's own overrides come before those for all; among these the last one wins. Workers
    see it from their next cycle on; what is rated keeps its price (see `tollgate rerate`).
    """
    if (model is None) == (match is None) and not withdraw:
        raise click.UsageError("say which model it is for: --model NAME or --match KIND=TEXT")
    clause = {"equals": model} if model is not None else match and parse_match(match)
    fields: dict[str, Any] = {
        "provider": provider,
        "match": clause,
        "customer_id": customer,
        "effective_from": _time("--from", begins),
        "effective_to": _time("--to", ends),
        "when": parse_pairs("--when", when) or None,
        "rates": parse_rates(rate) or None,
        "quantities": parse_quantities(quantity) or None,
        "multiplier": multiplier,
        "reason": reason,
        "withdrawn": withdraw or None,
    }
    record = asyncio.run(append_override(settings, override_id, fields))
    if as_json:
        click.echo(json.dumps(to_plain(record)))
    else:
        what = "withdrawn" if record.withdrawn else "in force"
        click.echo(f"{what}: {record.id}@{record.version}")


@prices.command()
@click.argument("old", required=False)
@click.argument("new", default=INSTALLED)
@with_settings(*_KAFKA)
@click.option("--at", metavar="TIME", help="Prices of this time. Default: now.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def diff(settings: Settings, old: str | None, new: str, at: str | None, as_json: bool) -> int:
    """Show what is different in the price book NEW, against OLD.

    Books are named by their versions. Default: the installed package against what is in force.
    Exit code 1 where something differs.
    """
    shelf = asyncio.run(read_shelf(settings))
    before, after = shelf.book(old), shelf.book(new)
    changes = compare_books(before, after, _at(at))
    if as_json:
        for change in changes:
            click.echo(json.dumps(change_dict(change)))
    else:
        print_changes(changes)
        click.echo(
            f"{len(changes):,} differences from {before.id}@{before.version} to "
            f"{after.id}@{after.version}"
        )
    return 1 if changes else 0


@prices.command()
@with_settings("clickhouse_url", "clickhouse_database")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, help="[default: 100]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def unknown(settings: Settings, limit: int, as_json: bool) -> int:
    """List models whose usage has no price, with what waits for one.

    Give them a price (`import`, `override`), then `tollgate rerate`. Exit code 1 where there are
    any.
    """
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        found = unknown_models(warehouse, limit)
    if as_json:
        for one in found:
            fields = {
                "provider": one.provider or None,
                "model": one.model or None,
                "events": one.events,
                "partly_priced": one.partly,
                "customers": one.customers,
                "tokens": one.tokens,
                "provisional": format_amount(one.provisional_pico),
                "last_used_at": format_time(one.last_used_at_us),
            }
            click.echo(json.dumps(fields))
        return 1 if found else 0
    if found:
        money = amounts(one.provisional_pico for one in found)
        cells = [
            [
                one.provider,
                one.model,
                *counts([one.events, one.partly, one.customers, one.tokens]),
                charged,
                format_time(one.last_used_at_us),
            ]
            for one, charged in zip(found, money, strict=True)
        ]
        titles = ("provider", "model", "events", "partly priced", "customers", "tokens")
        columns = [(title, at > 1) for at, title in enumerate((*titles, "provisional USD"))]
        console().print(table([*columns, ("last used", False)], cells))
    click.echo(f"{len(found):,} models without a price")
    return 1 if found else 0


def _at(text: str | None) -> int:
    found = _time("--at", text)
    return now_us() if found is None else found


def _time(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time_us(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
