"""Rating usage anew: what the rows say, priced by the book and the overrides in force, and the
adjustments that follow, as facts on `budgets`.

Nothing is appended while rows of earlier adjustments may be missing: an entry's next adjustment
follows from all of those before it.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.limits import PAYERS_MAX
from schemas.money import format_amount
from schemas.partitioner import partition_of
from schemas.structs import Adjustment, Payer, Tokens, Usage
from schemas.topics import BUDGETS
from streams.adapters.catalog import read_catalog
from streams.adapters.producer import append_facts
from streams.app.addresses import kafka_bootstrap
from streams.app.caught_up import await_rows
from streams.app.warehouse import clickhouse
from streams.domain.context import Context, IncompleteCatalogError
from streams.domain.invoices.tallies import TOKEN_CLASSES
from streams.domain.rating import Rating, rate
from streams.errors import SetupError
from streams.invoicing.asof import read_cut
from streams.invoicing.rerating import (
    Choice,
    Rated,
    Terms,
    grant_terms,
    rated_usage,
)
from streams.ports import Warehouse
from streams.settings import Settings

SOURCE: Final = "tollgate"
"""The `source` of what the commands append."""

BATCH: Final = 500
"""Entries whose grants are looked up together."""


@dataclass(frozen=True, slots=True)
class Correction:
    """An entry that costs something else now, or has a price now: what it charges in all before
    and after, in pico-dollars."""

    entry: Rated
    rating: Rating
    provisional_pico: int

    @property
    def rise_pico(self) -> int:
        """By how much the charge changes."""
        entry = self.entry
        before = entry.cost_pico + entry.provisional_pico
        return self.rating.cost_pico + self.provisional_pico - before


@dataclass(frozen=True, slots=True)
class Rerating:
    """What rating anew comes to: corrections, entries that still have no price, entries that cost
    what they cost. `version` is that of the book in force."""

    version: str
    corrections: list[Correction]
    unpriced: list[Rated]
    unchanged: int


def rate_anew(settings: Settings, choice: Choice, limit: int) -> Rerating:
    """Rates what is chosen, at most `limit` entries; appends nothing.

    Raises TransientError where rows of what `budgets` holds do not come.
    """
    context = asyncio.run(_context(settings))
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        # An adjustment that is not seen would be made a second time.
        asyncio.run(await_rows(settings, warehouse, context.generation, context.partitions))
        cut = read_cut(warehouse)
        return rerate_entries(rated_usage(warehouse, cut, choice, limit), context)


def rerate_entries(entries: Iterable[Rated], context: Context) -> Rerating:
    """What entries cost by this context's book and overrides."""
    found = Rerating(context.prices.version, [], [], 0)
    unchanged = 0
    for entry in entries:
        rating = price_anew(entry, context)
        if rating.basis != "priced":
            found.unpriced.append(entry)
            continue
        provisional = _still_provisional(entry, rating)
        correction = Correction(entry, rating, provisional)
        first_price = entry.fields["cost_basis"] == "unpriced" and not entry.times
        same_cost = rating.cost_pico == entry.cost_pico
        if first_price or not same_cost or provisional != entry.provisional_pico:
            found.corrections.append(correction)
        else:
            unchanged += 1
    return Rerating(found.version, found.corrections, found.unpriced, unchanged)


def price_anew(entry: Rated, context: Context) -> Rating:
    """The rating of an entry's usage, as it would be decided now."""
    fields = entry.fields
    counts = {name.removesuffix("_tokens"): int(fields[name]) for name in TOKEN_CLASSES}
    body = Usage(
        schema_version=SCHEMA_VERSION,
        event_id=fields["entry_id"],
        source=SOURCE,
        customer_id=fields["customer_id"],
        provider=fields["provider"] or None,
        model=fields["model"] or None,
        tokens=Tokens(**counts),
        quantities=dict(fields["quantities"]) or None,
        conditions=dict(fields["conditions"]) or None,
    )
    return rate(
        body,
        None,
        entry.used_at_us,
        context.prices,
        context.provisional_pico_per_million,
        context.overrides,
    )


def _still_provisional(entry: Rated, rating: Rating) -> int:
    """What stays charged provisionally beside a price: only where the caller never knew what was
    used, so that at least what was held is charged."""
    if not entry.fields["usage_missing"]:
        return 0
    return max(0, entry.cost_pico + entry.provisional_pico - rating.cost_pico)


def append_adjustments(settings: Settings, corrections: Sequence[Correction]) -> int:
    """Appends the adjustments of these corrections, acknowledged by all replicas; how many.

    Giving them again counts once: the id of each says which entry's how-manieth adjustment it is.
    Raises TransientError where the broker did not acknowledge all.
    """
    bootstrap = kafka_bootstrap(settings)
    partitions = asyncio.run(_partitions(settings))
    appended = 0
    with closing(clickhouse(settings, analyst=True)) as warehouse:
        for batch in _batches(corrections):
            facts = adjustments(batch, _terms(warehouse, batch))
            records = [
                (partition_of(fact.customer_id.encode(), partitions), fact) for fact in facts
            ]
            asyncio.run(
                append_facts(
                    bootstrap,
                    settings.topic_prefix,
                    BUDGETS.name,
                    [
                        (partition, fact.customer_id.encode(), codec.encode(fact))
                        for partition, fact in records
                    ],
                )
            )
            appended += len(facts)
    return appended


def adjustments(batch: Iterable[Correction], terms: dict[str, Terms]) -> list[Adjustment]:
    """The facts that state these corrections, with the terms of the grants that paid."""
    return [_adjustment(correction, terms) for correction in batch]


def _adjustment(correction: Correction, terms: dict[str, Terms]) -> Adjustment:
    entry, rating, fields = correction.entry, correction.rating, correction.entry.fields
    # What goes back goes to the last payers first.
    payers = [
        Payer(
            grant_id=grant_id,
            amount=format_amount(paid),
            priority=terms[grant_id].priority,
            effective_at=terms[grant_id].effective_at_us,
            expires_at=terms[grant_id].expires_at_us,
        )
        for grant_id, paid in entry.paid.items()
        if grant_id in terms
    ][-PAYERS_MAX:]
    named: dict[str, Any] = {
        name: fields[name] or None
        for name in ("agent_id", "task_ref", "trace_id", "scope_id", "provider", "model")
    }
    return Adjustment(
        schema_version=SCHEMA_VERSION,
        event_id=f"{fields['entry_id']}#{entry.times + 1}",
        source=SOURCE,
        customer_id=fields["customer_id"],
        entry_id=fields["entry_id"],
        charged_at=entry.charged_at_us,
        charged_generation=entry.place[0],
        charged_sequence=entry.place[2],
        used_at=entry.used_at_us,
        **named,
        old_cost=format_amount(entry.cost_pico),
        old_provisional=format_amount(entry.provisional_pico),
        covered=format_amount(entry.covered_pico),
        payers=payers,
        new_cost=format_amount(rating.cost_pico),
        new_provisional=format_amount(correction.provisional_pico),
        was_unpriced=fields["cost_basis"] == "unpriced" and not entry.times,
        price_version=rating.price_version or "none",
        price_override=rating.override,
        priced_as=rating.priced_as,
    )


def _batches(corrections: Sequence[Correction]) -> Iterator[list[Correction]]:
    left = iter(corrections)
    while batch := list(islice(left, BATCH)):
        yield batch


def _terms(warehouse: Warehouse, batch: Sequence[Correction]) -> dict[str, Terms]:
    grants = sorted({grant_id for correction in batch for grant_id in correction.entry.paid})
    customers = sorted({str(correction.entry.fields["customer_id"]) for correction in batch})
    return grant_terms(warehouse, customers, grants)


async def _context(settings: Settings) -> Context:
    """What a decision sees now. Raises SetupError before there is anything to see."""
    view = await read_catalog(kafka_bootstrap(settings), settings.topic_prefix)
    try:
        return view.context()
    except IncompleteCatalogError as fault:
        raise SetupError(str(fault), action="Run `tollgate topics create`.") from fault


async def _partitions(settings: Settings) -> int:
    return (await _context(settings)).partitions
