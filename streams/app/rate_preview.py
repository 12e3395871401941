"""What a month's invoices would have been with other rate cards: the drafts of all customers twice,
and their differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from schemas import codec
from schemas.envelope import SCHEMA_VERSION
from schemas.rates import catalog_fields
from streams.app.invoices.drafts import drafts
from streams.app.rate_files import RateDocument
from streams.app.rates import read_rate_shelf
from streams.domain.rate_cards import RateShelf
from streams.errors import SetupError
from streams.settings import Settings

PREVIEW_VERSION: Final = "preview"
"""The version under which a card stands in the drafts of a preview."""

Show = Callable[[str, int, int], None]
"""Told what is worked on, how many customers are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Previewed:
    """What a customer is charged in one currency, in pico: as it is, and with the files' cards."""

    customer_id: str
    currency: str
    old_pico: int
    new_pico: int

    @property
    def difference_pico(self) -> int:
        """What the files' cards add."""
        return self.new_pico - self.old_pico


def shelf_with(shelf: RateShelf, documents: Sequence[RateDocument]) -> RateShelf:
    """The catalog as if these cards and plans had been there from ever, in place of all versions
    of the same ids."""
    replaced = {(one.model.kind, one.model.id) for one in documents}
    made = RateShelf()
    offset = 0
    for card in shelf.card_records:
        if ("rate_card", card.id) not in replaced:
            made.fold(offset := offset + 1, card)
    for plan in shelf.plan_records:
        if ("rate_plan", plan.id) not in replaced:
            made.fold(offset := offset + 1, plan)
    for document in documents:
        plain = document.model.model_dump(exclude_none=True, exclude={"effective_from"})
        fields = catalog_fields(plain, PREVIEW_VERSION, SCHEMA_VERSION)
        try:
            made.fold(offset := offset + 1, codec.decode_catalog(codec.encode(fields)))
        except ValueError as fault:
            raise SetupError(
                f"{document.file}:{document.line}: {fault}",
                action="Give one version of each card and plan to a preview.",
            ) from fault
    return made


async def preview_shelves(
    settings: Settings, documents: Sequence[RateDocument]
) -> tuple[RateShelf, RateShelf]:
    """The catalog as it is, and as it would be with these documents."""
    shelf = await read_rate_shelf(settings)
    return shelf, shelf_with(shelf, documents)


def preview(
    settings: Settings,
    old: RateShelf,
    new: RateShelf,
    label: str,
    customers: Sequence[str] | None,
    show: Show,
) -> list[Previewed]:
    """What each customer is charged for a period under two catalogs, by customer and currency.

    Nothing is appended. Both are drafted anew from the ledger, whether the period is closed or
    not, without corrections of earlier periods. Customers who are charged nothing are left out.
    """
    before = _totals(settings, customers, label, old, lambda *at: show("as it is", *at))
    after = _totals(settings, customers, label, new, lambda *at: show("with the files", *at))
    rows = [
        Previewed(*key, before.get(key, 0), after.get(key, 0))
        for key in sorted(before.keys() | after.keys())
    ]
    return [row for row in rows if row.old_pico or row.new_pico]


def _totals(
    settings: Settings,
    customers: Sequence[str] | None,
    label: str,
    shelf: RateShelf,
    show: Callable[[int, int], None],
) -> dict[tuple[str, str], int]:
    return {
        (customer, currency): pico
        for customer, document in drafts(settings, customers, label, shelf, show)
        for currency, pico in document.totals_pico.items()
    }


def sums(rows: Sequence[Previewed]) -> list[Previewed]:
    """The rows of all customers together, by currency: currencies are never added up."""
    found: dict[str, list[int]] = {}
    for row in rows:
        pair = found.setdefault(row.currency, [0, 0])
        pair[0] += row.old_pico
        pair[1] += row.new_pico
    return [Previewed("", currency, *found[currency]) for currency in sorted(found)]
