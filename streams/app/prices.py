"""Prices for commands: the books and overrides of the catalog as they were recorded, what is in
force, what differs, and new overrides."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.structs import CatalogRecord, PriceBook, PriceOverride
from streams.adapters.catalog import append_catalog, read_catalog_into
from streams.adapters.clock import SystemClock
from streams.adapters.price_source import price_book
from streams.app.addresses import kafka_bootstrap
from streams.domain.context import CatalogView
from streams.domain.overrides import Override, make_ready
from streams.domain.prices import ModelRates, NamedRates, index_prices
from streams.errors import SetupError
from streams.settings import Settings

INSTALLED: Final = "installed"
"""What commands call the book of the installed package, which may not be in the catalog."""


class Shelf(CatalogView):
    """The catalog with all price books that it holds, in the order in which they came."""

    def __init__(self) -> None:
        """Empty; fold the catalog into it."""
        super().__init__()
        self.books: dict[str, PriceBook] = {}

    def fold(self, offset: int, record: CatalogRecord) -> None:
        """See `CatalogView.fold`."""
        super().fold(offset, record)
        if isinstance(record, PriceBook):
            self.books[f"{record.id}@{record.version}"] = record

    def book(self, version: str | None) -> PriceBook:
        """A book by `id@version`, the one in force for None, the package's for `installed`.

        Raises SetupError where there is none.
        """
        if version == INSTALLED:
            return price_book()
        found = self.books.get(version or self.price_version)
        if found is None:
            known = ", ".join(self.books) or "none"
            raise SetupError(
                f"there is no price book {version or 'in force'}; there are: {known}",
                action="Name one of them, or run `tollgate prices import`.",
            )
        return found


async def read_shelf(settings: Settings) -> Shelf:
    """The catalog as it is now."""
    return await read_catalog_into(Shelf(), kafka_bootstrap(settings), settings.topic_prefix)


def now_us() -> int:
    """The time at which prices are shown where nobody names another."""
    return SystemClock().now_us()


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of a book with what it costs at a time."""

    reference: str
    named: NamedRates
    variants: int


def listed_models(book: PriceBook, at_us: int) -> Iterator[Listed]:
    """All models of a book, in its order."""
    for rates in _models(book):
        yield Listed(rates.reference, rates.named_at(at_us, {}), len(rates.variants))


def _models(book: PriceBook) -> Iterator[ModelRates]:
    for provider in index_prices(book).providers:
        for _, rates in provider.models:
            yield rates


@dataclass(frozen=True, slots=True)
class Shown:
    """What one model costs a customer at a time, under conditions. `reference` is the model of the
    book, empty where the book knows none; `named` are the rates that apply."""

    price_version: str
    reference: str
    named: NamedRates
    override: Override | None
    variants: tuple[tuple[Mapping[str, str], NamedRates], ...]


def shown_model(
    view: CatalogView,
    provider: str | None,
    model: str,
    customer_id: str,
    conditions: Mapping[str, str],
    at_us: int,
) -> Shown | None:
    """What a model costs, as a worker would rate it; None where nothing prices it."""
    prices = view.prices
    found = prices.find(provider, model)
    override = view.overrides.find(customer_id, provider, model, conditions, at_us)
    if found is None and override is None:
        return None
    named = NamedRates({}, {}) if found is None else found.named_at(at_us, conditions)
    if override is not None:
        named = named.under(override.named)
    variants = () if found is None else found.variants
    return Shown(
        prices.version,
        "" if found is None else found.reference,
        named,
        override,
        tuple((one.conditions, one.named) for one in variants if one.when.active(at_us)),
    )


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two books: a model that is new or gone, or one rate of it. `before` and
    `after` are pico-dollars per million tokens or per `per` of a quantity; None where there is
    none. `other` says that only other times, tiers or conditions differ."""

    reference: str
    kind: Literal["added", "removed", "changed", "other"]
    what: str = ""
    before: int | None = None
    after: int | None = None


def compare_books(old: PriceBook, new: PriceBook, at_us: int) -> list[Change]:
    """What is different in a newer book, by the prices of one time; by model."""
    before = {rates.reference: rates for rates in _models(old)}
    after = {rates.reference: rates for rates in _models(new)}
    changes = []
    for reference in sorted(before.keys() | after.keys()):
        if reference not in before:
            changes.append(Change(reference, "added"))
        elif reference not in after:
            changes.append(Change(reference, "removed"))
        elif before[reference] != after[reference]:
            changes += _rate_changes(before[reference], after[reference], at_us)
    return changes


def _rate_changes(old: ModelRates, new: ModelRates, at_us: int) -> list[Change]:
    was, now = _flat(old.named_at(at_us, {})), _flat(new.named_at(at_us, {}))
    changed = [
        Change(new.reference, "changed", name, was.get(name), now.get(name))
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]
    return changed or [Change(new.reference, "other")]


def _flat(named: NamedRates) -> dict[str, int]:
    return {name: rate.base for name, rate in named.tokens.items()} | {
        f"{name}/{rate.per}": rate.price for name, rate in named.quantities.items()
    }


async def append_override(
    settings: Settings, override_id: str, fields: Mapping[str, Any]
) -> PriceOverride:
    """Appends a price override as the next version of its id; `fields` of
    `schemas.catalog.PriceOverride`, None for not given.

    Raises SetupError for one that nobody could use; nothing is appended then.
    """
    shelf = await read_shelf(settings)
    record = plan_override(shelf, override_id, fields)
    await append_catalog(kafka_bootstrap(settings), settings.topic_prefix, shelf, [record])
    return record


def plan_override(view: CatalogView, override_id: str, fields: Mapping[str, Any]) -> PriceOverride:
    """The record as it would stand in the catalog, under the first version that is free. A
    withdrawal repeats what it withdraws. Raises SetupError for one that nobody could use."""
    known = view.overrides.by_id(override_id)
    given = {name: value for name, value in fields.items() if value is not None}
    if given.get("withdrawn"):
        if known is None:
            raise SetupError(
                f"no price override {override_id!r} is in force",
                action="Look at `tollgate prices list --overrides`.",
            )
        given = codec.to_plain(known.record) | given
    version = 1
    while True:
        head = {
            "schema_version": SCHEMA_VERSION,
            "kind": "price_override",
            "id": override_id,
            "version": str(version),
        }
        try:
            record = codec.decode_catalog(codec.encode(given | head))
            assert isinstance(record, PriceOverride), "its kind says so"
            make_ready(record)
        except ValueError as fault:
            raise SetupError(
                f"this is no price override: {fault}",
                action="Correct what is named; nothing was appended.",
            ) from fault
        if not view.holds(record):
            return record
        version += 1
