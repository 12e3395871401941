"""`tollgate rerate`: correct what usage cost, by adjustments beside what is written."""

import json
from collections import Counter
from typing import Any, Final

import click

from schemas.money import format_amount
from schemas.times import parse_time_us
from streams.app.rerating import Correction, Rerating, append_adjustments, rate_anew
from streams.cli.options import with_settings
from streams.cli.tables import amounts, console, counts, table
from streams.invoicing.rerating import Choice
from streams.settings import Settings

LIMIT_MAX: Final = 250_000
"""Entries of one run: a correction is held in memory with its entry, some 2 KB."""


@click.command()
@with_settings("kafka_bootstrap", "topic_prefix", "clickhouse_url", "clickhouse_database")
@click.option("--apply", "does_apply", is_flag=True, help="Append the adjustments.")
@click.option(
    "--from-version",
    metavar="VERSION",
    help="What was priced by this book or override, as entries name it (genai-prices@0.2.3+2). "
    "Default: what has no price, or not for all that it used.",
)
@click.option("--customer", help="Of this customer alone.")
@click.option("--provider", help="Of this provider, as producers name it.")
@click.option("--model", help="Of this model, as producers name it.")
@click.option("--since", metavar="TIME", help="Used at this day (UTC) or time, or later.")
@click.option("--until", metavar="TIME", help="Used before this day (UTC) or time.")
@click.option(
    "--limit",
    type=click.IntRange(1, LIMIT_MAX),
    default=100_000,
    help="How many entries are looked at, the oldest first.  [default: 100000]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, amounts as exact texts.")
def rerate(
    settings: Settings,
    does_apply: bool,
    from_version: str | None,
    customer: str | None,
    provider: str | None,
    model: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Rate usage anew by the price book and the overrides in force.

    Without --apply nothing is appended: what would change is printed. Nothing that is written ever
    changes: an adjustment stands beside its entry and says by how much the sums change. Given
    twice, it counts once.
    """
    choice = Choice(
        from_version, customer, provider, model, _time("--since", since), _time("--until", until)
    )
    found = rate_anew(settings, choice, limit)
    appended = append_adjustments(settings, found.corrections) if does_apply else 0
    if as_json:
        click.echo(json.dumps(as_dict(found, appended)))
    else:
        show(found, appended, does_apply=does_apply)


def as_dict(found: Rerating, appended: int) -> dict[str, Any]:
    """The run for a script."""
    return {
        "price_version": found.version,
        "looked_at": len(found.corrections) + len(found.unpriced) + found.unchanged,
        "corrections": len(found.corrections),
        "unpriced": len(found.unpriced),
        "unchanged": found.unchanged,
        "rise": format_amount(sum(one.rise_pico for one in found.corrections)),
        "appended": appended,
        "models": [
            {
                "provider": provider,
                "model": model,
                "entries": entries,
                "before": format_amount(before),
                "after": format_amount(after),
            }
            for provider, model, entries, before, after in by_model(found.corrections)
        ],
    }


def show(found: Rerating, appended: int, *, does_apply: bool) -> None:
    """The run for a person."""
    rows = by_model(found.corrections)
    if rows:
        money = amounts([value for *_, before, after in rows for value in (before, after)])
        titles = ("provider", "model", "entries", "charged before", "after")
        cells = [
            [provider, model, *counts([entries]), money[2 * at], money[2 * at + 1]]
            for at, (provider, model, entries, _, _) in enumerate(rows)
        ]
        columns = [(title, at > 1) for at, title in enumerate(titles)]
        console().print(table(columns, cells))
    rise = amounts([sum(one.rise_pico for one in found.corrections)])[0]
    click.echo(
        f"{len(found.corrections):,} entries to correct by {rise} USD in all, "
        f"{len(found.unpriced):,} still without a price, {found.unchanged:,} as they are; "
        f"prices {found.version or 'none'}"
    )
    if does_apply:
        click.echo(f"{appended:,} adjustments appended", err=True)
    elif rows:
        click.echo("nothing was appended: --apply appends the adjustments", err=True)


def by_model(corrections: list[Correction]) -> list[tuple[str, str, int, int, int]]:
    """Provider, model, entries, charged before and after, by the most entries."""
    entries: Counter[tuple[str, str]] = Counter()
    before: Counter[tuple[str, str]] = Counter()
    after: Counter[tuple[str, str]] = Counter()
    for one in corrections:
        key = (str(one.entry.fields["provider"]), str(one.entry.fields["model"]))
        charged = one.entry.cost_pico + one.entry.provisional_pico
        entries[key] += 1
        before[key] += charged
        after[key] += charged + one.rise_pico
    order = sorted(entries, key=lambda key: (-entries[key], key))
    return [(*key, entries[key], before[key], after[key]) for key in order]


def _time(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time_us(text if "T" in text else f"{text}T00:00:00Z")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
